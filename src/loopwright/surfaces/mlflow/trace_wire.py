"""Traces, spans and assessments as MLflow 3's clients read and write them."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.nesting import check_json
from loopwright.core.traces import Assessment, Span, TraceState
from loopwright.llm.assessments import Said
from loopwright.llm.nouns import Whole
from loopwright.llm.previews import dumped
from loopwright.surfaces.mlflow.wire import Message

__all__ = [
    "AssessmentIn",
    "Location",
    "TraceInfoIn",
    "assessment_out",
    "experiment_of",
    "instant_ms",
    "said_of",
    "span_file",
    "span_out",
    "state_of",
    "telling_times",
    "trace_info",
    "value_of",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|z|[+-]\d\d:\d\d)\Z")
_DURATION = re.compile(r"(-?)(\d{1,12})(?:\.(\d{1,9}))?s\Z")
_JSON_FORMAT = "JSON_FORMAT"
_STATES = {0: "STATE_UNSPECIFIED", 1: "OK", 2: "ERROR", 3: "IN_PROGRESS"}
_SOURCES = {0: "SOURCE_TYPE_UNSPECIFIED", 1: "HUMAN", 2: "LLM_JUDGE", 3: "CODE"}
_TOLD = 250
_TAG = 4_096


class _Experiment(Message, frozen=True):
    experiment_id: str = ""


class Location(Message, frozen=True, kw_only=True):
    """Where traces are: in an experiment."""

    type: str | int = ""
    mlflow_experiment: _Experiment | None = None


class SourceIn(Message, frozen=True, kw_only=True):
    """Who says something."""

    source_type: str | int = 0
    source_id: str | None = None


class AssessmentIn(Message, frozen=True, kw_only=True):
    """What is said of a trace, as clients write it."""

    assessment_id: str | None = None
    assessment_name: str = ""
    trace_id: str = ""
    span_id: str | None = None
    source: SourceIn = SourceIn()
    create_time: str | None = None
    last_update_time: str | None = None
    feedback: dict[str, Any] | None = None
    expectation: dict[str, Any] | None = None
    issue: dict[str, Any] | None = None
    rationale: str | None = None
    metadata: dict[str, str] | None = None
    overrides: str | None = None
    valid: bool | None = None


class TraceInfoIn(Message, frozen=True, kw_only=True):
    """What a client tells of a trace."""

    trace_id: str = ""
    client_request_id: str | None = None
    trace_location: Location | None = None
    request_preview: str | None = None
    response_preview: str | None = None
    request_time: str | None = None
    execution_duration: str | None = None
    state: str | int = 0
    trace_metadata: dict[str, str] = {}
    tags: dict[str, str] = {}
    assessments: list[AssessmentIn] = []


# -- times -------------------------------------------------------------------------------------------------


def instant_ms(text: str | None) -> int:
    """Milliseconds since 1970 of an instant as protobuf's JSON writes it; 0 for none."""
    if text is None:
        return 0
    found = _INSTANT.match(text)
    try:
        if found is None:
            raise ValueError(text)
        zone = "+00:00" if found[3] in "Zz" else found[3]
        moment = datetime.fromisoformat(found[1].upper() + zone)
        whole = (moment.astimezone(UTC) - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError) as error:
        raise Invalid(f"no instant: {text[:50]!r}", hint="write it so: 2026-01-31T12:00:00.250Z") from error
    return whole + int((found[2] or "0").ljust(3, "0")[:3])


def _duration_ms(text: str | None) -> int | None:
    if text is None:
        return None
    found = _DURATION.match(text)
    if found is None:
        raise Invalid(f"no duration: {text[:50]!r}", hint="write it so: 1.250s")
    length = int(found[2]) * 1000 + int((found[3] or "0").ljust(3, "0")[:3])
    return -length if found[1] else length


def _fraction(millis: int) -> str:
    return f".{millis:03d}" if millis else ""


def _instant(millis: int) -> str:
    whole, rest = divmod(millis, 1000)
    return f"{_EPOCH + timedelta(seconds=whole):%Y-%m-%dT%H:%M:%S}{_fraction(rest)}Z"


def _duration(millis: int) -> str:
    whole, rest = divmod(abs(millis), 1000)
    return f"{'-' * (millis < 0)}{whole}{_fraction(rest)}s"


def telling_times(told: TraceInfoIn) -> tuple[int, int | None]:
    """When a trace began, and how long it took."""
    return instant_ms(told.request_time), _duration_ms(told.execution_duration)


def experiment_of(location: Location | None) -> str:
    """The id of the experiment, empty for none."""
    return "" if location is None or location.mlflow_experiment is None else _id(location)


def _id(location: Location) -> str:
    return location.mlflow_experiment.experiment_id if location.mlflow_experiment else ""


def state_of(told: str | int) -> TraceState:
    """The state by its name or number; `Invalid` for another."""
    name = _STATES.get(told) if isinstance(told, int) else told
    if name not in set(_STATES.values()):
        raise Invalid(f"Invalid value {told!r} for parameter 'state' supplied", hint="OK, ERROR, IN_PROGRESS")
    return TraceState(name)


# -- traces ------------------------------------------------------------------------------------------------


def trace_info(whole: Whole) -> dict[str, Any]:
    """A trace without its spans."""
    trace = whole.trace
    found: dict[str, Any] = {
        "trace_id": trace.id,
        "client_request_id": trace.client_request_id,
        "trace_location": {
            "type": "MLFLOW_EXPERIMENT",
            "mlflow_experiment": {"experiment_id": trace.experiment_id},
        },
        "request_preview": trace.request_preview,
        "response_preview": trace.response_preview,
        "request_time": _instant(trace.started_ms),
        "execution_duration": None if trace.duration_ms is None else _duration(trace.duration_ms),
        "state": trace.state.value,
        "trace_metadata": {key: value[:_TOLD] for key, value in trace.metadata.items()},
        "tags": {key: value[:_TAG] for key, value in trace.tags.items()},
        "assessments": [assessment_out(each) for each in whole.assessments],
    }
    return {key: value for key, value in found.items() if value not in (None, {}, [])}


def span_out(span: Span) -> dict[str, Any]:
    """A span as protobuf's JSON writes one of OpenTelemetry's."""
    found: dict[str, Any] = {
        "trace_id": _base64(span.trace_id.removeprefix("tr-")),
        "span_id": _base64(span.id),
        "parent_span_id": None if span.parent_id is None else _base64(span.parent_id),
        "name": span.name or None,
        "start_time_unix_nano": span.start_ns or None,
        "end_time_unix_nano": span.end_ns,
        "attributes": _pairs(span.attributes) or None,
        "events": [_event(each.name, each.at_ns, each.attributes) for each in span.events] or None,
        "links": [
            {
                "trace_id": _base64(each.trace_id.removeprefix("tr-")),
                "span_id": _base64(each.span_id),
                **({"attributes": _pairs(each.attributes)} if each.attributes else {}),
            }
            for each in span.links
        ]
        or None,
        "status": _status(span),
    }
    return {key: value for key, value in found.items() if value is not None}


def _status(span: Span) -> dict[str, str]:
    told = {"message": span.message} if span.message else {}
    return told if span.status == "UNSET" else {**told, "code": f"STATUS_CODE_{span.status}"}


def _event(name: str, at_ns: int, attributes: dict[str, Any]) -> dict[str, Any]:
    told = {"time_unix_nano": at_ns, "name": name, "attributes": _pairs(attributes)}
    return {key: value for key, value in told.items() if value}


def _base64(digits: str) -> str:
    return base64.b64encode(bytes.fromhex(digits)).decode()


def _pairs(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _any_value(value)} for key, value in values.items()]


def _any_value(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"string_value": value}
    if isinstance(value, bool):
        return {"bool_value": value}
    if isinstance(value, int):
        return {"int_value": value} if -(2**63) <= value < 2**63 else {"string_value": str(value)}
    if isinstance(value, float):
        return {"double_value": value}
    if isinstance(value, list):
        return {"array_value": {"values": [_any_value(each) for each in value]} if value else {}}
    if isinstance(value, dict):
        return {"kvlist_value": {"values": _pairs(value)} if value else {}}
    return {}


def span_file(span: Span) -> dict[str, Any]:
    """A span as it stands in a trace's file: the values of its attributes are JSON texts."""
    return {
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
        "attributes": {key: dumped(value) for key, value in span.attributes.items()},
        "links": [
            {"trace_id": each.trace_id, "span_id": each.span_id, "attributes": each.attributes or None}
            for each in span.links
        ],
    }


# -- assessments -------------------------------------------------------------------------------------------


def assessment_out(said: Assessment) -> dict[str, Any]:
    """What was said of a trace."""
    source = {"source_type": said.source_type, **({"source_id": said.source_id} if said.source_id else {})}
    found: dict[str, Any] = {
        "assessment_id": said.id,
        "assessment_name": said.name,
        "trace_id": said.trace_id,
        "span_id": said.span_id,
        "source": source,
        "create_time": _instant(said.created_ms),
        "last_update_time": _instant(said.updated_ms),
        said.kind: _value_out(said),
        "rationale": said.rationale,
        "metadata": said.metadata or None,
        "overrides": said.overrides,
        "valid": said.valid,
    }
    return {key: value for key, value in found.items() if value is not None}


def _value_out(said: Assessment) -> dict[str, Any]:
    if said.kind == "feedback":
        error = {key: value for key, value in (said.error or {}).items() if value}
        return {"value": said.value, **({"error": error} if error else {})}
    if said.kind == "expectation" and isinstance(said.value, list | dict | None):
        text = msgspec.json.encode(said.value).decode()
        text = dumped(msgspec.json.decode(text))
        return {"serialized_value": {"serialization_format": _JSON_FORMAT, "value": text}}
    return {"value": said.value} if said.kind == "expectation" else dict(said.value or {})


def said_of(told: AssessmentIn) -> Said:
    """What is said, as its author gives it; `Invalid` where it is not one of the three kinds."""
    created, updated = instant_ms(told.create_time), instant_ms(told.last_update_time)
    kind, value, error, name = value_of(told)
    source = told.source.source_type
    return Said(
        name=name,
        kind=kind,
        value=value,
        error=error,
        source_type=_SOURCES.get(source, "") if isinstance(source, int) else source,
        source_id=told.source.source_id or None,
        rationale=told.rationale or None,
        metadata=told.metadata or {},
        span_id=told.span_id or None,
        overrides=told.overrides or None,
        created_ms=created or None,
        updated_ms=updated or None,
        id=told.assessment_id or None,
    )


def value_of(told: AssessmentIn) -> tuple[Any, Any, Any, str]:
    """Kind, value, error and name of what is said."""
    if told.expectation is not None:
        return "expectation", _expected(told.expectation), None, told.assessment_name
    if told.feedback is not None:
        error = told.feedback.get("error")
        return (
            "feedback",
            _floats(told.feedback.get("value")),
            error if isinstance(error, dict) else None,
            told.assessment_name,
        )
    if told.issue is not None:
        return "issue", dict(told.issue), None, told.assessment_name
    raise Invalid("Unknown assessment type: None", hint="say feedback, expectation or issue")


def _expected(told: dict[str, Any]) -> Any:
    written = told.get("serialized_value")
    if not isinstance(written, dict):
        return _floats(told.get("value"))
    if written.get("serialization_format") != _JSON_FORMAT:
        raise Invalid(
            f"Unknown serialization format: {str(written.get('serialization_format'))[:50]}. "
            "Only JSON_FORMAT is supported."
        )
    try:
        text = str(written.get("value", "")).encode()
        check_json(text)
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Invalid("the serialized_value is no JSON", hint="send a JSON text") from error


def _floats(value: Any) -> Any:
    """The value as protobuf's: its numbers are of double precision."""
    if isinstance(value, bool) or not isinstance(value, int | list | dict):
        return value
    if isinstance(value, int):
        return _double(value)
    if isinstance(value, list):
        return [_floats(each) for each in value]
    return {key: _floats(each) for key, each in value.items()}


def _double(value: int) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise Invalid("a number is too large", hint="send it as a text") from error
