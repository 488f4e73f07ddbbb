"""Object stores behind fsspec: one in memory, one in memory with a cache, and S3 with real keys."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import fsspec
import pytest

from loopwright.adapters.objects import FsspecObjects
from loopwright.core.errors import Corrupt, Invalid, Unavailable
from loopwright.ports.objects import Objects
from loopwright.testing.objects import ObjectsSuite
from loopwright.testing.s3 import S3Server, s3_server

__all__ = ["s3_server"]


def spoil(store: object, digest: str) -> None:
    """Change a byte of what the store keeps, and of what the cache does."""
    assert isinstance(store, FsspecObjects)
    local = store.local_path(digest)
    path = store._path(digest)
    data = store._files.cat_file(path)
    store._files.pipe_file(path, b"?" + data[1:])
    if local is not None:
        local.chmod(0o644)
        local.write_bytes(b"?" + data[1:])


class TestMemoryOverFsspec(ObjectsSuite):
    @pytest.fixture
    def objects(self) -> Objects:
        return FsspecObjects(f"memory://{uuid.uuid4().hex}")

    def damage(self, objects: Objects, digest: str) -> None:
        spoil(objects, digest)


class TestMemoryOverFsspecWithCache(ObjectsSuite):
    @pytest.fixture
    def objects(self, tmp_path: Path) -> Objects:
        return FsspecObjects(f"memory://{uuid.uuid4().hex}", cache=tmp_path / "cache")

    def damage(self, objects: Objects, digest: str) -> None:
        spoil(objects, digest)


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> str:
    name = f"bucket-{uuid.uuid4().hex[:8]}"
    fsspec.filesystem("s3", skip_instance_cache=True, **s3_server.options()).mkdir(name)
    return name


class TestS3Objects(ObjectsSuite):
    @pytest.fixture
    def objects(self, s3_server: S3Server, bucket: str) -> Objects:
        return FsspecObjects(f"s3://{bucket}/{uuid.uuid4().hex}", s3_server.options())

    def damage(self, objects: Objects, digest: str) -> None:
        spoil(objects, digest)

    def test_a_wrong_secret_is_refused(self, s3_server: S3Server, bucket: str) -> None:
        objects = FsspecObjects(f"s3://{bucket}/x", s3_server.options(secret="a wrong one"))
        digest = FsspecObjects(f"s3://{bucket}/x", s3_server.options()).put(b"content")
        asks = (
            lambda: objects.get(digest),
            lambda: objects.stat(digest),
            lambda: objects.put(b"other"),
            lambda: list(objects.list()),
        )
        for ask in asks:
            with pytest.raises(Unavailable) as caught:
                ask()
            assert "key and secret" in caught.value.hint
            assert "a wrong one" not in str(caught.value)

    def test_a_bucket_that_is_not_there_is_unavailable(self, s3_server: S3Server) -> None:
        objects = FsspecObjects("s3://nowhere-at-all/x", s3_server.options())
        with pytest.raises(Unavailable) as caught:
            objects.put(b"content")
        assert caught.value.hint


def test_a_server_that_does_not_answer_is_unavailable() -> None:
    patience = {"retries": {"max_attempts": 0}, "connect_timeout": 1}
    options = {"key": "k", "secret": "s", "endpoint_url": "http://127.0.0.1:9", "config_kwargs": patience}
    objects = FsspecObjects("s3://bucket/x", options)
    with pytest.raises(Unavailable) as caught:
        objects.put(b"content")
    assert caught.value.hint


@pytest.mark.parametrize("url", ["", "s3://", "bucket/prefix", "nothing-known://bucket/x"])
def test_what_is_no_url_of_a_store_is_invalid(url: str) -> None:
    with pytest.raises(Invalid) as caught:
        FsspecObjects(url)
    assert caught.value.hint


def test_a_missing_driver_names_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(Unavailable) as caught:
        FsspecObjects("s3://bucket/x")
    assert caught.value.hint == 'pip install "loopwright[s3]"'


def test_the_cache_answers_without_the_store_and_verifies(tmp_path: Path) -> None:
    store = FsspecObjects(f"memory://{uuid.uuid4().hex}", cache=tmp_path)
    digest = store.put(b"content")
    path = store.local_path(digest)
    assert path is not None
    store._files.rm_file(store._path(digest))
    assert store.get(digest) == b"content"
    path.chmod(0o644)
    path.write_bytes(b"comtent")
    with pytest.raises(Corrupt):
        store.get(digest)


def test_the_cache_keeps_to_its_size(tmp_path: Path) -> None:
    store = FsspecObjects(f"memory://{uuid.uuid4().hex}", cache=tmp_path, cache_bytes=3000)
    digests = [store.put(os.urandom(1000)) for _ in range(8)]
    for digest in digests:
        assert len(store.get(digest)) == 1000
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(kept) == 3
    assert digests[-1] in {path.name for path in kept}
