"""MLflow 3 and 2 load what we save, and we load what they saved: the same answers either way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
import yaml
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

from loopwright.app.packages import load_model, save_model
from loopwright.core.errors import Untrusted
from loopwright.registry.signatures import infer, read_signature, written
from loopwright.workspace import Workspace
from tests.protocols.mlflow.peers import run_as_peer
from tests.protocols.mlflow.script.packages import NAMES, ROWS

pytestmark = [pytest.mark.peer, pytest.mark.slow]

MODULE = "tests.protocols.mlflow.script.packages"
LIBRARIES = str(Path(np.__file__).parents[1])
FRAME = pd.DataFrame(ROWS, columns=NAMES)
CLASSES = np.array([0, 1, 0, 1])


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace.open(tmp_path / ".loopwright") as opened:
        yield opened


def ours() -> dict[str, tuple[Any, str, Any]]:
    """Models with the form they are saved in and what they say of the rows."""

    class Sum:
        """Somebody's own class, which MLflow's environment does not have."""

        def predict(self, rows: Any) -> Any:
            return np.asarray(rows).sum(axis=1)

    linear = LogisticRegression().fit(FRAME, CLASSES)
    params = {"objective": "binary", "verbose": -1, "min_data_in_leaf": 1, "min_data_in_bin": 1}
    booster = lightgbm.train(params, lightgbm.Dataset(FRAME, label=CLASSES), num_boost_round=2)
    wrapped = xgboost.XGBClassifier(n_estimators=3).fit(FRAME, CLASSES)
    trees = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(FRAME, label=CLASSES), 2)
    return {
        "skops": (linear, "", linear.predict(FRAME)),
        "pickled": (linear, "cloudpickle", linear.predict(FRAME)),
        "lightgbm": (booster, "", booster.predict(FRAME)),
        "xgboost": (wrapped, "", wrapped.predict(FRAME)),
        "booster": (trees, "json", trees.predict(xgboost.DMatrix(FRAME))),
        "own": (Sum(), "", FRAME.to_numpy().sum(axis=1)),
    }


@pytest.mark.parametrize("major", ["3", "2"])
def test_mlflow_loads_what_we_save(workspace: Workspace, tmp_path: Path, major: str) -> None:
    models = ours()
    if major == "2":
        del models["skops"]  # MLflow 2 knows no skops: `form="cloudpickle"` is for it
    folders = []
    for name, (model, form, _) in models.items():
        folders.append(str(save_model(model, tmp_path / name, input_example=FRAME, form=form, to=workspace)))
    found = json.loads(
        run_as_peer(major, MODULE, LIBRARIES, "load", *folders, folder=tmp_path).splitlines()[-1]
    )
    for name, (_, _, answers) in models.items():
        np.testing.assert_allclose(found[name]["answers"], answers, rtol=1e-6, err_msg=name)
        assert found[name]["example"] == ROWS
        assert [each["name"] for each in found[name]["inputs"]] == NAMES
    assert found["xgboost"]["native"] == "XGBClassifier"
    assert found["lightgbm"]["native"] == found["booster"]["native"] == "Booster"


@pytest.mark.parametrize("major", ["3", "2"])
def test_we_load_what_mlflow_saves(workspace: Workspace, tmp_path: Path, major: str) -> None:
    printed = run_as_peer(major, MODULE, LIBRARIES, "save", str(tmp_path), folder=tmp_path)
    told = json.loads(printed.splitlines()[-1])
    signature = infer(FRAME, CLASSES)
    assert {key: value for key, value in written(signature).items() if key != "params"} == {
        key: value for key, value in told.pop("signature").items() if key != "params"
    }
    needing = {"pickled", "function"} | ({"default"} if major == "2" else set())
    for name, answers in told.items():
        folder = tmp_path / name
        trust: list[str] = []
        if name in needing:
            with pytest.raises(Untrusted, match="not signed") as refused:
                load_model(folder, to=workspace)
            trust = ["blake3:" + refused.value.hint.rpartition("blake3:")[2][:64]]
            if name == "function":
                continue  # its class is MLflow's, which this environment does not have
        loaded = load_model(folder, trust=trust, to=workspace)
        np.testing.assert_allclose(loaded.predict(FRAME), answers, rtol=1e-6, err_msg=name)
    section = yaml.safe_load((tmp_path / "default" / "MLmodel").read_text())["signature"]
    assert read_signature(section) == signature


@pytest.mark.parametrize("major", ["3", "2"])
def test_a_graph_of_onnx_goes_both_ways(workspace: Workspace, tmp_path: Path, major: str) -> None:
    rows = np.asarray(ROWS, dtype=np.float32)
    linear = LogisticRegression().fit(rows, CLASSES)
    graph = to_onnx(linear, rows[:1], options={"zipmap": False})
    save_model(graph, tmp_path / "ours", input_example=rows, to=workspace)
    printed = run_as_peer(major, MODULE, LIBRARIES, "onnx", str(tmp_path), folder=tmp_path)
    expected = linear.predict_proba(rows)
    np.testing.assert_allclose(json.loads(printed.splitlines()[-1])["ours"], expected, atol=1e-6)
    theirs = load_model(tmp_path / "theirs", to=workspace)
    np.testing.assert_allclose(theirs.predict(rows)["probabilities"], expected, atol=1e-6)
