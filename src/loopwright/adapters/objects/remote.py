"""Objects in any store that fsspec speaks to, S3 first, with an optional folder of what was read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

from blake3 import blake3

from loopwright.adapters.objects.drivers import connected
from loopwright.adapters.objects.failures import absent, damaged, is_digest, refused
from loopwright.adapters.objects.folder import FolderObjects
from loopwright.core.digests import check_digest, digest_bytes
from loopwright.core.errors import Unavailable
from loopwright.ports.objects import ObjectStat

__all__ = ["FsspecObjects"]

_CHUNK = 8 << 20
_IN_MEMORY = 64 << 20
_FRESH_S = 600.0


class FsspecObjects:
    """Objects under `url/ab/<digest>`; `options` go to the store's driver (endpoint_url, key, secret).

    With a `cache` folder every object that was read is kept there (the oldest go when it holds more
    than `cache_bytes`) and `local_path` gives its file; bytes from the cache are verified as well.
    """

    def __init__(
        self,
        url: str,
        options: Mapping[str, Any] | None = None,
        *,
        cache: Path | None = None,
        cache_bytes: int = 10 << 30,
    ) -> None:
        self._files, self._root, self._errors = connected(url, dict(options or {}))
        self._cache = None if cache is None else FolderObjects(cache, durable=False)
        self._cache_bytes = cache_bytes
        self._cached_bytes: int | None = None
        self.is_local = cache is not None

    def __repr__(self) -> str:
        return f"FsspecObjects({self._root!r})"

    def put(self, data: bytes | memoryview) -> str:
        """Keep bytes and return their digest; durable when the store says so, which is at return."""
        digest = digest_bytes(data)
        with self._translated("keep an object"):
            if not self._is_fresh(digest, len(data)):
                self._files.pipe_file(self._path(digest), bytes(data))
        return digest

    def put_stream(self, chunks: Iterable[bytes]) -> tuple[str, int]:
        """Keep bytes that arrive in pieces: spooled to a local file first, as the name is the digest."""
        hasher, size = blake3(), 0
        with tempfile.NamedTemporaryFile(prefix="loopwright-") as spool:
            for chunk in chunks:
                hasher.update(chunk)
                spool.write(chunk)
                size += len(chunk)
            spool.flush()
            digest = hasher.hexdigest()
            with self._translated("keep an object"):
                if not self._is_fresh(digest, size):
                    self._files.put_file(spool.name, self._path(digest))
        return digest, size

    def put_file(self, path: Path, *, link: bool = False) -> tuple[str, int]:
        """Keep a file's bytes; a store elsewhere has nothing to link to."""
        with path.open("rb") as file:
            return self.put_stream(iter(lambda: file.read(_CHUNK), b""))

    def get(self, digest: str) -> bytes:
        """All bytes, verified at every call."""
        path = self._path(digest)
        if self._cache is not None:
            return self._through(self._cache, digest).read_bytes()
        with self._translated(f"read the object {digest}", digest):
            data = cast(bytes, self._files.cat_file(path))
        found = digest_bytes(data)
        if found != digest:
            raise damaged(digest, found)
        return data

    def open(self, digest: str) -> BinaryIO:
        """A file of verified content: fetched whole, to memory or beyond 64 MiB to disk."""
        self._path(digest)
        if self._cache is not None:
            self._through(self._cache, digest)
            return self._cache.open(digest)
        return self._spooled(digest)

    def _spooled(self, digest: str) -> BinaryIO:
        hasher, spool = blake3(), tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - given on
        try:
            for chunk in self._pieces(digest):
                hasher.update(chunk)
                spool.write(chunk)
            if hasher.hexdigest() != digest:
                raise damaged(digest, hasher.hexdigest())
            spool.seek(0)
        except BaseException:
            spool.close()
            raise
        return cast(BinaryIO, spool)

    def stat(self, digest: str) -> ObjectStat | None:
        """Size and time, or None when it is not there."""
        path = self._path(digest)
        try:
            with self._translated("look at an object"):
                found = self._files.info(path)
        except Unavailable as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise
        return _stat(digest, found)

    def local_path(self, digest: str) -> Path | None:
        """The cache's file, fetched when it is not there; None without a cache."""
        self._path(digest)
        return None if self._cache is None else self._through(self._cache, digest)

    def remove(self, digest: str) -> None:
        """Take it away, from the cache too; nothing happens when it is not there."""
        path = self._path(digest)
        if self._cache is not None:
            self._cache.remove(digest)
        if self.stat(digest) is not None:
            with self._translated("remove an object"):
                self._files.rm_file(path)

    def list(self) -> Iterator[ObjectStat]:
        """All objects, in no order, a shard of the name space at a time."""
        shards = [shard["name"] for shard in self._listed(self._root) if shard["type"] == "directory"]
        for shard in shards:
            for found in self._listed(shard):
                name = str(found["name"]).rpartition("/")[2]
                if is_digest(name):
                    yield _stat(name, found)

    def _listed(self, path: str) -> Sequence[Mapping[str, Any]]:
        with self._translated("list its objects"):
            try:
                return cast("Sequence[Mapping[str, Any]]", self._files.ls(path, detail=True, refresh=True))
            except FileNotFoundError:
                return []

    def _path(self, digest: str) -> str:
        check_digest(digest)
        return f"{self._root}/{digest[:2]}/{digest}"

    def _is_fresh(self, digest: str, size: int) -> bool:
        """Whether it is there and was written lately; an older one is written again: that renews its time."""
        found = self.stat(digest)
        if found is None or found.size_bytes != size:
            return False
        return (datetime.now(UTC) - found.modified_at).total_seconds() < _FRESH_S

    def _pieces(self, digest: str) -> Iterator[bytes]:
        with (
            self._translated(f"read the object {digest}", digest),
            self._files.open(self._path(digest)) as file,
        ):
            while chunk := file.read(_CHUNK):
                yield chunk

    def _through(self, cache: FolderObjects, digest: str) -> Path:
        if cache.stat(digest) is not None:
            return cache.local_path(digest)
        found, size = cache.put_stream(self._pieces(digest))
        if found != digest:
            cache.remove(found)
            raise damaged(digest, found)
        path = cache.local_path(digest)
        self._make_room(cache, size, keep=digest)
        return path

    def _make_room(self, cache: FolderObjects, added: int, *, keep: str) -> None:
        total = self._cached_bytes
        total = sum(item.size_bytes for item in cache.list()) if total is None else total + added
        if total > self._cache_bytes:
            for item in sorted(cache.list(), key=lambda found: found.modified_at):
                if total > self._cache_bytes and item.digest != keep:
                    cache.remove(item.digest)
                    total -= item.size_bytes
        self._cached_bytes = total

    @contextmanager
    def _translated(self, action: str, digest: str = "") -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if digest:
                raise absent(digest) from error
            raise refused(action, error) from error
        except OSError as error:
            raise refused(action, error) from error
        except self._errors as error:
            raise Unavailable(
                f"the object store could not {action}: {type(error).__name__}: {error}",
                hint="check that the store is there and reachable, and its key and secret",
            ) from error


def _stat(digest: str, found: Mapping[str, Any]) -> ObjectStat:
    modified = found.get("LastModified") or found.get("mtime") or found.get("created")
    if isinstance(modified, (int, float)):
        modified = datetime.fromtimestamp(modified, UTC)
    if not isinstance(modified, datetime):
        modified = datetime.now(UTC)
    if modified.tzinfo is None:
        modified = modified.replace(tzinfo=UTC)
    return ObjectStat(digest=digest, size_bytes=int(found["size"]), modified_at=modified)
