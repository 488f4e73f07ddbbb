"""Two spaces on one ledger: each has its own default experiment, and ids of one mean nothing in the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from loopwright.engine.context import Context, Principal
from loopwright.engine.operation import Operation
from loopwright.surfaces.http import Application, build_app
from loopwright.surfaces.mlflow.application import build_mlflow
from loopwright.tracking.experiments import default_id
from loopwright.workspace import Workspace, load_settings
from loopwright.workspace.settings import Settings
from tests.surfaces.asking import Answer, ask

SECRET = "nobody-else-knows"


class Inside:
    """A workspace seen from one space."""

    def __init__(self, workspace: Workspace, space: str) -> None:
        self._workspace = workspace
        self._space = space
        self.settings: Settings = workspace.settings
        self.operations: dict[str, Operation] = workspace.operations
        self.live = workspace.live
        self.ports = workspace.ports

    def context(self, principal: Principal | None = None, space: str | None = None) -> Context:
        return self._workspace.context(principal, space or self._space)


class Side(NamedTuple):
    """A server for one space."""

    app: Application

    def call(self, method: str, path: str, value: Any = None) -> Answer:
        return ask(self.app, method, f"/api/2.0/mlflow/{path}", value=value)

    def post(self, path: str, **fields: Any) -> Any:
        answer = self.call("POST", path, fields)
        assert answer.status == 200, answer.body
        return answer.json


class Ids(NamedTuple):
    """What is in the first space."""

    experiment: str
    run: str
    model: str
    other_run: str


@pytest.fixture
def sides(tmp_path: Path) -> Iterator[tuple[Side, Side]]:
    given = {"workspace": str(tmp_path / ".loopwright")}
    with Workspace.open(settings=load_settings(given, environment={})) as workspace:
        apps = []
        for space in ("default", "other"):
            host: Any = Inside(workspace, space)
            protocol = build_mlflow(host)
            apps.append(Side(build_app(host, mounts=[("/api", protocol)], protocols=(protocol,))))
        yield apps[0], apps[1]


def filled(side: Side) -> Ids:
    experiment = side.post("experiments/create", name=SECRET)["experiment_id"]
    runs = [
        side.post("runs/create", experiment_id=experiment, run_name=SECRET)["run"]["info"]["run_id"]
        for _ in range(2)
    ]
    batch = {
        "run_id": runs[0],
        "metrics": [{"key": SECRET, "value": 1.0, "timestamp": 1, "step": 0}],
        "params": [{"key": SECRET, "value": "x"}],
    }
    side.post("runs/log-batch", **batch)
    model = side.post("logged-models", experiment_id=experiment, name=SECRET)["model"]["info"]["model_id"]
    side.post("registered-models/create", name=SECRET)
    side.post("model-versions/create", name=SECRET, source="s3://bucket/x", run_id=runs[0])
    return Ids(experiment, runs[0], model, runs[1])


def test_each_space_has_its_own_default_experiment(sides: tuple[Side, Side]) -> None:
    ids = []
    for side in sides:
        run = side.post("runs/create", run_name="a")["run"]["info"]
        found = side.call("GET", "experiments/get?experiment_id=0").json["experiment"]
        named = side.call("GET", "experiments/get-by-name?experiment_name=Default").json["experiment"]
        assert found["experiment_id"] == named["experiment_id"] == run["experiment_id"]
        assert run["artifact_uri"].startswith(f"mlflow-artifacts:/{found['experiment_id']}/")
        assert len(side.post("runs/search", experiment_ids=["0"])["runs"]) == 1
        made = side.post("logged-models", experiment_id="0", name="m")["model"]["info"]
        assert made["experiment_id"] == found["experiment_id"]
        assert len(side.post("logged-models/search", experiment_ids=["0"])["models"]) == 1
        ids.append(found["experiment_id"])
    assert ids == ["0", default_id("other")]
    assert sides[0].call("GET", f"experiments/get?experiment_id={ids[1]}").status == 404


def test_the_same_names_live_in_both(sides: tuple[Side, Side]) -> None:
    first, second = (filled(side) for side in sides)
    assert not set(first) & set(second)
    for side, ids in zip(sides, (first, second), strict=True):
        found = side.post("experiments/search", max_results=10)["experiments"]
        assert {each["experiment_id"] for each in found if each["name"] == SECRET} == {ids.experiment}
        assert len(side.call("GET", "registered-models/search").json["registered_models"]) == 1


_POINT = {"key": "k", "value": 1.0, "timestamp": 1, "step": 0}
_PAIR = {"key": "k", "value": "v"}
_DATASET = {
    "dataset": {"name": "d", "digest": "1", "source_type": "local", "source": "x"},
    "tags": [{"key": "mlflow.data.context", "value": "training"}],
}
POSTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("POST", "experiments/update", {"experiment_id": "{experiment}", "new_name": "n"}),
    ("POST", "experiments/delete", {"experiment_id": "{experiment}"}),
    ("POST", "experiments/restore", {"experiment_id": "{experiment}"}),
    ("POST", "experiments/set-experiment-tag", {"experiment_id": "{experiment}", **_PAIR}),
    ("POST", "experiments/delete-experiment-tag", {"experiment_id": "{experiment}", "key": "k"}),
    ("POST", "runs/create", {"experiment_id": "{experiment}"}),
    ("POST", "runs/update", {"run_id": "{run}", "status": "FINISHED"}),
    ("POST", "runs/delete", {"run_id": "{run}"}),
    ("POST", "runs/restore", {"run_id": "{run}"}),
    ("POST", "runs/log-metric", {"run_id": "{run}", **_POINT}),
    ("POST", "runs/log-parameter", {"run_id": "{run}", **_PAIR}),
    ("POST", "runs/log-batch", {"run_id": "{run}", "metrics": [_POINT], "tags": [_PAIR]}),
    ("POST", "runs/set-tag", {"run_id": "{run}", **_PAIR}),
    ("POST", "runs/delete-tag", {"run_id": "{run}", "key": "mlflow.runName"}),
    ("POST", "runs/log-inputs", {"run_id": "{run}", "datasets": [_DATASET]}),
    ("POST", "runs/outputs", {"run_id": "{run}", "models": [{"model_id": "{model}", "step": 0}]}),
    ("POST", "logged-models", {"experiment_id": "{experiment}", "name": "m"}),
    ("PATCH", "logged-models/{model}", {"model_id": "{model}", "status": "LOGGED_MODEL_READY"}),
    ("DELETE", "logged-models/{model}", {}),
    ("PATCH", "logged-models/{model}/tags", {"tags": [_PAIR]}),
    ("POST", "logged-models/{model}/params", {"params": [_PAIR]}),
    ("PATCH", "registered-models/update", {"name": SECRET, "description": "d"}),
    ("POST", "registered-models/rename", {"name": SECRET, "new_name": "n"}),
    ("DELETE", "registered-models/delete", {"name": SECRET}),
    ("POST", "registered-models/alias", {"name": SECRET, "alias": "a", "version": "1"}),
    ("POST", "registered-models/set-tag", {"name": SECRET, **_PAIR}),
    ("POST", "model-versions/create", {"name": SECRET, "source": "s3://b/x"}),
    ("POST", "model-versions/transition-stage", {"name": SECRET, "version": "1", "stage": "Staging"}),
    ("POST", "model-versions/set-tag", {"name": SECRET, "version": "1", **_PAIR}),
    ("PATCH", "model-versions/update", {"name": SECRET, "version": "1", "description": "d"}),
    ("DELETE", "model-versions/delete", {"name": SECRET, "version": "1"}),
)
GETS = (
    "experiments/get?experiment_id={experiment}",
    f"experiments/get-by-name?experiment_name={SECRET}",
    "runs/get?run_id={run}",
    "artifacts/list?run_id={run}",
    "logged-models/{model}",
    "logged-models/{model}/artifacts/directories",
    f"registered-models/get?name={SECRET}",
    f"registered-models/get-latest-versions?name={SECRET}",
    f"model-versions/get?name={SECRET}&version=1",
    f"model-versions/get-download-uri?name={SECRET}&version=1",
)
_BULK = "run_ids={run}&run_ids={other_run}"
EMPTY: tuple[tuple[str, str, dict[str, Any] | None], ...] = (
    ("GET", f"metrics/get-history?run_id={{run}}&metric_key={SECRET}", None),
    ("GET", f"metrics/get-history-bulk?run_id={{run}}&metric_key={SECRET}", None),
    (
        "GET",
        f"metrics/get-history-bulk-interval?run_ids={{run}}&run_ids={{other_run}}&metric_key={SECRET}",
        None,
    ),
    ("POST", "runs/search", {"experiment_ids": ["{experiment}"], "run_view_type": "ALL"}),
    ("POST", "runs/search", {"experiment_ids": ["0", "{experiment}"], "filter": "run_id = '{run}'"}),
    ("POST", "logged-models/search", {"experiment_ids": ["{experiment}"]}),
    ("POST", "experiments/search-datasets", {"experiment_ids": ["{experiment}"]}),
    ("GET", "model-versions/search", None),
    ("GET", "registered-models/search", None),
)


def put_in(value: Any, ids: Ids) -> Any:
    """A request with the ids of the other space in it."""
    if isinstance(value, str):
        for name, text in ids._asdict().items():
            value = value.replace(f"{{{name}}}", text)
        return value
    if isinstance(value, dict):
        return {key: put_in(each, ids) for key, each in value.items()}
    return [put_in(each, ids) for each in value] if isinstance(value, list) else value


def seen(side: Side, ids: Ids) -> list[Any]:
    """All that could be changed from outside."""
    paths = [put_in(path, ids) for path in GETS]
    return [side.call("GET", path).json for path in paths]


def test_ids_of_another_space_are_not_found(sides: tuple[Side, Side]) -> None:
    ours, theirs = sides
    ids = filled(ours)
    before = seen(ours, ids)
    for path in GETS:
        answer = theirs.call("GET", put_in(path, ids))
        assert (answer.status, answer.json["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST"), path
    for method, path, value in POSTS:
        answer = theirs.call(method, put_in(path, ids), put_in(value, ids))
        assert (answer.status, answer.json["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST"), (
            path,
            answer.body,
        )
    for method, path, asked in EMPTY:
        answer = theirs.call(method, put_in(path, ids), put_in(asked, ids))
        assert answer.status == 200, (path, answer.body)
        assert SECRET.encode() not in answer.body
        assert ids.run.encode() not in answer.body
    assert seen(ours, ids) == before


def test_files_of_another_space_are_not_found(sides: tuple[Side, Side]) -> None:
    ours, theirs = sides
    ids = filled(ours)
    place = f"/api/2.0/mlflow-artifacts/artifacts/{ids.experiment}/{ids.run}/artifacts/a.txt"
    assert ask(ours.app, "PUT", place, body=b"ours").status == 200
    for method in ("GET", "PUT", "DELETE"):
        assert ask(theirs.app, method, place, body=b"theirs" if method == "PUT" else b"").status == 404
    assert ask(ours.app, "GET", place).body == b"ours"


def test_metrics_of_a_batch_may_not_name_a_model_of_another_space(sides: tuple[Side, Side]) -> None:
    ours, theirs = sides
    ids = filled(ours)
    run = theirs.post("runs/create", run_name="a")["run"]["info"]["run_id"]
    point = {**_POINT, "model_id": ids.model}
    answer = theirs.call("POST", "runs/log-batch", {"run_id": run, "metrics": [_POINT, point]})
    assert 400 <= answer.status < 500
    found = theirs.call("GET", f"runs/get?run_id={run}").json["run"]
    assert "metrics" not in found["data"]
