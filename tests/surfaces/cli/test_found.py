"""Runs that were found, as a table: columns chosen, or those that tell the runs apart."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from loopwright.core.errors import Invalid
from loopwright.core.nouns import MetricPoint
from loopwright.surfaces.cli.found import told, usual
from loopwright.tracking import verbs
from loopwright.workspace import Workspace


def found(name: str, metrics: dict[str, Any], params: dict[str, str]) -> dict[str, Any]:
    run = {
        "id": f"id-{name}",
        "name": name,
        "state": "finished",
        "started_at": "2026-01-01T00:00:00Z",
        "created_at": "2026-01-01T00:00:00Z",
        "params": params,
        "tags": {"team": "blue"},
    }
    points = [{"key": key, "value": value} for key, value in metrics.items()]
    return {"run": run, "metrics": points}


ITEMS = [
    found("a", {"auc": 0.7, "system/cpu": 1.0}, {"lr": "0.1", "seed": "7"}),
    found("b", {"auc": 0.8, "loss": 0.1}, {"lr": "0.2", "seed": "7"}),
]


def test_the_usual_columns_tell_the_runs_apart() -> None:
    assert usual(ITEMS) == ["metrics.auc", "metrics.loss", "params.lr"]


def test_a_line_has_each_column_asked_for() -> None:
    columns, lines = told(ITEMS, ("params.seed", "tags.team", "metrics.loss"))
    assert columns == ["run", "name", "state", "started", "params.seed", "tags.team", "metrics.loss"]
    assert [line["metrics.loss"] for line in lines] == [None, 0.1]
    assert lines[0]["tags.team"] == "blue"


@pytest.mark.parametrize("column", ["auc", "metrics.", "facts.x", ""])
def test_what_is_no_column_is_refused(column: str) -> None:
    with pytest.raises(Invalid):
        told(ITEMS, (column,))


def test_the_command_prints_columns_and_the_document_has_everything(tmp_path: Path) -> None:
    folder = tmp_path / ".loopwright"
    with Workspace.open(folder) as workspace:
        ctx = workspace.context()
        run = verbs.start(ctx, "run", "one", experiment="e", params={"lr": "0.1"}, facts={"inner": "hidden"})
        verbs.log_points(ctx, run.id, [MetricPoint(key="auc", value=0.75)])
    words = [sys.executable, "-m", "loopwright", "runs", "search", "--workspace", str(folder)]
    seen = subprocess.run([*words, "--column", "metrics.auc"], capture_output=True, text=True, check=True)
    assert "metrics.auc" in seen.stdout
    assert "0.75" in seen.stdout
    assert "hidden" not in seen.stdout
    document = subprocess.run([*words, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(document.stdout)["items"][0]["run"]["facts"]["inner"] == "hidden"
