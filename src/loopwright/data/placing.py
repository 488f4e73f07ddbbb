"""Puts kept files where a version of a folder is checked out: cloned, linked read-only or copied."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from loopwright.core.digests import digest_bytes
from loopwright.core.errors import Conflict, Corrupt
from loopwright.data.listing import FilePage, ListedFile
from loopwright.ports.objects import Objects

__all__ = ["Placer", "Way"]

Way = Literal["auto", "clone", "link", "copy"]

_CLONE = 0x40049409
"""FICLONE of Linux: a copy that shares its blocks until one of them is written"""
_NO_CLONE = frozenset({errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.ENOTTY, errno.EINVAL})


class Placer:
    """Writes files below a root. With `beside` each is written under another name first, then replaces."""

    def __init__(self, objects: Objects, root: Path, way: Way, *, beside: bool) -> None:
        self._objects = objects
        self._root = str(root)
        self._way = way
        self._beside = beside

    def make_folder(self, folder: str) -> None:
        """A folder below the root, each part a real one: a link in its place would lead out of the root."""
        place = Path(self._root)
        for part in folder.split("/") if folder else ():
            place = place / part
            place.mkdir(exist_ok=True)
            if place.is_symlink():
                raise Conflict(f"{place} is a link", hint="check out into an empty folder")

    def place(self, page: FilePage, same: Mapping[str, str]) -> list[Way]:
        """Write a page's files but those that are the same already; how each came there."""
        wanted = [file for file in page.files if same.get(file.path) != file.digest]
        pack = memoryview(b"")
        if page.pack is not None and any(file.offset is not None for file in wanted):
            pack = memoryview(self._objects.get(page.pack))
        return [self._put(file, pack) for file in wanted]

    def _put(self, file: ListedFile, pack: memoryview) -> Way:
        place = f"{self._root}/{file.path}"
        if not self._beside:
            return self._write(file, pack, place)
        draft = f"{os.path.dirname(place)}/.{secrets.token_hex(8)}"
        try:
            way = self._write(file, pack, draft)
            os.replace(draft, place)
        finally:
            if os.path.lexists(draft):
                os.unlink(draft)
        return way

    def _write(self, file: ListedFile, pack: memoryview, place: str) -> Way:
        if file.offset is not None:
            _unpack(file, pack, place)
            return "copy"
        source = self._objects.local_path(file.digest)
        if source is None:
            with self._objects.open(file.digest) as content, open(place, "xb") as out:
                shutil.copyfileobj(content, out, 1 << 20)
            return "copy"
        if self._way == "link":
            os.link(source, place)
            return "link"
        if self._way in {"auto", "clone"} and _clone(source, place, must=self._way == "clone"):
            return "clone"
        shutil.copyfile(source, place)
        return "copy"


def _unpack(file: ListedFile, pack: memoryview, place: str) -> None:
    start = file.offset or 0
    data = pack[start : start + file.size_bytes]
    if digest_bytes(data) != file.digest:
        raise Corrupt(f"the file {file.path!r} is not in its pack", hint="restore the store from a backup")
    handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        while data:
            data = data[os.write(handle, data) :]
    finally:
        os.close(handle)


def _clone(source: Path, place: str, *, must: bool) -> bool:
    import fcntl

    with source.open("rb") as content, open(place, "xb") as out:
        try:
            fcntl.ioctl(out.fileno(), _CLONE, content.fileno())
        except OSError as error:
            os.unlink(place)
            if must or error.errno not in _NO_CLONE:
                raise
            return False
    return True
