"""Declarations to the entries of the index."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import inspect as shapes

from loopwright.client.index import Entry, Index, Parameter
from loopwright.engine.operation import Operation, Upload
from loopwright.engine.wire import alternatives, is_list, is_text_like, items_of, places

__all__ = ["entry_of", "index_of"]

_ARGUMENT = re.compile(r"^ {4}(\w+)(?: \([^)]*\))?: (.+)$")
_SCALARS: tuple[tuple[type[shapes.Type], str], ...] = (
    (shapes.BoolType, "flag"),
    (shapes.IntType, "integer"),
    (shapes.FloatType, "number"),
    (shapes.EnumType, "choice"),
    (shapes.LiteralType, "choice"),
)


def index_of(operations: Iterable[Operation]) -> Index:
    """The index of these operations, ordered by name."""
    return Index(tuple(entry_of(op) for op in sorted(operations, key=lambda op: op.name)))


def entry_of(operation: Operation) -> Entry:
    """What can be known of an operation without its code."""
    place = places(operation)
    helps = _argument_helps(operation.help)
    return Entry(
        name=operation.name,
        command=operation.command,
        module=operation.function.__module__,
        function=operation.function.__name__,
        form=operation.form,
        scope=operation.scope,
        summary=operation.summary,
        help=operation.help,
        method=operation.method,
        path=operation.path,
        local=operation.local,
        workspace=operation.workspace,
        parameters=tuple(
            _parameter(p, _local(p) if operation.local else place[p.name].value, helps.get(p.name, ""))
            for p in operation.parameters
        ),
    )


def _local(parameter: inspect.Parameter) -> str:
    by_place = parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    return "argument" if by_place and parameter.default is inspect.Parameter.empty else "local"


def _parameter(parameter: inspect.Parameter, place: str, help_text: str) -> Parameter:
    required = parameter.default is inspect.Parameter.empty
    return Parameter(
        name=parameter.name,
        place=place,
        kind=_kind(parameter.annotation),
        item=_only_kind(items_of(parameter.annotation)) if _is_list(parameter.annotation) else "text",
        required=required,
        default=None if required else msgspec.to_builtins(parameter.default),
        choices=_choices(parameter.annotation),
        help=help_text or _described(parameter.annotation),
    )


def _kind(annotation: Any) -> str:
    if annotation is Upload:
        return "upload"
    if is_list(annotation):
        return "list"
    return _only_kind(alternatives(annotation)) if is_text_like(annotation) else "json"


def _is_list(annotation: Any) -> bool:
    return annotation is not Upload and is_list(annotation)


def _only_kind(found: tuple[shapes.Type, ...]) -> str:
    """The one kind of these types, or text."""
    kinds = {_scalar(shape) for shape in found if not isinstance(shape, shapes.NoneType)}
    return kinds.pop() if len(kinds) == 1 else "text"


def _scalar(shape: shapes.Type) -> str:
    return next((kind for type_, kind in _SCALARS if isinstance(shape, type_)), "text")


def _choices(annotation: Any) -> tuple[str, ...]:
    if annotation is Upload:
        return ()
    for shape in alternatives(annotation):
        if isinstance(shape, shapes.EnumType):
            return tuple(str(member.value) for member in shape.cls)
        if isinstance(shape, shapes.LiteralType):
            return tuple(str(value) for value in shape.values)
    return ()


def _described(annotation: Any) -> str:
    """The description in the annotation's metadata (`Annotated[int, Meta(...)]`), if it has one."""
    for meta in typing.get_args(annotation)[1:]:
        if isinstance(meta, msgspec.Meta) and meta.description:
            return meta.description
    return ""


def _argument_helps(docstring: str) -> dict[str, str]:
    """The lines of an `Args:` section by name, continuation lines joined."""
    found: dict[str, str] = {}
    name = ""
    section = docstring.partition("\nArgs:\n")[2]
    for line in section.splitlines():
        matched = _ARGUMENT.match(line)
        if matched:
            name = matched[1]
            found[name] = matched[2].strip()
        elif name and line.startswith("        "):
            found[name] += f" {line.strip()}"
        else:
            break
    return found
