"""Traces as clients of MLflow 2 tell of them: begun, then ended; their spans are files beside."""

from __future__ import annotations

import uuid

import msgspec
from msgspec.structs import replace

from loopwright.core.traces import Trace, TraceState
from loopwright.engine.context import Context
from loopwright.llm.intake import artifact_location, home
from loopwright.llm.nouns import FINALIZED
from loopwright.llm.rules import Telling, told
from loopwright.llm.traces import no_trace
from loopwright.ports.ledger import Transaction

__all__ = ["Ending", "begin", "end", "new_id"]


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a trace ended."""

    at_ms: int
    state: TraceState
    tags: dict[str, str] = {}
    metadata: dict[str, str] = {}


def new_id() -> str:
    """An id as older clients know it."""
    return uuid.uuid4().hex


def begin(ctx: Context, telling: Telling) -> Trace:
    """A trace that goes on."""

    def work(tx: Transaction) -> Trace:
        asset = home(ctx, tx, telling.experiment_id)
        there = replace(telling, experiment_id=asset.id)
        trace = told(None, there, ctx.space, artifact_location(asset, telling.id))
        trace = replace(trace, metadata=_without_mark(trace.metadata))
        tx.traces.save([trace])
        return trace

    return ctx.write(work)


def end(ctx: Context, trace_id: str, ending: Ending) -> Trace:
    """What it has become; `NotFound` for one that never began."""

    def work(tx: Transaction) -> Trace:
        known = tx.traces.those(ctx.space, [trace_id])
        if not known:
            raise no_trace(trace_id)
        before = known[0]
        telling = Telling(
            id=trace_id,
            experiment_id=before.experiment_id,
            started_ms=before.started_ms,
            duration_ms=ending.at_ms - before.started_ms,
            state=ending.state,
            client_request_id=before.client_request_id,
            tags=ending.tags,
            metadata=ending.metadata,
        )
        after = told(before, telling, ctx.space, before.tags.get("mlflow.artifactLocation", ""))
        if FINALIZED not in before.metadata:
            after = replace(after, metadata=_without_mark(after.metadata))
        tx.traces.save([after])
        return after

    return ctx.write(work)


def _without_mark(metadata: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if key != FINALIZED}
