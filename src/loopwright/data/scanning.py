"""Looks at a folder of this machine: which files it has, and whether they are as they were."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from loopwright.core.errors import Conflict, Invalid, NotFound, Unavailable
from loopwright.data.listing import check_relative

__all__ = ["Mark", "Remembered", "Seen", "forget_fresh", "mark_of", "scan"]

_TICK_NS = 50_000_000
_COARSE_TICK_NS = 2_000_000_000
"""file systems keep times in milliseconds, some in seconds: a second write within one is not seen"""


class Mark(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What tells that a file was written since: size, times of content and of inode in nanoseconds, inode."""

    size_bytes: int
    modified_ns: int
    changed_ns: int
    inode: int


class Seen(NamedTuple):
    """A file of a folder."""

    path: str
    mark: Mark


class Remembered(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The digest a file had under a mark."""

    mark: Mark
    digest: str


def mark_of(found: os.stat_result) -> Mark:
    """The mark of a file from what the file system says."""
    return Mark(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def scan(root: Path) -> list[Seen]:
    """The files below a folder, however deep, by path.

    Links, devices, pipes and names that are no UTF-8 are `Invalid`: what they would mean elsewhere is not
    known. Empty folders do not count.
    """
    try:
        if not root.is_dir():
            raise NotFound(f"there is no folder {root}", hint="give the path of a folder")
        found = list(_below(str(root), ""))
    except FileNotFoundError as error:
        raise Conflict(
            f"{error.filename} went away meanwhile", hint="try again when nobody writes"
        ) from error
    except OSError as error:
        raise Unavailable(
            f"{error.filename} cannot be read: {error.strerror}", hint="see to its permissions"
        ) from error
    found.sort()
    return found


def _below(folder: str, prefix: str) -> Iterator[Seen]:
    with os.scandir(folder) as entries:
        for entry in entries:
            path = check_relative(prefix + entry.name)
            found = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                yield from _below(entry.path, f"{path}/")
            elif stat.S_ISREG(found.st_mode):
                yield Seen(path, mark_of(found))
            else:
                kind = "a link" if stat.S_ISLNK(found.st_mode) else "no regular file"
                raise Invalid(
                    f"{path!r} is {kind}", hint="put a copy of what it means in its place, or move it away"
                )


def forget_fresh(marks: dict[str, Remembered], started_ns: int) -> dict[str, Remembered]:
    """Those that can be relied on later: files whose content had rested when the scan began."""
    return {path: each for path, each in marks.items() if _had_rested(each.mark.modified_ns, started_ns)}


def _had_rested(modified_ns: int, started_ns: int) -> bool:
    tick = _TICK_NS if modified_ns % 1_000_000 else _COARSE_TICK_NS
    return modified_ns < started_ns - tick
