"""Folders for what does not fit into memory: gone at the end, and after a kill at the next start."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loopwright.core.errors import Unavailable

__all__ = ["scratch"]

_PREFIX = ".loopwright-scratch-"


@contextmanager
def scratch(beside: Path | None = None) -> Iterator[Path]:
    """An empty folder in `beside` (the system's folder for temporary files) that goes with the block.

    Its owner holds a lock on it, which a killed process lets go of: what such ones left in the same place
    is removed first. `Unavailable` when no folder can be made there.
    """
    place = beside if beside is not None else Path(tempfile.gettempdir())
    try:
        _sweep(place)
        folder, held = _made(place)
    except OSError as error:
        raise Unavailable(
            f"{place} cannot be written: {error.strerror or error}",
            hint="choose another place or free some space",
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def _made(place: Path) -> tuple[Path, int]:
    """A new folder and its lock; another sweep may take a folder in the moment before it is locked."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        held = _locked(folder)
        if held is not None and folder.is_dir():
            return folder, held
        if held is not None:
            os.close(held)


def _sweep(place: Path) -> None:
    """Remove the folders there that nobody holds."""
    for folder in place.glob(f"{_PREFIX}*"):
        held = _locked(folder)
        if held is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(held)


def _locked(folder: Path) -> int | None:
    """An open handle that holds the folder, None while another process does, or where there is none."""
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(opened)
        return None
    return opened
