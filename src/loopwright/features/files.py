"""The join as known at an instant on files of this machine; needs no workspace."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from loopwright.core.errors import Invalid, NotFound, Unavailable
from loopwright.engine.context import Context
from loopwright.engine.scratch import scratch
from loopwright.ports.tables import AsOfJoin

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["JoinReport", "join_files"]


class JoinReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a join of files gave."""

    out: str
    rows: int
    columns: tuple[str, ...]
    """names of the columns that were added"""


def join_files(
    ctx: Context, spine: str, view: str, out: str, *, join: AsOfJoin, memory_bytes: int | None = None
) -> JoinReport:
    """Join a view's file to a spine's file and write the result, whole or not at all.

    The process takes `memory_bytes` of anonymous memory at the most (half of the machine's).
    """
    for path in (spine, view):
        if not Path(path).is_file():
            raise NotFound(f"there is no file {path}", hint="give the path of a Parquet file")
    _check_zone(join.zone)
    with _whole(Path(out)) as draft:
        found = ctx.ports.tables.join_files(spine, view, draft, join, memory_bytes=memory_bytes)
    return JoinReport(out=out, rows=found.rows, columns=found.columns)


def _check_zone(zone: str) -> None:
    try:
        ZoneInfo(zone or "UTC")
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise Invalid(f"there is no zone {zone!r}", hint="name it as America/New_York or UTC") from error


@contextmanager
def _whole(path: Path) -> Iterator[str]:
    """A file beside, which takes the place of the path at the end, and is removed otherwise."""
    with scratch(path.parent) as folder:
        try:
            yield str(folder / path.name)
            (folder / path.name).replace(path)
        except OSError as error:
            raise Unavailable(
                f"{path} cannot be written: {error.strerror or error}",
                hint="choose another place or free some space",
            ) from error
