"""Traces, their steps and assessments as rows of MLflow 3's tables."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec

from loopwright.adapters.sql.past.traces import PROMOTED
from loopwright.core.traces import NAME_TAG, SESSION_METADATA, Assessment, Span, Trace

__all__ = ["ARTIFACTS", "KEPT_IN_COLUMNS", "assessment_row", "span_row", "trace_row"]

ARTIFACTS = "mlflow.artifactLocation"
KEPT_IN_COLUMNS = frozenset({*PROMOTED, SESSION_METADATA})
"""metadata that is no row of its own"""


def trace_row(trace: Trace, experiment: int) -> dict[str, Any]:
    """A row of `trace_info`."""
    row: dict[str, Any] = {
        "request_id": trace.id,
        "experiment_id": experiment,
        "timestamp_ms": trace.started_ms,
        "execution_time_ms": trace.duration_ms,
        "status": trace.state.value,
        "client_request_id": trace.client_request_id,
        "request_preview": trace.request_preview,
        "response_preview": trace.response_preview,
        "db_payload_generation": 1,
        "trace_name": trace.tags.get(NAME_TAG),
        "session_id": trace.metadata.get(SESSION_METADATA),
    }
    for key, columns in PROMOTED.items():
        told = _object(trace.metadata.get(key, ""))
        row |= {column: told.get(column) for column in columns}
    return row


def _object(text: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def span_row(span: Span, experiment: int) -> dict[str, Any]:
    """A row of `spans`; its content is the step as MLflow's clients write it."""
    content = {
        "trace_id": _base64(span.trace_id.removeprefix("tr-")),
        "span_id": _base64(span.id),
        "parent_span_id": None if span.parent_id is None else _base64(span.parent_id),
        "name": span.name,
        "start_time_unix_nano": span.start_ns,
        "end_time_unix_nano": span.end_ns,
        "events": [
            {"name": each.name, "time_unix_nano": each.at_ns, "attributes": each.attributes}
            for each in span.events
        ],
        "status": {"code": f"STATUS_CODE_{span.status}", "message": span.message},
        "attributes": {key: json.dumps(value) for key, value in span.attributes.items()},
        "links": [
            {"trace_id": each.trace_id, "span_id": each.span_id, "attributes": each.attributes}
            for each in span.links
        ],
    }
    return {
        "trace_id": span.trace_id,
        "experiment_id": experiment,
        "span_id": span.id,
        "parent_span_id": span.parent_id,
        "name": span.name,
        "type": span.type,
        "status": span.status,
        "start_time_unix_nano": span.start_ns,
        "end_time_unix_nano": span.end_ns,
        "content": json.dumps(content),
    }


def _base64(digits: str) -> str:
    try:
        return base64.b64encode(bytes.fromhex(digits)).decode()
    except ValueError:
        return digits


def assessment_row(said: Assessment, trace: Trace, experiment: int) -> dict[str, Any]:
    """A row of `assessments`."""
    is_number = isinstance(said.value, int | float) and not isinstance(said.value, bool)
    return {
        "assessment_id": said.id,
        "trace_id": said.trace_id,
        "name": said.name,
        "assessment_type": said.kind,
        "value": json.dumps(said.value),
        "error": None if said.error is None else json.dumps(said.error),
        "created_timestamp": said.created_ms,
        "last_updated_timestamp": said.updated_ms,
        "source_type": said.source_type,
        "source_id": said.source_id,
        "run_id": said.run_id,
        "span_id": said.span_id,
        "rationale": said.rationale,
        "overrides": said.overrides,
        "valid": said.valid,
        "assessment_metadata": json.dumps(said.metadata) if said.metadata else None,
        "experiment_id": experiment,
        "trace_timestamp_ms": trace.started_ms,
        "aggregate_value": _aggregate(said.value),
        "is_numeric_value": is_number,
    }


def _aggregate(value: Any) -> float | None:
    """What MLflow averages: numbers, yes and no."""
    if isinstance(value, bool | int | float):
        return float(value)
    words = {"yes": 1.0, "no": 0.0}
    return words.get(value.strip().lower()) if isinstance(value, str) else None
