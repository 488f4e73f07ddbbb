"""What the ledger is asked of assets and versions: questions whose answers are read piece by piece."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

__all__ = ["LinesAsked", "OrderedAsked", "VersionLine"]


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
    after: tuple[int, str] | None = None
    """only those behind this milliseconds of change (by change alone) and name"""


class LinesAsked(msgspec.Struct, frozen=True, kw_only=True):
    """Which lines of versions are wanted, and how many."""

    limit: int
    name: str | None = None
    run_id: str | None = None
    tags: Mapping[str, str] = {}
    """what they have to be tagged with; some more may come that only seem to be"""
    after: tuple[int, str, int] | None = None
    """only those behind this milliseconds of change, name and number"""
