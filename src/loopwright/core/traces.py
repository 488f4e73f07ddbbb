"""What is kept of an application that works step by step: traces, spans, and what was said of them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

import msgspec

from loopwright.core.nouns import Json
from loopwright.core.queries import Condition, SortKey

__all__ = [
    "NAME_TAG",
    "RUN_METADATA",
    "SESSION_METADATA",
    "Assessment",
    "AssessmentKind",
    "Span",
    "SpanEvent",
    "SpanLink",
    "Trace",
    "TraceLink",
    "TraceQuery",
    "TraceState",
    "is_session_wide",
    "session_of",
]

NAME_TAG = "mlflow.traceName"
"""the tag that holds a trace's name"""
RUN_METADATA = "mlflow.sourceRun"
"""what says which run a trace was made under"""
SESSION_METADATA = "mlflow.trace.session"
"""what says which conversation a trace is a part of"""

AssessmentKind = Literal["feedback", "expectation", "issue"]


class TraceState(StrEnum):
    """How far a trace is."""

    IN_PROGRESS = "IN_PROGRESS"
    OK = "OK"
    ERROR = "ERROR"
    STATE_UNSPECIFIED = "STATE_UNSPECIFIED"


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """One request to an application; ids are unique in a space, times in milliseconds since 1970."""

    id: str
    space: str
    experiment_id: str
    started_ms: int
    duration_ms: int | None = None
    state: TraceState = TraceState.IN_PROGRESS
    client_request_id: str | None = None
    request_preview: str | None = None
    response_preview: str | None = None
    tags: dict[str, str] = {}
    """may be changed at any time; the name is one"""
    metadata: dict[str, str] = {}

    @property
    def name(self) -> str | None:
        """What the trace is called, if anything."""
        return self.tags.get(NAME_TAG)


class SpanEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened within a span, an exception for one; nanoseconds since 1970."""

    name: str
    at_ns: int
    attributes: Json = {}


class SpanLink(msgspec.Struct, frozen=True, kw_only=True):
    """Another span that this one has to do with, of any trace."""

    trace_id: str
    span_id: str
    attributes: Json = {}


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a trace: when, under which step, with what. The id is 16 hexadecimal digits."""

    trace_id: str
    id: str
    parent_id: str | None = None
    name: str
    type: str | None = None
    status: Literal["UNSET", "OK", "ERROR"] = "UNSET"
    message: str = ""
    start_ns: int
    end_ns: int | None = None
    attributes: Json = {}
    events: tuple[SpanEvent, ...] = ()
    links: tuple[SpanLink, ...] = ()


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """What a person, a program or a judge said of a trace, or expected of it."""

    id: str
    trace_id: str
    space: str
    name: str
    kind: AssessmentKind
    value: Any = None
    """any JSON value"""
    error: Json | None = None
    """why there is no feedback: `error_code`, `error_message`, `stack_trace`"""
    source_type: str = "CODE"
    source_id: str | None = None
    run_id: str | None = None
    span_id: str | None = None
    rationale: str | None = None
    metadata: dict[str, str] = {}
    created_ms: int
    updated_ms: int
    overrides: str | None = None
    """the assessment of the same trace that this one takes the place of"""
    valid: bool = True
    """whether none has taken its place"""


class TraceLink(msgspec.Struct, frozen=True, kw_only=True):
    """What a trace belongs to beside its experiment: a run by its id, or a prompt as `name/version`."""

    trace_id: str
    kind: Literal["run", "prompt"]
    target: str


class TraceQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which traces, and in what order.

    Attributes are `request_id`, `experiment_id`, `client_request_id`, `status`, `name`, `run_id`, `prompt`
    (texts) and `timestamp_ms`, `execution_time_ms`, `end_time_ms` (integers). Fields of kind `span` are
    `name`, `type`, `status`, `content` (all that was recorded, as JSON text) and `attributes.<name>`; those
    of kind `feedback` and `expectation` are the names of valid assessments, of the trace itself or, where
    their metadata name a session, of another trace of it; `issue` has the field `id`.

    What one `All` asks of spans is asked of one and the same span. `run_id = 'x'` holds of traces made under
    a run and of those linked to it. After `order` come the start (newest first) and the id (rising).
    """

    experiments: tuple[str, ...]
    """ids; traces of no other experiment count"""
    where: Condition | None = None
    order: tuple[SortKey, ...] = ()


def session_of(trace: Trace) -> str | None:
    """The conversation that a trace is a part of."""
    return trace.metadata.get(SESSION_METADATA)


def is_session_wide(assessment: Assessment) -> bool:
    """Whether it was said of the whole conversation of its trace."""
    return SESSION_METADATA in assessment.metadata
