"""scikit-learn: what its autologger writes, and models saved and loaded again."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tests.protocols.mlflow.sessions import shown
from tests.protocols.mlflow.sessions.told import Told

__all__ = ["session"]


def session(mlflow: Any, told: Told) -> None:
    linear = import_module("sklearn.linear_model")
    numpy = import_module("numpy")
    client = mlflow.MlflowClient()
    told.hide(mlflow.set_experiment("learning-session").experiment_id, "experiment")
    rng = numpy.random.default_rng(7)
    x = rng.normal(size=(80, 3))
    y = x @ [1.0, -2.0, 0.5] + 0.25
    mlflow.sklearn.autolog()
    with mlflow.start_run(run_name="auto") as run:
        model = linear.Ridge(alpha=0.5).fit(x, y)
        model.score(x, y)
    _told(client, told, "auto", run.info.run_id)
    with mlflow.start_run(run_name="search") as run:
        grid = import_module("sklearn.model_selection").GridSearchCV(
            linear.Ridge(), {"alpha": [0.1, 1.0]}, cv=3
        )
        grid.fit(x, y)
    told.tell("best", client.get_run(run.info.run_id).data.params["best_alpha"])
    children = client.search_runs([run.info.experiment_id], f"tags.mlflow.parentRunId = '{run.info.run_id}'")
    told.tell("children", sorted(child.data.params["alpha"] for child in children))
    mlflow.sklearn.autolog(disable=True)
    _pipeline(mlflow, client, told, x, y)


def _told(client: Any, told: Told, name: str, run_id: str) -> None:
    found = shown.run(client.get_run(run_id))
    logged = found["tags"].pop("mlflow.log-model.history", None)
    told.tell(name, found)
    told.tell(f"{name}: model told by a tag", logged is not None)
    told.tell(f"{name}: files", shown.files(client, run_id))


def _pipeline(mlflow: Any, client: Any, told: Told, x: Any, y: Any) -> None:
    pipeline = import_module("sklearn.pipeline").make_pipeline(
        import_module("sklearn.preprocessing").StandardScaler(), import_module("sklearn.linear_model").Ridge()
    )
    pipeline.fit(x, y)
    with mlflow.start_run(run_name="saved") as run:
        signature = mlflow.models.infer_signature(x, pipeline.predict(x))
        info = mlflow.sklearn.log_model(pipeline, "model", signature=signature, input_example=x[:2])
    loaded = mlflow.pyfunc.load_model(info.model_uri)
    told.tell("the same predictions", bool((loaded.predict(x) == pipeline.predict(x)).all()))
    told.tell("by its run", str(loaded.metadata.run_id) == run.info.run_id)
    told.tell("flavours", sorted(loaded.metadata.flavors))
    again = mlflow.sklearn.load_model(f"runs:/{run.info.run_id}/model")
    told.tell("by runs:/", bool((again.predict(x) == pipeline.predict(x)).all()))
    told.tell("signature", loaded.metadata.signature.to_dict())
    told.tell("saved: files", shown.files(client, run.info.run_id, "model"))
