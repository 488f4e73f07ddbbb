"""Programs on Node send runs and spans to us as they do to MLflow, and read the same of both."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.app.processes import server
from tests.protocols.mlflow.peers import mlflow_server

HERE = Path(__file__).parent / "node"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.peer,
    pytest.mark.skipif(shutil.which("npm") is None, reason="there is no Node here"),
]


def packages() -> Path:
    """A folder with the clients that `package.json` names; made on first use, kept in the user's cache."""
    named = HERE / "package.json"
    digest = hashlib.sha256(named.read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "loopwright" / "peers" / f"node-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            shutil.copy(named, folder)
            command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
            subprocess.run(command, cwd=folder, check=True, stdin=subprocess.DEVNULL)
            (folder / "made").touch()
    return folder


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
