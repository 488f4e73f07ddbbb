"""Objects: an in-memory fake, and the conformance suite that every object store passes."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import pytest

from loopwright.core.digests import check_digest, digest_bytes
from loopwright.core.errors import Corrupt, Invalid, NotFound
from loopwright.ports.objects import Objects, ObjectStat

__all__ = ["MemoryObjects", "ObjectsSuite"]

_ABSENT = digest_bytes(b"never stored")


class MemoryObjects:
    """Objects in a dictionary. `damage` changes a stored byte, `age` makes an object older, for tests."""

    is_local = False

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[bytes, datetime]] = {}

    def put(self, data: bytes | memoryview) -> str:
        """Keep bytes and return their digest."""
        digest = digest_bytes(data)
        with self._lock:
            self._kept[digest] = (bytes(data), datetime.now(UTC))
        return digest

    def put_stream(self, chunks: Iterable[bytes]) -> tuple[str, int]:
        """Keep bytes that arrive in pieces; digest and size."""
        data = b"".join(chunks)
        return self.put(data), len(data)

    def put_file(self, path: Path, *, link: bool = False) -> tuple[str, int]:
        """Keep the bytes of a file; there is nothing to link to."""
        return self.put_stream([path.read_bytes()])

    def get(self, digest: str) -> bytes:
        """All bytes, verified."""
        with self._lock:
            found = self._kept.get(check_digest(digest))
        if found is None:
            raise NotFound(f"there is no object {digest}", hint="put it first")
        if digest_bytes(found[0]) != digest:
            raise Corrupt(f"the object {digest} is damaged", hint="put the same content again")
        return found[0]

    def open(self, digest: str) -> BinaryIO:
        """A readable, seekable file of verified content."""
        return io.BytesIO(self.get(digest))

    def stat(self, digest: str) -> ObjectStat | None:
        """Size and time, or None when it is not there."""
        with self._lock:
            found = self._kept.get(check_digest(digest))
        if found is None:
            return None
        return ObjectStat(digest=digest, size_bytes=len(found[0]), modified_at=found[1])

    def local_path(self, digest: str) -> Path | None:
        """None: there are no files."""
        check_digest(digest)
        return None

    def remove(self, digest: str) -> None:
        """Take it away; nothing happens when it is not there."""
        with self._lock:
            self._kept.pop(check_digest(digest), None)

    def list(self) -> Iterator[ObjectStat]:
        """All objects, in no order."""
        with self._lock:
            found = list(self._kept.items())
        for digest, (data, modified) in found:
            yield ObjectStat(digest=digest, size_bytes=len(data), modified_at=modified)

    def damage(self, digest: str) -> None:
        """Change what is stored, as a bad disk would."""
        with self._lock:
            data, modified = self._kept[digest]
            self._kept[digest] = (b"?" + data[1:], modified)

    def age(self, digest: str, by: timedelta) -> None:
        """Make an object look as if it was put earlier."""
        with self._lock:
            data, modified = self._kept[digest]
            self._kept[digest] = (data, modified - by)


class ObjectsSuite:
    """What every object store does. A subclass gives the fixture `objects` and the method `damage`."""

    @pytest.fixture
    def objects(self) -> Objects:
        """An empty store."""
        raise NotImplementedError

    def damage(self, objects: Objects, digest: str) -> None:
        """Change a byte of a stored object behind the store's back, keeping its size."""
        raise NotImplementedError

    @pytest.mark.parametrize("data", [b"", b"a", b"\x00" * 70_000, bytes(range(256)) * 8192])
    def test_gives_back_what_was_put_under_the_digest_of_its_bytes(
        self, objects: Objects, data: bytes
    ) -> None:
        digest = objects.put(data)
        assert digest == digest_bytes(data)
        assert objects.get(digest) == data
        found = objects.stat(digest)
        assert found is not None
        assert (found.digest, found.size_bytes) == (digest, len(data))
        assert abs(datetime.now(UTC) - found.modified_at) < timedelta(minutes=2)

    def test_takes_a_memoryview(self, objects: Objects) -> None:
        assert objects.get(objects.put(memoryview(b"some bytes")[5:])) == b"bytes"

    def test_streams_in_and_seeks_out(self, objects: Objects) -> None:
        pieces = [bytes([i % 251]) * 4096 for i in range(64)]
        digest, size = objects.put_stream(iter(pieces))
        whole = b"".join(pieces)
        assert (digest, size) == (digest_bytes(whole), len(whole))
        with objects.open(digest) as file:
            assert file.read(10) == whole[:10]
            file.seek(4096 * 7)
            assert file.read(1) == whole[4096 * 7 : 4096 * 7 + 1]
            file.seek(0)
            assert file.read() == whole

    @pytest.mark.parametrize("link", [False, True])
    @pytest.mark.parametrize("size", [0, 1, 3_000_001])
    def test_keeps_a_file(self, objects: Objects, tmp_path: Path, size: int, link: bool) -> None:
        data = bytes(i % 251 for i in range(1000)) * (size // 1000) + b"x" * (size % 1000)
        path = tmp_path / "file"
        path.write_bytes(data)
        assert objects.put_file(path, link=link) == (digest_bytes(data), size)
        assert objects.get(digest_bytes(data)) == path.read_bytes() == data
        path.unlink()
        assert objects.put_file(_file(tmp_path / "again", data), link=link)[0] == digest_bytes(data)
        assert objects.get(digest_bytes(data)) == data

    def test_a_stream_that_breaks_off_leaves_nothing(self, objects: Objects) -> None:
        def broken() -> Iterator[bytes]:
            yield b"x" * 1000
            raise ConnectionResetError

        with pytest.raises(ConnectionResetError):
            objects.put_stream(broken())
        assert list(objects.list()) == []

    def test_putting_twice_is_putting_once(self, objects: Objects) -> None:
        assert objects.put(b"same") == objects.put(b"same") == objects.put_stream([b"sa", b"me"])[0]
        assert len(list(objects.list())) == 1

    def test_many_threads_put_the_same_content(self, objects: Objects) -> None:
        contents = [bytes([i]) * 5000 for i in range(4)] * 4
        with ThreadPoolExecutor(8) as pool:
            digests = list(pool.map(objects.put, contents))
        assert [objects.get(digest) for digest in digests] == contents
        assert len(list(objects.list())) == 4

    def test_what_is_not_there_is_not_found(self, objects: Objects) -> None:
        assert objects.stat(_ABSENT) is None
        for ask in (objects.get, objects.open):
            with pytest.raises(NotFound) as caught:
                ask(_ABSENT)
            assert _ABSENT in caught.value.message
            assert caught.value.hint

    def test_a_local_path_of_nothing_is_none_or_not_found(self, objects: Objects) -> None:
        try:
            assert objects.local_path(_ABSENT) is None
        except NotFound:
            assert objects.is_local

    def test_a_damaged_object_is_never_given(self, objects: Objects) -> None:
        digest = objects.put(b"precious bytes" * 100)
        self.damage(objects, digest)
        for ask in (objects.get, objects.open):
            with pytest.raises(Corrupt) as caught:
                ask(digest)
            assert digest in caught.value.message
            assert caught.value.hint

    def test_local_paths_hold_verified_content(self, objects: Objects) -> None:
        digest = objects.put(b"mapped" * 1000)
        path = objects.local_path(digest)
        assert (path is not None) == objects.is_local
        if path is not None:
            assert path.read_bytes() == b"mapped" * 1000
            self.damage(objects, digest)
            with pytest.raises(Corrupt):
                objects.local_path(digest)

    def test_lists_all_and_removes_one(self, objects: Objects) -> None:
        digests = {objects.put(bytes([i]) * (i + 1)) for i in range(20)}
        assert {found.digest for found in objects.list()} == digests
        assert sum(found.size_bytes for found in objects.list()) == 210
        gone = digests.pop()
        objects.remove(gone)
        objects.remove(gone)
        assert {found.digest for found in objects.list()} == digests
        with pytest.raises(NotFound):
            objects.get(gone)

    @pytest.mark.parametrize(
        "name",
        ["", "../../etc/passwd", "a" * 63, "A" * 64, "g" * 64, "a" * 62 + "/.", "a" * 64 + "\n", "a/" * 32],
    )
    def test_no_name_but_a_digest_reaches_the_store(self, objects: Objects, name: str) -> None:
        for ask in (objects.get, objects.open, objects.stat, objects.local_path, objects.remove):
            with pytest.raises(Invalid):
                ask(name)


def _file(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
