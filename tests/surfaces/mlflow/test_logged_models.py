"""Logged models behind MLflow's protocol: their files, their points in a run's own unit of work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.surfaces.asking import Answer, ask
from tests.surfaces.mlflow.places import PROXY, Place, placed

API = "/api/2.0/mlflow"


def call(place: Place, method: str, path: str, value: Any = None) -> Answer:
    return ask(place.app, method, f"{API}/{path}", value=value)


def logged(place: Place) -> dict[str, Any]:
    body = {"experiment_id": place.home.partition("/")[0], "name": "tree", "source_run_id": place.run_id}
    info: dict[str, Any] = call(place, "POST", "logged-models", body).json["model"]["info"]
    return info


def test_its_files_are_put_listed_and_registered(tmp_path: Path) -> None:
    with placed(tmp_path) as place:
        info = logged(place)
        folder = info["artifact_uri"].removeprefix("mlflow-artifacts:/")
        assert ask(place.app, "PUT", f"{PROXY}/{folder}/data/model.bin", body=b"x").status == 200
        listed = call(place, "GET", f"logged-models/{info['model_id']}/artifacts/directories").json
        assert [each["path"] for each in listed["files"]] == ["data"]
        call(place, "POST", "registered-models/create", {"name": "delay"})
        source = f"models:/{info['model_id']}"
        body = {"name": "delay", "source": source, "model_id": info["model_id"]}
        assert call(place, "POST", "model-versions/create", body).status == 200
        told = place.workspace.call("versions.show", address="model:delay@1")
        assert told.entries == 1


def test_a_point_of_no_model_leaves_nothing_of_its_batch(tmp_path: Path) -> None:
    with placed(tmp_path) as place:
        info = logged(place)
        good = {"key": "acc", "value": 0.5, "timestamp": 1, "step": 0, "model_id": info["model_id"]}
        lost = {**good, "key": "lost", "model_id": "m-" + "0" * 32}
        batch = {"run_id": place.run_id, "metrics": [good, lost]}
        assert call(place, "POST", "runs/log-batch", batch).status == 400
        found = call(place, "GET", f"logged-models/{info['model_id']}").json["model"]["data"]
        assert found == {}
        run = call(place, "GET", f"runs/get?run_id={place.run_id}").json["run"]["data"]
        assert "metrics" not in run
        call(place, "POST", "runs/log-batch", {**batch, "metrics": [good]})
        found = call(place, "GET", f"logged-models/{info['model_id']}").json["model"]["data"]
        assert [each["key"] for each in found["metrics"]] == ["acc"]


def test_an_odd_status_is_refused(tmp_path: Path) -> None:
    with placed(tmp_path) as place:
        info = logged(place)
        odd: tuple[Any, ...] = ("GREAT", 7, 0, [], {}, True, 1.5, "²")
        for status in odd:
            asked = call(place, "PATCH", f"logged-models/{info['model_id']}", {"status": status})
            assert asked.status == 400, status
