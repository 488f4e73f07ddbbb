"""How an operation's arguments and errors stand on the wire: server, client and command line agree by it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec
from msgspec import inspect as shapes

from loopwright.core import errors
from loopwright.core.errors import Fault, LoopwrightError, PolicyBlocked
from loopwright.engine.operation import Operation

__all__ = [
    "Failure",
    "Place",
    "alternatives",
    "error_of",
    "failure_of",
    "is_list",
    "is_text_like",
    "items_of",
    "places",
]

_REPEATED = (shapes.ListType, shapes.SetType, shapes.FrozenSetType, shapes.VarTupleType)
_NESTED = (
    shapes.StructType,
    shapes.DictType,
    shapes.AnyType,
    shapes.DataclassType,
    shapes.TypedDictType,
    shapes.TupleType,
    *_REPEATED,
)


class Place(StrEnum):
    """Where in a request a parameter stands."""

    PATH = "path"
    QUERY = "query"
    BODY = "body"
    UPLOAD = "upload"


def places(operation: Operation) -> dict[str, Place]:
    """The place of each parameter: in the path, else in the JSON body or the query; an upload is the body."""
    in_path = frozenset(operation.path_names)
    has_body = operation.method in {"POST", "PUT", "PATCH"} and operation.upload_name is None
    rest = Place.BODY if has_body else Place.QUERY
    found = {p.name: Place.PATH if p.name in in_path else rest for p in operation.parameters}
    if operation.upload_name is not None:
        found[operation.upload_name] = Place.UPLOAD
    return found


def alternatives(annotation: Any) -> tuple[shapes.Type, ...]:
    """The types a parameter's annotation allows."""
    return _flat(shapes.type_info(annotation))


def _flat(found: shapes.Type) -> tuple[shapes.Type, ...]:
    while isinstance(found, shapes.Metadata):
        found = found.type
    return found.types if isinstance(found, shapes.UnionType) else (found,)


def items_of(annotation: Any) -> tuple[shapes.Type, ...]:
    """The types an item of a list may have; nothing when the parameter is no list."""
    found = (shape for shape in alternatives(annotation) if isinstance(shape, _REPEATED))
    return tuple(item for shape in found for item in _flat(shape.item_type))


def is_list(annotation: Any) -> bool:
    """Whether a query (a command line) gives the parameter by repeating its name: a list of plain texts."""
    items = items_of(annotation)
    return bool(items) and not any(isinstance(item, _NESTED) for item in items)


def is_text_like(annotation: Any) -> bool:
    """Whether one plain text can be the parameter's value; else it is written as JSON."""
    return not any(isinstance(shape, _NESTED) for shape in alternatives(annotation))


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every reply that is not a success."""

    code: str
    message: str
    hint: str = ""
    where: str = ""
    decision_id: str = ""
    """the recorded decision, when a policy said no"""


def failure_of(error: LoopwrightError) -> Failure:
    """The error as it is sent."""
    decision = error.decision_id if isinstance(error, PolicyBlocked) else ""
    return Failure(
        code=error.code, message=error.message, hint=error.hint, where=error.where, decision_id=decision
    )


def _kinds() -> dict[str, type[LoopwrightError]]:
    named = (getattr(errors, name) for name in errors.__all__)
    found = {kind.code: kind for kind in named if "code" in vars(kind) and kind is not LoopwrightError}
    return {**found, Fault.code: Fault}


def error_of(failure: Failure) -> LoopwrightError:
    """The error that was sent, as the same class; an unknown code is a `Fault`."""
    kind = _kinds().get(failure.code, Fault)
    if kind is PolicyBlocked:
        return PolicyBlocked(
            failure.message, decision_id=failure.decision_id, hint=failure.hint, where=failure.where
        )
    return kind(failure.message, hint=failure.hint, where=failure.where)
