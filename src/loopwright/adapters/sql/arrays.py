"""Rows as one array a column, as PostgreSQL reads arrays: one statement inserts them all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["arrays_of"]


def arrays_of(rows: Sequence[Sequence[Any]]) -> tuple[str, ...]:
    """The literal of each column; numbers are written so that the same number is read."""
    return tuple([_literal(column) for column in zip(*rows, strict=True)])


def _literal(values: Sequence[Any]) -> str:
    kinds = set(map(type, values))
    if kinds <= {int, float}:
        return "{" + ",".join(map(str, values)) + "}"
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if not isinstance(value, str):
        return str(value)
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
