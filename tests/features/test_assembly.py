"""Vectors: online and offline are the same numbers at the same instants, those of the definition."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.errors import Invalid
from loopwright.core.expressions import col
from loopwright.core.instants import to_micros
from loopwright.core.schema import Column, ColumnType, Schema
from loopwright.data.verbs import append
from loopwright.features.assembly import Assembler
from loopwright.features.feeding import Feed
from loopwright.features.nouns import FeatureService, FeatureView, Lookup, Output
from loopwright.features.verbs import (
    build,
    define_service,
    define_view,
    materialize,
    matrix,
    service_of,
)
from tests.features import worlds
from tests.features.worlds import HOUR, START, UTC_TIME


def online(assembler: Assembler, spine: pa.Table) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The vectors asked one instant after the other, as a server would be."""
    rows = spine.to_pylist()
    found = np.empty((len(rows), 0))
    for place in sorted(range(len(rows)), key=lambda i: rows[i]["asked_at"]):
        vector = assembler.vectors([rows[place]], to_micros(rows[place]["asked_at"]))
        if not found.size:
            found = np.empty((len(rows), vector.shape[1]))
        found[place] = vector[0]
    return found


def test_online_vectors_are_the_offline_ones_bit_for_bit() -> None:
    ctx = worlds.context()
    worlds.published(ctx)
    service = service_of(ctx, "delays")
    feed = Feed(ctx)
    feed.load("departures", worlds.departures(300))
    feed.load("weather", worlds.weather())
    feed.advance(to_micros(START + 100 * HOUR))
    spine = worlds.questions(200)
    offline = matrix(service, build(ctx, service, spine, "asked_at"))
    assert offline.shape == (200, len(service.outputs))
    assert np.isfinite(offline).mean() > 0.5
    assert offline.tobytes() == online(Assembler(ctx.ports.online, service), spine).tobytes()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_a_replay_gives_the_offline_vectors(seed: int) -> None:
    """Rows are handed on when they are known, questions between; settled and materialized on the way."""
    ctx = worlds.context()
    worlds.published(ctx, flights=5)
    flights, weather = worlds.departures(120, seed), worlds.weather(seed)
    append(ctx, "departures", flights.slice(5), batch="more")
    service = service_of(ctx, "delays")
    assembler = Assembler(ctx.ports.online, service)
    feed = Feed(ctx, [view.name for view in worlds.views()])
    append(ctx, "weather", weather, batch="more")
    whole_flights = pa.concat_tables([worlds.departures(5), flights.slice(5)])
    whole_weather = pa.concat_tables([worlds.weather(), weather])
    feed.load("departures", whole_flights)
    feed.load("weather", whole_weather)
    spine = worlds.questions(60, seed).sort_by("asked_at")
    found = []
    for number, row in enumerate(spine.to_pylist()):
        at_us = to_micros(row["asked_at"])
        feed.advance(at_us)
        if number % 20 == 19:
            feed.settle(row["asked_at"])
            for view in worlds.views():
                assert materialize(ctx, view.name, until=row["asked_at"]).rows == 0
        found.append(assembler.vectors([row], at_us)[0])
    offline = matrix(service, build(ctx, service, spine, "asked_at"))
    assert offline.tobytes() == np.array(found).tobytes()


def test_the_online_store_never_holds_what_is_not_known_yet() -> None:
    ctx = worlds.context()
    worlds.published(ctx)
    feed = Feed(ctx)
    assert feed.load("departures", worlds.departures(300)) == 900
    assert feed.advance(to_micros(START - HOUR)) == 0
    assert 0 < feed.advance(to_micros(START + 10 * HOUR)) < 900


def test_many_rows_at_once_are_each_row_alone() -> None:
    ctx = worlds.context()
    worlds.published(ctx)
    for view in worlds.views():
        materialize(ctx, view.name, until=START + 40 * HOUR)
    assembler = Assembler(ctx.ports.online, service_of(ctx, "delays"))
    rows, at_us = worlds.questions(50).to_pylist(), to_micros(START + 40 * HOUR)
    together = assembler.vectors(rows, at_us)
    alone = np.concatenate([assembler.vectors([row], at_us) for row in rows])
    assert together.tobytes() == alone.tobytes()
    assert assembler.vectors([], at_us).shape == (0, together.shape[1])


def tiny(**categorical: tuple[str, ...]) -> tuple[Any, FeatureService]:
    """One carrier view with an exactly known history, and a service over it."""
    ctx = worlds.context()
    rows = pa.table(
        {
            "carrier": ["AA", "AA", "B6"],
            "at": pa.array([START, START + HOUR, START], UTC_TIME),
            "known": pa.array([START, START + 3 * HOUR, START], UTC_TIME),
            "delay": [10, 20, None],
            "kind": ["x", None, "y"],
        }
    )
    append(ctx, "rows", rows, event_time="at", known_at="known")
    define_view(
        ctx,
        FeatureView(
            name="v",
            entity=("carrier",),
            source="rows",
            event_time="at",
            known_at="known",
            latest=("delay", "kind"),
            windows={"total": col("delay").sum("3h"), "mean": col("delay").mean("3h")},
        ),
    )
    made = FeatureService(
        name="s",
        request=Schema(columns=(Column(name="airline", type=ColumnType.STRING),)),
        lookups=(Lookup(view="v", keys={"carrier": "airline"}, alias="c"),),
        outputs=(
            Output(name="delay", expr=col("c.delay")),
            Output(name="total", expr=col("c.total")),
            Output(name="mean", expr=col("c.mean")),
            Output(name="kind", expr=col("c.kind")),
            Output(name="airline", expr=col("airline")),
        ),
        categorical={"kind": ("y", "x"), "airline": ("AA", "B6"), **categorical},
    )
    define_service(ctx, made)
    materialize(ctx, "v", until=START + 10 * HOUR - HOUR)
    return ctx, service_of(ctx, "s")


@pytest.mark.parametrize(
    ("airline", "hours", "expected"),
    [
        ("AA", 0, [10, 10, 10, 1, 0]),
        ("AA", -1, [None, 0, None, None, 0]),
        ("AA", 2, [10, 10, 10, 1, 0]),
        ("AA", 3, [20, 20, 20, None, 0]),
        ("AA", 9, [20, 0, None, None, 0]),
        ("B6", 1, [None, 0, None, 0, 1]),
        ("UA", 1, [None, 0, None, None, None]),
        (None, 1, [None, 0, None, None, None]),
    ],
)
def test_the_numbers_are_those_worked_out_by_hand(
    airline: str | None, hours: int, expected: list[float]
) -> None:
    ctx, service = tiny()
    at = START + hours * HOUR
    spine = pa.table({"airline": pa.array([airline], pa.string()), "t": pa.array([at], UTC_TIME)})
    offline = matrix(service, build(ctx, service, spine, "t"))[0].tolist()
    assert [None if math.isnan(value) else value for value in offline] == expected
    if at >= START + 9 * HOUR - HOUR:
        vector = Assembler(ctx.ports.online, service).vectors([{"airline": airline}], to_micros(at))
        assert [None if math.isnan(value) else value for value in vector[0].tolist()] == expected


def test_what_a_request_lacks_or_gets_wrong_is_named() -> None:
    ctx, service = tiny()
    assembler = Assembler(ctx.ports.online, service)
    at_us = to_micros(START + 9 * HOUR)
    with pytest.raises(Invalid, match="row 1 has no 'airline'"):
        assembler.vectors([{"airline": "AA"}, {}], at_us)
    with pytest.raises(Invalid, match="'airline'"):
        assembler.vectors([{"airline": 7}], at_us)
    unpublished = FeatureService(name="s", request=service.request, lookups=(Lookup(view="v"),))
    with pytest.raises(Invalid, match="not settled"):
        Assembler(ctx.ports.online, unpublished)


def test_a_spine_that_lacks_a_request_column_is_refused() -> None:
    ctx, service = tiny()
    with pytest.raises(Invalid, match="'airline'"):
        build(ctx, service, pa.table({"t": pa.array([START], UTC_TIME)}), "t")
    with pytest.raises(Invalid, match="'t'"):
        build(ctx, service, pa.table({"airline": ["AA"]}), "t")
