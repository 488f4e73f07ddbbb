"""Programs on Node send runs and spans to us as they do to MLflow, and read the same of both."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.app.processes import server
from tests.environments import made_once, run
from tests.protocols.mlflow.peers import mlflow_server

HERE = Path(__file__).parent / "node"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.peer,
    pytest.mark.skipif(shutil.which("npm") is None, reason="there is no Node here"),
]


def packages() -> Path:
    """A folder with the clients that `package.json` names."""
    named = HERE / "package.json"

    def make(folder: Path) -> None:
        shutil.copy(named, folder)
        flags = ("--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts")
        run("npm", "install", *flags, cwd=folder)

    return made_once("node", named, make)


def told(url: str) -> dict[str, Any]:
    """What the session read of a server."""
    done = subprocess.run(
        ["node", str(HERE / "session.mjs"), url, str(packages())],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_session_of_node_reads_the_same_of_both(tmp_path: Path) -> None:
    with server(tmp_path) as (_, said):
        ours = told(said["url"])
    assert [name for name, *_ in ours["found"]] == ["run 2", "run 1"]
    assert [state for _, state, *_ in ours["protobuf"]["spans"]] == ["", "STATUS_CODE_ERROR"]
    with mlflow_server("3") as peer:
        theirs = told(peer.url)
    assert ours == theirs
