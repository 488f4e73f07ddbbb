"""Stores whose whole content can be carried to another one, and looked over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import msgspec

__all__ = ["Dumpable", "StoreCheck"]


class StoreCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What a look over the whole store found; `faults` says in words what is wrong, empty when nothing is."""

    kind: str
    """`sqlite`, `postgresql`, `memory`"""
    revision: str
    faults: tuple[str, ...]
    rows: dict[str, int]
    """rows by table"""
    size_bytes: int


class Dumpable(Protocol):
    """A store whose whole content can be carried to another one, of whatever kind."""

    def dump(self) -> Iterator[bytes]:
        """The whole store at one snapshot, as lines of JSON without their ends, in flat memory."""

    def load(self, lines: Iterable[bytes]) -> int:
        """Fill an empty store with a dump in one unit of work; how many rows.

        `Conflict` when it is not empty, `Corrupt` when the dump is not whole, `Unavailable` when it is of
        another revision.
        """

    def empty(self) -> None:
        """Take every row away, as in a store newly made: numbers given out start over. For tests of others.

        Nothing else may use the store meanwhile, in this process or another.
        """

    def check(self) -> StoreCheck:
        """Look over the whole store: the file's own integrity, revision, rows that name what is not there."""
