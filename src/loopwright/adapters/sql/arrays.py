"""Rows as one array a column, as PostgreSQL reads arrays: one statement inserts them all."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain, repeat
from typing import Any

from loopwright.core.errors import Invalid

__all__ = ["arrays_of", "bigints", "doubles", "smallints"]


def arrays_of(rows: Sequence[Sequence[Any]]) -> tuple[str, ...]:
    """The literal of each column; numbers are written so that the same number is read."""
    return tuple([_literal(column) for column in zip(*rows, strict=True)])


def bigints(values: Sequence[int]) -> bytes:
    """An array in the server's binary form, which costs both sides less than a literal."""
    return _binary("q", 8, 20, values)


def smallints(values: Sequence[int]) -> bytes:
    """As `bigints`."""
    return _binary("h", 2, 21, values)


def doubles(values: Sequence[float]) -> bytes:
    """As `bigints`."""
    return _binary("d", 8, 701, values)


def _binary(code: str, size: int, kind: int, values: Sequence[float]) -> bytes:
    """Dimensions, whether there are nulls, the elements' type, how many, the first one's number; then all.

    Each has its size before it.
    """
    sized = chain.from_iterable(zip(repeat(size), values))
    try:
        return _form(code, len(values)).pack(1, 0, kind, len(values), 1, *sized)
    except (struct.error, OverflowError) as error:
        raise Invalid(f"a value cannot be kept: {error}", hint="give 64-bit numbers") from error


@lru_cache(maxsize=64)
def _form(code: str, count: int) -> struct.Struct:
    return struct.Struct(">5i" + f"i{code}" * count)


def _literal(values: Sequence[Any]) -> str:
    kinds = set(map(type, values))
    if kinds <= {int, float}:
        return "{" + ",".join(map(str, values)) + "}"
    if kinds == {str} and not _is_marked("".join(values)):
        return '{"' + '","'.join(values) + '"}'
    return "{" + ",".join(map(_element, values)) + "}"


def _is_marked(text: str) -> bool:
    """Whether it has what stands for something else in an array."""
    return '"' in text or "\\" in text


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if not isinstance(value, str):
        return str(value)
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
