"""Spans of OpenTelemetry as they are kept, whichever form they came in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.traces import Span, SpanEvent, SpanLink
from loopwright.llm.conventions import translated
from loopwright.llm.nouns import REQUEST_ID, SPAN_TYPE

__all__ = ["MAX_DEPTH", "Parts", "clean", "made", "number", "trace_id_of"]

MAX_DEPTH = 64
"""lists and maps within one another in an attribute"""
_MOST = 2**63 - 1
_STATUS: tuple[str, ...] = ("UNSET", "OK", "ERROR")
_NAME = 1_000


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """What a span is made from; ids as bytes, times in nanoseconds, 0 for none."""

    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    name: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Any]
    status: int
    message: str
    events: Sequence[tuple[str, int, Mapping[str, Any]]] = ()
    links: Sequence[tuple[bytes, bytes, Mapping[str, Any]]] = ()


def made(parts: Parts) -> Span:
    """The span; `Invalid` for ids that are none and times that cannot be."""
    trace_id = trace_id_of(parts.trace_id)
    attributes = translated({**parts.attributes, REQUEST_ID: trace_id})
    kind = attributes.get(SPAN_TYPE)
    return Span(
        trace_id=trace_id,
        id=_hex(parts.span_id, 8, "span_id"),
        parent_id=_hex(parts.parent_id, 8, "parent_span_id") if any(parts.parent_id) else None,
        name=clean(parts.name)[:_NAME],
        type=kind[:_NAME] if isinstance(kind, str) else None,
        status=_STATUS[parts.status] if 0 <= parts.status < len(_STATUS) else "UNSET",  # type: ignore[arg-type]  # the three words of a span's status
        message=clean(parts.message),
        start_ns=_instant(parts.start_ns),
        end_ns=_instant(parts.end_ns) if parts.end_ns else None,
        attributes=attributes,
        events=tuple(
            SpanEvent(name=clean(name), at_ns=_instant(at_ns), attributes=dict(told))
            for name, at_ns, told in parts.events
        ),
        links=tuple(
            SpanLink(
                trace_id=trace_id_of(trace), span_id=_hex(span, 8, "link span_id"), attributes=dict(told)
            )
            for trace, span, told in parts.links
        ),
    )


def trace_id_of(raw: bytes) -> str:
    """The id of a trace in the form that clients know."""
    return f"tr-{_hex(raw, 16, 'trace_id')}"


def _hex(raw: bytes, size: int, what: str) -> str:
    if len(raw) != size or not any(raw):
        raise Invalid(f"a {what} of {len(raw)} bytes is none", hint=f"it has {size} bytes, not all zero")
    return raw.hex()


def _instant(nanoseconds: int) -> int:
    if not 0 <= nanoseconds <= _MOST:
        raise Invalid("a time of a span is out of range", hint="tell nanoseconds since 1970")
    return nanoseconds


def clean(text: str) -> str:
    """The text without what no database keeps."""
    return text.replace("\0", "\ufffd") if "\0" in text else text


def number(value: float) -> float | str:
    """A number as JSON can hold it."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
