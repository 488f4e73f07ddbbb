"""Files of others in a real S3 server: below the declared prefix alone, with the caller's own keys."""

from __future__ import annotations

import uuid
from typing import Any

import fsspec
import pytest

from loopwright.adapters.histories import Root, Roots
from loopwright.adapters.objects import FsspecContents
from loopwright.core.errors import Denied, NotFound, Unavailable
from loopwright.ports.histories import PastFile
from loopwright.testing.s3 import S3Server, s3_server
from loopwright.workspace.histories import _declared

__all__ = ["s3_server"]

FILES = {
    "runs/1/a/artifacts/model/MLmodel": b"flavors",
    "runs/1/a/artifacts/note é.txt": b"",
    "other/x": b"no",
}
LARGE = bytes(range(256)) * 40_000


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> str:
    """A bucket with files of a run, and with one beside."""
    name, files = f"history-{uuid.uuid4().hex[:8]}", _filesystem(s3_server)
    files.mkdir(name)
    for path, data in {**FILES, "runs/1/a/artifacts/large.bin": LARGE}.items():
        files.pipe_file(f"{name}/{path}", data)
    return name


def _filesystem(server: S3Server) -> Any:
    return fsspec.filesystem("s3", skip_instance_cache=True, **server.options())


@pytest.fixture
def contents(s3_server: S3Server, bucket: str) -> FsspecContents:
    return FsspecContents(f"s3://{bucket}/runs", f"s3://{bucket}/runs", s3_server.options())


def test_files_are_told_and_read(contents: FsspecContents, bucket: str) -> None:
    at = f"s3://{bucket}/runs/1/a/artifacts"
    assert list(contents.files(at)) == [
        PastFile(path="large.bin", size_bytes=len(LARGE)),
        PastFile(path="model/MLmodel", size_bytes=7),
        PastFile(path="note é.txt", size_bytes=0),
    ]
    assert b"".join(contents.read(at, "model/MLmodel")) == b"flavors"
    assert b"".join(contents.read(at, "note é.txt")) == b""
    pieces = list(contents.read(at, "large.bin"))
    assert b"".join(pieces) == LARGE
    assert max(map(len, pieces)) <= 4 << 20


def test_nothing_there_is_no_file_and_a_missing_one_is_not_found(
    contents: FsspecContents, bucket: str
) -> None:
    assert list(contents.files(f"s3://{bucket}/runs/9/none")) == []
    with pytest.raises(NotFound):
        list(contents.read(f"s3://{bucket}/runs/1", "none.txt"))


@pytest.mark.parametrize(
    "address", ["s3://{}/other", "s3://{}/runs/../other", "s3://{}/runs2", "s3://elsewhere/runs", "/etc"]
)
def test_what_is_not_below_the_prefix_is_denied(contents: FsspecContents, bucket: str, address: str) -> None:
    with pytest.raises(Denied):
        list(contents.files(address.format(bucket)))
    with pytest.raises(Denied):
        list(contents.read(address.format(bucket), "x"))


@pytest.mark.parametrize("path", ["../../other/x", "a//b", ".", ""])
def test_a_path_does_not_lead_out(contents: FsspecContents, bucket: str, path: str) -> None:
    with pytest.raises(Denied):
        list(contents.read(f"s3://{bucket}/runs/1", path))


def test_a_wrong_secret_is_unavailable_and_not_told(s3_server: S3Server, bucket: str) -> None:
    url = f"s3://{bucket}/runs"
    contents = FsspecContents(url, url, s3_server.options(secret="a wrong one"))
    with pytest.raises(Unavailable) as caught:
        list(contents.files(f"{url}/1"))
    assert "a wrong one" not in str(caught.value)


def test_addresses_of_before_are_read_where_the_files_are_now(
    s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `--artifact-root ADDRESS=s3://...` says, with the keys of the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint)
    roots: list[Root] = _declared(f"mlflow-artifacts:/=s3://{bucket}/runs")
    found = Roots(roots).files("mlflow-artifacts:/1/a/artifacts")
    assert [file.path for file in found] == ["large.bin", "model/MLmodel", "note é.txt"]
    assert b"".join(Roots(roots).read("mlflow-artifacts:/1/a/artifacts", "model/MLmodel")) == b"flavors"
