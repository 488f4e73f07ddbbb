"""Traces and spans taken in, one unit of work for all that came together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from loopwright.core.errors import Invalid
from loopwright.core.nouns import Asset
from loopwright.core.traces import Assessment, Span, Trace, TraceLink
from loopwright.engine.context import Context
from loopwright.llm.nouns import ARTIFACT_LOCATION
from loopwright.llm.rules import Batch, Telling, is_counting, told, with_spans
from loopwright.ports.ledger import Transaction
from loopwright.tracking import experiments

__all__ = ["MAX_SPANS", "Sent", "artifact_location", "home", "log_spans", "start"]

MAX_SPANS = 10_000
"""spans in one request"""


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """Spans as they came for an experiment, with what was said of the programs that sent them, by trace.

    The traces whose root is among them are linked to `run_id`.
    """

    experiment_id: str
    spans: tuple[Span, ...]
    resources: Mapping[str, Mapping[str, Any]] = {}
    run_id: str | None = None


def home(ctx: Context, tx: Transaction, experiment_id: str) -> Asset:
    """The experiment that traces go to; `Invalid` where it is in the trash."""
    asset = experiments.by_id(ctx, tx, experiment_id)
    if asset.deleted_at is not None:
        raise Invalid(
            f"The experiment {experiment_id} must be in the 'active' state. Current state is deleted.",
            hint="restore it first",
        )
    return asset


def artifact_location(asset: Asset, trace_id: str) -> str:
    """Where the files of a trace are."""
    return f"{experiments.located(asset)}/traces/{trace_id}/artifacts"


def start(ctx: Context, telling: Telling, assessments: Sequence[Assessment] = ()) -> Trace:
    """Take in what a client tells of a trace, whether its spans came before or come later."""

    def work(tx: Transaction) -> Trace:
        asset = home(ctx, tx, telling.experiment_id)
        known = tx.traces.those(ctx.space, [telling.id])
        there = replace(telling, experiment_id=asset.id)
        trace = told(known[0] if known else None, there, ctx.space, artifact_location(asset, telling.id))
        tx.traces.save([trace])
        for each in assessments:
            tx.assessments.put(each)
        return trace

    return ctx.write(work)


def log_spans(ctx: Context, sent: Sent) -> None:
    """Take in spans, all or none: a span that was there is replaced, a trace that was not is made."""
    if len(sent.spans) > MAX_SPANS:
        raise Invalid(
            f"a request has at most {MAX_SPANS} spans, not {len(sent.spans)}", hint="export smaller batches"
        )
    batches: dict[str, list[Span]] = {}
    for span in {(each.trace_id, each.id): each for each in sent.spans}.values():
        batches.setdefault(span.trace_id, []).append(span)
    if batches:
        ctx.write(lambda tx: _taken(ctx, tx, batches, sent))


def _taken(ctx: Context, tx: Transaction, batches: Mapping[str, Sequence[Span]], sent: Sent) -> None:
    known = {trace.id: trace for trace in tx.traces.those(ctx.space, list(batches))}
    asset = home(ctx, tx, sent.experiment_id)
    counting = [each for each, trace in known.items() if is_counting(trace, batches[each])]
    earlier = tx.spans.of(ctx.space, counting) if counting else {}
    traces = []
    for trace_id, spans in batches.items():
        before = known.get(trace_id) or Trace(
            id=trace_id,
            space=ctx.space,
            experiment_id=asset.id,
            started_ms=0,
            tags={ARTIFACT_LOCATION: artifact_location(asset, trace_id)},
        )
        batch = Batch(spans=tuple(spans), resource=sent.resources.get(trace_id, {}))
        traces.append(with_spans(before, batch, earlier.get(trace_id, ()), is_new=trace_id not in known))
    tx.traces.save(traces)
    tx.spans.put(ctx.space, [span for spans in batches.values() for span in spans])
    if sent.run_id is not None:
        ended = [each for each, spans in batches.items() if any(span.parent_id is None for span in spans)]
        links = [TraceLink(trace_id=each, kind="run", target=sent.run_id) for each in ended]
        tx.traces.link(ctx.space, links)
