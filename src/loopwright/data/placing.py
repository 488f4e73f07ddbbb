"""Puts kept files where a version of a folder is checked out: cloned, linked read-only or copied."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Literal

from loopwright.core.digests import digest_bytes
from loopwright.core.errors import Conflict, Corrupt
from loopwright.data.below import Spot, spot_below
from loopwright.data.listing import FilePage, ListedFile
from loopwright.ports.objects import Objects

__all__ = ["Placer", "Way"]

Way = Literal["auto", "clone", "link", "copy"]

_CLONE = 0x40049409
"""FICLONE of Linux: a copy that shares its blocks until one of them is written"""
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
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
        parts = folder.split("/") if folder else []
        for depth in range(1, len(parts) + 1):
            with spot_below(self._root, "/".join(parts[:depth])) as spot:
                with suppress(FileExistsError):
                    os.mkdir(spot.name, dir_fd=spot.folder)
                found = os.stat(spot.name, dir_fd=spot.folder, follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                raise Conflict(f"{'/'.join(parts[:depth])} is a link", hint="check out into an empty folder")

    def place(self, page: FilePage, same: Mapping[str, str]) -> list[Way]:
        """Write a page's files but those that are the same already; how each came there."""
        wanted = [file for file in page.files if same.get(file.path) != file.digest]
        pack = memoryview(b"")
        if page.pack is not None and any(file.offset is not None for file in wanted):
            pack = memoryview(self._objects.get(page.pack))
        return [self._put(file, pack) for file in wanted]

    def _put(self, file: ListedFile, pack: memoryview) -> Way:
        with spot_below(self._root, file.path) as spot:
            if not self._beside:
                return self._write(file, pack, spot)
            draft = Spot(spot.folder, f".{secrets.token_hex(8)}")
            try:
                way = self._write(file, pack, draft)
                os.replace(draft.name, spot.name, src_dir_fd=spot.folder, dst_dir_fd=spot.folder)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(draft.name, dir_fd=spot.folder)
        return way

    def _write(self, file: ListedFile, pack: memoryview, spot: Spot) -> Way:
        if file.offset is not None:
            _unpack(file, pack, spot)
            return "copy"
        source = self._objects.local_path(file.digest)
        if source is not None and self._way == "link":
            os.link(source, spot.name, dst_dir_fd=spot.folder)
            return "link"
        with self._objects.open(file.digest) as content, _made(spot) as out:
            may_clone = source is not None and self._way in {"auto", "clone"}
            if may_clone and _clone(content, out, must=self._way == "clone"):
                return "clone"
            shutil.copyfileobj(content, out, 1 << 20)
        return "copy"


@contextmanager
def _made(spot: Spot) -> Iterator[BinaryIO]:
    """A new file; nothing of it stays when it could not be written."""
    handle = os.open(spot.name, _NEW, 0o666, dir_fd=spot.folder)
    with os.fdopen(handle, "wb") as out:
        try:
            yield out
        except BaseException:
            os.unlink(spot.name, dir_fd=spot.folder)
            raise


def _unpack(file: ListedFile, pack: memoryview, spot: Spot) -> None:
    start = file.offset or 0
    data = pack[start : start + file.size_bytes]
    if digest_bytes(data) != file.digest:
        raise Corrupt(f"the file {file.path!r} is not in its pack", hint="restore the store from a backup")
    handle = os.open(spot.name, _NEW, 0o666, dir_fd=spot.folder)
    try:
        while data:
            data = data[os.write(handle, data) :]
    finally:
        os.close(handle)


def _clone(content: BinaryIO, out: BinaryIO, *, must: bool) -> bool:
    """Let a new file share the blocks of another; False where the file system does not."""
    import fcntl

    try:
        fcntl.ioctl(out.fileno(), _CLONE, content.fileno())
    except OSError as error:
        if must or error.errno not in _NO_CLONE:
            raise
        return False
    return True
