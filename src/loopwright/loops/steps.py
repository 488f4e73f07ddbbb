"""Traces with their steps, wherever their store keeps those: in its tables, or as a file beside."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from loopwright.core.traces import TraceState
from loopwright.llm.nouns import SPANS_LOCATION
from loopwright.llm.span_files import spans_of
from loopwright.ports.histories import History, PastTrace

__all__ = ["has_files", "lacks_steps", "whole"]

_LEDGER = "TRACKING_STORE"
_ATTACHED = b"mlflow-attachment:"


def whole(history: History, past: PastTrace) -> PastTrace:
    """The trace with its steps; `Corrupt` where their file is none."""
    if past.spans:
        return past
    return replace(past, spans=spans_of(past.trace.id, history.steps_file(past)))


def lacks_steps(past: PastTrace) -> bool:
    """Whether a trace that ended has no step, which none has that was kept well."""
    return not past.spans and past.trace.state is not TraceState.IN_PROGRESS


def has_files(past: PastTrace) -> bool:
    """Whether there may be files of the trace: its steps, or what they attach."""
    is_in_store = past.trace.tags.get(SPANS_LOCATION) == _LEDGER
    return bool(past.artifact_uri) and (
        not is_in_store or any(_ATTACHED in msgspec.msgpack.encode(each.attributes) for each in past.spans)
    )
