"""Use cases of tracking: start and end a run, log, list, show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from msgspec.structs import replace

from loopwright.core.addresses import check_name
from loopwright.core.digests import digest_value
from loopwright.core.errors import Conflict, Invalid
from loopwright.core.instants import to_micros
from loopwright.core.nouns import Json, MetricPoint, Run, RunState, move_run
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.engine.publishing import ensure_asset
from loopwright.ports.ledger import Page, PageRequest, Transaction
from loopwright.tracking.lifecycle import PARENT_TAG, found_run, open_run
from loopwright.tracking.nouns import RunView
from loopwright.tracking.rules import ENDED

__all__ = [
    "annotate",
    "end",
    "log",
    "log_points",
    "metric_history",
    "resume",
    "runs",
    "show",
    "start",
    "tracked",
]

_KEY_LIMIT = 250
_PARAM_LIMIT = 6000


def start(
    ctx: Context,
    kind: str,
    name: str,
    *,
    experiment: str | None = None,
    params: Mapping[str, object] | None = None,
    facts: Json | None = None,
    tags: Mapping[str, str] | None = None,
) -> Run:
    """Begin a run, a child of the context's run; its event is `run.started`."""
    run = Run(
        id=ctx.new_id(),
        space=ctx.space,
        kind=kind,
        name=check_name(name),
        state=RunState.RUNNING,
        created_at=ctx.now(),
        created_by=ctx.principal.name,
        experiment=experiment,
        parent_id=ctx.run_id,
        started_at=ctx.now(),
        params=_written(params or {}),
        tags={**({PARENT_TAG: ctx.run_id} if ctx.run_id else {}), **(tags or {})},
        facts=facts or {},
    )

    def work(tx: Transaction) -> Run:
        if experiment is not None:
            ensure_asset(ctx, tx, "experiment", experiment)
        tx.runs.add(run)
        ctx.record(tx, "run.started", f"run:{run.id}", {"kind": kind, "name": name, "parent": ctx.run_id})
        return run

    return ctx.write(work)


def resume(ctx: Context, run_id: str) -> Run:
    """Take up a run that has ended, without its end and the error it had; its event is `run.resumed`."""

    def work(tx: Transaction) -> Run:
        run = open_run(ctx, tx, run_id)
        if run.state not in ENDED:
            return run
        facts = {key: value for key, value in run.facts.items() if key != "error"}
        resumed = replace(run, state=move_run(run, RunState.RUNNING), ended_at=None, facts=facts)
        tx.runs.update(resumed)
        ctx.record(tx, "run.resumed", f"run:{run_id}", {"kind": run.kind, "name": run.name})
        return resumed

    return ctx.write(work)


def _written(params: Mapping[str, object]) -> dict[str, str]:
    written = {key: str(value) for key, value in params.items()}
    for key, value in written.items():
        if not key or len(key) > _KEY_LIMIT or len(value) > _PARAM_LIMIT:
            raise Invalid(
                f"the parameter {key[:80]!r} is too long",
                hint=f"a key has 1 to {_KEY_LIMIT} characters, a value at most {_PARAM_LIMIT}",
            )
    return written


def annotate(
    ctx: Context,
    run_id: str,
    *,
    params: Mapping[str, object] | None = None,
    tags: Mapping[str, str] | None = None,
    facts: Json | None = None,
) -> Run:
    """Add params (written once), tags and facts to a run that is still going."""
    fresh = _written(params or {})

    def work(tx: Transaction) -> Run:
        run = found_run(ctx, tx, run_id)
        if run.state in ENDED:
            raise Conflict(f"run:{run_id} has ended", hint="resume it, or start a new run")
        clash = [key for key, value in fresh.items() if run.params.get(key, value) != value]
        if clash:
            raise Invalid(
                f"the parameter {clash[0]!r} of run:{run_id} is already written", hint="params never change"
            )
        changed = replace(
            run,
            params={**run.params, **fresh},
            tags={**run.tags, **(tags or {})},
            facts={**run.facts, **(facts or {})},
        )
        tx.runs.update(changed)
        return changed

    return ctx.write(work)


def log(ctx: Context, run_id: str, metrics: Mapping[str, float], *, step: int = 0) -> None:
    """Log one point of each metric at this instant."""
    at_us = to_micros(ctx.now())
    points = [
        MetricPoint(key=key, value=float(value), step=step, at_us=at_us) for key, value in metrics.items()
    ]
    log_points(ctx, run_id, points)


def log_points(ctx: Context, run_id: str, points: Sequence[MetricPoint]) -> None:
    """Log points of a run's metrics; a repeated point is a no-op."""
    long = [point.key for point in points if not point.key or len(point.key) > _KEY_LIMIT]
    if long:
        raise Invalid(f"the metric {long[0][:80]!r} has a bad name", hint=f"use 1 to {_KEY_LIMIT} characters")

    def work(tx: Transaction) -> None:
        if open_run(ctx, tx, run_id).state in ENDED:
            raise Conflict(f"run:{run_id} has ended", hint="resume it, or start a new run")
        tx.metrics.log(run_id, points)

    ctx.write(work)


def end(ctx: Context, run_id: str, state: RunState = RunState.FINISHED, *, facts: Json | None = None) -> Run:
    """End a run; its event carries the digest of its params and newest metrics."""

    def work(tx: Transaction) -> Run:
        run = found_run(ctx, tx, run_id)
        ended = replace(
            run, state=move_run(run, state), ended_at=ctx.now(), facts={**run.facts, **(facts or {})}
        )
        tx.runs.update(ended)
        content = digest_value([ended.params, ended.facts, dict(tx.metrics.latest(run_id))])
        kind = "run.finished" if state is RunState.FINISHED else "run.failed"
        ctx.record(tx, kind, f"run:{run_id}", {"kind": run.kind, "name": run.name, "content": content})
        return ended

    return ctx.write(work)


@contextmanager
def tracked(
    ctx: Context,
    kind: str,
    name: str,
    *,
    experiment: str | None = None,
    params: Mapping[str, object] | None = None,
    facts: Json | None = None,
) -> Iterator[Context]:
    """A context inside a new run, which ends with the block: finished, or failed when it raised."""
    run = start(ctx, kind, name, experiment=experiment, params=params, facts=facts)
    try:
        yield ctx.under(run.id)
    except BaseException as error:
        end(ctx, run.id, RunState.FAILED, facts={"error": f"{type(error).__name__}: {error}"[:500]})
        raise
    end(ctx, run.id)


@operation("runs.list", scope="run:read", route="GET /runs")
def runs(
    ctx: Context,
    *,
    kind: str | None = None,
    experiment: str | None = None,
    state: RunState | None = None,
    parent: str | None = None,
    limit: int = 100,
    token: str = "",
) -> Page[Run]:
    """List runs, newest first."""
    if not 1 <= limit <= 1000:
        raise Invalid(f"limit {limit} is out of range", hint="ask for 1 to 1000 runs")
    with ctx.read() as tx:
        return tx.runs.page(
            ctx.space,
            PageRequest(limit=limit, token=token),
            kind=kind,
            experiment=experiment,
            state=state,
            parent_id=parent,
        )


@operation("runs.show", scope="run:read", route="GET /runs/{run_id}")
def show(ctx: Context, run_id: str) -> RunView:
    """Show a run with its newest metrics, what it read and made, and its children."""
    with ctx.read() as tx:
        run = found_run(ctx, tx, run_id)
        children = tx.runs.page(ctx.space, PageRequest(limit=100), parent_id=run_id)
        return RunView(
            run=run,
            metrics=dict(tx.metrics.latest(run_id)),
            links=tuple(tx.runs.links(run_id)),
            children=children.items,
        )


@operation("runs.metric", scope="run:read", route="GET /runs/{run_id}/metrics/{key}")
def metric_history(
    ctx: Context, run_id: str, key: str, *, limit: int = 1000, token: str = ""
) -> Page[MetricPoint]:
    """List the points of one metric of a run in order of time."""
    with ctx.read() as tx:
        return tx.metrics.history(found_run(ctx, tx, run_id).id, key, PageRequest(limit=limit, token=token))
