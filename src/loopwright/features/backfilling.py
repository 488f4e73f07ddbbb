"""Backfills: a past period of a view is computed window by window, and goes on where it was cut off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from loopwright.core.addresses import Address, AssetName, check_name, parse_address, version_address
from loopwright.core.errors import Invalid
from loopwright.core.instants import duration, format_duration, format_instant, to_micros
from loopwright.core.nouns import Job, Json, Version
from loopwright.data.nouns import DATASET
from loopwright.data.reading import permitted
from loopwright.engine.context import Context
from loopwright.engine.jobs import enqueue
from loopwright.engine.operation import on_job, operation
from loopwright.engine.publishing import resolve
from loopwright.features.feeding import LiveView, live_view
from loopwright.features.formulas import check_computable
from loopwright.features.materializing import fill_below, known_in, materialize_view
from loopwright.features.nouns import VIEW, Backfill, Purpose
from loopwright.features.offline import view_of
from loopwright.features.retelling import Retelling
from loopwright.features.rules import columns_read

_Window: TypeAlias = tuple[datetime | None, datetime]
"""after, until; the first one has no beginning"""

__all__ = ["backfill", "backfill_view", "backfills_of", "run_backfill"]

_JOB = "features.backfill"
_PERIODS = "features.backfills"
"""documents that say how far each period of a version of a view was computed"""
_WINDOWS = 100_000
_ROWS_AT_ONCE = 500_000
"""rows of short windows that are computed, and made durable, together"""
_THINNED = 10
"""where the newest rows alone count, few of those that are read are handed on"""
_SHOWN = 20


@operation(_JOB, scope="feature:write", route="POST /features/views/{name}/backfill")
def backfill(
    ctx: Context,
    name: AssetName,
    start: datetime,
    end: datetime,
    *,
    every: str = "1d",
    version: str = "",
    into: str = "",
    again: bool = False,
    purpose: Purpose = "",
) -> Job:
    """Compute a past period of a view, a window at a time, as a job.

    It fills the online store: what is newer there stays. With `into` its values for each entity at the end of
    each window become rows of that dataset. What was cut off goes on after the last window that is durable
    (short ones are made durable together); a later `end` takes only what is new; `again` begins anew. Columns
    are read for the purpose.
    """
    view, found = view_of(ctx, version_address(VIEW, name, version))
    if into and check_name(into) == view.source:
        raise Invalid(f"{into!r} is what the view is made of", hint="name another dataset")
    _check(start, end, duration(every), ctx.now())
    check_computable(ctx.ports.functions, view.derived.values())
    source = resolve(ctx, Address(kind=DATASET, name=view.source))
    permitted(ctx, source, columns_read(view), purpose=purpose)
    asked = Backfill(
        view=str(found.ref),
        start=start,
        end=end,
        every=format_duration(duration(every)),
        into=into,
        purpose=purpose,
        begun_at=ctx.now(),
        updated_at=ctx.now(),
    )
    return enqueue(ctx, _JOB, {**msgspec.to_builtins(asked), "again": again})


def _check(start: datetime, end: datetime, every: timedelta, now: datetime) -> None:
    if to_micros(start) >= to_micros(end):
        raise Invalid("the period ends before it begins", hint="give start before end")
    if end > now:
        raise Invalid(
            f"the period ends at {format_instant(end)}, which is still to come",
            hint="end it now at the latest; what comes then is materialized",
        )
    if every <= timedelta(0):
        raise Invalid("the windows have no length", hint="give every such as 1d")
    if (end - start) / every > _WINDOWS:
        raise Invalid(f"the period has more than {_WINDOWS:,} windows", hint="make them longer")


@on_job(_JOB)
def run_backfill(ctx: Context, job: Job) -> Json:
    """Carry it out for who asked; the next attempt goes on after the last window that is durable."""
    ctx = ctx.acting_as(replace(ctx.principal, name=job.created_by))
    given = {key: value for key, value in job.arguments.items() if key != "again"}
    asked = msgspec.convert(given, Backfill)
    is_first = job.attempt <= 1
    done: Json = msgspec.to_builtins(
        backfill_view(ctx, asked, again=bool(job.arguments.get("again")) and is_first)
    )
    return done


def backfill_view(ctx: Context, asked: Backfill, *, again: bool = False) -> Backfill:
    """Compute what is left of a period; windows are durable before those that follow begin.

    Short ones are computed together, so that the source is not read once for each of them.
    """
    with ctx.read() as tx:
        kept = None if again else tx.documents.get(ctx.space, _PERIODS, _key(asked))
    period = replace(asked, **_progress(kept))
    left = list(_windows(period))
    if not left:
        return period
    for until, rows in _told(ctx, asked, left) if asked.into else _filled(ctx, asked, left):
        period = replace(period, done_until=until, rows=period.rows + rows, updated_at=ctx.now())
        _note(ctx, period)
    return period


def _progress(kept: Json | None) -> Json:
    if kept is None:
        return {}
    before = msgspec.convert(kept, Backfill)
    return {
        "done_until": before.done_until,
        "rows": before.rows,
        "begun_at": before.begun_at,
        "updated_at": before.updated_at,
    }


def _windows(period: Backfill) -> Iterator[_Window]:
    """The instants up to which it is computed, each with the one before; first what is known at its start."""
    every = duration(period.every)
    after, until = None, period.start
    while True:
        if period.done_until is None or until > period.done_until:
            yield after, until
        if until >= period.end:
            return
        after, until = until, min(until + every, period.end)


def _told(ctx: Context, asked: Backfill, left: Sequence[_Window]) -> Iterator[tuple[datetime, int]]:
    """Keep the values at the end of each window: as many windows at a time as make up some rows."""
    retelling = Retelling(ctx, asked, left[-1][1], asked.purpose)
    for some in _together(left, [retelling.entities] * len(left)):
        yield some[-1][1], retelling.keep([until for _, until in some])


def _filled(ctx: Context, asked: Backfill, left: Sequence[_Window]) -> Iterator[tuple[datetime, int]]:
    """Fill the online store: as many windows at a time as have some rows in all."""
    each = live_view(ctx, parse_address(asked.view))
    counts = known_in(ctx, each.view, left[0][0] or left[0][1], [until for _, until in left])
    if not each.view.windows:
        counts = [count // _THINNED for count in counts]
    for some in _together(left, counts):
        until = some[-1][1]
        yield until, _fill(ctx, each, some[0][0], until, asked.purpose)


def _together(windows: Sequence[_Window], counts: Sequence[int]) -> Iterator[list[_Window]]:
    """Windows that follow each other, put together up to a number of rows; one alone may have more."""
    some, rows = list[_Window](), 0
    for window, count in zip(windows, counts, strict=True):
        if some and rows + count > _ROWS_AT_ONCE:
            yield some
            some, rows = [], 0
        some.append(window)
        rows += count
    if some:
        yield some


def _fill(ctx: Context, each: LiveView, after: datetime | None, until: datetime, purpose: str) -> int:
    watermark = ctx.ports.online.watermark(each.store)
    if watermark is None or watermark < to_micros(until):
        return materialize_view(ctx, each, until, purpose).rows
    return fill_below(ctx, each, after, until, watermark, purpose)


def _key(period: Backfill) -> str:
    """Without its end, so that a later one takes only what is new; a dataset's name comes last."""
    return f"{period.view}|{format_instant(period.start)}|{period.every}|{period.into}"


def _note(ctx: Context, period: Backfill) -> None:
    body = msgspec.to_builtins(period)
    ctx.write(lambda tx: tx.documents.put(ctx.space, _PERIODS, _key(period), body))


def backfills_of(ctx: Context, view: Version) -> tuple[Backfill, ...]:
    """The periods of a version of a view that were computed, the newest first."""
    start = f"{view.ref}|"
    with ctx.read() as tx:
        kept = tx.documents.all(ctx.space, _PERIODS, start=start, end=start + "~")
    found = [msgspec.convert(body, Backfill) for body in kept.values()]
    return tuple(sorted(found, key=lambda each: each.updated_at, reverse=True)[:_SHOWN])
