"""Windowed aggregates against their meaning written down row by row, to the last bit."""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.adapters.tables.windows import join_windows
from loopwright.core.errors import Invalid
from loopwright.core.expressions import Window, col, lit, when
from loopwright.ports.tables import WindowJoin
from tests.adapters.joins_twin import MICROSECOND, table, windows

NOON = datetime(2013, 6, 1, 12, tzinfo=UTC)
UTC_TIME = pa.timestamp("us", "UTC")
SPINE = pa.schema({"k": pa.string(), "j": pa.int64(), "at": UTC_TIME})
VIEW = pa.schema(
    {
        "k": pa.string(),
        "j": pa.int64(),
        "event": UTC_TIME,
        "known": UTC_TIME,
        "seq": pa.int64(),
        "n": pa.int64(),
        "x": pa.float64(),
        "s": pa.string(),
        "b": pa.bool_(),
    }
)


def bits(value: Any) -> Any:
    """Floats by their bits, so that -0.0, NaN and the last digit count."""
    return struct.pack("<d", value) if isinstance(value, float) else value


def agree(spine: list[dict[str, Any]], view: list[dict[str, Any]], join: WindowJoin) -> None:
    """The join's values are those of the twin; the 0 of an empty sum has the type of its column."""
    found = join_windows(table(spine, SPINE), table(view, VIEW), join).to_pylist()
    for row, expected in zip(found, windows(spine, view, join), strict=True):
        assert set(row) == set(expected)
        for name, value in row.items():
            wanted = float(expected[name]) if isinstance(value, float) else expected[name]
            assert (name, bits(value)) == (name, bits(wanted))


def every(column: str, over: str, ops: str) -> dict[str, Window]:
    return {f"{op}_{column}_{over}": getattr(col(column), op)(over) for op in ops.split()}


ALL = {
    **every("n", "1us", "sum mean count min max last distinct std"),
    **every("n", "4us", "sum mean count min max last distinct std"),
    **every("x", "4us", "sum mean count min max last distinct std"),
    **every("s", "3us", "count min max last distinct"),
    **every("b", "6us", "sum mean count min max last distinct std"),
    "late": when(col("n") >= 2, 1, 0).sum("5us"),
    "rows": lit(1).count("5us"),
}
moments = st.one_of(st.none(), st.integers(-6, 6).map(lambda n: NOON + n * MICROSECOND))
keys = st.sampled_from(["a", "b", "", None])
spines = st.lists(
    st.fixed_dictionaries({"k": keys, "j": st.sampled_from([1, None]), "at": moments}), max_size=10
)
floats = st.one_of(
    st.sampled_from(
        [None, 0.0, -0.0, 0.1, 0.2, 0.3, 1.0, 3.0, 1e308, -1e308, 1e-300, math.nan, math.inf, -math.inf]
    ),
    st.floats(),
)
views = st.lists(
    st.fixed_dictionaries(
        {
            "k": keys,
            "j": st.sampled_from([1, None]),
            "event": moments,
            "known": moments,
            "seq": st.sampled_from([None, 0, 1]),
            "n": st.one_of(st.none(), st.integers(-3, 3), st.integers(-(2**55), 2**55)),
            "x": floats,
            "s": st.sampled_from([None, "", "u", "v"]),
            "b": st.sampled_from([None, True, False]),
        }
    ),
    max_size=25,
)


@settings(max_examples=80, deadline=None)
@given(spine=spines, view=views, two=st.booleans(), event=st.booleans(), order=st.booleans())
def test_is_the_aggregate_of_the_rows_in_the_window(
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
    agree(spine, view, join)


@settings(max_examples=40, deadline=None)
@given(
    view=st.lists(
        st.fixed_dictionaries(
            {
                "k": st.just("a"),
                "known": st.integers(0, 500).map(lambda n: NOON + n * MICROSECOND),
                "n": st.integers(-50, 50),
                "x": st.integers(-5000, 5000).map(float),
            }
        ),
        min_size=30,
        max_size=80,
    ),
    at=st.lists(st.integers(0, 520), min_size=1, max_size=6),
)
def test_long_windows_and_whole_floats(view: list[dict[str, Any]], at: list[int]) -> None:
    spine = [{"k": "a", "j": 1, "at": NOON + n * MICROSECOND} for n in at]
    empty = {"j": 1, "event": None, "seq": None, "s": None, "b": None}
    filled = [{**empty, **row} for row in view]
    ops = "sum mean count min max last distinct std"
    join = WindowJoin(
        keys=("k",),
        time="at",
        known_at="known",
        windows={**every("n", "200us", ops), **every("x", "90us", ops), **every("x", "7us", ops)},
    )
    agree(spine, filled, join)


def asked(**windows: Window) -> WindowJoin:
    return WindowJoin(keys=("k",), time="at", known_at="known", windows=windows, event_time="event")


def row(known: datetime | None, n: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "k": "a",
        "j": 1,
        "event": None,
        "known": known,
        "seq": None,
        "n": n,
        "x": 1.5,
        "s": "u",
        "b": True,
        **more,
    }


def test_the_window_is_open_at_its_beginning_and_closed_at_its_end() -> None:
    hour = timedelta(hours=1)
    view = [
        row(NOON - hour, 1),
        row(NOON - hour + MICROSECOND, 10),
        row(NOON, 100),
        row(NOON + MICROSECOND, 1000),
    ]
    found = join_windows(
        table([{"k": "a", "at": NOON}], SPINE), table(view, VIEW), asked(total=col("n").sum("1h"))
    )
    assert found["total"].to_pylist() == [110]


def test_an_entity_without_rows_and_a_null_instant() -> None:
    spine = table([{"k": "z", "at": NOON}, {"k": None, "at": NOON}, {"k": "a", "at": None}], SPINE)
    join = asked(
        total=col("n").sum("1h"), n=col("n").count("1h"), d=col("n").distinct("1h"), m=col("n").mean("1h")
    )
    found = join_windows(spine, table([row(NOON)], VIEW), join)
    assert found["total"].to_pylist() == [0, 0, None]
    assert found["n"].to_pylist() == [0, 0, None]
    assert found["d"].to_pylist() == [0, 0, None]
    assert found["m"].to_pylist() == [None, None, None]


def test_sums_of_integers_are_exact_beyond_floats() -> None:
    view = [row(NOON, 2**62), row(NOON, 1), row(NOON - timedelta(hours=2), 2**61)]
    found = join_windows(
        table([{"k": "a", "at": NOON}], SPINE), table(view, VIEW), asked(total=col("n").sum("1h"))
    )
    assert found["total"].to_pylist() == [2**62 + 1]


def test_what_cannot_be_summed_is_refused() -> None:
    spine, view = table([{"k": "a", "at": NOON}], SPINE), table([row(NOON, 2**62), row(NOON, 2**62)], VIEW)
    with pytest.raises(Invalid, match="64 bits"):
        join_windows(spine, view, asked(total=col("n").sum("1h")))
    with pytest.raises(Invalid, match="numbers"):
        join_windows(spine, view, asked(total=col("s").mean("1h")))
    with pytest.raises(Invalid, match="'nope'"):
        join_windows(spine, view, asked(total=col("nope").sum("1h")))
    with pytest.raises(Invalid, match="'k'"):
        join_windows(spine, view, asked(k=col("n").sum("1h")))
    with pytest.raises(Invalid, match="empty"):
        join_windows(spine, view, asked(total=Window(op="sum", expr=col("n"), over="0")))
