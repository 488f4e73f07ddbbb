"""What is derived of a row, by expressions and by Python functions: against plain Python, on and offline."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from msgspec.structs import replace

from loopwright.adapters.tables import PolarsTables
from loopwright.adapters.tables.engine_duckdb import DuckDBTables
from loopwright.core.errors import Invalid
from loopwright.core.expressions import Scalar, col, lit, when
from loopwright.core.instants import to_micros
from loopwright.core.schema import Column, ColumnType, Schema
from loopwright.data.verbs import append
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of
from loopwright.features.assembly import Assembler
from loopwright.features.nouns import FeatureService, FeatureView, FreeFunction, Lookup, Output
from loopwright.features.training import make_training_set
from loopwright.features.verbs import (
    build,
    define_service,
    define_view,
    materialize,
    matrix,
    push,
    service_of,
    show_service,
    show_view,
)
from loopwright.features.verbs import features as listed
from loopwright.ports.tables import Tables
from tests.features import worlds
from tests.features.worlds import HOUR, START, UTC_TIME

TTL = timedelta(hours=3)


def blown(wind: float | None, sky: str | None) -> float | None:
    """A rule that no expression is meant to say."""
    if wind is None:
        return None
    return wind * (2.0 if sky in {"fog", "new"} else 1.0)


def hour(observed_at: int) -> int:
    return observed_at // 3_600_000_000 % 24


BLOWN = FreeFunction(name="tests.blown", digest="d1", reads=("wind", "sky"), gives=ColumnType.FLOAT)
CLOCK = FreeFunction(name="tests.hour", digest="d2", reads=("observed_at",), gives=ColumnType.INT)
VIEW = FeatureView(
    name="sky",
    entity=("origin",),
    source="weather",
    event_time="observed_at",
    known_at="known_at",
    ttl="3h",
    latest=("visib",),
    derived={
        "knots": col("wind") * 0.868976,
        "is_foggy": when(col("sky").eq("fog"), 1, 0),
        "is_unknown": col("sky").is_null(),
        "blown": BLOWN,
        "clock": CLOCK,
    },
    windows={"gust": col("wind").max("6h")},
)


def context(*, tables: Tables | None = None) -> Context:
    ctx = worlds.context()
    ctx.ports.functions.add("tests.blown", "d1", blown)
    ctx.ports.functions.add("tests.hour", "d2", hour)
    if tables is not None:
        ctx.ports.__dict__["tables"] = tables
    append(ctx, "weather", worlds.weather(), event_time="observed_at", known_at="known_at")
    return ctx


def newest(origin: str | None, at: datetime) -> dict[str, Any] | None:
    """The row that counts, found by looking at all of them."""
    rows = [
        row
        for row in worlds.weather().to_pylist()
        if row["origin"] == origin and row["known_at"] <= at and at - TTL <= row["observed_at"] <= at
    ]
    return max(rows, key=lambda row: (row["observed_at"], row["known_at"]), default=None)


def expected(row: dict[str, Any] | None) -> dict[str, Any]:
    if row is None:
        return dict.fromkeys(("visib", "knots", "is_foggy", "is_unknown", "blown", "clock"))
    return {
        "visib": row["visib"],
        "knots": None if row["wind"] is None else row["wind"] * 0.868976,
        "is_foggy": 1 if row["sky"] == "fog" else 0,
        "is_unknown": row["sky"] is None,
        "blown": blown(row["wind"], row["sky"]),
        "clock": row["observed_at"].hour,
    }


@pytest.mark.parametrize("engine", [PolarsTables, pytest.param(DuckDBTables, marks=pytest.mark.slow)])
def test_a_training_set_has_what_plain_python_says_of_each_newest_row(engine: type[Tables]) -> None:
    ctx = context(tables=engine())
    define_view(ctx, VIEW)
    spine = worlds.questions(120)
    append(ctx, "asked", spine, event_time="asked_at")
    version = make_training_set(ctx, "train", "asked", features=("sky:*",), label="label")
    table = ctx.ports.tables.read(
        [ctx.ports.objects.open(entry.digest) for entry in manifest_of(ctx, version).entries]
    )
    found = [
        {name.removeprefix("sky."): value for name, value in row.items() if name.startswith("sky.")}
        for row in table.to_pylist()
    ]
    told = [
        expected(newest(row["origin"], row["asked_at"])) | {"gust": each["gust"]}
        for row, each in zip(spine.to_pylist(), found, strict=True)
    ]
    assert found == told
    assert sum(row["blown"] is not None for row in found) > 20
    assert table.select(spine.column_names).to_pylist() == spine.to_pylist()


def service(*outputs: Output) -> FeatureService:
    given = Column(name="distance", type=ColumnType.INT), Column(name="origin", type=ColumnType.STRING)
    names = [name for name in VIEW.features if name != "is_unknown"]
    return FeatureService(
        name="s",
        request=Schema(columns=given),
        lookups=(Lookup(view="sky"),),
        outputs=(*(Output(name=name, expr=col(f"sky.{name}")) for name in names), *outputs),
    )


def both(ctx: Context, at: datetime) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The vectors online and offline."""
    rows: list[dict[str, Scalar]] = [{"origin": origin, "distance": 7} for origin in (*worlds.ORIGINS, "SFO")]
    spine = pa.Table.from_pylist(rows).append_column("at", pa.array([at] * len(rows), UTC_TIME))
    settled = service_of(ctx, "s")
    offline = matrix(settled, build(ctx, settled, spine, "at"))
    return Assembler(ctx.ports.online, settled, ctx.ports.functions).vectors(rows, to_micros(at)), offline


def test_a_lookup_answers_with_what_was_computed_when_rows_came_in() -> None:
    ctx = context()
    define_view(ctx, VIEW)
    define_service(ctx, service())
    for hours in (9, 20):
        materialize(ctx, "sky", until=START + hours * HOUR)
        online, offline = both(ctx, START + hours * HOUR)
        assert online.tobytes() == offline.tobytes()
        assert np.isfinite(online[:3]).all(axis=0).any()


def far(distance: int | None, gust: float | None) -> float | None:
    return None if distance is None or gust is None else distance / (1 + gust)


FAR = FreeFunction(name="tests.far", digest="d3", reads=("distance", "sky.gust"), gives=ColumnType.FLOAT)


def test_a_function_of_a_request_is_the_same_in_training_and_serving() -> None:
    ctx = context()
    ctx.ports.functions.add("tests.far", "d3", far)
    define_view(ctx, VIEW)
    define_service(ctx, service(Output(name="far", expr=FAR)))
    materialize(ctx, "sky", until=START + 20 * HOUR)
    online, offline = both(ctx, START + 20 * HOUR)
    assert online.tobytes() == offline.tobytes()
    gust = online[0, -2]
    assert online[0, -1] == far(7, gust)
    assert show_service(ctx, "s").not_portable == ("far",)


def test_a_process_without_the_function_publishes_but_does_not_compute() -> None:
    ctx = worlds.context()
    append(ctx, "weather", worlds.weather(), event_time="observed_at", known_at="known_at")
    append(ctx, "asked", worlds.questions(5), event_time="asked_at")
    define_view(ctx, VIEW)
    define_service(ctx, service(Output(name="far", expr=FAR)))
    assert show_view(ctx, "sky").not_portable == ("blown", "clock")
    assert [item.portable for item in listed(ctx).items] == [False]
    for refused in (
        lambda: make_training_set(ctx, "t", "asked", features=("sky:blown",)),
        lambda: materialize(ctx, "sky", until=START + 9 * HOUR),
        lambda: push(ctx, "sky", worlds.weather()),
        lambda: Assembler(ctx.ports.online, service_of(ctx, "s"), ctx.ports.functions),
    ):
        with pytest.raises(Invalid, match="is not portable, and this process was not given it") as caught:
            refused()
        assert caught.value.hint
    make_training_set(ctx, "t", "asked", features=("sky:knots", "sky:visib"))


@pytest.mark.parametrize(
    ("digest", "function", "said"),
    [
        ("other", blown, "another source"),
        ("d1", lambda wind, sky: "much", "gave str, not float"),
        ("d1", lambda wind, sky: True, "gave bool, not float"),
        ("d1", lambda wind, sky: wind / 0, "failed: (ZeroDivisionError|TypeError)"),
    ],
)
def test_a_function_that_is_not_what_it_was_is_refused(digest: str, function: Any, said: str) -> None:
    ctx = context()
    ctx.ports.functions.add("tests.blown", digest, function)
    define_view(ctx, VIEW)
    with pytest.raises(Invalid, match=said) as caught:
        materialize(ctx, "sky", until=START + 9 * HOUR)
    assert "tests.blown" in str(caught.value)


@pytest.mark.parametrize(
    ("derived", "said"),
    [
        ({"wind": col("wind") * 2}, "the name of a column"),
        ({"visib": col("wind") * 2}, "twice"),
        ({"one": lit(1)}, "made of no column"),
        ({"n": col("nope") + 1}, "'nope'"),
        ({"n": col("sky") + col("wind")}, r"\+"),
        ({"n": replace(BLOWN, reads=("nope",))}, "'nope'"),
    ],
)
def test_a_derivation_that_means_nothing_is_refused(derived: dict[str, Any], said: str) -> None:
    ctx = context()
    with pytest.raises(Invalid, match=said):
        define_view(ctx, replace(VIEW, derived=derived))


def test_a_view_without_derivations_is_the_version_it_always_was() -> None:
    ctx = context()
    version = define_view(ctx, replace(VIEW, derived={}))
    assert "derived" not in manifest_of(ctx, version).body
