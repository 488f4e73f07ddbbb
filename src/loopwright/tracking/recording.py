"""What a recorder asks for over a connection: begin a run, add to it, end it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import msgspec

from loopwright.core.errors import Invalid, TooLarge
from loopwright.core.nouns import Json, MetricPoint, Run, RunState
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.tracking import verbs

__all__ = [
    "LoggedPoint",
    "add_points",
    "annotate_run",
    "end_run",
    "logged_point",
    "resume_run",
    "start_run",
]

_POINTS = 10_000


class LoggedPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A point on its way: as `MetricPoint`, with words for the numbers that JSON has none for."""

    key: str
    value: float | Literal["NaN", "Infinity", "-Infinity"]
    step: int = 0
    at_us: int = 0


@operation("runs.start", scope="run:write", route="POST /runs")
def start_run(
    ctx: Context,
    name: str,
    *,
    kind: str = "run",
    experiment: str | None = None,
    parent: str | None = None,
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    facts: Json | None = None,
) -> Run:
    """Begin a run; it is running until `runs end` ends it."""
    return verbs.start(
        ctx.under(parent), kind, name, experiment=experiment, params=params, tags=tags, facts=facts
    )


@operation("runs.resume", scope="run:write", route="POST /runs/{run_id}/resume")
def resume_run(ctx: Context, run_id: str) -> Run:
    """Take up a run that has ended: it is running again. One that has not ended goes on as it is."""
    return verbs.resume(ctx, run_id)


@operation("runs.log", scope="run:write", route="POST /runs/{run_id}/points")
def add_points(ctx: Context, run_id: str, points: tuple[LoggedPoint, ...]) -> None:
    """Log points of a run's metrics; a repeated point is a no-op."""
    if len(points) > _POINTS:
        raise TooLarge(f"{len(points):,} points are too many at once", hint=f"send at most {_POINTS:,}")
    verbs.log_points(ctx, run_id, [_point(each) for each in points])


def _point(logged: LoggedPoint) -> MetricPoint:
    return MetricPoint(key=logged.key, value=float(logged.value), step=logged.step, at_us=logged.at_us)


def logged_point(point: MetricPoint) -> LoggedPoint:
    """A point as it travels."""
    value: float | Literal["NaN", "Infinity", "-Infinity"] = point.value
    if math.isnan(point.value):
        value = "NaN"
    elif math.isinf(point.value):
        value = "Infinity" if point.value > 0 else "-Infinity"
    return LoggedPoint(key=point.key, value=value, step=point.step, at_us=point.at_us)


@operation("runs.annotate", scope="run:write", route="PATCH /runs/{run_id}")
def annotate_run(
    ctx: Context,
    run_id: str,
    *,
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    facts: Json | None = None,
) -> Run:
    """Add params (written once), tags and facts to a run that is going."""
    return verbs.annotate(ctx, run_id, params=params, tags=tags, facts=facts)


@operation("runs.end", scope="run:write", route="POST /runs/{run_id}/end")
def end_run(
    ctx: Context, run_id: str, *, state: RunState = RunState.FINISHED, facts: Json | None = None
) -> Run:
    """End a run as finished, failed or killed."""
    if state not in {RunState.FINISHED, RunState.FAILED, RunState.KILLED}:
        raise Invalid(f"{state} ends no run", hint="say finished, failed or killed")
    return verbs.end(ctx, run_id, state, facts=facts)
