"""What an evaluation of a small regression writes."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tests.protocols.mlflow.sessions import shown
from tests.protocols.mlflow.sessions.told import Told

__all__ = ["session"]


def session(mlflow: Any, told: Told) -> None:
    pandas = import_module("pandas")
    client = mlflow.MlflowClient()
    told.hide(mlflow.set_experiment("evaluating-session").experiment_id, "experiment")
    frame = pandas.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "y": [1.5, 2.5, 2.5, 4.0]})
    model = import_module("sklearn.linear_model").LinearRegression().fit(frame[["x"]], frame["y"])
    with mlflow.start_run(run_name="evaluated") as run:
        info = mlflow.sklearn.log_model(model, "model", input_example=frame[["x"]])
        told.tell("metrics", _evaluated(mlflow, info.model_uri, frame))
    found = shown.run(client.get_run(run.info.run_id))
    found["tags"].pop("mlflow.log-model.history", None)
    told.tell("run", found)
    told.tell(
        "files", [path for path in shown.files(client, run.info.run_id) if not path.startswith("model/")]
    )


def _evaluated(mlflow: Any, uri: str, frame: Any) -> dict[str, float]:
    given = {"targets": "y", "model_type": "regressor", "evaluators": "default"}
    config = {"log_explainer": False, "log_model_explainability": False}
    result = mlflow.models.evaluate(uri, frame, evaluator_config=config, **given)
    return {name: float(value) for name, value in sorted(result.metrics.items())}
