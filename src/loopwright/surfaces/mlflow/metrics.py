"""MLflow's calls about the histories of metrics."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import isfinite

import msgspec

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.nouns import MetricPoint
from loopwright.engine.context import Context
from loopwright.ports.ledger import Page, PageRequest
from loopwright.surfaces.mlflow.failures import missing
from loopwright.surfaces.mlflow.routing import Call, RawRoute, Route
from loopwright.surfaces.mlflow.wire import Int64, Message, Needed, Reader, encode, number
from loopwright.tracking import histories
from loopwright.tracking.limits import check_size

__all__ = ["routes"]

_EVERY = 2**62
_PART = 5_000
_PAGE = 25_000
_SAMPLED = 320
_MOST_SAMPLED = 2_500
_RUNS = 100


class History(Message, frozen=True, kw_only=True):
    """Which metric of which run, and which part of its points."""

    run_id: str = ""
    run_uuid: str = ""
    metric_key: Needed
    max_results: Int64 | None = None
    page_token: str = ""


_ASKED = Reader(History)


class Bulk(Message, frozen=True, kw_only=True):
    """Which metric of which runs."""

    run_id: list[str] = []
    metric_key: str = ""
    max_results: Int64 = _PAGE


class Sampled(Message, frozen=True, kw_only=True):
    """Which metric of which runs, at which steps, and how many points of each."""

    run_ids: list[str] = []
    metric_key: Needed
    start_step: Int64 | None = None
    end_step: Int64 | None = None
    max_results: Int64 = _SAMPLED


class Metric(msgspec.Struct, frozen=True, gc=False):
    """A point as it is told; bare and by position, since there are many."""

    key: str
    value: float | str
    timestamp: int
    step: int
    run_id: str | msgspec.UnsetType = msgspec.UNSET


class Points(Message, frozen=True, kw_only=True):
    """Points of a page."""

    metrics: list[Metric] = []
    next_page_token: str = ""


def routes() -> tuple[Route | RawRoute, ...]:
    """All calls about histories."""
    history, read = "metrics/get-history", "run:read"
    return (
        RawRoute(method="GET", path=history, scope=read, answer=_history),
        Route(method="GET", path=f"{history}-bulk", scope=read, takes=Bulk, answer=_bulk),
        Route(method="GET", path=f"{history}-bulk-interval", scope=read, takes=Sampled, answer=_sampled),
    )


def _told(points: tuple[MetricPoint, ...], run_id: str | msgspec.UnsetType = msgspec.UNSET) -> list[Metric]:
    return [
        Metric(p.key, v if isfinite(v := p.value) else number(v), p.at_us // 1000, p.step, run_id)
        for p in points
    ]


async def _history(call: Call) -> None:
    """All points, or as many as are asked for: sent part by part, so that a long history takes no memory."""
    asked: History = _ASKED.query(call.scope["query_string"], call.parts)
    parts = _parts(call.ctx, asked)
    part, goes_on = await call.in_thread(partial(next, parts))
    length = () if goes_on else ((b"content-length", b"%d" % len(part)),)
    headers = [(b"content-type", b"application/json"), *length]
    await call.send({"type": "http.response.start", "status": 200, "headers": headers})
    while goes_on:
        await call.send({"type": "http.response.body", "body": part, "more_body": True})
        part, goes_on = await call.in_thread(partial(next, parts))
    await call.send({"type": "http.response.body", "body": part})


def _parts(ctx: Context, asked: History) -> Iterator[tuple[bytes, bool]]:
    """The pieces of the reply, and whether more come; each is read in a snapshot of its own."""
    run_id = asked.run_id or asked.run_uuid
    if not run_id:
        raise missing("run_id")
    left = _EVERY if asked.max_results is None else check_size(asked.max_results, _EVERY)
    request = PageRequest(limit=min(left, _PART), token=asked.page_token)
    found = _page(ctx, run_id, asked.metric_key, request)
    opening = b'{"metrics":['
    while found.next_token and left > len(found.items):
        left -= len(found.items)
        yield opening + encode(_told(found.items))[1:-1], True
        request, opening = PageRequest(limit=min(left, _PART), token=found.next_token), b","
        found = _page(ctx, run_id, asked.metric_key, request)
    if opening != b",":
        yield encode(Points(metrics=_told(found.items), next_page_token=found.next_token)), False
        return
    last = opening + encode(_told(found.items))[1:-1] if found.items else b""
    token = b',"next_page_token":' + encode(found.next_token) if found.next_token else b""
    yield last + b"]" + token + b"}", False


def _page(ctx: Context, run_id: str, key: str, request: PageRequest) -> Page[MetricPoint]:
    try:
        return histories.page(ctx, run_id, key, request)
    except NotFound:
        return Page(items=())


def _bulk(ctx: Context, asked: Bulk) -> Points:
    _check_runs(asked.run_id)
    if not asked.metric_key:
        raise missing("metric_key")
    limit = check_size(asked.max_results, _PAGE)
    found: list[Metric] = []
    for run_id in asked.run_id:
        found += _told(histories.whole(ctx, run_id, asked.metric_key, limit - len(found)), run_id)
    return Points(metrics=found)


def _sampled(ctx: Context, asked: Sampled) -> Points:
    if not asked.run_ids:
        raise missing("run_ids")
    _check_runs(asked.run_ids)
    if not 1 <= asked.max_results <= _MOST_SAMPLED:
        raise Invalid(f"max_results must be between 1 and {_MOST_SAMPLED}, not {asked.max_results}")
    steps = _steps(asked.start_step, asked.end_step)
    found: list[Metric] = []
    for run_id in asked.run_ids:
        points = histories.sampled(ctx, run_id, asked.metric_key, asked.max_results, steps)
        found += _told(points, run_id)
    return Points(metrics=found)


def _steps(start: int | None, end: int | None) -> tuple[int, int] | None:
    if start is None and end is None:
        return None
    if start is None or end is None:
        raise Invalid("If either start step or end step are specified, both must be specified.")
    if start > end:
        raise Invalid(f"end_step must be greater than start_step. Found {start} and {end}.")
    return start, end


def _check_runs(run_ids: list[str]) -> None:
    if not run_ids:
        raise Invalid("GetMetricHistoryBulk request must specify at least one run_id.")
    if len(run_ids) > _RUNS:
        raise Invalid(f"GetMetricHistoryBulk request cannot specify more than {_RUNS} run_ids.")
