"""The steps of a trace as the files (`traces.json`) that MLflow's clients write, of every version. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from loopwright.core.errors import Corrupt
from loopwright.core.traces import Span, SpanEvent, SpanLink
from loopwright.llm.nouns import SPAN_TYPE

__all__ = ["spans_of"]

_ID = re.compile(r"(?:0x)?([0-9a-f]{1,16})\Z")
_ID_BYTES = 8
_CODES = ("OK", "ERROR")


def spans_of(trace_id: str, file: bytes) -> tuple[Span, ...]:
    """The steps of a file; `Corrupt` for what is no such file. An empty one has none."""
    if not file:
        return ()
    try:
        told = msgspec.json.decode(file)
        return tuple(_span(trace_id, each) for each in told["spans"])
    except (
        msgspec.DecodeError,
        UnicodeDecodeError,
        RecursionError,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:
        raise Corrupt("the file of a trace's steps cannot be read", where=trace_id[:100]) from error


def _span(trace_id: str, told: Mapping[str, Any]) -> Span:
    """A step as MLflow 3 writes it, or as MLflow 2 did, whose ids stand in a `context`."""
    is_old = "context" in told
    status = _status(told)
    attributes = {str(key): _unwrapped(value) for key, value in (told.get("attributes") or {}).items()}
    kind = attributes.get(SPAN_TYPE)
    parent = told.get("parent_id" if is_old else "parent_span_id")
    end = told.get("end_time" if is_old else "end_time_unix_nano")
    return Span(
        trace_id=trace_id,
        id=_hex(told["context"]["span_id"] if is_old else told["span_id"]),
        parent_id=_hex(parent) if parent else None,
        name=str(told.get("name") or ""),
        type=kind if isinstance(kind, str) else None,
        status="OK" if status[0] == "OK" else "ERROR" if status[0] == "ERROR" else "UNSET",
        message=status[1],
        start_ns=int(told["start_time" if is_old else "start_time_unix_nano"]),
        end_ns=int(end) if end else None,
        attributes=attributes,
        events=tuple(map(_event, told.get("events") or ())),
        links=tuple(map(_link, told.get("links") or ())),
    )


def _status(told: Mapping[str, Any]) -> tuple[str, str]:
    if "status" in told:
        found = told["status"]
        return str(found.get("code") or "").removeprefix("STATUS_CODE_"), str(found.get("message") or "")
    return str(told.get("status_code") or ""), str(told.get("status_message") or "")


def _hex(written: object) -> str:
    """An id as 16 hexadecimal digits, of those digits or of the base64 of its bytes."""
    found = _ID.match(str(written))
    if found is not None:
        return found[1].zfill(2 * _ID_BYTES)
    try:
        return base64.b64decode(str(written), validate=True).hex()
    except binascii.Error as error:
        raise ValueError("no id") from error


def _unwrapped(value: object) -> Any:
    """The value of an attribute, which is a JSON text of its own."""
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return value


def _event(told: Mapping[str, Any]) -> SpanEvent:
    at = told.get("time_unix_nano", told.get("timestamp"))
    return SpanEvent(
        name=str(told.get("name") or ""), at_ns=int(at or 0), attributes=dict(told.get("attributes") or {})
    )


def _link(told: Mapping[str, Any]) -> SpanLink:
    return SpanLink(
        trace_id=str(told.get("trace_id") or ""),
        span_id=str(told.get("span_id") or ""),
        attributes=dict(told.get("attributes") or {}),
    )
