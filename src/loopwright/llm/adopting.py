"""Takes in what another store kept of traces: their steps, and what was said of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from loopwright.core.digests import digest_value
from loopwright.core.errors import Conflict, Invalid
from loopwright.core.traces import Assessment, Span, Trace, TraceLink
from loopwright.engine.context import Context
from loopwright.llm.intake import MAX_SPANS, artifact_location
from loopwright.llm.nouns import ARTIFACT_LOCATION, SPANS_LOCATION
from loopwright.llm.rules import check_trace_id
from loopwright.ports.histories import STEPS_FILE, PastTrace
from loopwright.ports.ledger import Transaction
from loopwright.tracking.adopting import Adopted, Mark, NewFile, Notes, kept_files, put_files, readable
from loopwright.tracking.experiments import by_id

__all__ = ["adopt_trace"]

_SPAN_ID = re.compile(r"[0-9a-f]{16}\Z")
_KEY, _VALUE = 250, 100_000
_LARGEST = 1 << 63
_LEDGER = "TRACKING_STORE"


def adopt_trace(
    ctx: Context,
    tx: Transaction,
    past: PastTrace,
    *,
    experiment_id: str,
    files: Sequence[NewFile] = (),
    mark: Mark | None = None,
    overwrite: bool = False,
) -> Adopted:
    """Take a trace in with its steps, assessments and files, in the caller's unit of work.

    `Invalid` when an id is none or there are too many steps.
    """
    trace_id, notes = check_trace_id(past.trace.id), Notes()
    experiment = by_id(ctx, tx, experiment_id)
    if len(past.spans) > MAX_SPANS:
        raise Invalid(f"a trace of more than {MAX_SPANS:,} steps", hint="it cannot be kept")
    there = tx.traces.those(ctx.space, [trace_id])
    if there and not overwrite and (mark is None or _content(ctx, tx, there[0]) != mark.kept):
        return Adopted(id=trace_id, what="ours", content=_content(ctx, tx, there[0]))
    trace = replace(
        past.trace,
        space=ctx.space,
        experiment_id=experiment_id,
        tags=_texts(past.trace.tags, notes) | _places(past, files, artifact_location(experiment, trace_id)),
        metadata=_texts(past.trace.metadata, notes),
    )
    tx.traces.save([trace])
    tx.spans.put(ctx.space, [each for each in past.spans if _is_sound(each, trace_id, notes)])
    links = [TraceLink(trace_id=trace_id, kind="run", target=run) for run in past.runs]
    links += [TraceLink(trace_id=trace_id, kind="prompt", target=prompt) for prompt in past.prompts]
    tx.traces.link(ctx.space, links)
    put_files(ctx, tx, f"trace:{trace_id}", kept_files(files, notes))
    _said(ctx, tx, trace_id, past.assessments, notes)
    content = _content(ctx, tx, trace)
    what = "changed" if there else "new"
    ctx.record(tx, "trace.imported", f"trace:{trace_id}", {"content": content, "what": what})
    return Adopted(id=trace_id, what=what, content=content, notes=dict(notes))


def _places(past: PastTrace, files: Sequence[NewFile], location: str) -> dict[str, str]:
    """Tags that say where the files are here, and where clients look for the steps: those, or the ledger."""
    has_file = any(file.path == STEPS_FILE for file in files)
    in_ledger = {SPANS_LOCATION: _LEDGER} if past.spans and not has_file else {}
    return {ARTIFACT_LOCATION: location} | in_ledger


def _texts(found: Mapping[str, str], notes: Notes) -> dict[str, str]:
    kept = {}
    for key, value in found.items():
        if not key or len(key) > _KEY or len(value) > _VALUE:
            notes["texts of traces that are too long"] += 1
        else:
            kept[readable(key, notes)] = readable(value, notes)
    return kept


def _is_sound(span: Span, trace_id: str, notes: Notes) -> bool:
    ids = [span.id, *([span.parent_id] if span.parent_id else [])]
    times = [span.start_ns, span.end_ns or 0]
    is_sound = span.trace_id == trace_id and all(map(_SPAN_ID.match, ids)) and span.parent_id != span.id
    if not is_sound or not all(0 <= each < _LARGEST for each in times):
        notes["steps of traces that are none"] += 1
        return False
    return True


def _said(
    ctx: Context, tx: Transaction, trace_id: str, assessments: Sequence[Assessment], notes: Notes
) -> None:
    for each in assessments:
        try:
            tx.assessments.put(replace(each, space=ctx.space, trace_id=trace_id))
        except Conflict:
            notes["assessments whose id is that of another trace"] += 1


def _content(ctx: Context, tx: Transaction, trace: Trace) -> str:
    spans = tx.spans.of(ctx.space, [trace.id]).get(trace.id, ())
    said = tx.assessments.of(ctx.space, [trace.id]).get(trace.id, ())
    about = [trace.state, trace.tags, trace.metadata, trace.started_ms, trace.duration_ms]
    files = [[file.path, file.digest] for file in tx.artifacts.under(ctx.space, f"trace:{trace.id}", "")]
    return digest_value([about, list(spans), list(said), files])
