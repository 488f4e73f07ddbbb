"""Backfills: window by window the same as at once, gone on with after a cut, never over what is newer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from msgspec.structs import replace

from loopwright.core.errors import Invalid, LoopwrightError, Unavailable
from loopwright.core.expressions import col
from loopwright.core.instants import to_micros
from loopwright.core.nouns import JobState
from loopwright.data.verbs import append, read
from loopwright.engine.context import Context
from loopwright.engine.jobs import Worker
from loopwright.engine.operation import handlers_in
from loopwright.engine.publishing import resolve
from loopwright.features import backfilling, feeding
from loopwright.features.backfilling import backfill, backfill_view, backfills_of
from loopwright.features.nouns import Backfill, FeatureView
from loopwright.features.offline import picked_features
from loopwright.features.picking import picked
from loopwright.features.verbs import define_view, materialize, push, show_view
from loopwright.ports.online import Online, OnlineRow
from tests.features import worlds
from tests.features.test_derived import VIEW, blown, hour
from tests.features.worlds import HOUR, START, UTC_TIME

END = START + 30 * HOUR
NAMES = ("route", "plane", "sky")


class Cut:
    """An online store that breaks off at the flush of a window, before it is durable."""

    def __init__(self, online: Online, after: int) -> None:
        self._online = online
        self.left = after
        self.pushed: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._online, name)

    def push(self, view: str, rows: Sequence[OnlineRow]) -> int:
        new = self._online.push(view, rows)
        self.pushed.append(len(rows))
        return new

    def flush(self, watermark_us: int, views: Sequence[str] | None = None) -> None:
        self.left -= 1
        if self.left < 0:
            raise Unavailable("cut off", hint="again")
        self._online.flush(watermark_us, views)


def asked(
    view: str, *, end: datetime = END, every: str = "6h", into: str = "", start: datetime = START
) -> Backfill:
    return Backfill(
        view=f"feature_view:{view}",
        start=start,
        end=end,
        every=every,
        into=into,
        begun_at=start,
        updated_at=start,
    )


def world() -> Context:
    ctx = worlds.context()
    worlds.published(ctx)
    ctx.ports.functions.add("tests.blown", "d1", blown)
    ctx.ports.functions.add("tests.hour", "d2", hour)
    define_view(ctx, VIEW)
    return ctx


@pytest.fixture(autouse=True)
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """These worlds are small: all windows of a period would be computed together."""
    monkeypatch.setattr(backfilling, "_ROWS_AT_ONCE", -1)


@pytest.fixture(scope="module")
def later() -> Context:
    """After the period, in a world that no test changes."""
    ctx = world()
    ctx.ports.clock.set(END + 50 * HOUR)  # type: ignore[attr-defined]  # the fakes' clock
    return ctx


def entities(view: FeatureView) -> list[tuple[Any, ...]]:
    found = {tuple(row[name] for name in view.entity) for row in worlds.questions(200).to_pylist()}
    return sorted((key for key in found if None not in key), key=str)


def told(ctx: Context, name: str, at: datetime) -> list[Any]:
    """What the online store says of every entity."""
    each = feeding.live_view(ctx, f"feature_view:{name}")
    rows = ctx.ports.online.read(each.store, entities(each.view), to_micros(at))
    return [[row[feature] for feature in each.view.features] for row in rows]


def replayed(ctx: Context, name: str, at: datetime) -> list[Any]:
    """What the offline join says of every entity."""
    chosen, columns = picked(ctx, [f"{name}:*"])
    view = chosen[0].view
    keys = [dict(zip(view.entity, key, strict=True)) for key in entities(view)]
    spine = pa.Table.from_pylist(keys).append_column("at", pa.array([at] * len(keys), UTC_TIME))
    dataset = resolve(ctx, f"dataset:{view.source}")
    found = picked_features(ctx, chosen, [dataset], spine, "at")
    return [list(row) for row in zip(*(found[column].to_pylist() for column in columns), strict=True)]


@pytest.mark.parametrize("every", ["7h", pytest.param("30h", marks=pytest.mark.slow)])
def test_window_by_window_is_the_same_as_at_once(every: str) -> None:
    ctx = world()
    for name in NAMES:
        done = backfill_view(ctx, asked(f"{name}@1", start=START + 4 * HOUR, every=every))
        assert done.is_done
        assert done.rows > 0
        assert told(ctx, name, END) == replayed(ctx, name, END)
        assert materialize(ctx, name, until=END).rows == 0
    once = world()
    for name in NAMES:
        materialize(once, name, until=END)
        assert told(once, name, END) == told(ctx, name, END)


@pytest.mark.parametrize(
    "after", [pytest.param(0, marks=pytest.mark.slow), 1, pytest.param(4, marks=pytest.mark.slow)]
)
def test_what_is_cut_off_goes_on_after_the_last_durable_window(after: int) -> None:
    ctx = world()
    real = ctx.ports.online
    cut = Cut(real, after)
    ctx.ports.__dict__["_online"] = cut
    with pytest.raises(Unavailable):
        backfill_view(ctx, asked("route@1"))
    version = resolve(ctx, "feature_view:route")
    noted = backfills_of(ctx, version)
    assert [period.done_until for period in noted] == ([START + 6 * (after - 1) * HOUR] if after else [])
    again = Cut(real, 100)
    ctx.ports.__dict__["_online"] = again
    done = backfill_view(ctx, asked("route@1"))
    assert len(again.pushed) == 6 - after
    assert done.is_done
    assert told(ctx, "route", END) == replayed(ctx, "route", END)
    assert backfill_view(ctx, asked("route@1")) == done
    assert len(again.pushed) == 6 - after


def test_a_store_that_has_newer_events_keeps_them() -> None:
    """Rows came in live from the thirtieth hour on; then the history before is filled in."""
    ctx = world()
    for name, table in (("plane", worlds.departures(300)), ("origin_weather", worlds.weather())):
        each = feeding.live_view(ctx, f"feature_view:{name}")
        times = [
            known or event
            for known, event in zip(
                table["known_at"].to_pylist(), table[each.view.event_time].to_pylist(), strict=True
            )
        ]
        live = table.filter(pa.array([END < at <= END + 3 * HOUR for at in times]))
        push(ctx, name, live)
        now = END + 3 * HOUR
        ctx.ports.online.flush(to_micros(now), [each.store])
        before = told(ctx, name, now)
        done = backfill_view(ctx, asked(f"{name}@1"))
        assert ctx.ports.online.watermark(each.store) == to_micros(now)
        assert done.rows > 0
        after = told(ctx, name, now)
        assert after == replayed(ctx, name, now)
        assert name == "origin_weather" or after != before
        assert materialize(ctx, name, until=now).rows == 0


def test_a_later_end_takes_only_what_is_new_and_again_begins_anew() -> None:
    ctx = world()
    store = Cut(ctx.ports.online, 100)
    ctx.ports.__dict__["_online"] = store
    backfill_view(ctx, asked("route@1", end=START + 12 * HOUR))
    assert len(store.pushed) == 3
    longer = backfill_view(ctx, asked("route@1"))
    assert len(store.pushed) == 6
    anew = backfill_view(ctx, asked("route@1"), again=True)
    assert len(store.pushed) == 12
    assert anew.rows == 0 < longer.rows
    assert told(ctx, "route", END) == replayed(ctx, "route", END)


@pytest.mark.parametrize("most", [60, pytest.param(100_000, marks=pytest.mark.slow)])
def test_short_windows_are_computed_together(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """As many as have some rows; a part of a period first, which the next one goes on from."""
    monkeypatch.setattr(backfilling, "_ROWS_AT_ONCE", most)
    ctx = world()
    store = Cut(ctx.ports.online, 100)
    ctx.ports.__dict__["_online"] = store
    for name in ("route", "sky"):
        for end in (START + 15 * HOUR, END):
            done = backfill_view(ctx, asked(f"{name}@1", end=end, every="30m"))
            assert done.done_until == end
        assert told(ctx, name, END) == replayed(ctx, name, END)
    assert 4 <= len(store.pushed) < (20 if most == 60 else 5)
    first = kept_of(ctx, "together")
    monkeypatch.setattr(backfilling, "_ROWS_AT_ONCE", -1)
    assert kept_of(ctx, "alone") == first
    assert len(first) > 30
    versions = {name: resolve(ctx, f"dataset:{name}").number for name in ("together", "alone")}
    assert versions["together"] < versions["alone"]


def kept_of(ctx: Context, into: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    backfill_view(ctx, asked("sky@1", into=into, every="2h"))
    return kept(ctx, into)


def kept(ctx: Context, dataset: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    rows = read(ctx, f"dataset:{dataset}").to_pylist()
    found = {(row.pop("origin"), row.pop("at")): row for row in rows}
    assert len(found) == len(rows)
    return found


def test_values_at_past_instants_are_those_of_the_join_for_who_was_known() -> None:
    ctx = world()
    backfill_view(ctx, asked("sky@1", into="sky_daily"))
    found = kept(ctx, "sky_daily")
    rows = worlds.weather().to_pylist()
    instants = [START + 6 * step * HOUR for step in range(6)]
    expected: dict[tuple[Any, ...], dict[str, Any]] = {}
    for at in instants:
        values = dict(zip(entities(VIEW), replayed(ctx, "sky", at), strict=True))
        for (origin,), said in values.items():
            known = [row for row in rows if row["origin"] == origin and row["known_at"] <= at]
            newest = [row for row in known if at - timedelta(hours=3) <= row["observed_at"] <= at]
            if newest or any(row["known_at"] > at - timedelta(hours=6) for row in known):
                expected[origin, at] = dict(zip(_columns(ctx), said, strict=True))
    assert found == expected
    assert 6 < len(found) < 18
    assert read(ctx, "dataset:sky_daily").column_names[:2] == ["origin", "at"]


def _columns(ctx: Context) -> list[str]:
    return [column.removeprefix("sky.") for column in picked(ctx, ["sky:*"])[1]]


@pytest.mark.slow
def test_kept_values_come_once_and_those_of_a_new_definition_take_their_place() -> None:
    ctx = world()
    backfill_view(ctx, asked("sky@1", into="d"))
    first = resolve(ctx, "dataset:d")
    assert backfill_view(ctx, asked("sky@1", into="d"), again=True).rows == 0
    assert resolve(ctx, "dataset:d") == first
    before = kept(ctx, "d")
    define_view(ctx, replace(VIEW, derived={**VIEW.derived, "knots": col("wind") * 2}))
    backfill_view(ctx, asked("sky@2", into="d", end=START + 18 * HOUR))
    after = kept(ctx, "d")
    assert before.keys() == after.keys()
    changed = {key for key in after if after[key] != before[key]}
    assert changed
    assert all(at <= START + 18 * HOUR for _, at in changed)
    assert kept(ctx, f"d@{first.number}") == before


def test_a_job_is_taken_up_where_the_worker_before_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lease ends, another worker claims it: only the windows that were left are computed."""
    ctx = world()
    ctx.ports.clock.set(END + HOUR)  # type: ignore[attr-defined]  # the fakes' clock
    queued = backfill(ctx, "route", START, END, every="6h")
    assert queued.state is JobState.QUEUED
    worker = Worker(ctx, handlers_in([backfilling]), name="w", context_for=lambda job: ctx)
    ctx.ports.__dict__["_online"] = Cut(real := ctx.ports.online, 2)
    assert worker.step()
    with ctx.read() as tx:
        assert tx.jobs.get(queued.id).state is JobState.QUEUED
    second = Cut(real, 100)
    ctx.ports.__dict__["_online"] = second
    ctx.ports.clock.advance(timedelta(minutes=1))  # type: ignore[attr-defined]  # the fakes' clock
    assert worker.step()
    with ctx.read() as tx:
        ended = tx.jobs.get(queued.id)
    assert ended.state is JobState.DONE
    assert len(second.pushed) == 4
    assert msgspec.convert(ended.result, Backfill) == show_view(ctx, "route").backfills[0]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"end": START}, "ends before it begins"),
        ({"end": END + 100 * HOUR}, "still to come"),
        ({"every": "0"}, "no length"),
        ({"every": "1s"}, "more than 100,000"),
        ({"every": "often"}, "'often'"),
        ({"into": "weather"}, "made of"),
        ({"into": "a b\n"}, "name"),
        ({"start": datetime(2013, 6, 1)}, "no zone"),  # noqa: DTZ001 - what is refused
        ({"version": "7"}, "sky@7"),
    ],
)
def test_a_period_that_means_nothing_is_refused(later: Context, given: dict[str, Any], said: str) -> None:
    with pytest.raises(LoopwrightError, match=said) as caught:
        backfill(later, "sky", **{"start": START, "end": END, **given})
    assert caught.value.hint


def test_a_process_without_the_functions_refuses_at_once() -> None:
    ctx = worlds.context()
    append(ctx, "weather", worlds.weather(), event_time="observed_at", known_at="known_at")
    define_view(ctx, VIEW)
    with pytest.raises(Invalid, match="not portable"):
        backfill(ctx, "sky", START, END)


def test_a_column_that_the_instants_would_hide_is_refused() -> None:
    ctx = world()
    define_view(ctx, replace(VIEW, derived={"at": col("wind") * 2}))
    with pytest.raises(Invalid, match="'at'"):
        backfill_view(ctx, asked("sky@2", into="d"))
