"""Materialization: incremental, repeatable, late rows, what a crash leaves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from loopwright.adapters.online import SqliteOnline
from loopwright.core.errors import Invalid
from loopwright.core.expressions import col
from loopwright.core.instants import to_micros
from loopwright.data.verbs import append, delete, upsert
from loopwright.engine.context import Context
from loopwright.features.assembly import Assembler
from loopwright.features.nouns import FeatureView
from loopwright.features.verbs import build, define_view, materialize, matrix, push, service_of
from loopwright.testing.builders import memory_context, memory_ports
from tests.features import worlds
from tests.features.worlds import HOUR, START, UTC_TIME

NAMES = [view.name for view in worlds.views()]


def agree(ctx: Context, hours: float) -> None:
    """Every entity's vector at an instant is the offline one."""
    service = service_of(ctx, "delays")
    at = START + hours * HOUR
    rows = worlds.questions(60).to_pylist()
    spine = pa.Table.from_pylist(rows).set_column(4, "asked_at", pa.array([at] * len(rows), UTC_TIME))
    expected = matrix(service, build(ctx, service, spine, "asked_at"))
    found = Assembler(ctx.ports.online, service).vectors(rows, to_micros(at))
    assert np.isfinite(found).any()
    assert found.tobytes() == expected.tobytes()


def test_goes_on_from_where_it_stood() -> None:
    ctx = worlds.context()
    worlds.published(ctx)
    for hours in (5, 17, 17, 30):
        done = {name: materialize(ctx, name, until=START + hours * HOUR) for name in NAMES}
        assert all(each.watermark == START + hours * HOUR for each in done.values())
        agree(ctx, hours)
    assert all(materialize(ctx, name, until=START + 30 * HOUR).rows == 0 for name in NAMES)


def test_an_earlier_instant_takes_nothing_back() -> None:
    ctx = worlds.context()
    worlds.published(ctx)
    materialize(ctx, "origin_departures", until=START + 30 * HOUR)
    again = materialize(ctx, "origin_departures", until=START + 20 * HOUR)
    assert (again.rows, again.watermark) == (0, START + 30 * HOUR)


def test_the_first_time_pushes_only_what_can_still_be_seen() -> None:
    ctx = worlds.context()
    worlds.published(ctx)
    assert 0 < materialize(ctx, "origin_departures", until=START + 48 * HOUR).rows < 220
    agree_for = START + 48 * HOUR
    rows = worlds.departures(300)
    known = [
        known or at
        for known, at in zip(rows["known_at"].to_pylist(), rows["scheduled_at"].to_pylist(), strict=True)
    ]
    reach = agree_for - timedelta(hours=31)
    assert materialize(ctx, "route", until=agree_for).rows > sum(at > reach for at in known)


def test_rows_that_come_after_the_watermark_passed_them_are_taken_in() -> None:
    ctx = worlds.context()
    worlds.published(ctx, flights=20)
    for name in NAMES:
        materialize(ctx, name, until=START + 40 * HOUR)
    late = worlds.departures(300, seed=9).set_column(
        0, "flight_id", pa.array(np.arange(1000, 1300, dtype=np.int64))
    )
    append(ctx, "departures", late, batch="late")
    for name in NAMES:
        materialize(ctx, name, until=START + 40 * HOUR)
    agree(ctx, 40)


def test_what_was_not_flushed_is_pushed_again(tmp_path: Path) -> None:
    path = tmp_path / "online.db"
    ports = memory_ports(online=SqliteOnline(path))
    ctx = memory_context(ports)
    worlds.published(ctx)
    for name in NAMES:
        materialize(ctx, name, until=START + 10 * HOUR)
    push(ctx, "origin_departures", worlds.departures(300))
    restarted = memory_context(
        memory_ports(ledger=ports.ledger, objects=ports.objects, online=SqliteOnline(path))
    )
    agree(restarted, 10)
    for name in NAMES:
        materialize(restarted, name, until=START + 31 * HOUR)
    agree(restarted, 31)


def test_a_store_that_was_lost_is_filled_again(tmp_path: Path) -> None:
    ports = memory_ports(online=SqliteOnline(tmp_path / "first.db"))
    ctx = memory_context(ports)
    worlds.published(ctx)
    for name in NAMES:
        materialize(ctx, name, until=START + 10 * HOUR)
    empty = SqliteOnline(tmp_path / "second.db")
    lost = memory_context(memory_ports(ledger=ports.ledger, objects=ports.objects, online=empty))
    for name in NAMES:
        materialize(lost, name, until=START + 20 * HOUR)
    agree(lost, 20)


def test_rows_without_the_views_columns_are_refused() -> None:
    ctx = worlds.context()
    worlds.published(ctx, flights=5)
    with pytest.raises(Invalid, match="scheduled_at"):
        push(ctx, "origin_departures", worlds.departures(5).drop_columns(["scheduled_at"]))


def test_rows_that_nothing_tells_apart_count_as_often_as_they_are_there() -> None:
    ctx = worlds.context()
    twice = pa.table(
        {
            "carrier": ["AA", "AA"],
            "at": pa.array([START, START], UTC_TIME),
            "delay": [5, 5],
        }
    )
    append(ctx, "rows", twice, event_time="at")
    from_rows = FeatureView(
        name="v",
        entity=("carrier",),
        source="rows",
        event_time="at",
        windows={"n": col("delay").count("1h")},
    )
    define_view(ctx, from_rows)
    assert push(ctx, "v", twice) == 2
    assert push(ctx, "v", twice) == 0
    assert ctx.ports.online.read("v@1", [("AA",)], to_micros(START))[0]["n"] == 2


@pytest.mark.parametrize("how", ["upsert", "delete"])
def test_rows_known_late_are_found_where_others_changed_or_went(how: str) -> None:
    """Their place is not where the rows of the last time ended: an upsert adds none, a delete takes some."""
    ctx, late = worlds.context(), datetime(2024, 1, 2, tzinfo=UTC)
    rows = pa.table(
        {
            "who": ["a", "b", "c"],
            "at": pa.array([late - timedelta(days=1)] * 3, pa.timestamp("us", "UTC")),
            "fare": [1.0, 2.0, 3.0],
        }
    )
    append(ctx, "trips", rows, event_time="at", keys=("who",))
    view = FeatureView(name="last", entity=("who",), source="trips", event_time="at", latest=("fare",))
    define_view(ctx, view)
    materialize(ctx, "last", until=late + timedelta(hours=1))
    told = rows.slice(0, 1).set_column(2, "fare", pa.array([9.0]))
    told = told.set_column(1, "at", pa.array([late], pa.timestamp("us", "UTC")))
    if how == "delete":
        delete(ctx, "trips", where=col("who").is_in(["b", "c"]))
        append(ctx, "trips", told.set_column(0, "who", pa.array(["d"])))
    else:
        upsert(ctx, "trips", told)
    materialize(ctx, "last", until=late + timedelta(hours=2))
    (found,) = ctx.ports.online.read(
        "last@1", [("a" if how == "upsert" else "d",)], to_micros(late + timedelta(hours=2))
    )
    assert found == {"fare": 9.0}
