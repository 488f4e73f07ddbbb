"""Puts the small parts at the end of a dataset together as it grows, so that a reader opens few files."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from loopwright.core.manifests import ManifestEntry

__all__ = ["BATCH", "LEVEL", "Tail", "batches_of", "tail_to_pack"]

BATCH, LEVEL = "batch", "level"
"""facts of a part: the batch or the batches it was made of, and how often its rows were put together"""
_TOGETHER = 16
_SMALL_ROWS = 20_000


class Tail(msgspec.Struct, frozen=True, kw_only=True):
    """The last parts of a dataset that a new part is put together with; `level` is what it then has."""

    entries: tuple[ManifestEntry, ...] = ()
    level: int = 0


def tail_to_pack(entries: Sequence[ManifestEntry]) -> Tail:
    """The parts that the next one takes up: the last fifteen of a level, where so many small ones end alike.

    Levels are filled one after the other, so a row is written a logarithmic number of times (to base 16),
    and a dataset of n appends has about 15 log16(n) small parts, not n.
    """
    taken, level = 0, 0
    while True:
        first = len(entries) - taken - (_TOGETHER - 1)
        run = entries[first : len(entries) - taken] if first >= 0 else ()
        if not run or any(_level(entry) != level or (entry.rows or 0) > _SMALL_ROWS for entry in run):
            return Tail(entries=tuple(entries[len(entries) - taken :]), level=level)
        taken, level = taken + len(run), level + 1


def _level(entry: ManifestEntry) -> int:
    return int(entry.facts.get(LEVEL, 0))


def batches_of(entry: ManifestEntry) -> tuple[str, ...]:
    """The names of the batches that are in a part."""
    named: str | Sequence[str] = entry.facts.get(BATCH, ())
    return (named,) if isinstance(named, str) else tuple(named)
