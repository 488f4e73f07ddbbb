"""Which test of a search is passed by so few runs that it begins with those, instead of walking its order.

What it costs to find out is bounded: entries of an index are counted to a limit, different texts of a key are
listed to a limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, NamedTuple

from loopwright.adapters.sql.repositories.conditions import Conditions, text_test
from loopwright.adapters.sql.repositories.texts import HEAD
from loopwright.adapters.sql.statements import Session
from loopwright.core.queries import All, Comparison, Condition

__all__ = ["Narrow", "are_few", "narrowest"]

_FEW = 2_000
"""so many are always sorted"""
_SOME = 20_000
"""so many are, where a walk would find a page later still"""
_ALL = 1_000_000
_TEXTS = 100
"""different texts of one key"""
_OF_KEY = "s.experiment_no = ? AND s.key_no = ?"


class Narrow(NamedTuple):
    """A test that few rows of an index pass."""

    table: str
    where: str
    arguments: tuple[Any, ...]
    settled: Comparison | None = None
    """what holds of all that pass"""


def narrowest(
    session: Session,
    conditions: Conditions,
    asked: Condition,
    experiment: int,
    *,
    wanted: int,
    bounds: Sequence[Condition] = (),
) -> Narrow | None:
    """Of the tests that every run has to pass, the one to begin with for a page of `wanted` runs.

    `bounds` are those that bound the walk itself: where fewest pass such a one, the walk is the shortest way.
    """
    parts = asked.parts if isinstance(asked, All) else (asked,)
    tests, least, found = list[tuple[Narrow, int | None]](), _SOME, None
    for test in _tests(session, conditions, parts, experiment):
        count = _count(session, test, least)
        tests.append((test, count if count < least or least == _SOME else None))
        if count < least:
            least, found = count, test
        if least <= wanted:
            break
    if found is None or found.settled in bounds:
        return None
    if least < _FEW:
        return found
    counts = [
        _count(session, test, _SOME) if count is None else count
        for test, count in tests
        if test.settled not in bounds
    ]

    def is_far(runs: int) -> bool:
        return wanted / prod(count / runs for count in counts if count < _SOME) > least

    return found if is_far(_runs_ever(session)) and is_far(_runs(session, experiment)) else None


def are_few(session: Session) -> bool:
    """Whether a walk over every run there was would be short."""
    return _runs_ever(session) <= _SOME


def _tests(
    session: Session, conditions: Conditions, parts: Sequence[Condition], experiment: int
) -> Iterator[Narrow]:
    """The tests that an index answers, those first that are the quickest to look at."""
    asked = [part for part in parts if isinstance(part, Comparison)]
    for part in sorted(asked, key=lambda part: (part.op != "=", part.field.kind != "metric")):
        test = _test(session, conditions, part, experiment)
        if test is not None:
            yield test


def _test(session: Session, conditions: Conditions, asked: Comparison, experiment: int) -> Narrow | None:
    kind, key = asked.field.kind, asked.field.key
    match kind, asked.op, asked.value:
        case "metric", ("=" | "<" | "<=" | ">" | ">=") as op, (int() | float()) as value:
            where = f"{_OF_KEY} AND s.is_nan = 0 AND s.value {op} ?"
            values = (experiment, conditions.key_number(key), float(value))
            return Narrow("metric_latest", where, values, asked)
        case (("param" | "tag"), "=", str() as value):
            where, number = f"{_OF_KEY} AND s.head = ?", conditions.key_number(key)
            settled = asked if len(value) < HEAD else None
            return Narrow(f"run_{kind}s", where, (experiment, number, value[:HEAD]), settled)
        case (("param" | "tag"), op, _) if op not in {"IS NULL", "IS NOT NULL"}:
            return _of_texts(session, conditions, asked, experiment)
    return None


def _of_texts(session: Session, conditions: Conditions, asked: Comparison, experiment: int) -> Narrow | None:
    """Where a key has few different texts, those of them that pass."""
    table, number = f"run_{asked.field.kind}s", conditions.key_number(asked.field.key)
    next_text = f"SELECT MIN(s.head) FROM {table} s WHERE {_OF_KEY}"
    listed = (
        f"WITH RECURSIVE t(head) AS (SELECT * FROM ({next_text}) f UNION ALL "
        f"SELECT ({next_text} AND s.head > t.head) FROM t WHERE t.head IS NOT NULL) "
        "SELECT t.head FROM t WHERE t.head IS NOT NULL LIMIT ?"
    )
    found = session.fetch(listed, (experiment, number, experiment, number, _TEXTS + 1))
    texts = [str(row[0]) for row in found]
    if len(texts) > _TEXTS or any(len(text) >= HEAD for text in texts):
        return None
    test, arguments = text_test("t.head", asked, is_sqlite=session.is_sqlite)
    rows = ", ".join(["(CAST(? AS TEXT))"] * len(texts)) or "(NULL)"
    passing = session.fetch(
        f"WITH t(head) AS (VALUES {rows}) SELECT head FROM t WHERE {test}", [*texts, *arguments]
    )
    heads = [str(row[0]) for row in passing]
    marks = ", ".join("?" * len(heads))
    where = f"{_OF_KEY} AND s.head IN ({marks})" if heads else f"{_OF_KEY} AND 0 = 1"
    return Narrow(table, where, (experiment, number, *heads), asked)


def _count(session: Session, found: Narrow, most: int) -> int:
    text = f"SELECT COUNT(*) FROM (SELECT 1 FROM {found.table} s WHERE {found.where} LIMIT ?) few"
    return int(session.fetch(text, [*found.arguments, most])[0][0])


def _runs_ever(session: Session) -> int:
    """No experiment has more, and this is known at once."""
    return max(1, int(session.fetch("SELECT MAX(no) FROM runs", ())[0][0] or 0))


def _runs(session: Session, experiment: int) -> int:
    text = "SELECT COUNT(*) FROM (SELECT 1 FROM runs WHERE experiment_no = ? LIMIT ?) some"
    return max(1, int(session.fetch(text, [experiment, _ALL])[0][0]))
