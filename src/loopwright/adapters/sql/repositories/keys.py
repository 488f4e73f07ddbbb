"""Names of metrics, params and tags as numbers: each is written once for a space."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import BindParameter, Select, bindparam, select

from loopwright.adapters.sql import schema
from loopwright.adapters.sql.rows import Row
from loopwright.adapters.sql.schema import BIG, TEXT
from loopwright.adapters.sql.statements import Session, insert_new

__all__ = ["among", "key_numbers", "known_keys", "rows_among"]

_k = schema.metric_keys.c
_ADD = insert_new(schema.metric_keys, ["space", "name"])
_CHUNK = 64


@lru_cache(maxsize=8)
def _among(count: int) -> Select[Any]:
    names = [bindparam(f"name_{i}", type_=TEXT) for i in range(count)]
    return select(_k.name, _k.no).where(_k.space == bindparam("space"), _k.name.in_(names))


def key_numbers(session: Session, space: str, names: set[str]) -> dict[str, int]:
    """The number of each name, made where it is new."""
    found = known_keys(session, space, names)
    missing = sorted(names - found.keys())
    if missing:
        session.change_many(_ADD, [{"space": space, "name": name} for name in missing])
        found.update(known_keys(session, space, missing))
    return found


def known_keys(session: Session, space: str, names: Iterable[str]) -> dict[str, int]:
    """The number of each name that has one."""
    ordered, found = list(names), dict[str, int]()
    for start in range(0, len(ordered), _CHUNK):
        part = ordered[start : start + _CHUNK]
        count = 1 if len(part) == 1 else 8 if len(part) <= 8 else _CHUNK
        padded = part + [part[-1]] * (count - len(part))
        binds = {f"name_{i}": name for i, name in enumerate(padded)}
        found.update((row[0], row[1]) for row in session.rows(_among(count), space=space, **binds))
    return found


def among(count: int = _CHUNK) -> list[BindParameter[int]]:
    """The parameters of a statement that `rows_among` fills."""
    return [bindparam(f"no_{i}", type_=BIG) for i in range(count)]


def rows_among(session: Session, statement: Select[Any], numbers: Sequence[int]) -> list[Row]:
    """All rows of a statement about a set of numbers (`among`), asked in parts."""
    found: list[Row] = []
    for start in range(0, len(numbers), _CHUNK):
        part = numbers[start : start + _CHUNK]
        padded = [*part, *([part[-1]] * (_CHUNK - len(part)))]
        found += session.rows(statement, **{f"no_{i}": number for i, number in enumerate(padded)})
    return found
