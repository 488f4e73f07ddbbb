"""A folder of objects: each a read-only file named by the BLAKE3 of its bytes, published atomically."""

from __future__ import annotations

import errno
import mmap
import os
import secrets
import socket
import stat
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import BinaryIO, NamedTuple

from blake3 import blake3

from loopwright.adapters.objects.failures import absent, damaged, is_digest, refused
from loopwright.core.digests import check_digest, digest_bytes
from loopwright.ports.objects import ObjectStat

__all__ = ["FolderObjects"]

_CHUNK = 1 << 20
_FRESH_S = 60.0
_LEFTOVER_S = 86_400.0
_REMEMBERED = 200_000
_DRAFTS = "drafts"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP})

_Mark = tuple[int, int, int]


class _Draft(NamedTuple):
    """A file that is being written: the descriptor of its folder, and its name there."""

    folder: int
    name: str


class FolderObjects:
    """Objects under `root/ab/<digest>`, safe for any number of threads and processes.

    A put writes a draft in the same file system, syncs it, links it to its name and syncs the
    folder. A put of what is there costs one verification a process, mends a damaged file, and
    renews the file's time, so that garbage collection's grace begins anew. `durable=False` leaves
    out the syncs (for a cache, whose loss costs nothing). Folders below the root are held open while
    something is written or removed in them, and are never links: one that is swapped for a link meanwhile
    leads nothing out of the root.
    """

    is_local = True

    def __init__(self, root: Path, *, durable: bool = True) -> None:
        self._root = Path(root)
        self._folder = str(root)
        self._durable = durable
        self._host = socket.gethostname().replace(".", "-")
        self._token = secrets.token_hex(8)
        self._numbers = count()
        self._lock = threading.Lock()
        self._verified: dict[str, _Mark] = {}
        self._ready = False

    def __repr__(self) -> str:
        return f"FolderObjects({str(self._root)!r})"

    def put(self, data: bytes | memoryview) -> str:
        """Keep bytes and return their digest; durable at return."""
        digest = digest_bytes(data)
        try:
            if not self._kept(digest, len(data)):
                self._put_new(digest, data)
        except OSError as error:
            raise refused("keep an object", error) from error
        return digest

    def _put_new(self, digest: str, data: bytes | memoryview) -> None:
        """As a draft that is published, without what managers of contexts cost a small object."""
        drafts, handle, name = os.open(self._drafts(), _FOLDER), -1, self._draft_name()
        try:
            handle = os.open(name, _NEW, 0o600, dir_fd=drafts)
            _write(handle, data)
            self._publish(_Draft(drafts, name), handle, digest)
        except BaseException:
            if handle >= 0:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=drafts)
            raise
        finally:
            if handle >= 0:
                os.close(handle)
            os.close(drafts)

    def put_stream(self, chunks: Iterable[bytes]) -> tuple[str, int]:
        """Keep bytes that arrive in pieces, in flat memory; digest and size."""
        hasher, size = blake3(), 0
        with self._draft() as (draft, handle):
            for chunk in chunks:
                hasher.update(chunk)
                size += len(chunk)
                with _translated("keep an object"):
                    _write(handle, chunk)
            digest = hasher.hexdigest()
            with _translated("keep an object"):
                if not self._kept(digest, size):
                    self._publish(draft, handle, digest)
        return digest, size

    def put_file(self, path: Path, *, link: bool = False) -> tuple[str, int]:
        """Keep a file's bytes; with `link` in the same file system the file itself becomes the object."""
        linked = self._put_link(path) if link else None
        if linked is not None:
            return linked
        with path.open("rb") as file:
            return self.put_stream(iter(lambda: file.read(_CHUNK), b""))

    def _put_link(self, path: Path) -> tuple[str, int] | None:
        """As `put_file`, or None where the file system makes no link of it."""
        with _translated("keep an object"), _folder(self._drafts()) as drafts:
            name = self._draft_name()
            try:
                os.link(path, name, dst_dir_fd=drafts, follow_symlinks=False)
            except OSError as error:
                if error.errno in _NO_LINK:
                    return None
                raise
            try:
                return self._published_link(_Draft(drafts, name))
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=drafts)

    def _published_link(self, draft: _Draft) -> tuple[str, int]:
        """What the file of a draft holds; one that is a link, or no file, is refused as it is."""
        handle = os.open(draft.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=draft.folder)
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.EINVAL, "it is no regular file")
            os.fchmod(handle, 0o444)
            digest = _digest_of_mapped(handle, found.st_size)
            if not self._kept(digest, found.st_size):
                self._publish(draft, handle, digest)
        finally:
            os.close(handle)
        return digest, found.st_size

    def get(self, digest: str) -> bytes:
        """All bytes, verified at every call."""
        path = self._path(digest)
        with _reading(digest):
            data = path.read_bytes()
        found = digest_bytes(data)
        if found != digest:
            raise damaged(digest, found)
        return data

    def open(self, digest: str) -> BinaryIO:
        """The opened file, verified once a process for as long as its inode, size and time stay."""
        path = self._path(digest)
        with _reading(digest):
            file = path.open("rb")
            try:
                self._verify(digest, file)
            except BaseException:
                file.close()
                raise
        return file

    def _verify(self, digest: str, file: BinaryIO) -> None:
        """Of the file that is given, whatever its name leads to meanwhile."""
        before = os.fstat(file.fileno())
        with self._lock:
            if self._verified.get(digest) == _mark(before):
                return
        found = _digest_of(file)
        if found != digest:
            raise damaged(digest, found)
        self._remember(digest, before)
        file.seek(0)

    def stat(self, digest: str) -> ObjectStat | None:
        """Size and time, or None when it is not there."""
        path = self._path(digest)
        try:
            found = path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise refused("look at an object", error) from error
        return _stat(digest, found)

    def local_path(self, digest: str) -> Path:
        """The file itself, verified once a process for as long as its inode, size and time stay."""
        path = self._path(digest)
        with _reading(digest):
            if not self._sound(digest, path):
                with path.open("rb") as file:
                    raise damaged(digest, _digest_of(file))
        return path

    def remove(self, digest: str) -> None:
        """Take it away; nothing happens when it is not there."""
        shard = os.path.dirname(self._place(digest))
        with _translated("remove an object"), suppress(FileNotFoundError), _folder(shard) as folder:
            os.unlink(digest, dir_fd=folder)
        with self._lock:
            self._verified.pop(digest, None)

    def list(self) -> Iterator[ObjectStat]:
        """All objects, in no order; anything else in the folder is passed over."""
        with _translated("list its objects"):
            for shard in _entries(self._root):
                if len(shard.name) == 2 and shard.is_dir(follow_symlinks=False):
                    yield from _objects_of(shard.path)

    def _path(self, digest: str) -> Path:
        return Path(self._place(digest))

    def _place(self, digest: str) -> str:
        """The path as a text: `Path` costs a fifth of keeping a small object."""
        check_digest(digest)
        return f"{self._folder}/{digest[:2]}/{digest}"

    def _kept(self, digest: str, size: int) -> bool:
        """Whether a sound object is there; then its time is renewed."""
        place = self._place(digest)
        try:
            found = os.stat(place)
            if found.st_size != size or not self._sound(digest, Path(place)):
                return False
            if time.time() - found.st_mtime > _FRESH_S:
                os.utime(place)
                self._remember(digest, os.stat(place))
        except FileNotFoundError:
            return False
        return True

    def _sound(self, digest: str, path: Path) -> bool:
        mark = _mark(path.stat())
        with self._lock:
            if self._verified.get(digest) == mark:
                return True
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            if _digest_of(file) != digest:
                return False
        self._remember(digest, before)
        return True

    def _remember(self, digest: str, found: os.stat_result) -> None:
        with self._lock:
            if len(self._verified) >= _REMEMBERED:
                self._verified.clear()
            self._verified[digest] = _mark(found)

    def _publish(self, draft: _Draft, handle: int, digest: str) -> None:
        shard = os.path.dirname(self._place(digest))
        os.fchmod(handle, 0o444)
        if self._durable:
            os.fsync(handle)
        made = False
        try:
            self._move(draft, shard, digest)
        except FileNotFoundError:
            os.makedirs(shard, exist_ok=True)
            self._move(draft, shard, digest)
            made = True
        self._remember(digest, os.fstat(handle))
        if self._durable and made:
            with _folder(self._folder, is_root=True) as root:
                os.fsync(root)

    def _move(self, draft: _Draft, shard: str, digest: str) -> None:
        folder = os.open(shard, _FOLDER)
        try:
            os.replace(draft.name, digest, src_dir_fd=draft.folder, dst_dir_fd=folder)
            if self._durable:
                os.fsync(folder)
        finally:
            os.close(folder)

    @contextmanager
    def _draft(self) -> Iterator[tuple[_Draft, int]]:
        """A new file and its handle; whatever happens, nothing of it stays under this name."""
        with ExitStack() as stack:
            with _translated("keep an object"):
                drafts = stack.enter_context(_folder(self._drafts()))
                name = self._draft_name()
                handle = os.open(name, _NEW, 0o600, dir_fd=drafts)
            try:
                yield _Draft(drafts, name), handle
            finally:
                os.close(handle)
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=drafts)

    def _draft_name(self) -> str:
        return f"{self._host}.{os.getpid()}.{self._token}-{next(self._numbers):x}"

    def _drafts(self) -> str:
        if not self._ready:
            folder = self._root / _DRAFTS
            folder.mkdir(parents=True, exist_ok=True)
            self._sweep(folder)
            self._ready = True
        return f"{self._folder}/{_DRAFTS}"

    def _sweep(self, folder: Path) -> None:
        """Remove drafts that a killed process left: its pid is gone, or they are a day old."""
        for entry in _entries(folder):
            if self._is_leftover(entry):
                Path(entry.path).unlink(missing_ok=True)

    def _is_leftover(self, entry: os.DirEntry[str]) -> bool:
        host, _, rest = entry.name.partition(".")
        pid = rest.partition(".")[0]
        if host == self._host and pid.isdigit():
            return int(pid) != os.getpid() and not _is_alive(int(pid))
        try:
            return time.time() - entry.stat(follow_symlinks=False).st_mtime > _LEFTOVER_S
        except FileNotFoundError:
            return False


@contextmanager
def _translated(action: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise refused(action, error) from error


@contextmanager
def _reading(digest: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise absent(digest) from error
    except OSError as error:
        raise refused(f"read the object {digest}", error) from error


def _write(handle: int, data: bytes | memoryview) -> None:
    rest = memoryview(data).cast("B")
    while rest:
        rest = rest[os.write(handle, rest) :]


def _digest_of(file: BinaryIO) -> str:
    hasher = blake3()
    while chunk := file.read(_CHUNK):
        hasher.update(chunk)
    return hasher.hexdigest()


def _digest_of_mapped(handle: int, size: int) -> str:
    """As fast as the cores allow; what a path leads to meanwhile does not matter."""
    if not size:
        return digest_bytes(b"")
    with mmap.mmap(handle, size, access=mmap.ACCESS_READ) as content:
        return blake3(max_threads=blake3.AUTO).update(content).hexdigest()


def _mark(found: os.stat_result) -> _Mark:
    return found.st_ino, found.st_mtime_ns, found.st_size


def _stat(digest: str, found: os.stat_result) -> ObjectStat:
    modified = datetime.fromtimestamp(found.st_mtime, UTC)
    return ObjectStat(digest=digest, size_bytes=found.st_size, modified_at=modified)


def _entries(folder: Path | str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except FileNotFoundError:
        return


def _objects_of(shard: str) -> Iterator[ObjectStat]:
    for entry in _entries(shard):
        if not is_digest(entry.name) or not entry.is_file(follow_symlinks=False):
            continue
        try:
            yield _stat(entry.name, entry.stat(follow_symlinks=False))
        except FileNotFoundError:
            continue


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def _folder(path: str, *, is_root: bool = False) -> Iterator[int]:
    """A descriptor of a folder, which is no link unless it is the root: that may lie on another disk."""
    handle = os.open(path, _FOLDER & ~os.O_NOFOLLOW if is_root else _FOLDER)
    try:
        yield handle
    finally:
        os.close(handle)
