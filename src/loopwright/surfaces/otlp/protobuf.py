"""Reads requests in protobuf; the library is loaded with the first of them, since it takes 100 ms."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module
from typing import Any

from loopwright.core.errors import Invalid
from loopwright.surfaces.otlp.values import MAX_DEPTH, Parts, clean, number

__all__ = ["read"]


@lru_cache(maxsize=1)
def _library() -> tuple[Any, type[Exception]]:
    """The class of a request, and the error of bytes that are none."""
    service = import_module("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    return service.ExportTraceServiceRequest, import_module("google.protobuf.message").DecodeError


def read(body: bytes) -> Iterator[tuple[dict[str, Any], list[Parts]]]:
    """What was said of each program, with its spans; `Invalid` for bytes that are no such request."""
    request_of, broken = _library()
    request = request_of()
    try:
        request.ParseFromString(body)
    except broken as error:
        raise Invalid("Invalid OpenTelemetry format", hint="send an ExportTraceServiceRequest") from error
    for each in request.resource_spans:
        resource = _attributes(each.resource.attributes)
        yield resource, [_parts(span) for scope in each.scope_spans for span in scope.spans]


def _parts(span: Any) -> Parts:
    return Parts(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_id=span.parent_span_id,
        name=span.name,
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        status=span.status.code,
        message=span.status.message,
        events=[(each.name, each.time_unix_nano, _attributes(each.attributes)) for each in span.events],
        links=[(each.trace_id, each.span_id, _attributes(each.attributes)) for each in span.links],
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {clean(pair.key): _value(pair.value, MAX_DEPTH) for pair in pairs}


def _value(told: Any, depth: int) -> Any:
    kind = told.WhichOneof("value")
    if kind == "string_value":
        return clean(told.string_value)
    if kind in {"int_value", "bool_value"}:
        return getattr(told, kind)
    if kind == "double_value":
        return number(told.double_value)
    if kind == "bytes_value":
        return base64.b64encode(told.bytes_value).decode()
    if kind is None:
        return None
    if depth == 0:
        raise Invalid("an attribute is too deep", hint=f"nest at most {MAX_DEPTH} lists and maps")
    if kind == "array_value":
        return [_value(each, depth - 1) for each in told.array_value.values]
    if kind == "kvlist_value":
        return {clean(each.key): _value(each.value, depth - 1) for each in told.kvlist_value.values}
    return None
