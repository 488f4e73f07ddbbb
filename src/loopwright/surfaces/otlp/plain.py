"""Reads requests in JSON: ids in hexadecimal digits, whole numbers as numbers or texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.nesting import check_json
from loopwright.surfaces.otlp.values import MAX_DEPTH, Parts, clean, number

__all__ = ["MAX_PARTS", "read"]

MAX_PARTS = 1_000_000
"""lists and objects of a request: each attribute is two"""
_CODES = {"STATUS_CODE_UNSET": 0, "STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2}


class _Struct(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """Part of a request: a tree, so that rings need not be looked for, most of the time of a great one."""


class _Pair(_Struct, frozen=True, gc=False):
    key: str = ""
    value: Any = None


class _Resource(_Struct, frozen=True, gc=False):
    attributes: list[_Pair] | None = None


class _Event(_Struct, frozen=True, gc=False):
    name: str = ""
    time_unix_nano: int = 0
    attributes: list[_Pair] | None = None


class _Link(_Struct, frozen=True, gc=False):
    trace_id: str = ""
    span_id: str = ""
    attributes: list[_Pair] | None = None


class _Status(_Struct, frozen=True, gc=False):
    code: int | str = 0
    message: str = ""


class _Span(_Struct, frozen=True, gc=False):
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str = ""
    name: str = ""
    start_time_unix_nano: int = 0
    end_time_unix_nano: int = 0
    attributes: list[_Pair] | None = None
    events: list[_Event] | None = None
    links: list[_Link] | None = None
    status: _Status | None = None


class _Scope(_Struct, frozen=True, gc=False):
    spans: list[_Span] | None = None


class _Program(_Struct, frozen=True, gc=False):
    resource: _Resource | None = None
    scope_spans: list[_Scope] | None = None


class _Request(_Struct, frozen=True, gc=False):
    resource_spans: list[_Program] | None = None


_decode = msgspec.json.Decoder(_Request, strict=False).decode


def read(body: bytes) -> Iterator[tuple[dict[str, Any], list[Parts]]]:
    """What was said of each program, with its spans; `Invalid` for a text that is no such request."""
    check_json(body, parts=MAX_PARTS)
    try:
        request = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"Invalid OpenTelemetry format: {str(error)[:200]}", hint="send OTLP's JSON") from error
    for each in request.resource_spans or ():
        resource = _attributes(each.resource.attributes if each.resource else None)
        spans = (span for scope in each.scope_spans or () for span in scope.spans or ())
        yield resource, [_parts(span) for span in spans]


def _parts(span: _Span) -> Parts:
    status = span.status or _Status()
    code = _CODES.get(status.code, 0) if isinstance(status.code, str) else status.code
    return Parts(
        trace_id=_id(span.trace_id),
        span_id=_id(span.span_id),
        parent_id=_id(span.parent_span_id),
        name=span.name,
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        status=code,
        message=status.message,
        events=[(each.name, each.time_unix_nano, _attributes(each.attributes)) for each in span.events or ()],
        links=[
            (_id(each.trace_id), _id(each.span_id), _attributes(each.attributes)) for each in span.links or ()
        ],
    )


def _id(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise Invalid("an id is not in hexadecimal digits", hint="OTLP's JSON has no base64 ids") from error


def _attributes(pairs: Sequence[_Pair] | None) -> dict[str, Any]:
    return {clean(pair.key): _value(pair.value, MAX_DEPTH) for pair in pairs or ()}


def _value(told: Any, depth: int) -> Any:
    """The plain value of an `AnyValue`."""
    if not isinstance(told, dict) or not told:
        return None
    kind, value = next(iter(told.items()))
    match kind, value:
        case (("stringValue" | "bytesValue"), str()):
            return clean(value)
        case "boolValue", bool():
            return value
        case "intValue", int() | str():
            return _whole(value)
        case "doubleValue", int() | float() | str():
            return _real(value)
        case "arrayValue", dict():
            return [_value(each, _deeper(depth)) for each in _listed(value)]
        case "kvlistValue", dict():
            pairs = [each for each in _listed(value) if isinstance(each, dict)]
            return {
                clean(str(each.get("key", ""))): _value(each.get("value"), _deeper(depth)) for each in pairs
            }
    return None


def _listed(value: dict[str, Any]) -> list[Any]:
    found = value.get("values")
    return found if isinstance(found, list) else []


def _deeper(depth: int) -> int:
    if depth == 0:
        raise Invalid("an attribute is too deep", hint=f"nest at most {MAX_DEPTH} lists and maps")
    return depth - 1


def _whole(value: int | str) -> int:
    try:
        found = int(value)
    except ValueError as error:
        raise Invalid("an intValue is no whole number", hint="send a number, or a text of digits") from error
    if not -(2**63) <= found < 2**63:
        raise Invalid("an intValue has more than 64 bits", hint="send it as a text")
    return found


def _real(value: float | str) -> float | str:
    try:
        return number(float(value))
    except (ValueError, OverflowError) as error:
        raise Invalid("a doubleValue is no number", hint="send a number, or NaN or Infinity") from error
