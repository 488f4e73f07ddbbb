"""Places in an order of several keys: what lies beyond one, and how a token holds it."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from loopwright.adapters.sql.rows import Row
from loopwright.core.errors import Invalid

__all__ = ["Atom", "beyond", "read_place", "sorted_rows"]


class Atom(NamedTuple):
    """One expression an order goes by; it is never null."""

    sql: str
    descending: bool
    kind: type


def beyond(atoms: Sequence[Atom], place: Sequence[Any]) -> tuple[str, list[Any]]:
    """The condition that a row comes after a place, with its arguments."""
    parts, arguments = list[str](), list[Any]()
    for number, atom in enumerate(atoms):
        equal = [f"{before.sql} = ?" for before in atoms[:number]]
        parts.append(" AND ".join([*equal, f"{atom.sql} {'<' if atom.descending else '>'} ?"]))
        arguments += place[: number + 1]
    first = f"{atoms[0].sql} {'<=' if atoms[0].descending else '>='} ?"
    return f"({first} AND ({' OR '.join(f'({part})' for part in parts)}))", [place[0], *arguments]


def read_place(token: str, orders: Sequence[Sequence[Atom]]) -> tuple[int, tuple[Any, ...]]:
    """The stretch a token is of and the place in it; the first stretch's begin for no token."""
    if not token:
        return 0, ()
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        number, *place = msgspec.msgpack.decode(raw, type=list[int | float | str])
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise Invalid("the page token is not one of ours", hint="start again without a token") from error
    if not isinstance(number, int) or not 0 <= number < len(orders):
        raise _foreign()
    atoms = orders[number]
    if len(place) != len(atoms):
        raise _foreign()
    return number, tuple(_typed(value, atom) for value, atom in zip(place, atoms, strict=True))


def _typed(value: Any, atom: Atom) -> Any:
    if atom.kind is float and isinstance(value, int | float) and not math.isnan(value):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, atom.kind):
        raise _foreign()
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise _foreign()
    return value


def _foreign() -> Invalid:
    return Invalid("the page token is of another list", hint="start again without a token")


def sorted_rows(rows: Sequence[Row], atoms: Sequence[Atom]) -> list[Row]:
    """Rows `(number, *atoms)` in order: the last key first, each sort keeping what the later ones did."""
    found = list(rows)
    for place in range(len(atoms), 0, -1):
        found.sort(key=lambda row: row[place], reverse=atoms[place - 1].descending)
    return found
