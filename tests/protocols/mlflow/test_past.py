"""A history made by real MLflow comes in by every way, and goes back: its client sees the same each time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.app.processes import server
from tests.protocols.mlflow.peers import mlflow_server, peer_python, run_as_peer

pytestmark = [pytest.mark.peer, pytest.mark.slow]

POINTS = "3000"
PATIENCE_S = 600
MAKE, TELL = "tests.protocols.mlflow.past.making", "tests.protocols.mlflow.past.telling"


def told(uri: str, folder: Path, major: str) -> Any:
    """What MLflow's own client sees; the default experiment apart, which each store makes for itself."""
    seen = json.loads(run_as_peer(major, TELL, folder=folder, MLFLOW_TRACKING_URI=uri))
    seen["experiments"].pop("Default", None)
    seen["experiments"].pop("anchor", None)
    return seen


@contextmanager
def history(kind: str, major: str, folder: Path) -> Iterator[str]:
    """The address of a store that real MLflow filled."""
    if kind == "server":
        with mlflow_server(major) as peer:
            run_as_peer(major, MAKE, POINTS, folder=folder, MLFLOW_TRACKING_URI=peer.url)
            yield peer.url
        return
    uri = f"sqlite:///{folder}/mlflow.db" if kind == "database" else f"file://{folder}/mlruns"
    run_as_peer(major, MAKE, POINTS, folder=folder, MLFLOW_TRACKING_URI=uri)
    yield uri


def differences(left: Any, right: Any, at: str = "") -> list[str]:
    """Where two told things differ, in words."""
    if isinstance(left, dict) and isinstance(right, dict):
        keys = sorted(left.keys() | right.keys())
        return [each for key in keys for each in differences(left.get(key), right.get(key), f"{at}/{key}")]
    return [] if left == right else [f"{at}: {str(left)[:200]} != {str(right)[:200]}"]


def points_once(seen: Any) -> Any:
    """What a folder tells, each point once: folders keep every line, databases and we a point once."""
    repeated = 0
    for experiment in seen["experiments"].values():
        for run in experiment["runs"].values():
            for key, points in run["histories"].items():
                run["histories"][key] = [list(each) for each in sorted(set(map(tuple, points)))]
                repeated += len(points) - len(run["histories"][key])
    assert repeated == 1, "the history repeats one point"
    return seen


def done(folder: Path, *args: str) -> str:
    command = [sys.executable, "-m", "loopwright", *args]
    found = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@pytest.mark.parametrize(
    ("kind", "major"),
    [("database", "3"), ("server", "3"), ("database", "2"), ("server", "2"), ("files", "2")],
)
def test_the_client_sees_the_same_before_and_after(kind: str, major: str, tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    with history(kind, major, there) as source:
        done(here, "import", "mlflow", source)
        assert "both sides are the same" in done(here, "import", "mlflow", source, "--verify")
        before = told(source, there, major)
    if kind == "files":
        before = points_once(before)
    with server(here) as (_, up):
        assert differences(before, told(up["url"], there, major)) == []


def test_what_came_in_goes_back(tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    with history("database", "3", there) as source:
        done(here, "import", "mlflow", source)
        before = told(source, there, "3")
    done(here, "export", "mlflow", "out", "--mlflow-python", str(peer_python("3")))
    after = tmp_path / "after"
    after.mkdir()
    with mlflow_server("3", store=here / "out") as peer:
        assert differences(before, told(peer.url, after, "3")) == []


def test_a_server_takes_a_history_in(tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    here.mkdir()
    with history("database", "3", there) as source, server(here) as (_, up):
        done(there, "import", "mlflow", source, "--url", up["url"])
        assert "both sides are the same" in done(
            there, "import", "mlflow", source, "--verify", "--url", up["url"]
        )
        assert differences(told(source, there, "3"), told(up["url"], there, "3")) == []
