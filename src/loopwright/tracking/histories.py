"""The points of one metric of a run: page by page, from the beginning, or evenly sampled."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from loopwright.core.errors import NotFound
from loopwright.core.nouns import MetricPoint
from loopwright.engine.context import Context
from loopwright.ports.ledger import Page, PageRequest, Transaction
from loopwright.tracking.lifecycle import found_run

__all__ = ["page", "sample", "sampled", "whole"]

_PAGE = 50_000
_ALL = 1 << 62
_WHOLE = 2


def page(ctx: Context, run_id: str, key: str, request: PageRequest) -> Page[MetricPoint]:
    """Points in order of (time, step, value); `NotFound` when there is no such run."""
    with ctx.read() as tx:
        found_run(ctx, tx, run_id)
        return tx.metrics.history(run_id, key, request)


def whole(ctx: Context, run_id: str, key: str, limit: int) -> tuple[MetricPoint, ...]:
    """The first points in order of (time, step, value), none of a run that is not there."""
    found: list[MetricPoint] = []
    token = ""
    while len(found) < limit:
        request = PageRequest(limit=min(_PAGE, limit - len(found)), token=token)
        try:
            part = page(ctx, run_id, key, request)
        except NotFound:
            break
        found += part.items
        token = part.next_token
        if not token:
            break
    return tuple(found)


def sampled(
    ctx: Context, run_id: str, key: str, limit: int, steps: tuple[int, int] | None = None
) -> tuple[MetricPoint, ...]:
    """At most `limit` points in order of (step, time, value), evenly taken, the last one always among them.

    `steps` are the least and greatest step that counts. None of a run that is not there. Of a history where
    steps rise with time only the points shown are read, and where they rise evenly for a part of them too;
    else all are.
    """
    with ctx.read() as tx:
        try:
            found_run(ctx, tx, run_id)
        except NotFound:
            return ()
        found = _picked(tx, run_id, key, limit) if steps is None else _within(tx, run_id, key, limit, steps)
    if found is not None:
        return found
    points = [p for p in whole(ctx, run_id, key, _ALL) if steps is None or steps[0] <= p.step <= steps[1]]
    points.sort(key=lambda point: (point.step, point.at_us))
    return tuple(points[at] for at in sample(len(points), limit))


def _within(
    tx: Transaction, run_id: str, key: str, limit: int, steps: tuple[int, int]
) -> tuple[MetricPoint, ...] | None:
    """Evenly taken between two steps; None of a history where these do not tell the places."""
    known = tx.metrics.steps(run_id, key)
    if known is None:
        return None
    first, end = bisect_left(known, steps[0]), bisect_right(known, steps[1])
    return tuple(tx.metrics.places(run_id, key, [first + at for at in sample(end - first, limit)]))


def _picked(tx: Transaction, run_id: str, key: str, limit: int) -> tuple[MetricPoint, ...] | None:
    """Evenly taken by time; None of a history where that is not the order of steps.

    One that is little longer is read as a whole, which is one statement.
    """
    if not tx.metrics.rises(run_id, key):
        return None
    count = tx.metrics.count(run_id, key)
    if count > _WHOLE * limit:
        return tuple(tx.metrics.places(run_id, key, sample(count, limit)))
    points = tx.metrics.history(run_id, key, PageRequest(limit=_WHOLE * limit)).items
    return tuple(points[at] for at in sample(len(points), limit))


def sample(count: int, limit: int) -> list[int]:
    """Which of `count` places to show when at most `limit` may be: the first of each of `limit` equal parts.

    Parts differ by one place at most, the longer ones first. The last place stands for the last part.
    """
    if count <= limit:
        return list(range(count))
    size, longer = divmod(count, limit)
    starts = [part * size + min(part, longer) for part in range(limit)]
    return [*starts[:-1], count - 1]
