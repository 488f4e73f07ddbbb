"""The trash of the ledger in memory, over the tables of one unit of work."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

from msgspec.structs import replace

from loopwright.core.instants import to_micros
from loopwright.core.nouns import Asset, Run, Version
from loopwright.ports.ledger import Page, PageRequest
from loopwright.testing.ledger_unit import Unit, missing, page_of

__all__ = ["MemoryTrash"]

T = TypeVar("T", Asset, Version, Run)


class MemoryTrash:
    """Fulfils `ports.ledger.Trash`."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def runs(self, space: str, request: PageRequest, *, before: datetime | None = None) -> Page[Run]:
        """Runs in the trash, those that went there first first."""
        return _page(list(self._unit.rows("runs").values()), space, request, before)

    def assets(self, space: str, request: PageRequest, *, before: datetime | None = None) -> Page[Asset]:
        """Assets in the trash."""
        return _page(list(self._unit.rows("assets").values()), space, request, before)

    def versions(self, space: str, request: PageRequest, *, before: datetime | None = None) -> Page[Version]:
        """Versions in the trash that were not removed."""
        standing = [each for each in self._unit.rows("versions").values() if each.removed_at is None]
        return _page(standing, space, request, before)

    def remove_run(self, run_id: str, at: datetime) -> None:
        """Take a run away with its params, tags and latest metrics."""
        run: Run | None = self._unit.edit("runs").pop(run_id, None)
        if run is None:
            raise missing(f"run:{run_id}")
        left = replace(run, experiment=None, params={}, tags={}, facts={}, deleted_at=at)
        self._unit.edit("tombstones")[run_id] = left

    def tombstone(self, run_id: str) -> Run | None:
        """What is left of a removed run, or None."""
        return self._unit.rows("tombstones").get(run_id)

    def sweep_run(self, run_id: str, limit: int) -> int:
        """Take away at most so many points of a removed run; 0 when none was left."""
        if run_id not in self._unit.rows("tombstones"):
            return 0
        points = self._unit.edit("points")
        keys = [key for key in points if key[0] == run_id]
        for key in keys[:limit]:
            del points[key]
        edges: Any = self._unit.rows("links").values()
        if len(keys) < limit and not any(edge.run_id == run_id for _, edge in edges):
            del self._unit.edit("tombstones")[run_id]
        return min(limit, len(keys))

    def remove_version(self, version_id: str, at: datetime) -> None:
        """Leave of a version its tombstone."""
        for key, version in self._unit.rows("versions").items():
            if version.id == version_id and version.removed_at is None:
                bare = {"facts": {}, "tags": {}, "description": "", "stage": ""}
                self._unit.edit("versions")[key] = replace(version, removed_at=at, **bare)
                return
        raise missing("version")

    def remove_asset(self, asset_id: str) -> None:
        """Take an asset away with its versions and aliases."""
        if self._unit.edit("assets").pop(asset_id, None) is None:
            raise missing(f"asset {asset_id!r}")
        for table in ("versions", "aliases", "measures"):
            rows = self._unit.edit(table)
            for key in [key for key in rows if key[0] == asset_id]:
                del rows[key]

    def clear_files(self, space: str, owner: str, limit: int) -> int:
        """Take away at most so many files of an owner; how many there were."""
        files = self._unit.edit("artifacts")
        found = sorted(key for key in files if key[:2] == (space, owner))[:limit]
        for key in found:
            del files[key]
        return len(found)

    def spaces(self) -> Sequence[str]:
        """The spaces that hold anything, by name."""
        tables = ("assets", "runs", "tombstones")
        return tuple(sorted({row.space for table in tables for row in self._unit.rows(table).values()}))


def _page(items: list[T], space: str, request: PageRequest, before: datetime | None) -> Page[T]:
    def gone(item: T) -> bool:
        at = item.deleted_at
        return item.space == space and at is not None and (before is None or at < before)

    def place(item: T) -> tuple[int, str]:
        return (0 if item.deleted_at is None else to_micros(item.deleted_at), item.id)

    return page_of(filter(gone, items), request, place, newest_first=False)
