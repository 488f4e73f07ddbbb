"""The trash of the ledger: what lies there, and how it goes for good."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from loopwright.core.nouns import Asset, Run, Version
from loopwright.ports.pages import Page, PageRequest

__all__ = ["Trash"]


class Trash(Protocol):
    """What lies in the trash, oldest there first, and its removal for good.

    A removed run is found by nobody; while edges of the lineage name it a tombstone stays. A removed version
    stays as a tombstone, so that its number is not used again; a removed asset goes with all its versions.
    """

    def runs(self, space: str, request: PageRequest, *, before: datetime | None = None) -> Page[Run]:
        """Runs in the trash, those that went there before an instant where one is given."""

    def assets(self, space: str, request: PageRequest, *, before: datetime | None = None) -> Page[Asset]:
        """Assets in the trash, as `runs`."""

    def versions(self, space: str, request: PageRequest, *, before: datetime | None = None) -> Page[Version]:
        """Versions in the trash that were not removed, as `runs`."""

    def remove_run(self, run_id: str, at: datetime) -> None:
        """Take a run away with its params, tags and latest metrics; `NotFound` when it is not there."""

    def tombstone(self, run_id: str) -> Run | None:
        """What is left of a removed run (who, when, name and kind), or None."""

    def sweep_run(self, run_id: str, limit: int) -> int:
        """Take away at most so many points of a removed run; 0 when none was left.

        With the last of them goes the row itself, unless edges name it. A run that is there stays whole.
        """

    def remove_version(self, version_id: str, at: datetime) -> None:
        """Leave of a version its tombstone; `NotFound` when it is not there. Aliases must be gone."""

    def remove_asset(self, asset_id: str) -> None:
        """Take an asset away with its versions and aliases; `NotFound` when it is not there."""

    def clear_files(self, space: str, owner: str, limit: int) -> int:
        """Take away at most so many files of an owner; how many there were."""

    def spaces(self) -> Sequence[str]:
        """The spaces that hold anything, by name."""
