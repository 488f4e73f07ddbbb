"""Packages behind an endpoint: deployed, asked by the V2 protocol, refused where trust is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import xgboost
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

from loopwright.app.assembling import assemble
from loopwright.app.packages import register, save_model
from loopwright.app.server import Server
from loopwright.core.errors import Invalid, Untrusted
from loopwright.serving.nouns import EndpointConfig, Route
from loopwright.workspace import Workspace, load_settings

X = pd.DataFrame({"length": np.linspace(0, 4, 40), "petals": np.arange(40) % 5})
Y = np.array([0] * 18 + [1] * 22)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace.open(tmp_path / ".loopwright") as opened:
        yield opened


def deploy(workspace: Workspace, name: str) -> None:
    routes = (Route(version=1, percent=100.0),)
    workspace.call("serving.deploy", endpoint=name, config=EndpointConfig(model=name, routes=routes))


def infer(client: httpx.Client, name: str, columns: dict[str, tuple[str, list[Any]]]) -> httpx.Response:
    inputs = [
        {"name": each, "datatype": kind, "shape": [len(values)], "data": values}
        for each, (kind, values) in columns.items()
    ]
    return client.post(f"/v2/models/{name}/infer", json={"inputs": inputs})


FLOWER: dict[str, tuple[str, list[Any]]] = {
    "length": ("FP64", [0.5, 3.5, 2.0]),
    "petals": ("INT64", [1, 4, 2]),
}


@pytest.fixture
def client(workspace: Workspace) -> Iterator[httpx.Client]:
    with Server(assemble(workspace)) as server, httpx.Client(base_url=server.url, timeout=20) as made:
        yield made


def test_sklearn_and_xgboost_answer_as_they_do_themselves(
    workspace: Workspace, client: httpx.Client, tmp_path: Path
) -> None:
    asked = pd.DataFrame({name: values for name, (_, values) in FLOWER.items()})
    linear = LogisticRegression().fit(X, Y)
    trees = xgboost.XGBClassifier(n_estimators=4, n_jobs=1).fit(X, Y)
    for name, model in (("linear", linear), ("trees", trees)):
        register(name, save_model(model, tmp_path / name, input_example=X, to=workspace), to=workspace)
        deploy(workspace, name)
        answer = infer(client, name, FLOWER)
        assert answer.status_code == 200, answer.text
        expected = model.predict_proba(asked)[:, 1]
        np.testing.assert_allclose(answer.json()["outputs"][0]["data"], expected, rtol=1e-6)
    told = client.get("/v2/models/linear").json()["inputs"]
    assert [(each["name"], each["datatype"]) for each in told] == [("length", "FP64"), ("petals", "INT64")]
    wrong = infer(client, "linear", {"length": ("BYTES", ["secret"]), "petals": ("INT64", [1])})
    assert wrong.status_code == 400
    assert "secret" not in wrong.text


def test_onnx_answers_as_what_it_was_made_of(
    workspace: Workspace, client: httpx.Client, tmp_path: Path
) -> None:
    model = LogisticRegression().fit(X.to_numpy(), Y)
    rows = X.to_numpy(dtype=np.float32)
    onnx = to_onnx(model, rows[:1], options={"zipmap": False})
    register("flat", save_model(onnx, tmp_path / "flat", input_example=rows, to=workspace), to=workspace)
    deploy(workspace, "flat")
    answer = infer(client, "flat", {"x0": ("FP64", [0.5, 3.5]), "x1": ("FP64", [1.0, 4.0])})
    assert answer.status_code == 200, answer.text
    expected = model.predict_proba(np.array([[0.5, 1.0], [3.5, 4.0]]))[:, 1]
    np.testing.assert_allclose(answer.json()["outputs"][0]["data"], expected, atol=1e-5)


def test_a_server_runs_no_code_of_a_signer_it_does_not_name(tmp_path: Path) -> None:
    class Own:
        def predict(self, rows: Any) -> Any:
            return np.asarray(rows)[:, 0]

    with Workspace.open(tmp_path / "laptop") as laptop:
        folder = save_model(Own(), tmp_path / "own", input_example=X, to=laptop)
        key = laptop.ports.signer.public_key
    with Workspace.open(tmp_path / "server") as server:
        register("own", folder, to=server)
        deploy(server, "own")
        with pytest.raises(Untrusted, match="pickle"):
            server.runtime.predict("own", [{"length": 2.0, "petals": 1}])
    settings = load_settings({"workspace": str(tmp_path / "server"), "trusted_signers": (key,)})
    with Workspace.open(settings=settings) as server:
        assert server.runtime.predict("own", [{"length": 2.0, "petals": 1}]).scores == [2.0]


def test_a_model_that_says_nothing_of_its_inputs_is_not_deployed(
    workspace: Workspace, tmp_path: Path
) -> None:
    folder = save_model(LogisticRegression().fit(X, Y), tmp_path / "m", to=workspace)
    register("m", folder, to=workspace)
    with pytest.raises(Invalid, match="does not say what its inputs are"):
        deploy(workspace, "m")
