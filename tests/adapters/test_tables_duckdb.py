"""Three back ends of one definition: Polars, DuckDB and plain Python agree, to the last bit."""

from __future__ import annotations

import math
import random
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.adapters.tables import PolarsTables
from loopwright.adapters.tables.compile import Kind
from loopwright.adapters.tables.engine_duckdb import DuckDBTables
from loopwright.core.errors import Invalid
from loopwright.core.expressions import Expr, Window, col, evaluate, lit, when
from loopwright.ports.tables import AsOfJoin, WindowJoin
from loopwright.testing.tables import TablesSuite
from tests.adapters.joins_twin import MICROSECOND, as_of, table, windows
from tests.adapters.test_joins_windows import ALL, NOON, SPINE, VIEW, bits, spines, views
from tests.adapters.test_tables_compile import COLUMNS, TYPES, VALUES, expressions

MANY = 20
ENGINES = (PolarsTables(), DuckDBTables())
BROUGHT = ("n", "x", "s", "b")


class TestDuckDBTables(TablesSuite):
    @pytest.fixture
    def tables(self) -> DuckDBTables:
        return DuckDBTables()


def hold(found: pa.Table, expected: list[dict[str, Any]]) -> None:
    for row, wanted in zip(found.to_pylist(), expected, strict=True):
        assert set(row) == set(wanted)
        for name, value in row.items():
            same = float(wanted[name]) if isinstance(value, float) else wanted[name]
            assert (name, bits(value)) == (name, bits(same))


@pytest.mark.slow
@pytest.mark.slow
@settings(max_examples=MANY, deadline=None)
@given(spine=spines, view=views, two=st.booleans(), event=st.booleans(), order=st.booleans())
def test_windows_are_the_same_in_all_three(
    spine: list[dict[str, Any]], view: list[dict[str, Any]], *, two: bool, event: bool, order: bool
) -> None:
    join = WindowJoin(
        keys=("k", "j") if two else ("k",),
        time="at",
        known_at="known",
        windows=ALL,
        event_time="event" if event else None,
        order="seq" if order else None,
    )
    expected = windows(spine, view, join)
    found = [engine.join_windows(table(spine, SPINE), table(view, VIEW), join) for engine in ENGINES]
    assert found[0].schema == found[1].schema
    for each in found:
        hold(each, expected)


@pytest.mark.slow
@pytest.mark.slow
@settings(max_examples=MANY, deadline=None)
@given(
    spine=spines,
    view=views,
    two=st.booleans(),
    known=st.booleans(),
    order=st.booleans(),
    ttl=st.sampled_from([0, 1, 4]),
    mode=st.sampled_from(["known", "event"]),
)
def test_joins_are_the_same_in_all_three(
    spine: list[dict[str, Any]], view: list[dict[str, Any]], *, two: bool, **more: Any
) -> None:
    join = AsOfJoin(
        keys=("k", "j") if two else ("k",),
        time="at",
        event_time="event",
        known_at="known" if more["known"] else None,
        order="seq" if more["order"] else None,
        ttl=more["ttl"] * MICROSECOND,
        mode=more["mode"],
        columns=BROUGHT,
    )
    expected = as_of(spine, view, join, BROUGHT)
    found = [engine.join_as_of(table(spine, SPINE), table(view, VIEW), join) for engine in ENGINES]
    assert found[0].schema == found[1].schema
    for each in found:
        hold(each, expected)


@pytest.mark.slow
@settings(max_examples=MANY, deadline=None)
@given(data=st.data(), kind=st.sampled_from(list(COLUMNS)))
def test_expressions_are_the_same_in_all_three(data: st.DataObject, kind: Kind) -> None:
    expr: Expr = data.draw(expressions(kind, 3))
    columns = {name: kind for kind, names in COLUMNS.items() for name in names}
    rows = data.draw(
        st.lists(
            st.fixed_dictionaries({name: st.none() | VALUES[each] for name, each in columns.items()}),
            min_size=1,
            max_size=6,
        )
    )
    schema = pa.schema({name: TYPES[each] for name, each in columns.items()})
    expected = [evaluate(expr, row) for row in rows]
    for engine in ENGINES:
        found = engine.compute(table(rows, schema), {"value": expr}).column("value").to_pylist()
        for value, wanted in zip(found, expected, strict=True):
            same = float(wanted) if isinstance(value, float) and wanted is not None else wanted
            assert bits(value) == bits(same), type(engine).__name__


def test_what_one_refuses_the_other_refuses() -> None:
    spine = table([{"k": "a", "j": 1, "at": NOON}], SPINE)
    huge = [{"k": "a", "j": 1, "event": NOON, "known": NOON, "n": 2**62, "s": "u"} for _ in range(2)]
    view = table(huge, VIEW)
    asked: list[tuple[str, Window]] = [
        ("no column", col("nope").sum("1h")),
        ("needs numbers", col("s").sum("1h")),
        ("over 64 bits", col("n").sum("1h")),
        ("is empty", col("n").sum("0")),
    ]
    for match, window in asked:
        join = WindowJoin(keys=("k",), time="at", known_at="known", windows={"f": window})
        for engine in ENGINES:
            with pytest.raises(Invalid, match=match):
                engine.join_windows(spine, view, join)
    clash = WindowJoin(keys=("k",), time="at", known_at="known", windows={"j": lit(1).count("1h")})
    negative = AsOfJoin(keys=("k",), time="at", event_time="event", ttl=timedelta(hours=-1))
    for engine in ENGINES:
        with pytest.raises(Invalid, match="already"):
            engine.join_windows(spine, view, clash)
        with pytest.raises(Invalid, match="negative"):
            engine.join_as_of(spine.select(["k", "at"]), view, negative)


def test_no_rows_and_no_questions() -> None:
    windows_of = {"late": when(col("n") >= 2, 1, 0).sum("5us"), "last": col("s").last("5us")}
    join = WindowJoin(keys=("k",), time="at", known_at="known", windows=windows_of)
    asked = [{"k": "a", "j": 1, "at": NOON}]
    for spine, view in ((asked, []), ([], []), (asked, [{"k": None, "known": NOON}])):
        found = [engine.join_windows(table(spine, SPINE), table(view, VIEW), join) for engine in ENGINES]
        assert found[0].equals(found[1])


def test_one_history_is_the_same_in_all_three() -> None:
    chance = random.Random(7)

    def moment() -> Any:
        return None if chance.random() < 0.1 else NOON + chance.randrange(-9, 9) * MICROSECOND

    view = [
        {
            "k": chance.choice(["a", "b", "", None]),
            "j": chance.choice([1, None]),
            "event": moment(),
            "known": moment(),
            "seq": chance.choice([None, 0, 1]),
            "n": chance.choice([None, -3, 2, 2**55]),
            "x": chance.choice([None, 0.1, -0.0, 0.3, 1e308]),
            "s": chance.choice([None, "", "u"]),
            "b": chance.choice([None, True, False]),
        }
        for _ in range(60)
    ]
    spine = [{"k": chance.choice(["a", "b", "", None, "z"]), "j": 1, "at": moment()} for _ in range(30)]
    framed = WindowJoin(
        keys=("k",), time="at", known_at="known", windows=ALL, event_time="event", order="seq"
    )
    newest = AsOfJoin(
        keys=("k",),
        time="at",
        event_time="event",
        known_at="known",
        order="seq",
        ttl=5 * MICROSECOND,
        columns=BROUGHT,
    )
    for engine in ENGINES:
        hold(
            engine.join_windows(table(spine, SPINE), table(view, VIEW), framed), windows(spine, view, framed)
        )
        hold(
            engine.join_as_of(table(spine, SPINE), table(view, VIEW), newest),
            as_of(spine, view, newest, BROUGHT),
        )


def test_division_by_floats_is_pythons_with_its_infinities_and_signs_of_zero() -> None:
    values = [0.0, -0.0, 1.0, -1.0, 0.1, -0.7, 3.0, -7.5, math.inf, -math.inf, 1e300, 1e-300]
    rows = [{"a": a, "b": b} for a in values for b in values]
    asked: dict[str, Expr] = {"whole": col("a") // col("b"), "rest": col("a") % col("b")}
    found = DuckDBTables().compute(pa.Table.from_pylist(rows), asked).to_pylist()
    for row, told in zip(rows, found, strict=True):
        for name, expr in asked.items():
            wanted = evaluate(expr, dict(row))
            is_nan = isinstance(wanted, float) and math.isnan(wanted)
            assert math.isnan(told[name]) if is_nan else bits(told[name]) == bits(wanted), (name, row)
