"""`lw.autolog()` with real MLflow, scikit-learn and LightGBM: in this process and on a server."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loopwright.app.assembling import assemble
from loopwright.app.autologging import autolog
from loopwright.app.server import Server
from loopwright.core.errors import Unavailable
from loopwright.workspace import Workspace
from tests.protocols.mlflow.peers import ROOT, run_as_peer

MODULE = "tests.protocols.mlflow.script.autologging"
LIBRARIES = str(Path(np.__file__).parents[1])


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.parametrize("where", ["here", "server"])
def test_fits_are_logged_by_mlflow_s_own_autologgers(tmp_path: Path, where: str) -> None:
    folder = tmp_path / ".loopwright"
    paths = {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "LOOPWRIGHT_WORKSPACE": str(folder)}
    if where == "here":
        printed = run_as_peer("3", MODULE, LIBRARIES, "here", folder=tmp_path, **paths)
    else:
        with Workspace.open(tmp_path / "served") as workspace, Server(assemble(workspace)) as server:
            printed = run_as_peer("3", MODULE, LIBRARIES, server.url, folder=tmp_path, **paths)
    runs = json.loads(printed.splitlines()[-1])
    booster, linear = runs
    assert [run["state"] for run in runs] == ["finished", "finished"]
    assert (linear["params"]["C"], booster["params"]["learning_rate"]) == ("0.5", "0.2")
    assert "training_accuracy_score" in linear["metrics"]
    assert "training-binary_logloss" in booster["metrics"] or "valid_0-binary_logloss" in booster["metrics"]
    assert [run["models"] for run in runs] == [1, 1]


def test_without_mlflow_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = importlib.import_module

    def absent(name: str, package: str | None = None) -> Any:
        if name == "mlflow":
            raise ModuleNotFoundError("No module named 'mlflow'", name="mlflow")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(Unavailable, match="not installed") as refused:
        autolog()
    assert "loopwright[mlflow]" in refused.value.hint
