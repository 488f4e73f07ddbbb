"""The words of traces: names that clients write into tags, metadata and attributes, and bounds."""

from __future__ import annotations

import msgspec

from loopwright.core.traces import Assessment, Span, Trace

__all__ = [
    "ARTIFACT_LOCATION",
    "CACHED",
    "COST",
    "COSTS",
    "FINALIZED",
    "INPUTS",
    "OUTPUTS",
    "PREVIEW",
    "REQUEST_ID",
    "SIZE_STATS",
    "SPANS_LOCATION",
    "SPAN_COST",
    "SPAN_TYPE",
    "SPAN_USAGE",
    "TOKENS",
    "TRACE_TAG",
    "USAGE",
    "USER",
    "Removed",
    "Whole",
]

ARTIFACT_LOCATION = "mlflow.artifactLocation"
SPANS_LOCATION = "mlflow.trace.spansLocation"
"""the tag that says where the spans are; `TRACKING_STORE` where they are in the ledger"""
FINALIZED = "mlflow.trace.infoFinalized"
"""metadata of a trace whose client told of the whole of it: what spans say later does not change that"""
SIZE_STATS = "mlflow.trace.sizeStats"
USAGE = "mlflow.trace.tokenUsage"
COST = "mlflow.trace.cost"
USER = "mlflow.trace.user"

REQUEST_ID = "mlflow.traceRequestId"
INPUTS = "mlflow.spanInputs"
OUTPUTS = "mlflow.spanOutputs"
SPAN_TYPE = "mlflow.spanType"
SPAN_USAGE = "mlflow.chat.tokenUsage"
SPAN_COST = "mlflow.llm.cost"
TRACE_TAG = "mlflow.traceTag."
"""how an attribute of a root span begins that is a tag of its trace"""

TOKENS = ("input_tokens", "output_tokens", "total_tokens")
CACHED = ("cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation_input_tokens_above_1hr")
COSTS = ("input_cost", "output_cost", "total_cost")

PREVIEW = 1_000
"""characters of what a list shows of a request or a response"""


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    """A trace with its spans and with what was said of it."""

    trace: Trace
    spans: tuple[Span, ...] = ()
    assessments: tuple[Assessment, ...] = ()
    runs: tuple[str, ...] = ()
    """runs it was linked to, beside the one it was made under"""
    prompts: tuple[str, ...] = ()


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """How many traces were deleted."""

    traces: int
