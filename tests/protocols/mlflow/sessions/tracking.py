"""Runs as most people make them: started, nested, resumed, logged to, deleted and restored."""

from __future__ import annotations

from typing import Any

from tests.protocols.mlflow.sessions import shown
from tests.protocols.mlflow.sessions.told import Told, refusal

__all__ = ["session"]


def session(mlflow: Any, told: Told) -> None:
    client = mlflow.MlflowClient()
    experiment = mlflow.set_experiment("tracking-session")
    told.hide(experiment.experiment_id, "experiment")
    told.tell("experiment", [experiment.name, experiment.lifecycle_stage, experiment.artifact_location])
    with mlflow.start_run(run_name="outer", tags={"team": "blue"}, description="a *run*") as outer:
        _logged(mlflow, client, told, outer.info.run_id)
        with mlflow.start_run(run_name="inner", nested=True) as inner:
            mlflow.log_param("depth", 3)
        mlflow.set_tag("mlflow.runName", "renamed")
    told.tell("outer", shown.run(client.get_run(outer.info.run_id)))
    told.tell("inner", shown.run(client.get_run(inner.info.run_id)))
    with mlflow.start_run(run_id=outer.info.run_id):
        mlflow.log_metric("late", 1.0)
        mlflow.log_param("again", "1")
    told.tell("resumed", shown.run(client.get_run(outer.info.run_id)))
    _failed(mlflow, client, told)
    _trash(client, told, experiment.experiment_id, outer.info.run_id)
    _experiments(mlflow, client, told)


def _logged(mlflow: Any, client: Any, told: Told, run_id: str) -> None:
    mlflow.log_param("lr", 0.1)
    mlflow.log_params({f"p{number}": number for number in range(120)})
    for step in range(5):
        mlflow.log_metric("loss", 1 / (1 + step), step=step, timestamp=1_700_000_000_000 + step)
    mlflow.log_metrics({"acc": 0.5, "nan": float("nan"), "up": float("inf")}, step=2)
    mlflow.set_tags({"a": 1, "b.c/d": "x", "größe": "日本"})
    mlflow.set_tag("gone", "x")
    mlflow.delete_tag("gone")
    history = client.get_metric_history(run_id, "loss")
    told.tell("history", [[each.step, each.value, each.timestamp] for each in history])
    metric = mlflow.entities.Metric
    batch = [metric("many", float(number), 1_700_000_000_000, number) for number in range(2500)]
    mlflow.MlflowClient().log_batch(run_id, metrics=batch[:1000])
    client.log_batch(run_id, metrics=batch[1000:2000])
    client.log_batch(run_id, metrics=batch[2000:])
    told.tell("many", len(client.get_metric_history(run_id, "many")))
    told.tell("a param changed", refusal(lambda: mlflow.log_param("lr", 0.2)))
    told.tell("a bad key", refusal(lambda: mlflow.log_metric("a$b", 1.0)))


def _failed(mlflow: Any, client: Any, told: Told) -> None:
    try:
        with mlflow.start_run() as run:
            raise RuntimeError("on purpose")
    except RuntimeError:
        told.tell("failed", client.get_run(run.info.run_id).info.status)
    named = client.get_run(run.info.run_id).info.run_name
    told.tell("a name was made up", len(named.split("-")))


def _trash(client: Any, told: Told, experiment: str, run_id: str) -> None:
    client.delete_run(run_id)
    told.tell("deleted", client.get_run(run_id).info.lifecycle_stage)
    told.tell("write to deleted", refusal(lambda: client.log_metric(run_id, "x", 1.0)))
    left = client.search_runs([experiment], order_by=["attributes.run_name"])
    told.tell("left", [each.info.run_name for each in left if each.info.run_name in {"inner", "renamed"}])
    client.restore_run(run_id)
    told.tell("restored", client.get_run(run_id).info.lifecycle_stage)
    client.update_run(run_id, status="KILLED", name="updated")
    told.tell("updated", [client.get_run(run_id).info.status, client.get_run(run_id).info.run_name])
    told.tell("no such run", refusal(lambda: client.get_run("0" * 32)))


def _experiments(mlflow: Any, client: Any, told: Told) -> None:
    made = told.hide(client.create_experiment("tracking-other", tags={"a": "1"}), "other")
    client.set_experiment_tag(made, "b", "2")
    client.rename_experiment(made, "tracking-else")
    found = client.get_experiment(made)
    told.tell("other", [found.name, found.tags, found.lifecycle_stage, found.artifact_location])
    told.tell("taken", refusal(lambda: client.create_experiment("tracking-else")))
    client.delete_experiment(made)
    told.tell("other deleted", client.get_experiment_by_name("tracking-else").lifecycle_stage)
    told.tell("set when deleted", refusal(lambda: mlflow.set_experiment("tracking-else")))
    client.restore_experiment(made)
    names = client.search_experiments(filter_string="name LIKE 'tracking-%'", order_by=["name DESC"])
    told.tell("experiments", [each.name for each in names])
    told.tell("none", client.get_experiment_by_name("tracking-none"))
