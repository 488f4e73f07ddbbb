"""MLflow's calls about the histories of metrics."""

from __future__ import annotations

from math import isfinite

import msgspec

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.nouns import MetricPoint
from loopwright.engine.context import Context
from loopwright.ports.ledger import Page, PageRequest
from loopwright.surfaces.mlflow.failures import missing
from loopwright.surfaces.mlflow.routing import Route
from loopwright.surfaces.mlflow.wire import Int64, Message, Needed, number
from loopwright.tracking import histories
from loopwright.tracking.limits import check_size

__all__ = ["routes"]

_MOST = 50_000
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


def routes() -> tuple[Route, ...]:
    """All calls about histories."""
    history, read = "metrics/get-history", "run:read"
    return (
        Route(method="GET", path=history, scope=read, takes=History, answer=_history),
        Route(method="GET", path=f"{history}-bulk", scope=read, takes=Bulk, answer=_bulk),
        Route(method="GET", path=f"{history}-bulk-interval", scope=read, takes=Sampled, answer=_sampled),
    )


def _told(points: tuple[MetricPoint, ...], run_id: str | msgspec.UnsetType = msgspec.UNSET) -> list[Metric]:
    return [
        Metric(p.key, p.value if isfinite(p.value) else number(p.value), p.at_us // 1000, p.step, run_id)
        for p in points
    ]


def _history(ctx: Context, asked: History) -> Points:
    run_id = asked.run_id or asked.run_uuid
    if not run_id:
        raise missing("run_id")
    limit = _PAGE if asked.max_results is None else check_size(asked.max_results, _MOST)
    request = PageRequest(limit=limit, token=asked.page_token)
    try:
        found = histories.page(ctx, run_id, asked.metric_key, request)
    except NotFound:
        found = Page(items=())
    return Points(metrics=_told(found.items), next_page_token=found.next_token)


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
