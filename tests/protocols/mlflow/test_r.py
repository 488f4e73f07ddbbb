"""Calls as MLflow's client for R makes them, by the libraries that it uses: both servers are read alike."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.app.processes import server
from tests.protocols.mlflow.peers import mlflow_server

SESSION = Path(__file__).parent / "r" / "session.R"


@cache
def _has_r() -> bool:
    if shutil.which("Rscript") is None:
        return False
    asked = ["Rscript", "-e", "library(httr); library(jsonlite)"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


pytestmark = [
    pytest.mark.slow,
    pytest.mark.peer,
    pytest.mark.skipif(not _has_r(), reason="there is no R here with httr and jsonlite"),
]


def told(url: str, *words: str) -> dict[str, Any]:
    """What the session read of a server."""
    command = ["Rscript", "--vanilla", str(SESSION), url, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_session_of_r_reads_the_same_of_both(tmp_path: Path) -> None:
    with server(tmp_path) as (_, said):
        ours = told(said["url"], "ours")
    beyond = {name: ours.pop(name) for name in ("moved 1", "moved 2", "archived", "searched")}
    moved = {"moved 1": "Staging", "moved 2": "Staging", "archived": "Archived"}
    assert beyond == {**moved, "searched": ["fares"]}
    assert ours["found"] == ["1", "0.666666666666667", "0.333333333333333"]
    assert ours["points"] == [[1e-05, 100_000, 1_700_000_000_000]]
    assert ours["never"] == "NaN"
    assert ours["far"] > 1.79e308
    with mlflow_server("3") as peer:
        theirs = told(peer.url)
    assert ours == theirs
