"""What a trace is, given what its client told of it and which spans of it came, in whatever order. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from loopwright.core.errors import Invalid
from loopwright.core.traces import NAME_TAG, SESSION_METADATA, Span, Trace, TraceState
from loopwright.llm.nouns import (
    ARTIFACT_LOCATION,
    COST,
    FINALIZED,
    INPUTS,
    OUTPUTS,
    SPAN_COST,
    SPAN_USAGE,
    SPANS_LOCATION,
    TRACE_TAG,
    USAGE,
    USER,
)
from loopwright.llm.previews import dumped, preview
from loopwright.llm.usage import costs_of, normal_metadata, tokens_of
from loopwright.tracking.limits import KEY, check_keys, check_length

__all__ = [
    "TAG",
    "TRACE_IDS",
    "Batch",
    "Telling",
    "check_tag",
    "check_trace_id",
    "is_counting",
    "told",
    "with_spans",
]

TAG = 4_096
"""characters of a tag; a longer one is cut"""
_METADATA = 8_000
_SESSION = 250
_ENTRIES = 500
"""tags or metadata of a trace"""
TRACE_IDS = re.compile(r"[\w.:/\-]{1,100}\Z", re.ASCII)
_PREVIEW_MOST = 1_000
_MOST_MS = 2**53
_RESERVED = ("telemetry.sdk.", "mlflow.")


class Telling(msgspec.Struct, frozen=True, kw_only=True):
    """What a client tells of a trace."""

    id: str
    experiment_id: str
    started_ms: int
    duration_ms: int | None = None
    state: TraceState = TraceState.STATE_UNSPECIFIED
    client_request_id: str | None = None
    request_preview: str | None = None
    response_preview: str | None = None
    tags: dict[str, str] = {}
    metadata: dict[str, str] = {}


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """The spans of one trace that came together, and what was said of the program that sent them."""

    spans: tuple[Span, ...]
    resource: Mapping[str, Any] = {}


def check_trace_id(trace_id: str) -> str:
    """The id itself; `Invalid` for what cannot be one."""
    if TRACE_IDS.match(trace_id) is None:
        raise Invalid(
            f"Invalid trace ID: '{trace_id[:100]}'", hint="letters, digits, - _ . : and /, up to 100"
        )
    return trace_id


def check_tag(key: str, value: str) -> tuple[str, str]:
    """A tag as it is kept; `Invalid` for a key that is none, and for a name too long."""
    check_keys([key], "key", "key")
    if key == NAME_TAG:
        check_length("Trace name", value, TAG)
    return key, _storable(value)[:TAG]


def told(before: Trace | None, telling: Telling, space: str, location: str) -> Trace:
    """The trace when a client has told of it; what came before stays where the client says nothing."""
    _check(telling)
    tags = {key[:KEY]: _storable(value)[:TAG] for key, value in telling.tags.items()}
    metadata = {key[:KEY]: _storable(value)[:_METADATA] for key, value in telling.metadata.items()}
    new = Trace(
        id=check_trace_id(telling.id),
        space=space,
        experiment_id=telling.experiment_id,
        started_ms=telling.started_ms,
        duration_ms=telling.duration_ms,
        state=telling.state,
        client_request_id=_bounded(telling.client_request_id),
        request_preview=_bounded(telling.request_preview),
        response_preview=_bounded(telling.response_preview),
        tags={**tags, ARTIFACT_LOCATION: location},
        metadata={**normal_metadata(metadata), FINALIZED: "true"},
    )
    if before is None:
        return new
    return replace(
        new,
        tags={**before.tags, **new.tags},
        metadata={**before.metadata, **new.metadata},
        request_preview=before.request_preview if new.request_preview is None else new.request_preview,
        response_preview=before.response_preview if new.response_preview is None else new.response_preview,
    )


def _check(telling: Telling) -> None:
    name = telling.tags.get(NAME_TAG)
    if name is not None:
        check_length("Trace name", name, TAG)
    check_length("Session ID", telling.metadata.get(SESSION_METADATA, ""), _SESSION)
    for what, found in (("tags", telling.tags), ("metadata", telling.metadata)):
        if len(found) > _ENTRIES:
            raise Invalid(f"a trace has at most {_ENTRIES} {what}, not {len(found)}", hint="tell fewer")
        if "" in found:
            raise Invalid(f"Invalid value \"\" for parameter '{what}' supplied: a key is empty")
    for number in (telling.started_ms, telling.duration_ms or 0):
        if not -_MOST_MS <= number <= _MOST_MS:
            raise Invalid("a time is out of range", hint="tell milliseconds since 1970")


def _bounded(text: str | None) -> str | None:
    return None if text is None else _storable(text)[:_PREVIEW_MOST]


def _storable(text: str) -> str:
    """The text without what no database keeps."""
    return text.replace("\0", "\ufffd") if "\0" in text else text


def is_counting(before: Trace, spans: Sequence[Span]) -> bool:
    """Whether tokens and costs of the whole trace have to be counted anew when spans of it come.

    They have where the spans tell some, and where some were counted: a span may come between two that do.
    """
    if USAGE in before.metadata or COST in before.metadata:
        return FINALIZED not in before.metadata
    return any(SPAN_USAGE in span.attributes or SPAN_COST in span.attributes for span in spans)


def with_spans(before: Trace, batch: Batch, earlier: Sequence[Span], *, is_new: bool) -> Trace:
    """The trace when spans of it have come; `earlier` are those that were there, if they count tokens.

    `before` of a new trace holds its id, experiment and artifact tag alone. What the client told of the whole
    trace stands: spans only fill in what it did not say.
    """
    spans = batch.spans
    root = next((span for span in reversed(spans) if span.parent_id is None), None)
    found = _timed(before, spans, is_new=is_new)
    if root is not None and before.state in {TraceState.IN_PROGRESS, TraceState.STATE_UNSPECIFIED}:
        found = replace(found, state=TraceState.ERROR if root.status == "ERROR" else TraceState.OK)
    metadata = {**found.metadata, **_said(found, spans), **_counted(found, spans, earlier)}
    tags = {**found.tags, SPANS_LOCATION: "TRACKING_STORE", **_resource_tags(batch.resource)}
    if root is None:
        return replace(found, tags=tags, metadata=metadata)
    request, response = found.request_preview, found.response_preview
    return replace(
        found,
        tags={**tags, **_told_tags(root)},
        metadata=metadata,
        request_preview=preview(root.attributes.get(INPUTS), "user") if request is None else request,
        response_preview=preview(root.attributes.get(OUTPUTS), "assistant") if response is None else response,
    )


def _timed(before: Trace, spans: Sequence[Span], *, is_new: bool) -> Trace:
    """From the first start to the last end of all spans, unless the client told the times itself."""
    if FINALIZED in before.metadata:
        return before
    started = min(span.start_ns for span in spans) // 1_000_000
    ends = [span.end_ns // 1_000_000 for span in spans if span.end_ns is not None]
    if not is_new:
        started = min(started, before.started_ms)
        if before.duration_ms is not None:
            ends.append(before.started_ms + before.duration_ms)
    return replace(before, started_ms=started, duration_ms=max(ends) - started if ends else None)


def _said(trace: Trace, spans: Sequence[Span]) -> dict[str, str]:
    """Who asked, and in which conversation, as the first span that tells it says."""
    found: dict[str, str] = {}
    for key, names in ((SESSION_METADATA, ("session.id", "gen_ai.conversation.id")), (USER, ("user.id",))):
        values = (span.attributes.get(name) for span in spans for name in names)
        value = next((each for each in values if isinstance(each, str) and each), None)
        if value is not None and key not in trace.metadata:
            found[key] = value[:_SESSION]
    return found


def _counted(trace: Trace, spans: Sequence[Span], earlier: Sequence[Span]) -> dict[str, str]:
    new = {span.id for span in spans}
    together = [*spans, *(span for span in earlier if span.id not in new)]
    found: dict[str, str] = {}
    is_final = FINALIZED in trace.metadata
    if not (is_final and USAGE in trace.metadata):
        tokens = tokens_of(together)
        found |= {USAGE: dumped(tokens)} if tokens else {}
    if not (is_final and COST in trace.metadata):
        costs = costs_of(together)
        found |= {COST: dumped(costs)} if costs else {}
    return found


def _resource_tags(resource: Mapping[str, Any]) -> dict[str, str]:
    """What was said of the program, but for what exporters say of themselves and what is ours to say."""
    return _tags(
        {
            key: value if isinstance(value, str) else dumped(value)
            for key, value in resource.items()
            if not key.startswith(_RESERVED)
        }
    )


def _told_tags(root: Span) -> dict[str, str]:
    told = {
        key.removeprefix(TRACE_TAG): value if isinstance(value, str) else dumped(value)
        for key, value in root.attributes.items()
        if key.startswith(TRACE_TAG)
    }
    return _tags(told)


def _tags(given: Mapping[str, str]) -> dict[str, str]:
    """Those that can be tags; spans are not refused for the others."""
    found: dict[str, str] = {}
    for key, value in list(given.items())[:_ENTRIES]:
        try:
            name, text = check_tag(key, value[:TAG])
        except Invalid:
            continue
        if name:
            found[name] = text
    return found
