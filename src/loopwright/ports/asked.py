"""What the ledger is asked of assets and versions: questions whose answers are read piece by piece."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from loopwright.core.queries import Comparison

__all__ = ["LineKey", "LinesAsked", "OrderedAsked", "VersionLine"]


class VersionLine(msgspec.Struct, frozen=True, gc=False):
    """What a version is searched by: its row as it lies, so that thousands are read in milliseconds."""

    id: str
    name: str
    number: int
    run_id: str | None
    created_us: int
    changed_us: int
    """when it was made where it never changed; microseconds since 1970, as `created_us`"""
    tags_json: str
    facts_json: str


class OrderedAsked(msgspec.Struct, frozen=True, kw_only=True):
    """Which assets of a kind are wanted, in which order, and how many."""

    limit: int
    by_change: bool = False
    """by the milliseconds of the last change (of the making where there is none), then by name"""
    descending: bool = False
    """the latest change first"""
    names_descending: bool = False
    tags: Mapping[str, str] = {}
    """what they have to be tagged with; some more may come that only seem to be"""
    told: tuple[Comparison, ...] = ()
    """of the attribute `name` and of tags: all hold, but others may come of tags with odd names"""
    after: tuple[int, str] | None = None
    """only those behind this milliseconds of change (by change alone) and name"""


class LineKey(msgspec.Struct, frozen=True):
    """What lines of versions are ordered by: `made` and `changed` are milliseconds."""

    kind: Literal["name", "number", "made", "changed"]
    descending: bool = False


_LATEST = (LineKey("changed", descending=True), LineKey("name"), LineKey("number", descending=True))


class LinesAsked(msgspec.Struct, frozen=True, kw_only=True):
    """Which lines of versions are wanted, in which order, and how many."""

    limit: int
    name: str | None = None
    run_id: str | None = None
    tags: Mapping[str, str] = {}
    """what they have to be tagged with; some more may come that only seem to be"""
    told: tuple[Comparison, ...] = ()
    """of the attribute `name` and of tags: all hold, but others may come of tags with odd names"""
    sources: tuple[Comparison, ...] = ()
    """of the text of the fact `source`: all hold where there is one; versions without it come as well"""
    order: tuple[LineKey, ...] = _LATEST
    """it tells every two versions apart; the latest change first unless told"""
    after: tuple[int | str, ...] | None = None
    """only those behind this place: a value a key"""
