"""Files below a folder of this machine, reached folder by folder: none of them a link, whoever swaps it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

__all__ = ["Spot", "opened_below", "spot_below"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class Spot(NamedTuple):
    """A name in an open folder."""

    folder: int
    name: str


@contextmanager
def spot_below(root: str, path: str) -> Iterator[Spot]:
    """Where a relative path is, its folder held open; `OSError` where a part of it is a link or no folder.

    The root itself may be reached by links: whoever names it means what it leads to.
    """
    *parts, name = path.split("/")
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts:
            inner = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield Spot(folder, name)
    finally:
        os.close(folder)


def opened_below(root: str, path: str) -> int:
    """A descriptor of the file at a relative path, which is no link; `OSError` for one that cannot be."""
    with spot_below(root, path) as spot:
        return os.open(spot.name, _FILE, dir_fd=spot.folder)
