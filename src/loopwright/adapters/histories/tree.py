"""Reads small files below one folder, wherever links lead never outside it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loopwright.core.errors import Corrupt, Denied, Invalid, NotFound, Unavailable
from loopwright.core.plain_yaml import read_yaml

__all__ = ["Tree", "open_regular", "real_below"]

_LARGEST = 64 << 20
_DEEPEST = 32
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


def real_below(base: str, rest: str) -> Path:
    """The real place of a path below a folder that is real itself; `Denied` when it is not below it."""
    if "\0" in rest:
        raise Denied("a path has a character that no file's name has")
    found = os.path.realpath(os.path.join(base, *rest.strip("/").split("/")))
    if found != base and not found.startswith(base.rstrip("/") + "/"):
        raise Denied("a path or a link leads out of the root", hint="copy the files there, then try again")
    return Path(found)


def open_regular(base: str, path: Path) -> int:
    """A descriptor of a regular file at a real path below a folder; what else is there is not waited for.

    Folder by folder, each held open and none of them a link: one that is swapped for a link since the path
    was found real leads nowhere.
    """
    *folders, name = path.relative_to(base).parts or (".",)
    folder = os.open(base, _FOLDER)
    try:
        for part in folders:
            inner = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotFound("it is no file")
    return descriptor


class Tree:
    """Files below a folder by their paths from it."""

    def __init__(self, folder: Path) -> None:
        self.base = os.path.realpath(folder)

    def has(self, path: str) -> bool:
        """Whether something is there."""
        return os.path.exists(real_below(self.base, path))

    def names(self, path: str) -> list[str]:
        """What is in a folder, by name; nothing in none."""
        try:
            found = os.listdir(real_below(self.base, path))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise Unavailable(f"a folder cannot be read: {error.strerror}") from error
        return sorted(found)

    def leaves(self, path: str) -> Iterator[str]:
        """Paths, from the folder, of the files in it however deep: keys with slashes are folders."""
        yield from self._leaves(path, "", 0)

    def _leaves(self, path: str, inside: str, depth: int) -> Iterator[str]:
        for name in self.names(path) if depth <= _DEEPEST else ():
            below = f"{path}/{name}"
            if real_below(self.base, below).is_dir():
                yield from self._leaves(below, f"{inside}{name}/", depth + 1)
            else:
                yield f"{inside}{name}"

    def text(self, path: str) -> str:
        """A small file as a text."""
        with self.opened(path) as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise Corrupt("a file of the store is too large for what it is", where=path[-200:])
        return str(data.decode("utf-8", "replace"))

    def opened(self, path: str) -> Any:
        """A file, to be read and closed."""
        try:
            return os.fdopen(open_regular(self.base, real_below(self.base, path)), "rb")
        except FileNotFoundError as error:
            raise NotFound("a file of the store is gone", where=path[-200:]) from error
        except OSError as error:
            raise Unavailable(f"a file of the store cannot be read: {error.strerror}") from error

    def meta(self, path: str, name: str = "meta.yaml") -> dict[str, Any]:
        """The `meta.yaml` of a folder, or another such file; `Corrupt` for what is none."""
        try:
            found = read_yaml(self.text(f"{path}/{name}").encode())
        except Invalid as error:
            raise Corrupt(f"a {name[:50]} cannot be read", where=path[-200:]) from error
        if not isinstance(found, dict):
            raise Corrupt(f"a {name[:50]} holds no fields", where=path[-200:])
        return found
