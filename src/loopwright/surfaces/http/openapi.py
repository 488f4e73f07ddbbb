"""The OpenAPI 3.1 description of the operations, from their signatures and docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import msgspec

from loopwright.core import errors
from loopwright.core.errors import LoopwrightError
from loopwright.core.nouns import Event, Json
from loopwright.engine.operation import Form, Operation, Upload
from loopwright.engine.wire import Failure, Place, is_list, is_text_like, places

__all__ = ["PREFIX", "describe"]

PREFIX = "/api/v1"
_REF = "#/components/schemas/{name}"
_FAILURE = {"$ref": "#/components/schemas/Failure"}


def describe(operations: Mapping[str, Operation], *, version: str) -> Json:
    """The whole document: paths, schemas, scopes and errors."""
    routed = sorted((op for op in operations.values() if not op.local), key=lambda op: (op.path, op.method))
    types = _Types(routed)
    paths: dict[str, Json] = {}
    for op in routed:
        paths.setdefault(PREFIX + op.path, {})[op.method.lower()] = _operation(op, types)
    paths[f"{PREFIX}/events"] = {"get": _events(types)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Loopwright",
            "version": version,
            "description": "The whole loop of machine learning. Every error is a `Failure`.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": types.components,
            "responses": _responses(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}, {}],
        "tags": [{"name": name} for name in sorted({_tag(op) for op in routed} | {"events"})],
    }


class _Types:
    """All schemas of the document in one set of components, asked for by type."""

    def __init__(self, operations: list[Operation]) -> None:
        self._types: list[Any] = [Failure, Event]
        for op in operations:
            if op.form is not Form.BLOB:
                self._types.append(op.item_type)
            self._types.extend(p.annotation for p in op.parameters if p.annotation is not Upload)
        schemas, self.components = msgspec.json.schema_components(self._types, ref_template=_REF)
        self._schemas = list(schemas)

    def of(self, wanted: Any) -> Json:
        """The schema of one of the types (by identity: annotations need not be hashable)."""
        for known, schema in zip(self._types, self._schemas, strict=True):
            if known is wanted:
                return dict(schema)
        raise KeyError(wanted)


def _tag(op: Operation) -> str:
    return op.name.partition(".")[0]


def _operation(op: Operation, types: _Types) -> Json:
    described: Json = {
        "operationId": op.name,
        "summary": op.summary,
        "description": op.help,
        "tags": [_tag(op)],
        "x-scope": op.scope,
        "x-form": op.form.value,
        "parameters": _parameters(op, types),
        "responses": {**_success(op, types), **_references()},
    }
    if op.upload_name is not None:
        described["requestBody"] = {"required": True, "content": {"application/octet-stream": {}}}
    elif in_body := _at(op, Place.BODY):
        described["requestBody"] = _body(in_body, types)
    return described


def _at(op: Operation, place: Place) -> list[inspect.Parameter]:
    by_name = places(op)
    return [p for p in op.parameters if by_name[p.name] is place]


def _with_default(parameter: inspect.Parameter, types: _Types) -> Json:
    schema = types.of(parameter.annotation)
    if parameter.default is not inspect.Parameter.empty:
        schema["default"] = msgspec.to_builtins(parameter.default)
    return schema


def _body(fields: list[inspect.Parameter], types: _Types) -> Json:
    required = [p.name for p in fields if p.default is inspect.Parameter.empty]
    schema: Json = {
        "type": "object",
        "properties": {p.name: _with_default(p, types) for p in fields},
        "required": required,
        "additionalProperties": False,
    }
    return {"required": bool(required), "content": {"application/json": {"schema": schema}}}


def _parameters(op: Operation, types: _Types) -> list[Json]:
    in_path: list[Json] = [
        {"name": p.name, "in": "path", "required": True, "schema": types.of(p.annotation)}
        for p in _at(op, Place.PATH)
    ]
    return in_path + [_query_parameter(p, types) for p in _at(op, Place.QUERY)]


def _query_parameter(parameter: inspect.Parameter, types: _Types) -> Json:
    schema = _with_default(parameter, types)
    is_plain = is_list(parameter.annotation) or is_text_like(parameter.annotation)
    shape: Json = {"schema": schema} if is_plain else {"content": {"application/json": {"schema": schema}}}
    required = parameter.default is inspect.Parameter.empty
    return {"name": parameter.name, "in": "query", "required": required, **shape}


def _success(op: Operation, types: _Types) -> Json:
    if op.form is Form.BLOB:
        return {"200": {"description": "the bytes", "content": {"application/octet-stream": {}}}}
    schema = types.of(op.item_type)
    if op.form is Form.STREAM:
        content = {kind: {"schema": schema} for kind in ("application/x-ndjson", "text/event-stream")}
        return {"200": {"description": "one item a line (or event)", "content": content}}
    if op.form is Form.PAGE:
        schema = {
            "type": "object",
            "properties": {
                "items": {"type": "array", "items": schema},
                "next_token": {"type": "string", "description": "empty at the end"},
            },
            "required": ["items", "next_token"],
        }
    status = "202" if op.form is Form.JOB else str(op.status)
    description = "the job that carries it out" if op.form is Form.JOB else "done"
    return {status: {"description": description, "content": {"application/json": {"schema": schema}}}}


def _kinds() -> list[type[LoopwrightError]]:
    kinds = [getattr(errors, name) for name in errors.__all__]
    return sorted((kind for kind in kinds if "code" in vars(kind)), key=lambda kind: (kind.status, kind.code))


def _responses() -> Json:
    """One response for each status an error has, with all codes that share it."""
    found: Json = {}
    for kind in _kinds():
        text = f"`{kind.code}`: {(kind.__doc__ or '').partition(chr(10))[0]}"
        entry = found.setdefault(
            f"Failure{kind.status}",
            {"description": "", "content": {"application/json": {"schema": _FAILURE}}},
        )
        entry["description"] = f"{entry['description']} {text}".strip()
    return found


def _references() -> Json:
    return {
        str(status): {"$ref": f"#/components/responses/Failure{status}"}
        for status in sorted({kind.status for kind in _kinds()})
    }


def _events(types: _Types) -> Json:
    return {
        "operationId": "events.follow",
        "summary": "Follow committed events as they happen.",
        "description": "Server-sent events: `id` is the event's number, `data` an Event; an event named "
        "`note` is not journaled; at one named `resync` something is missing, or the stream ends: read the "
        "journal.",
        "tags": ["events"],
        "x-scope": "journal:read",
        "parameters": [
            {"name": "Last-Event-ID", "in": "header", "schema": {"type": "integer"}},
            {"name": "after", "in": "query", "schema": {"type": "integer"}},
        ],
        "responses": {
            "200": {
                "description": "events",
                "content": {"text/event-stream": {"schema": types.of(Event)}},
            },
            **_references(),
        },
    }
