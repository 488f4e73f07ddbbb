"""Real MLflow, in environments of its own made from pinned requirements, and its server."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.environments import environment_of

__all__ = ["QUIET", "Peer", "mlflow_server", "peer_python", "run_as_peer"]

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
PATIENCE_S = 180.0
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
FIRST_EXPERIMENT = 7_300_000_000


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A running MLflow server."""

    name: str
    url: str
    pid: int
    started_s: float
    database: Path | str


def peer_python(major: str) -> Path:
    """The Python of an environment with MLflow 2 or 3; made on first use, kept in the user's cache."""
    return environment_of(f"mlflow-{major}", HERE / f"requirements-{major}.txt") / "bin/python"


def run_as_peer(major: str, module: str, *arguments: str, folder: Path, **environment: str) -> str:
    """What a module of ours prints when MLflow's own Python runs it in a folder."""
    done = subprocess.run(
        [str(peer_python(major)), "-m", module, *arguments],
        cwd=folder,
        env={**_environment(), "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", **environment},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if done.returncode:
        raise AssertionError(done.stderr[-4000:])
    return done.stdout


def _environment() -> dict[str, str]:
    ours = ("LOOPWRIGHT_", "MLFLOW_", "PYTHON")
    return {**{key: value for key, value in os.environ.items() if not key.startswith(ours)}, **QUIET}


@contextlib.contextmanager
def mlflow_server(
    major: str,
    *,
    workers: int = 1,
    store: Path | None = None,
    postgres: str = "",
    environment: Mapping[str, str] | None = None,
) -> Iterator[Peer]:
    """A real server on an SQLite file in a passing folder; its experiments are numbered from 7300000001.

    With a `store` it is that of the folder, as it is there: `mlflow.db` and `mlartifacts`. With the address
    of a database of PostgreSQL it is that one, and experiments are numbered as they come.
    """
    python = peer_python(major)
    with tempfile.TemporaryDirectory(prefix="mlflow-") as folder:
        port = _free_port()
        command = [str(python), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
        database = (store or Path(folder)) / "mlflow.db"
        files = database.with_name("mlartifacts" if store else "artifacts")
        address = _by_psycopg2(postgres) if postgres else f"sqlite:///{database}"
        command += ["--workers", str(workers), "--backend-store-uri", address]
        command += ["--artifacts-destination", str(files)]
        begun = time.monotonic()
        with (Path(folder) / "server.log").open("w") as log:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={**_environment(), **(environment or {})},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                url = f"http://127.0.0.1:{port}"
                _wait(process, url, Path(log.name))
                took = time.monotonic() - begun
                if store is None and not postgres:
                    _spread_ids(database)
                name = f"mlflow {_text(url + '/version')}"
                yield Peer(name=name, url=url, pid=process.pid, started_s=took, database=postgres or database)
            finally:
                _stop(process)


def _by_psycopg2(postgres: str) -> str:
    """The address with the driver that MLflow's own pages name."""
    return f"postgresql+psycopg2://{postgres.partition('://')[2]}"


def _spread_ids(database: Path) -> None:
    """Ids that cannot be taken for other numbers in a reply."""
    with contextlib.closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        connection.execute(
            "insert into experiments (experiment_id, name, artifact_location, lifecycle_stage, "
            "creation_time, last_update_time) "
            "select ?, 'anchor', 'mlflow-artifacts:/anchor', 'deleted', "
            "creation_time, last_update_time from experiments where experiment_id = 0",
            (FIRST_EXPERIMENT,),
        )


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            _text(f"{url}/api/2.0/mlflow/experiments/get?experiment_id=0")
            return
        time.sleep(0.05)
    raise AssertionError(log.read_text()[-4000:])


def _text(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return str(answer.read().decode())


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the whole group: workers outlive a parent that is killed."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(20)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
