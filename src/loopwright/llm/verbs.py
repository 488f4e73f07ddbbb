"""Use cases of traces: list, show, search, delete, and say something of one."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.nesting import is_moderate
from loopwright.core.traces import Assessment, Trace
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.llm import assessments, finding, traces
from loopwright.llm.assessments import Said
from loopwright.llm.nouns import USAGE, Removed, Whole
from loopwright.llm.usage import numbers
from loopwright.ports.ledger import Page, PageRequest
from loopwright.tracking import experiments

__all__ = ["TraceLine", "assess", "delete_traces", "line_of", "search_traces", "show_trace", "traces_of"]

_PAGE = 500


class TraceLine(msgspec.Struct, frozen=True, kw_only=True):
    """A trace as a list shows it."""

    trace: Trace
    tokens: int | None = None
    """of the whole trace, where its spans told them"""
    assessments: tuple[Assessment, ...] = ()


@operation("traces.list", scope="trace:read", route="GET /experiments/{experiment}/traces")
def traces_of(ctx: Context, experiment: str, *, limit: int = 100, token: str = "") -> Page[TraceLine]:
    """List an experiment's traces, newest first."""
    return _lines(ctx, [_id_of(ctx, experiment)], None, (), _request(limit, token))


@operation("traces.search", scope="trace:read", route="GET /traces:search", command="traces search")
def search_traces(
    ctx: Context,
    *,
    experiment: tuple[str, ...] = (),
    filter: str | None = None,
    order: tuple[str, ...] = (),
    limit: int = 100,
    token: str = "",
) -> Page[TraceLine]:
    """Find traces by what they recorded: `status = 'ERROR' AND (span.type = 'TOOL' OR feedback.score < 0.5)`.

    Experiments are given by name; without one, traces of all that are not in the trash are looked at.
    """
    request = _request(limit, token)
    names = experiment or tuple(experiments.names(ctx))
    return _lines(ctx, [_id_of(ctx, each) for each in names], filter, order, request)


@operation("traces.show", scope="trace:read", route="GET /traces/{trace}")
def show_trace(ctx: Context, trace: str) -> Whole:
    """Show a trace with its spans, what was said of it, and the runs and prompts it is linked to."""
    return traces.whole(ctx, trace)


@operation("traces.delete", scope="trace:delete", route="POST /traces:delete", command="traces delete")
def delete_traces(
    ctx: Context, *, experiment: str, trace: tuple[str, ...] = (), until_ms: int | None = None
) -> Removed:
    """Delete traces of an experiment for good: by their ids, or all that began no later than an instant."""
    if not trace and until_ms is None:
        raise Invalid("which traces?", hint="name them with --trace, or the last instant with --until-ms")
    gone = traces.delete(ctx, _id_of(ctx, experiment), trace_ids=trace, until_ms=until_ms)
    return Removed(traces=gone)


@operation("traces.assess", scope="trace:write", route="POST /traces/{trace}/assessments")
def assess(
    ctx: Context,
    trace: str,
    *,
    name: str,
    value: str,
    kind: Literal["feedback", "expectation"] = "feedback",
    rationale: str = "",
    span: str = "",
    overrides: str = "",
) -> Assessment:
    """Say something of a trace: a value as JSON (0.8, true, "kind"), or else a text, under a name."""
    said = Said(
        name=name,
        kind=kind,
        value=_read(value),
        source_type="HUMAN",
        source_id=ctx.principal.name,
        rationale=rationale or None,
        span_id=span or None,
        overrides=overrides or None,
    )
    return assessments.create(ctx, trace, said)


def _read(text: str) -> Any:
    try:
        return msgspec.json.decode(text) if is_moderate(text) else text
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return text


def _request(limit: int, token: str) -> PageRequest:
    if not 1 <= limit <= _PAGE:
        raise Invalid(f"limit {limit} is out of range", hint=f"ask for 1 to {_PAGE} traces")
    return PageRequest(limit=limit, token=token)


def _id_of(ctx: Context, name: str) -> str:
    with ctx.read() as tx:
        found = tx.assets.find(ctx.space, experiments.KIND, name)
    if found is None:
        raise NotFound(f"there is no experiment {name[:100]!r}", hint="loopwright experiments list")
    return found.id


def _lines(
    ctx: Context, ids: list[str], text: str | None, order: tuple[str, ...], request: PageRequest
) -> Page[TraceLine]:
    page = finding.search(ctx, ids, text, order, page=request)
    return Page(items=tuple(map(line_of, page.items)), next_token=page.next_token)


def line_of(whole: Whole) -> TraceLine:
    """A trace as a list shows it."""
    usage = whole.trace.metadata.get(USAGE, "null")
    try:
        told = msgspec.json.decode(usage)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        told = None
    tokens = numbers(told, ("total_tokens",), whole=True).get("total_tokens")
    return TraceLine(
        trace=whole.trace,
        tokens=None if tokens is None else int(tokens),
        assessments=whole.assessments,
    )
