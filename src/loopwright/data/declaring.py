"""Contracts written as a class: columns as typed attributes, other rules as plain ones."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.expressions import Expr, Scalar
from loopwright.core.schema import ColumnType
from loopwright.data import nouns
from loopwright.data.foreign import contract_of_schema, is_schema
from loopwright.data.nouns import (
    ColumnRule,
    Comparison,
    Distribution,
    Freshness,
    GroupRule,
    Reference,
    Release,
    RowRule,
    Severity,
    TableSeverity,
    UniqueKey,
    Volume,
)
from loopwright.ports.scans import Aggregate

__all__ = ["Contract", "contract", "field", "group", "row"]

_TYPES: Mapping[object, ColumnType] = {
    bool: ColumnType.BOOL,
    int: ColumnType.INT,
    float: ColumnType.FLOAT,
    str: ColumnType.STRING,
    datetime: ColumnType.INSTANT,
}
_HOMES: Mapping[type, str] = {
    RowRule: "rows",
    GroupRule: "groups",
    UniqueKey: "unique",
    Reference: "references",
    Freshness: "freshness",
    Comparison: "comparisons",
    Distribution: "distributions",
}
_SINGLE: Mapping[type, str] = {Volume: "volume", Release: "release"}
_VALUE = "__loopwright_contract__"


class _Field(msgspec.Struct, frozen=True, kw_only=True):
    """What an attribute says of its column beside its type."""

    rules: dict[str, Any]
    name: str = ""
    unique: bool = False
    key: bool = False


def field(
    *,
    name: str = "",
    min: float | str | None = None,
    max: float | str | None = None,
    allowed: typing.Iterable[Scalar] = (),
    forbidden: typing.Iterable[Scalar] = (),
    pattern: str = "",
    mostly: float = 1.0,
    unique: bool = False,
    key: bool = False,
    severity: Severity = "quarantine",
    tags: typing.Iterable[str] = (),
    description: str = "",
) -> Any:
    """What a column must be like, beside the type and nullability that its annotation says.

    `name` is the column's, where it is no Python name. The fields with `key` together are the primary key.
    """
    rules = {
        "min": min,
        "max": max,
        "allowed": tuple(allowed),
        "forbidden": tuple(forbidden),
        "pattern": pattern,
        "mostly": mostly,
        "severity": severity,
        "tags": tuple(tags),
        "description": description,
    }
    return _Field(rules=rules, name=name, unique=unique, key=key)


def row(
    expr: Expr, *, null_fails: bool = False, severity: Severity = "quarantine", mostly: float = 1.0
) -> RowRule:
    """A condition on each row, named as its attribute."""
    return RowRule(name="", expr=expr, null_fails=null_fails, severity=severity, mostly=mostly)


def group(
    by: str | tuple[str, ...],
    of: Aggregate,
    expr: Expr | None = None,
    *,
    min: float | None = None,
    max: float | None = None,
    severity: TableSeverity = "warn",
    mostly: float = 1.0,
) -> GroupRule:
    """A condition on each group of rows, named as its attribute."""
    keys = (by,) if isinstance(by, str) else by
    return GroupRule(name="", by=keys, of=of, expr=expr, min=min, max=max, severity=severity, mostly=mostly)


class _Declaring(type):
    """Calling `Contract` itself gives the value; a subclass is a declaration and is not called."""

    def __call__(cls, **fields: Any) -> nouns.Contract:
        if cls.__dict__.get(_VALUE) is not None:
            raise Invalid(
                f"{cls.__name__} is a contract and makes no instances", hint="pass the class itself"
            )
        return nouns.Contract(**fields)


class Contract(metaclass=_Declaring):
    """What every batch of a dataset must be like, as a class.

    An attribute with an annotation is a column: `bool`, `int`, `float`, `str` or `datetime`, with `| None`
    where it may be null, and a `field` for what else must hold. Other rules (`row`, `group`, `UniqueKey`,
    `Reference`, `Freshness`, `Comparison`, `Distribution`, `Volume`, `Release`) are attributes without one.
    A subclass of a declaration has its rules too. `contract(Flights)` is the value, which is kept as JSON.
    """

    def __init_subclass__(
        cls, *, name: str = "", other_columns: Literal["keep", "refuse"] = "keep", **rest: Any
    ) -> None:
        super().__init_subclass__(**rest)
        setattr(cls, _VALUE, _declared(cls, name or cls.__name__.lower(), other_columns))


def contract(source: object) -> nouns.Contract:
    """The contract that a declaration, a value, a mapping or text of JSON, or a schema of Pandera says."""
    match source:
        case nouns.Contract():
            return source
        case type() if (found := getattr(source, _VALUE, None)) is not None:
            return typing.cast(nouns.Contract, found)
        case str() | bytes():
            return _decoded(lambda: msgspec.json.decode(source, type=nouns.Contract))
        case Mapping():
            return _decoded(lambda: msgspec.convert(dict(source), nouns.Contract))
        case _ if is_schema(source):
            return contract_of_schema(source)
    raise Invalid(
        f"a {type(source).__name__} is no contract",
        hint="give a subclass of lw.Contract, its JSON form, or a schema of Pandera",
    )


def _decoded(read: typing.Callable[[], nouns.Contract]) -> nouns.Contract:
    try:
        return read()
    except msgspec.MsgspecError as error:
        raise Invalid(
            f"the contract cannot be read: {error}", hint="see the reference of contracts"
        ) from error


def _declared(cls: type, name: str, other_columns: Literal["keep", "refuse"]) -> nouns.Contract:
    annotations = typing.get_type_hints(cls)
    members: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        members |= {key: value for key, value in vars(base).items() if not key.startswith("__")}
    columns, fields = [], []
    for attribute, kind in annotations.items():
        said = members.get(attribute, _Field(rules={}))
        if not isinstance(said, _Field):
            raise Invalid(
                f"{cls.__name__}.{attribute} is a column, but is {said!r}", hint="write lw.field(...)"
            )
        columns.append(_column(cls, attribute, kind, said))
        fields.append((columns[-1].name, said))
    rules: dict[str, list[Any]] = {home: [] for home in _HOMES.values()}
    rules["unique"] += _keys(fields)
    single: dict[str, Any] = {}
    for attribute, value in members.items():
        if attribute not in annotations:
            _place(rules, single, cls, attribute, value)
    made: dict[str, Any] = {home: tuple(found) for home, found in rules.items()}
    return nouns.Contract(name=name, columns=tuple(columns), other_columns=other_columns, **made, **single)


def _keys(fields: list[tuple[str, _Field]]) -> list[UniqueKey]:
    found = [
        UniqueKey(columns=(name,), severity=said.rules["severity"]) for name, said in fields if said.unique
    ]
    primary = tuple(name for name, said in fields if said.key)
    return [UniqueKey(columns=primary, primary=True), *found] if primary else found


def _place(
    rules: dict[str, list[Any]], single: dict[str, Any], cls: type, attribute: str, value: Any
) -> None:
    if (home := _HOMES.get(type(value))) is not None:
        is_nameless = isinstance(value, (RowRule, GroupRule)) and not value.name
        named = attribute.replace("_", " ")
        rules[home].append(msgspec.structs.replace(value, name=named) if is_nameless else value)
    elif type(value) in _SINGLE:
        single[_SINGLE[type(value)]] = value
    else:
        raise Invalid(
            f"{cls.__name__}.{attribute} is no rule", hint="annotate columns; give rules as lw.row(...)"
        )


def _column(cls: type, attribute: str, kind: Any, said: _Field) -> ColumnRule:
    parts = (
        typing.get_args(kind)
        if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union
        else (kind,)
    )
    known = [part for part in parts if part is not type(None)]
    if len(known) != 1 or known[0] not in _TYPES:
        raise Invalid(
            f"{cls.__name__}.{attribute} is of type {kind}",
            hint="use bool, int, float, str or datetime, or | None",
        )
    return ColumnRule(
        name=said.name or attribute, type=_TYPES[known[0]], nullable=len(known) < len(parts), **said.rules
    )
