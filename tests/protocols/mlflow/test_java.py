"""Calls as MLflow's client for Java makes them, from its own messages: both servers are read alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.app.processes import server
from tests.protocols.mlflow.peers import mlflow_server, run_as_peer

pytestmark = [pytest.mark.slow, pytest.mark.peer]


def told(url: str, folder: Path) -> dict[str, Any]:
    """What the session read of a server."""
    printed = run_as_peer("3", "tests.protocols.mlflow.script.java", url, folder=folder)
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


def test_messages_in_the_json_of_protobuf_are_understood_and_replies_are_such(tmp_path: Path) -> None:
    with server(tmp_path) as (_, said):
        ours = told(said["url"], tmp_path)
    assert ours["pages"] == [["run 3", "run 2"], ["run 1"]]
    assert ours["latest"] == [["1", "Staging"], ["2", "None"]]
    assert ["loss3", "nan", 3] in ours["run"]["metrics"]
    with mlflow_server("3") as peer:
        theirs = told(peer.url, tmp_path)
    assert ours == theirs
