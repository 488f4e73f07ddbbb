"""Schedules: a durable tick loop by the platform clock; one firing per tick, however many run it."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

import msgspec

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.instants import duration, format_instant, parse_instant
from loopwright.core.nouns import JobState, Json
from loopwright.engine.context import Context
from loopwright.engine.jobs import enqueue_in
from loopwright.ports.ledger import Transaction

__all__ = ["Schedule", "fire_due", "next_tick", "put_schedule", "remove_schedule"]

_COLLECTION = "schedules"


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """When an operation's job is enqueued: `every` a duration (aligned to 1970) or a cron line in UTC.

    Ticks that were missed are not made up for one by one: the newest of them fires once. So it is while the
    job of the tick before waits or runs: work that takes longer than a tick, or fails again and again, does
    not pile up.
    """

    name: str
    operation: str
    arguments: Json = {}
    every: str = ""
    cron: str = ""


def next_tick(schedule: Schedule, after: datetime) -> datetime:
    """The first tick later than `after`."""
    if schedule.every:
        step = duration(schedule.every)
        if step <= timedelta(0):
            raise Invalid(f"schedule {schedule.name!r} has no length", hint="write every='1d'")
        origin = parse_instant("1970-01-01")
        return origin + ((after - origin) // step + 1) * step
    import cronsim

    try:
        return next(cronsim.CronSim(schedule.cron, after))
    except cronsim.CronSimError as error:
        message = f"schedule {schedule.name!r}: {schedule.cron!r} is no cron line"
        raise Invalid(message, hint="write minute hour day month weekday, such as 0 3 * * *") from error


def _tick_before(schedule: Schedule, tick: datetime) -> datetime:
    """The tick before one, at once: millions may have been missed."""
    if schedule.every:
        return tick - duration(schedule.every)
    import cronsim

    return next(cronsim.CronSim(schedule.cron, tick, reverse=True))


def put_schedule(ctx: Context, tx: Transaction, schedule: Schedule) -> None:
    """Make or replace a schedule; its first tick is the first one later than now."""
    due = next_tick(schedule, ctx.now())
    body: Json = {"schedule": msgspec.to_builtins(schedule), "due": format_instant(due)}
    tx.documents.put(ctx.space, _COLLECTION, schedule.name, body)
    ctx.record(tx, "setting.changed", f"schedule:{schedule.name}", {"operation": schedule.operation})


def remove_schedule(ctx: Context, tx: Transaction, name: str) -> None:
    """End a schedule; nothing happens when there is none of that name."""
    if tx.documents.get(ctx.space, _COLLECTION, name) is not None:
        tx.documents.remove(ctx.space, _COLLECTION, name)
        ctx.record(tx, "setting.changed", f"schedule:{name}", {"removed": True})


def fire_due(ctx: Context) -> int:
    """Enqueue the job of every schedule whose tick has come; how many."""
    with ctx.read() as tx:
        known = tx.documents.all(ctx.space, _COLLECTION)
        now = ctx.now()
        due = [name for name, body in known.items() if _is_due(body, now) and not _is_busy(tx, body)]
    return sum(ctx.write(partial(_fire, ctx, name)) for name in due)


def _is_due(body: Json, now: datetime) -> bool:
    return parse_instant(body["due"]) <= now


def _is_busy(tx: Transaction, body: Json) -> bool:
    """Whether the job of the tick before is not at its end yet."""
    try:
        return "job" in body and tx.jobs.get(body["job"]).state in {JobState.QUEUED, JobState.RUNNING}
    except NotFound:
        return False


def _fire(ctx: Context, name: str, tx: Transaction) -> int:
    body = tx.documents.get(ctx.space, _COLLECTION, name)
    if body is None or not _is_due(body, ctx.now()) or _is_busy(tx, body):
        return 0
    schedule = msgspec.convert(body["schedule"], Schedule)
    following = next_tick(schedule, ctx.now())
    tick = _tick_before(schedule, following)
    job = enqueue_in(
        ctx,
        tx,
        schedule.operation,
        {**schedule.arguments, "tick": format_instant(tick)},
        key=f"schedule/{name}/{format_instant(tick)}",
    )
    tx.documents.put(ctx.space, _COLLECTION, name, {**body, "due": format_instant(following), "job": job.id})
    return 1
