"""The two servers, started for a measurement and stopped after it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from protocol.line import Line
from protocol.measuring import Server
from protocol.seeding import OURS, THEIRS

__all__ = [
    "ours",
    "theirs",
]

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 180.0


@contextlib.contextmanager
def ours() -> Iterator[Server]:
    """Our server on an empty workspace."""
    with tempfile.TemporaryDirectory(prefix="loopwright-") as folder:
        said = Path(folder) / "up.json"
        command = [sys.executable, "-m", "loopwright", "up", "--port", "0", "--json", str(said)]
        kept = {key: value for key, value in os.environ.items() if not key.startswith("LOOPWRIGHT_")}
        begun = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=kept, stdout=subprocess.DEVNULL)
        try:
            url = answering(process, said)
            took, ledger = time.perf_counter() - begun, Path(folder) / ".loopwright/ledger.db"
            yield Server(
                url=url, name="loopwright", started_s=took, pid=process.pid, database=ledger, tables=OURS
            )
        finally:
            process.terminate()
            process.wait(30)


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
def theirs() -> Iterator[Server]:
    """A real MLflow server, of the version that the tests of the protocol pin."""
    sys.path.insert(0, str(ROOT))
    from tests.protocols.mlflow.peers import mlflow_server

    with mlflow_server("3", workers=2) as peer:
        yield Server(
            url=peer.url, name=peer.name, started_s=peer.started_s, pid=peer.pid, database=peer.database,
            peer=True, tables=THEIRS,
        )  # fmt: skip
