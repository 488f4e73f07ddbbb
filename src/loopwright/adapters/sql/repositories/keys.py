"""Names of metrics, params and tags as numbers: each is written once for a space."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import ARRAY, BigInteger, Column, Select, any_, bindparam, select

from loopwright.adapters.sql import schema
from loopwright.adapters.sql.arrays import arrays_of
from loopwright.adapters.sql.rows import Row
from loopwright.adapters.sql.schema import BIG, TEXT
from loopwright.adapters.sql.statements import Session, insert_new

__all__ = ["Among", "among", "ask_among", "key_numbers", "known_keys", "rows_among"]

_k = schema.metric_keys.c
_ADD = insert_new(schema.metric_keys, ["space", "name"])
_CHUNK = 64
_REMEMBERED = 20_000


@lru_cache(maxsize=8)
def _among(count: int) -> Select[Any]:
    names = [bindparam(f"name_{i}", type_=TEXT) for i in range(count)]
    return select(_k.name, _k.no).where(_k.space == bindparam("space"), _k.name.in_(names))


def key_numbers(session: Session, space: str, names: set[str]) -> dict[str, int]:
    """The number of each name, made where it is new.

    A name's number never changes: the session remembers those that it found, until a work is undone.
    """
    known = session.remembered
    if len(known) > _REMEMBERED:
        known.clear()
    missing = sorted(name for name in names if (space, name) not in known)
    if missing:
        found = known_keys(session, space, missing)
        new = [name for name in missing if name not in found]
        if new:
            session.change_many(_ADD, [{"space": space, "name": name} for name in new])
            found.update(known_keys(session, space, new))
        known.update(((space, name), number) for name, number in found.items())
    return {name: known[space, name] for name in names}


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


class Among(NamedTuple):
    """A question about one number, the same about many, and about an array of them (of PostgreSQL)."""

    one: Select[Any]
    many: Select[Any]
    array: Select[Any]


def among(question: Select[Any], column: Column[int]) -> Among:
    """A question about rows whose `column` is one of a set of numbers, as `rows_among` asks it."""
    names = [bindparam(f"no_{i}", type_=BIG) for i in range(_CHUNK)]
    array = any_(bindparam("numbers", type_=ARRAY(BigInteger)))
    return Among(
        question.where(column == bindparam("no", type_=BIG)),
        question.where(column.in_(names)),
        question.where(column == array),
    )


def ask_among(
    session: Session, question: Among, numbers: Sequence[int], then: Callable[[Sequence[Row]], object]
) -> None:
    """As `rows_among`; a store over a wire answers with the next question."""
    if session.is_sqlite or not numbers:
        then(rows_among(session, question, numbers))
        return
    (literal,) = arrays_of([(number,) for number in numbers])
    session.ask(question.array, then, numbers=literal)


def rows_among(session: Session, question: Among, numbers: Sequence[int]) -> list[Row]:
    """All rows of a question about a set of numbers, asked in parts where there are no arrays."""
    if len(numbers) == 1:
        return list(session.rows(question.one, no=numbers[0]))
    if not numbers:
        return []
    if not session.is_sqlite:
        (literal,) = arrays_of([(number,) for number in numbers])
        return list(session.rows(question.array, numbers=literal))
    found: list[Row] = []
    for start in range(0, len(numbers), _CHUNK):
        part = numbers[start : start + _CHUNK]
        padded = [*part, *([part[-1]] * (_CHUNK - len(part)))]
        found += session.rows(question.many, **{f"no_{i}": number for i, number in enumerate(padded)})
    return found
