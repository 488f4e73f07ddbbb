"""The repository of what assets are found and ranked by: lines beside the assets, one an asset and name."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from loopwright.core.nouns import Asset
from loopwright.core.queries import Comparison

__all__ = ["Measure", "Measured", "Measures", "RankKey", "RankedAsked", "Worded"]


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """A line of an asset: what was measured under a name, or only that it has the name."""

    asset_id: str
    name: str
    """who writes it chooses it, and finds by it again"""
    space: str
    home: str
    """the group in which assets are ranked, such as an experiment"""
    asset: str
    """the name of the asset, and `made_ms` when it was made: neither ever changes"""
    made_ms: int
    value: float = 0.0
    """the latest; it may be NaN"""
    least: float | None = None
    most: float | None = None
    """no number that was measured lies outside of these; None where there was none but NaN"""
    at_us: int = 0
    step: int = 0
    place: str = ""
    """tells points of one time and step apart; empty where nothing was measured"""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """The asset has a line of one of these names, and where a limit is told, numbers so low or so high."""

    names: tuple[str, ...]
    low: float | None = None
    """some number is this or more"""
    high: float | None = None
    """some number is this or less"""


class Worded(msgspec.Struct, frozen=True, kw_only=True):
    """What stands behind `prefix` in the name of its one line that begins so compares with a text."""

    prefix: str
    test: Comparison


class RankKey(msgspec.Struct, frozen=True, kw_only=True):
    """What assets are ordered by.

    `measure`: the latest value under a name; NaN comes after numbers, and what has none last, both ways.
    `word`: what stands behind a prefix in the name of its one line that begins so, and every one has one.
    `fact`: a text at the top of the facts. `made`, `changed`: milliseconds. `name`: the asset's.
    """

    kind: Literal["measure", "word", "fact", "made", "changed", "name"]
    key: str = ""
    descending: bool = False


class RankedAsked(msgspec.Struct, frozen=True, kw_only=True):
    """Which assets are wanted, in which order, and how many."""

    limit: int
    homes: tuple[str, ...]
    every: str
    """the name of the line that all those among which is looked have"""
    order: tuple[RankKey, ...]
    """its last is the name, which tells all apart"""
    measured: tuple[Measured, ...] = ()
    worded: tuple[Worded, ...] = ()
    """these hold of all that come"""
    facts: tuple[tuple[str, str], ...] = ()
    """names and texts that stand in the facts, however deep; some more may come where they only seem to"""
    tags: Mapping[str, str] = {}
    """what they have to be tagged with, as `facts`"""
    made_ms: tuple[int | None, int | None] = (None, None)
    """made no earlier and no later"""
    after: tuple[str | float | None, ...] | None = None
    """only those behind this place: a value a key, None where there is none"""


class Measures(Protocol):
    """What assets are found and ranked by. A line goes with its asset when that is removed."""

    def of(self, asset_id: str, names: Collection[str]) -> Mapping[str, Measure]:
        """The lines of an asset that are there, by name."""

    def put(self, measures: Sequence[Measure]) -> None:
        """Make or replace lines; no asset and name twice."""

    def remove(self, asset_id: str, names: Collection[str]) -> None:
        """Take lines away; nothing happens where there is none."""

    def ranked(self, space: str, asked: RankedAsked) -> Sequence[Asset]:
        """Assets that are not in the trash."""
