"""Traces as MLflow's servers and its folders tell them: those of version 3, and those of version 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from loopwright.adapters.histories.answers import Pair, texts
from loopwright.core.errors import Corrupt
from loopwright.core.nouns import Json
from loopwright.core.traces import Assessment, AssessmentKind, Trace, TraceState
from loopwright.ports.histories import PastTrace

__all__ = ["OldTraces", "Told", "Traces", "from_folder", "from_old", "from_told"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLI = timedelta(milliseconds=1)
_PROMPTS = "mlflow.linkedPrompts"
_RUN = "mlflow.assessment.sourceRunId"


class _Experiment(msgspec.Struct, frozen=True):
    experiment_id: str = ""


class _Location(msgspec.Struct, frozen=True):
    mlflow_experiment: _Experiment = _Experiment()


class _Source(msgspec.Struct, frozen=True):
    source_type: str = "CODE"
    source_id: str | None = None


class _Said(msgspec.Struct, frozen=True):
    """What was said of a trace."""

    assessment_id: str = ""
    assessment_name: str = ""
    source: _Source = _Source()
    create_time: datetime = _EPOCH
    last_update_time: datetime = _EPOCH
    feedback: Json | None = None
    expectation: Json | None = None
    issue: Json | None = None
    rationale: str | None = None
    metadata: dict[str, str] = {}
    span_id: str | None = None
    overrides: str | None = None
    valid: bool = True


class Told(msgspec.Struct, frozen=True):
    """A trace without its steps; in folders its duration is a number."""

    trace_id: str
    trace_location: _Location = _Location()
    request_time: datetime = _EPOCH
    execution_duration: str | None = None
    execution_duration_ms: int | None = None
    state: str = ""
    client_request_id: str | None = None
    request_preview: str | None = None
    response_preview: str | None = None
    trace_metadata: dict[str, str] = {}
    tags: dict[str, str] = {}
    assessments: list[Any] = []


class Traces(msgspec.Struct, frozen=True):
    """A page of traces."""

    traces: list[Told] = []
    next_page_token: str = ""


class _Old(msgspec.Struct, frozen=True):
    request_id: str
    experiment_id: str = ""
    timestamp_ms: int = 0
    execution_time_ms: int | None = None
    status: str = ""
    request_metadata: list[Pair] = []
    tags: list[Pair] = []


class OldTraces(msgspec.Struct, frozen=True):
    """A page of traces as MLflow 2 tells them."""

    traces: list[_Old] = []
    next_page_token: str = ""


def from_told(told: Told, runs: tuple[str, ...] = ()) -> PastTrace:
    """A trace of MLflow 3."""
    state, duration = _state(told.state), told.execution_duration_ms
    return PastTrace(
        trace=Trace(
            id=told.trace_id,
            space="",
            experiment_id=told.trace_location.mlflow_experiment.experiment_id,
            started_ms=_ms(told.request_time),
            duration_ms=_length(told.execution_duration) if duration is None else duration,
            state=state,
            client_request_id=told.client_request_id,
            request_preview=told.request_preview,
            response_preview=told.response_preview,
            tags=told.tags,
            metadata=told.trace_metadata,
        ),
        assessments=tuple(_assessment(told.trace_id, each) for each in told.assessments),
        runs=runs,
        prompts=_prompts_in(told.tags, told.trace_metadata),
    )


def from_old(told: _Old) -> PastTrace:
    """A trace of MLflow 2, which tells no time of one that goes on."""
    state = _state(told.status)
    is_open = state is TraceState.IN_PROGRESS and not told.execution_time_ms
    return PastTrace(
        trace=Trace(
            id=told.request_id,
            space="",
            experiment_id=told.experiment_id,
            started_ms=told.timestamp_ms,
            duration_ms=None if is_open else told.execution_time_ms,
            state=state,
            tags=texts(told.tags),
            metadata=texts(told.request_metadata),
        )
    )


def from_folder(
    meta: Json, tags: dict[str, str], metadata: dict[str, str], said: Sequence[Json], *, where: str
) -> PastTrace:
    """A trace of a folder of files, of either version; `Corrupt` where its file is none."""
    texts_of = {"tags": tags, "trace_metadata": metadata}
    try:
        if "request_id" in meta:
            plain = {key: value for key, value in meta.items() if key not in {"request_metadata", "tags"}}
            old = from_old(msgspec.convert(plain, _Old, strict=False))
            return replace(old, trace=replace(old.trace, tags=tags, metadata=metadata))
        return from_told(msgspec.convert({**meta, **texts_of, "assessments": list(said)}, Told, strict=False))
    except msgspec.ValidationError as error:
        raise Corrupt("a trace_info.yaml cannot be read", where=where[-200:]) from error


def _state(told: str) -> TraceState:
    return TraceState(told) if told in set(TraceState) else TraceState.STATE_UNSPECIFIED


def _ms(instant: datetime) -> int:
    return (instant - _EPOCH) // _MILLI


def _length(told: str | None) -> int | None:
    """Milliseconds of a duration as protobuf writes it: `1.250s`."""
    if told is None:
        return None
    try:
        return round(float(told.removesuffix("s")) * 1000)
    except (ValueError, OverflowError) as error:
        raise Corrupt(f"a trace has no duration: {told[:40]!r}") from error


def _prompts_in(tags: Mapping[str, str], metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The versions of prompts that a trace says it is linked to."""
    try:
        found = msgspec.json.decode(tags.get(_PROMPTS) or metadata.get(_PROMPTS) or "[]")
        return tuple(dict.fromkeys(f"{each['name']}/{each['version']}" for each in found))
    except (msgspec.DecodeError, TypeError, KeyError):
        return ()


def _assessment(trace_id: str, told: object) -> Assessment:
    """What was said of a trace, `Corrupt` where it is of no kind."""
    try:
        said = msgspec.convert(told, _Said, strict=False)
    except msgspec.ValidationError as error:
        raise Corrupt("what was said of a trace cannot be read", where=trace_id[:100]) from error
    kind, value = _value(said)
    reason = (said.feedback or {}).get("error")
    return Assessment(
        id=said.assessment_id,
        trace_id=trace_id,
        space="",
        name=said.assessment_name,
        kind=kind,
        value=value,
        error=reason if isinstance(reason, dict) else None,
        source_type=said.source.source_type,
        source_id=said.source.source_id,
        run_id=said.metadata.get(_RUN),
        span_id=said.span_id,
        rationale=said.rationale,
        metadata=said.metadata,
        created_ms=_ms(said.create_time),
        updated_ms=_ms(said.last_update_time),
        overrides=said.overrides,
        valid=said.valid,
    )


def _value(said: _Said) -> tuple[AssessmentKind, Any]:
    if said.feedback is not None:
        return "feedback", said.feedback.get("value")
    if said.issue is not None:
        return "issue", said.issue
    if said.expectation is None:
        raise Corrupt("what was said of a trace is of no kind", where=said.assessment_id[:100])
    written = said.expectation.get("serialized_value")
    if not isinstance(written, dict):
        return "expectation", said.expectation.get("value")
    try:
        return "expectation", msgspec.json.decode(str(written.get("value", "")))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Corrupt("what was expected of a trace is no JSON", where=said.assessment_id[:100]) from error
