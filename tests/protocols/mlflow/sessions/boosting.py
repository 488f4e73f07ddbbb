"""LightGBM: what its autologger writes, with curves and the importance of columns."""

from __future__ import annotations

from importlib import import_module
from itertools import pairwise
from typing import Any

from tests.protocols.mlflow.sessions import shown
from tests.protocols.mlflow.sessions.told import Told

__all__ = ["session"]


def session(mlflow: Any, told: Told) -> None:
    lightgbm, numpy = import_module("lightgbm"), import_module("numpy")
    client = mlflow.MlflowClient()
    told.hide(mlflow.set_experiment("boosting-session").experiment_id, "experiment")
    rng = numpy.random.default_rng(3)
    x = rng.normal(size=(300, 4))
    y = (x[:, 0] - x[:, 1] > 0).astype(float)
    mlflow.lightgbm.autolog()
    train = lightgbm.Dataset(x[:200], y[:200])
    given = {"objective": "binary", "num_leaves": 4, "verbose": -1, "num_threads": 1, "seed": 1}
    with mlflow.start_run(run_name="boosted") as run:
        model = lightgbm.train(given, train, 12, valid_sets=[lightgbm.Dataset(x[200:], y[200:])])
    mlflow.lightgbm.autolog(disable=True)
    found = client.get_run(run.info.run_id)
    told.tell("params", dict(sorted(found.data.params.items())))
    told.tell("metrics", sorted(found.data.metrics))
    history = client.get_metric_history(run.info.run_id, sorted(found.data.metrics)[0])
    told.tell("steps", [point.step for point in history])
    told.tell("falls", all(one.value > two.value for one, two in pairwise(history)))
    told.tell("files", shown.files(client, run.info.run_id))
    if hasattr(client, "search_logged_models"):
        models = client.search_logged_models([run.info.experiment_id])
        told.tell("models", [[model.name, str(model.status), model.model_type] for model in models])
    loaded = mlflow.lightgbm.load_model(f"runs:/{run.info.run_id}/model")
    told.tell("the same predictions", bool((loaded.predict(x) == model.predict(x)).all()))
