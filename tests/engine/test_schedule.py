"""Schedules by the platform's clock: one firing a tick, missed ticks folded into the newest."""

import time
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from msgspec.structs import replace

from loopwright.core.errors import Invalid
from loopwright.core.instants import format_instant
from loopwright.core.nouns import Job, JobState
from loopwright.engine.context import Context
from loopwright.engine.schedule import Schedule, fire_due, next_tick, put_schedule
from loopwright.ports.ledger import PageRequest
from loopwright.testing.builders import SetClock, memory_context


def _jobs(ctx: Context) -> list[Job]:
    with ctx.read() as tx:
        return list(tx.jobs.page("default", PageRequest(limit=100)).items)


def _end(ctx: Context, state: JobState) -> None:
    """The newest job comes to its end."""
    job = _jobs(ctx)[0]
    assert ctx.write(lambda tx: tx.jobs.update(replace(job, state=state), fence=job.fence))


def _at(ctx: Context, when: datetime) -> None:
    clock = ctx.ports.clock
    assert isinstance(clock, SetClock)
    clock.set(when)


def test_one_firing_a_tick_and_missed_ticks_fire_once() -> None:
    ctx = memory_context()
    _at(ctx, datetime(2013, 7, 1, 5, tzinfo=UTC))
    ctx.write(lambda tx: put_schedule(ctx, tx, Schedule(name="d", operation="x.y", every="1d")))
    assert fire_due(ctx) == 0
    _at(ctx, datetime(2013, 7, 2, tzinfo=UTC))
    assert fire_due(ctx) == 1
    assert fire_due(ctx) == 0
    _end(ctx, JobState.DONE)
    _at(ctx, datetime(2013, 7, 6, 3, tzinfo=UTC))
    assert fire_due(ctx) == 1
    ticks = sorted(job.arguments["tick"] for job in _jobs(ctx))
    assert ticks == ["2013-07-02T00:00:00Z", "2013-07-06T00:00:00Z"]


@pytest.mark.parametrize("ended", [JobState.DONE, JobState.FAILED, JobState.CANCELLED])
def test_ticks_wait_for_the_job_of_the_one_before(ended: JobState) -> None:
    """As of a source whose server is away: each reading takes longer than a tick, and they pile up."""
    ctx = memory_context()
    _at(ctx, datetime(2013, 7, 1, 5, tzinfo=UTC))
    ctx.write(lambda tx: put_schedule(ctx, tx, Schedule(name="d", operation="x.y", every="1d")))
    for day in range(2, 6):
        _at(ctx, datetime(2013, 7, day, tzinfo=UTC))
        assert fire_due(ctx) == (day == 2)
    assert len(_jobs(ctx)) == 1
    _end(ctx, ended)
    assert fire_due(ctx) == 1
    assert _jobs(ctx)[0].arguments["tick"] == "2013-07-05T00:00:00Z"
    assert fire_due(ctx) == 0


@pytest.mark.parametrize(
    ("schedule", "after", "tick"),
    [
        ({"every": "6h"}, datetime(2013, 7, 1, 5, tzinfo=UTC), datetime(2013, 7, 1, 6, tzinfo=UTC)),
        ({"every": "6h"}, datetime(2013, 7, 1, 6, tzinfo=UTC), datetime(2013, 7, 1, 12, tzinfo=UTC)),
        ({"cron": "0 3 * * *"}, datetime(2013, 7, 1, 5, tzinfo=UTC), datetime(2013, 7, 2, 3, tzinfo=UTC)),
        ({"cron": "*/20 * * * 1"}, datetime(2013, 7, 2, 0, tzinfo=UTC), datetime(2013, 7, 8, 0, tzinfo=UTC)),
    ],
)
def test_ticks(schedule: dict[str, str], after: datetime, tick: datetime) -> None:
    assert next_tick(msgspec.convert({"name": "s", "operation": "x", **schedule}, Schedule), after) == tick


@pytest.mark.parametrize(
    "schedule",
    [
        {"every": "7m"},
        {"every": "1d"},
        {"cron": "*/20 * * * 1"},
        {"cron": "0 3 29 2 *"},
        {"cron": "5 0 L * *"},
    ],
)
@pytest.mark.parametrize("missed", [1, 2, 30])
def test_the_newest_of_the_ticks_that_were_missed_fires(schedule: dict[str, str], missed: int) -> None:
    ctx = memory_context()
    started = datetime(2013, 7, 1, 5, tzinfo=UTC)
    _at(ctx, started)
    told = msgspec.convert({"name": "s", "operation": "x.y", **schedule}, Schedule)
    ctx.write(lambda tx: put_schedule(ctx, tx, told))
    tick = started
    for _ in range(missed):
        tick = next_tick(told, tick)
    for late in (timedelta(0), timedelta(seconds=59)):
        _at(ctx, tick + late)
        assert fire_due(ctx) == (not late)
    assert [job.arguments["tick"] for job in _jobs(ctx)] == [format_instant(tick)]


def test_a_long_absence_stops_nobody() -> None:
    """Ticks are found on the writer's thread, for which all others wait."""
    ctx = memory_context()
    _at(ctx, datetime(2013, 7, 1, tzinfo=UTC))
    ctx.write(lambda tx: put_schedule(ctx, tx, Schedule(name="s", operation="x.y", every="1s")))
    _at(ctx, datetime(2013, 8, 1, tzinfo=UTC))
    before = time.process_time()
    assert fire_due(ctx) == 1
    assert time.process_time() - before < 1.0
    assert _jobs(ctx)[0].arguments["tick"] == "2013-08-01T00:00:00Z"


def test_bad_schedules_are_refused() -> None:
    now = datetime(2013, 7, 1, tzinfo=UTC)
    for schedule in ({"cron": "every day"}, {"every": "0"}, {"every": "often"}):
        with pytest.raises(Invalid):
            next_tick(msgspec.convert({"name": "s", "operation": "x", **schedule}, Schedule), now)


def test_a_schedule_that_is_put_again_does_not_fire_for_the_past() -> None:
    ctx = memory_context()
    _at(ctx, datetime(2013, 7, 1, tzinfo=UTC))
    schedule = Schedule(name="d", operation="x.y", every="1d")
    for _ in range(2):
        ctx.write(lambda tx: put_schedule(ctx, tx, schedule))
        clock = ctx.ports.clock
        assert isinstance(clock, SetClock)
        clock.advance(timedelta(hours=5))
    assert fire_due(ctx) == 0
