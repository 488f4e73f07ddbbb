"""Erasure: whose rows go, and what every store of rows must be able to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import msgspec

from loopwright.core.digests import canonical
from loopwright.core.errors import Invalid
from loopwright.core.nouns import Version
from loopwright.engine.context import Context
from loopwright.ports.world import Keys

__all__ = ["MARKS_FILE", "Held", "Holder", "Subject", "parse_subject", "values_named"]

MARKS_FILE = "erasures.jsonl"
"""beside the ledger: a line for each erasure, so that it outlives a ledger restored from before it"""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """Who or what is erased: the rows in which every one of these columns has this value."""

    columns: tuple[str, ...]
    values: tuple[str, ...]
    """as text; a column of another type holds it where the text can be read as that type"""

    def mark(self, keys: Keys) -> str:
        """A keyed digest, 64 hex digits: who has the workspace's key can tell the subject again."""
        return keys.sign(b"erasure\0" + canonical([list(self.columns), list(self.values)]))


def parse_subject(parts: Iterable[str]) -> Subject:
    """Read `column=value` parts, in the order of their columns; `Invalid` for what is no such part."""
    found: dict[str, str] = {}
    for part in parts:
        column, sign, value = part.partition("=")
        if not sign or not column or not value:
            raise Invalid("an entity is named as column=value", hint="such as passenger=123", where="entity")
        if column in found:
            raise Invalid(f"the column {column!r} is named twice", hint="name it once", where="entity")
        found[column] = value
    if not found:
        raise Invalid("no entity is named", hint="name it as column=value", where="entity")
    columns = tuple(sorted(found))
    return Subject(columns=columns, values=tuple(found[column] for column in columns))


def values_named(parts: Iterable[Any], name: str) -> set[str]:
    """As text, every value that a field of that name has in what these say, however deep."""
    found, waiting = set[str](), list(parts)
    while waiting:
        at = waiting.pop()
        if isinstance(at, dict):
            there = at.get(name)
            if isinstance(there, str | int | float) and not isinstance(there, bool):
                found.add(str(there))
            waiting += at.values()
        elif isinstance(at, list):
            waiting += at
    return found


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What a holder has of a subject, or had before it went."""

    rows: int = 0
    places: int = 0
    """versions, segments, views or entries the rows are in"""
    renewed: Mapping[str, str] = {}
    """digest of each manifest that was written anew, and that of its successor"""
    objects: frozenset[str] = frozenset()
    """objects that held it, and that nothing of this holder names any more"""
    versions: tuple[Version, ...] = ()
    """whose rows went, as they are now"""
    keys: frozenset[str] = frozenset()
    """names that other rows know the subject's rows by, such as ids of predictions"""


class Holder(Protocol):
    """A store of rows that erasure asks. Erasing again what has gone is a no-op."""

    name: str
    keeps: Mapping[str, str]
    """modules that write these rows, and what they are"""

    def find(self, ctx: Context, subject: Subject, keys: frozenset[str]) -> Held:
        """What there is of a subject; `keys` are what the holders before it told of."""

    def erase(self, ctx: Context, subject: Subject, keys: frozenset[str]) -> Held:
        """Take it away, in everything that is kept; the objects themselves go when all holders are done."""

    def known(self, ctx: Context, columns: tuple[str, ...]) -> Iterable[tuple[str, ...]]:
        """Values these columns have, as text, each at least once: by these a mark is recognised."""
