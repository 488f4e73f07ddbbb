"""XGBoost: what its autologger writes, natively and by its wrapper for scikit-learn."""

from __future__ import annotations

from importlib import import_module
from itertools import pairwise
from typing import Any

from tests.protocols.mlflow.sessions import shown
from tests.protocols.mlflow.sessions.told import Told

__all__ = ["session"]

GIVEN = {"objective": "binary:logistic", "max_depth": 2, "nthread": 1, "seed": 1}


def session(mlflow: Any, told: Told) -> None:
    xgboost, numpy = import_module("xgboost"), import_module("numpy")
    client = mlflow.MlflowClient()
    told.hide(mlflow.set_experiment("growing-session").experiment_id, "experiment")
    rng = numpy.random.default_rng(5)
    x = rng.normal(size=(300, 4))
    y = (x[:, 0] - x[:, 1] > 0).astype(int)
    mlflow.xgboost.autolog()
    train, held_out = xgboost.DMatrix(x[:200], y[:200]), xgboost.DMatrix(x[200:], y[200:])
    with mlflow.start_run(run_name="grown") as run:
        model = xgboost.train(GIVEN, train, 12, evals=[(held_out, "held_out")], verbose_eval=False)
    _told(client, told, "grown", run)
    history = client.get_metric_history(run.info.run_id, "held_out-logloss")
    told.tell("steps", [point.step for point in history])
    told.tell("falls", all(one.value > two.value for one, two in pairwise(history)))
    with mlflow.start_run(run_name="wrapped") as wrapped:
        import_module("xgboost").XGBClassifier(n_estimators=4, max_depth=2, n_jobs=1).fit(x, y)
    mlflow.xgboost.autolog(disable=True)
    _told(client, told, "wrapped", wrapped)
    loaded = mlflow.xgboost.load_model(f"runs:/{run.info.run_id}/model")
    told.tell("the same predictions", bool((loaded.predict(held_out) == model.predict(held_out)).all()))


def _told(client: Any, told: Told, name: str, run: Any) -> None:
    found = client.get_run(run.info.run_id)
    told.tell(f"{name}: params", dict(sorted(found.data.params.items())))
    told.tell(f"{name}: metrics", sorted(found.data.metrics))
    told.tell(f"{name}: datasets", sorted(each.dataset.name for each in found.inputs.dataset_inputs))
    told.tell(f"{name}: files", shown.files(client, run.info.run_id))
