"""Traces as they are read, tagged, linked and deleted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.traces import Trace, TraceLink
from loopwright.engine.context import Context
from loopwright.llm.finding import there
from loopwright.llm.nouns import SPANS_LOCATION, Whole
from loopwright.llm.rules import check_tag
from loopwright.ports.ledger import Transaction
from loopwright.tracking import experiments

__all__ = [
    "delete",
    "get",
    "link_prompts",
    "link_run",
    "no_trace",
    "set_tag",
    "unset_tag",
    "whole",
    "wholes",
]

_LINKS = 100
"""traces that one call links"""
_FIXED = frozenset({SPANS_LOCATION, "mlflow.trace.archiveLocation", "mlflow.trace.archivalFailure"})
_ROUND = 500
"""traces that one unit of work deletes"""


def no_trace(trace_id: str) -> NotFound:
    """The error for a trace that is not there."""
    return NotFound(f"Trace with ID '{trace_id[:100]}' is not found.", hint="traces search")


def get(ctx: Context, trace_id: str) -> Whole:
    """A trace without its spans; `NotFound`."""
    with ctx.read() as tx:
        return _wholes(tx, ctx.space, [_one(tx, ctx.space, trace_id)], has_spans=False)[0]


def whole(ctx: Context, trace_id: str) -> Whole:
    """A trace with all that belongs to it; `NotFound`."""
    with ctx.read() as tx:
        found = _wholes(tx, ctx.space, [_one(tx, ctx.space, trace_id)], has_spans=True)[0]
        return replace(
            found,
            runs=tuple(tx.traces.links(ctx.space, trace_id, "run")),
            prompts=tuple(tx.traces.links(ctx.space, trace_id, "prompt")),
        )


def wholes(
    ctx: Context, trace_ids: Sequence[str], within: Sequence[str] | None = None, *, has_spans: bool
) -> list[Whole]:
    """The traces of these ids that are there, in the order asked, perhaps of some experiments alone."""
    with ctx.read() as tx:
        homes = None if within is None else there(ctx, tx, within)
        found = [
            trace
            for trace in tx.traces.those(ctx.space, trace_ids)
            if homes is None or trace.experiment_id in homes
        ]
        return _wholes(tx, ctx.space, found, has_spans=has_spans)


def _wholes(tx: Transaction, space: str, traces: Sequence[Trace], *, has_spans: bool) -> list[Whole]:
    ids = [trace.id for trace in traces]
    spans = tx.spans.of(space, ids) if has_spans else {}
    said = tx.assessments.of(space, ids)
    return [
        Whole(
            trace=trace,
            spans=tuple(spans.get(trace.id, ())),
            assessments=tuple(said.get(trace.id, ())),
        )
        for trace in traces
    ]


def _one(tx: Transaction, space: str, trace_id: str) -> Trace:
    found = tx.traces.those(space, [trace_id])
    if not found:
        raise no_trace(trace_id)
    return found[0]


def set_tag(ctx: Context, trace_id: str, key: str, value: str) -> None:
    """Make or replace a tag; `Invalid` for a key that is none or not the caller's."""
    name, text = check_tag(key, value)
    _check_free(name, "set")
    _changed(ctx, trace_id, lambda trace: replace(trace, tags={**trace.tags, name: text}))


def unset_tag(ctx: Context, trace_id: str, key: str) -> None:
    """Take a tag away; `NotFound` where it is not there."""
    _check_free(key, "deleted")

    def without(trace: Trace) -> Trace:
        if key not in trace.tags:
            raise NotFound(f"No trace tag with key '{key[:100]}' for trace with ID '{trace_id[:100]}'")
        return replace(trace, tags={name: text for name, text in trace.tags.items() if name != key})

    _changed(ctx, trace_id, without)


def _check_free(key: str, what: str) -> None:
    if key in _FIXED:
        raise Invalid(f"Tag '{key}' is immutable and cannot be {what} on a trace.")


def _changed(ctx: Context, trace_id: str, change: Callable[[Trace], Trace]) -> None:
    ctx.write(lambda tx: tx.traces.save([change(_one(tx, ctx.space, trace_id))]))


def link_run(ctx: Context, trace_ids: Sequence[str], run_id: str) -> None:
    """Link traces to a run; traces that are not there are let pass, a run that is not is `NotFound`."""
    if len(trace_ids) > _LINKS:
        raise Invalid(
            f"Cannot link more than {_LINKS} traces to a run in a single request. "
            f"Provided {len(trace_ids)} traces."
        )
    links = [TraceLink(trace_id=each, kind="run", target=run_id) for each in trace_ids]

    def work(tx: Transaction) -> None:
        if tx.runs.get(run_id).space != ctx.space:
            raise NotFound(f"Run with id={run_id[:100]} not found")
        tx.traces.link(ctx.space, links)

    if links:
        ctx.write(work)


def link_prompts(ctx: Context, trace_id: str, prompts: Sequence[str]) -> None:
    """Link a trace to prompts, each `name/version`."""
    if len(prompts) > _LINKS:
        raise Invalid(f"a trace is linked to at most {_LINKS} prompts at once", hint="link some at a time")
    links = [TraceLink(trace_id=trace_id, kind="prompt", target=each) for each in prompts]

    def work(tx: Transaction) -> None:
        _one(tx, ctx.space, trace_id)
        tx.traces.link(ctx.space, links)

    ctx.write(work)


def delete(
    ctx: Context,
    experiment_id: str,
    *,
    trace_ids: Sequence[str] = (),
    until_ms: int | None = None,
    limit: int | None = None,
) -> int:
    """Delete traces of an experiment, by their ids or the oldest first; how many. Some at a time."""
    if limit is not None and limit < 1:
        raise Invalid(f"`max_traces` must be a positive integer, received {limit}.")
    with ctx.read() as tx:
        asset = experiments.known(tx, ctx.space, experiment_id)
        if asset is None:
            return 0
        if trace_ids:
            known = tx.traces.those(ctx.space, trace_ids)
            ids = [
                each.id
                for each in known
                if each.experiment_id == asset.id and (until_ms is None or each.started_ms <= until_ms)
            ][:limit]
        else:
            ids = list(tx.traces.oldest(ctx.space, asset.id, until_ms=until_ms, limit=limit))
    return sum(_removed(ctx, asset.id, ids[start : start + _ROUND]) for start in range(0, len(ids), _ROUND))


def _removed(ctx: Context, experiment_id: str, ids: Sequence[str]) -> int:
    def work(tx: Transaction) -> int:
        for owner in (f"trace:{each}" for each in ids):
            for file in list(tx.artifacts.under(ctx.space, owner, "")):
                tx.artifacts.remove(ctx.space, owner, file.path)
        gone = tx.traces.remove(ctx.space, ids)
        if gone:
            ctx.record(tx, "traces.deleted", f"experiment:{experiment_id}", {"traces": gone})
        return gone

    return ctx.write(work)
