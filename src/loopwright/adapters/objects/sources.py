"""Files of others as sources of rows: of this machine, or in any store that fsspec speaks to."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from glob import glob, has_magic
from pathlib import Path
from typing import Any, BinaryIO, cast

from loopwright.adapters.objects.drivers import connected
from loopwright.core.errors import Invalid, NotFound, TooLarge, Unavailable
from loopwright.ports.sources import Origin, SeenFile

__all__ = ["LocalFiles", "StoreFiles"]

_LIMIT = 4 << 30
_MOST = 100_000
_TICK_S = 2.0
"""a file written so lately may be written again with the same times"""


class LocalFiles:
    """Fulfils `ports.sources.FileSource` by a file, the files below a folder, or those of a pattern."""

    def __init__(self, path: str, *, limit: int = _LIMIT) -> None:
        self._given = path
        self._root = path if os.path.isdir(path) else ""
        self._limit = limit

    def seen(self, marks: Mapping[str, str]) -> Sequence[SeenFile]:
        """By path, each with size, times and inode."""
        try:
            found = sorted(self._paths())
            return tuple(SeenFile(path=path, mark=_mark(os.stat(self._place(path)))) for path in found)
        except OSError as error:
            raise _unreadable(error) from error

    def open(self, path: str) -> BinaryIO:
        """The file, held open."""
        try:
            file = open(self._place(path), "rb", opener=_opened_regular)  # noqa: SIM115 - given on
            size = os.fstat(file.fileno()).st_size
        except OSError as error:
            raise _unreadable(error) from error
        if size > self._limit:
            file.close()
            raise TooLarge(
                f"{path or self._given} has {size:,} bytes, over {self._limit:,}", hint="split it up"
            )
        return file

    def media_type(self, path: str) -> str:
        """Nothing is said but by its name."""
        return ""

    def close(self) -> None:
        """Nothing is held."""

    def _place(self, path: str) -> str:
        if not path:
            return self._given
        return os.path.join(self._root, path) if self._root else path

    def _paths(self) -> Iterator[str]:
        if self._root:
            yield from _below(self._root, "")
        elif os.path.exists(self._given):
            yield ""
        elif has_magic(self._given):
            found = [path for path in glob(self._given, recursive=True) if os.path.isfile(path)]
            yield from (_checked(path) for path in found)
            if not found:
                raise NotFound(f"no file is like {self._given}", hint="look at the pattern")
        else:
            raise NotFound(f"there is no {self._given}", hint="name a file, a folder or a pattern")


def _opened_regular(path: str, flags: int) -> int:
    """A descriptor of a file that has an end; a pipe would be waited for, and a device never ends."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise Invalid(f"{path} is a pipe or a device", hint="write its rows into a file first")
    return os.open(path, flags | os.O_NONBLOCK)


def _below(folder: str, prefix: str) -> Iterator[str]:
    """Files of tables below a folder; what begins with a dot or an underscore is somebody's own."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith((".", "_")):
                continue
            path = _checked(prefix + entry.name)
            kind = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(kind):
                yield from _below(entry.path, f"{path}/")
            elif stat.S_ISREG(kind):
                yield path
            else:
                raise Invalid(f"{path!r} is a link, or no regular file", hint="name the files by a pattern")


def _checked(path: str) -> str:
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise Invalid(f"the file name {path!r} is no UTF-8", hint="rename the file") from error
    return path


def _mark(found: os.stat_result) -> str:
    mark = f"{found.st_size}-{found.st_mtime_ns}-{found.st_ctime_ns}-{found.st_ino}"
    is_fresh = time.time() - max(found.st_mtime, found.st_ctime) < _TICK_S
    return f"{mark}-fresh" if is_fresh else mark


def _unreadable(error: OSError) -> Unavailable | NotFound:
    if isinstance(error, FileNotFoundError):
        return NotFound(f"{error.filename} went away", hint="look at the path")
    return Unavailable(f"{error.filename} cannot be read: {error.strerror}", hint="see to its permissions")


class StoreFiles:
    """Fulfils `ports.sources.FileSource` by what lies below an address of an object store, or is like it."""

    def __init__(self, origin: Origin, *, limit: int = _LIMIT) -> None:
        scheme, _, place = origin.address.partition("://")
        self._pattern = place if has_magic(place) else ""
        base = str(Path(place[: place.index(_magic(place))]).parent) if self._pattern else place
        self._files, self._root, self._errors = connected(f"{scheme}://{base}", dict(origin.options))
        self._errors = (OSError, *self._errors)
        self._limit = limit
        self._is_one = False
        self._shown = f"{scheme}://{place}"

    def seen(self, marks: Mapping[str, str]) -> Sequence[SeenFile]:
        """By path, each with what the store tells of it without giving it."""
        with self._translated():
            self._files.invalidate_cache()
            if self._pattern:
                found = cast("dict[str, Any]", self._files.glob(self._pattern, detail=True))
            else:
                found = cast("dict[str, Any]", self._files.find(self._root, detail=True))
        files = {path: told for path, told in found.items() if told.get("type") == "file"}
        if not files:
            raise NotFound(f"nothing is at {self._shown}", hint="look at the address")
        if len(files) > _MOST:
            raise TooLarge(f"{len(files):,} files are at {self._shown}", hint="name fewer by a pattern")
        self._is_one = list(files) == [self._root]
        named = {self._relative(path): told for path, told in files.items()}
        kept = {path: told for path, told in named.items() if not _is_own(path)}
        return tuple(SeenFile(path=path, mark=_store_mark(told)) for path, told in sorted(kept.items()))

    def open(self, path: str) -> BinaryIO:
        """The object, read as it is asked for."""
        place = self._root if self._is_one else f"{self._root}/{path}"
        with self._translated():
            size = int(self._files.info(place).get("size") or 0)
            if size > self._limit:
                raise TooLarge(f"{path} has {size:,} bytes, over {self._limit:,}", hint="split it up")
            return cast(BinaryIO, self._files.open(place, "rb"))

    def media_type(self, path: str) -> str:
        """Nothing is said but by its name."""
        return ""

    def close(self) -> None:
        """Connections belong to the driver, which shares them."""

    def _relative(self, path: str) -> str:
        return "" if path == self._root else path.removeprefix(self._root).lstrip("/")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise NotFound(f"nothing is at {self._shown}", hint="look at the address") from error
        except self._errors as error:
            raise Unavailable(
                f"{self._shown} does not answer: {type(error).__name__}",
                hint="look at the address and at the options of its driver",
            ) from error


def _magic(place: str) -> str:
    return min((sign for sign in "*?[" if sign in place), key=place.index)


def _is_own(path: str) -> bool:
    return any(part.startswith((".", "_")) for part in path.split("/"))


def _store_mark(told: Mapping[str, Any]) -> str:
    tag = told.get("ETag") or told.get("etag") or told.get("md5Hash") or told.get("created") or ""
    written = told.get("LastModified") or told.get("last_modified") or told.get("mtime") or ""
    return f"{told.get('size')}-{tag}-{written}"
