"""Tells a workspace's processes of one another by locks on files in its folder; a killed one leaves none."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loopwright.core.errors import Conflict, Unavailable

__all__ = ["AT_WORK", "ERASING", "FILLING", "IN_USE", "alone", "in_turn", "shared"]

IN_USE = "in-use"
"""held by whoever has the workspace open"""
AT_WORK = "at-work"
"""held by whoever carries out its schedules, reactions and jobs"""
ERASING = "erasing"
"""held alone by whoever erases something: others neither take that for broken off nor erase beside it"""
FILLING = "filling"
"""held by whoever hands rows of versions to the online store, a moment; alone by whoever erases them there"""

_SHARED = {
    IN_USE: ("is being put in another one's place", "wait for `loopwright restore` to end"),
    AT_WORK: (
        "is in a replay, whose clock is not that of the wall",
        "stop `loopwright demo` there first, or give another --workspace",
    ),
}
_ALONE = {
    IN_USE: ("is open in another process", "stop `loopwright up`, workers and commands there, then repeat"),
    AT_WORK: (
        "is worked in by another process",
        "stop `loopwright demo`, `up` or `worker` there, or give another --workspace",
    ),
    ERASING: ("is being erased from at this moment", "wait for that to end, then erase again"),
}


@contextmanager
def shared(folder: Path, mark: str) -> Iterator[None]:
    """A block in which this process holds the mark beside others; `Conflict` when one holds it alone."""
    with _locked(folder, mark, fcntl.LOCK_SH, _SHARED[mark]):
        yield


@contextmanager
def alone(folder: Path, mark: str) -> Iterator[None]:
    """A block in which no other process holds the mark; `Conflict` when one does."""
    with _locked(folder, mark, fcntl.LOCK_EX, _ALONE[mark]):
        yield


@contextmanager
def in_turn(folder: Path, mark: str, *, is_alone: bool) -> Iterator[None]:
    """A block that waits until nobody else holds the mark, or (not alone) nobody holds it alone."""
    file = _opened(folder / mark)
    try:
        fcntl.flock(file, fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(file)


@contextmanager
def _locked(folder: Path, mark: str, lock: int, refusal: tuple[str, str]) -> Iterator[None]:
    file = _opened(folder / mark)
    try:
        _take(file, lock, f"the workspace {folder} {refusal[0]}", refusal[1])
        yield
    finally:
        os.close(file)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(
            f"the workspace {path.parent} cannot be written: {error.strerror}",
            hint="make the folder writable, or choose another one with --workspace",
        ) from error


def _take(file: int, lock: int, message: str, hint: str) -> None:
    try:
        fcntl.flock(file, lock | fcntl.LOCK_NB)
    except OSError as error:
        raise Conflict(message, hint=hint) from error
