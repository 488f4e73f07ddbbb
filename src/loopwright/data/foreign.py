"""Reads schemas of Pandera as contracts, by what they are made of: the library itself is not imported."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from loopwright.core.errors import Invalid
from loopwright.core.expressions import Expr, col
from loopwright.core.schema import ColumnType
from loopwright.data.nouns import ColumnRule, Contract, RowRule, UniqueKey

__all__ = ["contract_of_schema", "is_schema"]

_TYPES = (
    (("bool",), ColumnType.BOOL),
    (("int", "uint"), ColumnType.INT),
    (("float", "decimal"), ColumnType.FLOAT),
    (("str", "string", "utf8", "categorical", "enum"), ColumnType.STRING),
    (("datetime", "date"), ColumnType.INSTANT),
)
_Build = Callable[[Expr, Mapping[str, Any]], Expr]


def is_schema(source: object) -> bool:
    """Whether it is a schema or model of Pandera, of whichever engine."""
    kind = source if isinstance(source, type) else type(source)
    homes = {parent.__module__.partition(".")[0] for parent in kind.__mro__}
    return "pandera" in homes and (hasattr(source, "to_schema") or hasattr(source, "columns"))


def contract_of_schema(source: Any) -> Contract:
    """The contract that says what a schema of Pandera says; `Invalid` for a check that has no form as data.

    Null breaks no check, as there. Coercion, defaults and parsers change data and are refused; a strict
    schema refuses other columns.
    """
    schema = source.to_schema() if hasattr(source, "to_schema") else source
    if schema.checks or getattr(schema, "parsers", None):
        raise _unsaid("a check or parser of the whole frame")
    columns, rows = [], list[RowRule]()
    for name, column in schema.columns.items():
        columns.append(_column(name, column))
        rows += [_check(name, check) for check in column.checks]
    unique = [
        UniqueKey(columns=(name,), within="batch") for name, column in schema.columns.items() if column.unique
    ]
    if schema.unique:
        unique.append(UniqueKey(columns=tuple(schema.unique), within="batch"))
    return Contract(
        name=_name(schema.name or "schema"),
        columns=tuple(columns),
        rows=_apart(rows),
        unique=tuple(unique),
        other_columns="refuse" if schema.strict is True else "keep",
    )


def _name(text: str) -> str:
    return re.sub(r"\W+", "-", text).strip("-").lower() or "schema"


def _unsaid(what: str) -> Invalid:
    return Invalid(
        f"the schema has {what}, which no contract says",
        hint="leave it out of the schema, and write it as a row rule of the contract",
    )


def _column(name: str, column: Any) -> ColumnRule:
    if getattr(column, "regex", False):
        raise _unsaid(f"the pattern of columns {name!r}")
    if not column.required:
        raise _unsaid(f"the column {name!r} that may be missing")
    if getattr(column, "coerce", False) or getattr(column, "parsers", None):
        raise _unsaid(f"the column {name!r} that is changed before it is checked")
    return ColumnRule(
        name=name,
        type=_type(name, column.dtype),
        nullable=bool(column.nullable),
        description=column.description or "",
    )


def _type(name: str, dtype: object) -> ColumnType:
    said = str(dtype).lower()
    for words, kind in _TYPES:
        if said.startswith(words):
            return kind
    raise _unsaid(f"the column {name!r} of type {dtype}")


def _apart(rows: list[RowRule]) -> tuple[RowRule, ...]:
    """The rules, those of one name told apart by a number."""
    seen: dict[str, int] = {}
    found = []
    for rule in rows:
        seen[rule.name] = seen.get(rule.name, 0) + 1
        name = rule.name if seen[rule.name] == 1 else f"{rule.name} ({seen[rule.name]})"
        found.append(RowRule(name=name, expr=rule.expr, severity=rule.severity))
    return tuple(found)


def _check(name: str, check: Any) -> RowRule:
    build = _BUILDERS.get(check.name)
    if build is None or getattr(check, "groupby", None) is not None:
        raise _unsaid(f"the check {check.name!r} of the column {name!r}")
    if not check.ignore_na:
        raise _unsaid(f"the check {check.name!r} of the column {name!r} that nulls break")
    severity = "warn" if check.raise_warning else "quarantine"
    words = str(check.name).replace("_", " ")
    return RowRule(name=f"{name} is {words}", expr=build(col(name), check.statistics), severity=severity)  # type: ignore[arg-type]  # one of two


def _in_range(value: Expr, said: Mapping[str, Any]) -> Expr:
    least, most = said["min_value"], said["max_value"]
    low: Expr = value >= least if said.get("include_min", True) else value > least
    high: Expr = value <= most if said.get("include_max", True) else value < most
    return low & high


def _notin(value: Expr, said: Mapping[str, Any]) -> Expr:
    return ~value.is_in(list(said["forbidden_values"]))


def _length(value: Expr, said: Mapping[str, Any]) -> Expr:
    exact = said.get("exact_value")
    low = exact if exact is not None else said.get("min_value")
    high = exact if exact is not None else said.get("max_value")
    return value.matches(f"(?s:.{{{low or 0},{'' if high is None else high}}})")


_BUILDERS: Mapping[str, _Build] = {
    "equal_to": lambda value, said: value.eq(said["value"]),
    "not_equal_to": lambda value, said: value.ne(said["value"]),
    "greater_than": lambda value, said: value > said["min_value"],
    "greater_than_or_equal_to": lambda value, said: value >= said["min_value"],
    "less_than": lambda value, said: value < said["max_value"],
    "less_than_or_equal_to": lambda value, said: value <= said["max_value"],
    "in_range": _in_range,
    "isin": lambda value, said: value.is_in(list(said["allowed_values"])),
    "notin": _notin,
    "str_matches": lambda value, said: value.matches(f"(?:{_text(said['pattern'])})(?s:.*)"),
    "str_contains": lambda value, said: value.matches(f"(?s:.*)(?:{_text(said['pattern'])})(?s:.*)"),
    "str_startswith": lambda value, said: value.matches(f"{re.escape(said['string'])}(?s:.*)"),
    "str_endswith": lambda value, said: value.matches(f"(?s:.*){re.escape(said['string'])}"),
    "str_length": _length,
}


def _text(pattern: Any) -> str:
    found: str = pattern if isinstance(pattern, str) else pattern.pattern
    return found
