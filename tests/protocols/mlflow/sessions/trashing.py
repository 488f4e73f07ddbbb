"""What is deleted, what is refused meanwhile, and what comes back: runs, experiments, versions, models."""

from __future__ import annotations

from typing import Any

from tests.protocols.mlflow.sessions.told import Told, refusal

__all__ = ["session"]


def session(mlflow: Any, told: Told) -> None:
    client = mlflow.MlflowClient()
    home = client.create_experiment("trashing", tags={"team": "blue"})
    told.hide(home, "home")
    _runs(client, told, home)
    _experiments(client, told, home)
    _models(client, told)


def _runs(client: Any, told: Told, home: str) -> None:
    run = client.create_run(home, run_name="goes").info.run_id
    stays = client.create_run(home, run_name="stays").info.run_id
    told.hide(run, "run")
    told.hide(stays, "stays")
    client.log_metric(run, "auc", 0.5, step=1)
    client.log_param(run, "lr", "0.1")
    client.log_text(run, "kept", "note.txt")
    client.delete_run(run)
    told.tell("deleted run", client.get_run(run).info.lifecycle_stage)
    told.tell("what it logged", [client.get_run(run).data.metrics, client.get_run(run).data.params])
    told.tell("its history", [[p.value, p.step] for p in client.get_metric_history(run, "auc")])
    told.tell("its files", [each.path for each in client.list_artifacts(run)])
    told.tell("runs by view", _views(client, home))
    told.tell("metric of a deleted run", refusal(lambda: client.log_metric(run, "auc", 0.6)))
    told.tell("param of a deleted run", refusal(lambda: client.log_param(run, "a", "b")))
    told.tell("tag of a deleted run", refusal(lambda: client.set_tag(run, "a", "b")))
    told.tell("end of a deleted run", refusal(lambda: client.set_terminated(run)))
    told.tell("restored when it is not gone", refusal(lambda: client.restore_run(stays)))
    client.restore_run(run)
    told.tell("restored run", client.get_run(run).info.lifecycle_stage)
    client.log_metric(run, "auc", 0.7, step=2)
    told.tell("it goes on", [[p.value, p.step] for p in client.get_metric_history(run, "auc")])
    told.tell("no such run", refusal(lambda: client.delete_run("0" * 31 + "1")))


def _views(client: Any, home: str) -> dict[str, list[str]]:
    return {
        name: sorted(run.info.run_name for run in client.search_runs([home], run_view_type=view))
        for name, view in (("active", 1), ("deleted", 2), ("all", 3))
    }


def _experiments(client: Any, told: Told, home: str) -> None:
    client.delete_experiment(home)
    told.tell("deleted experiment", client.get_experiment(home).lifecycle_stage)
    told.tell("by its name", client.get_experiment_by_name("trashing").lifecycle_stage)
    told.tell("its runs", _views(client, home))
    told.tell("a run in it", refusal(lambda: client.create_run(home)))
    told.tell("a tag of it", refusal(lambda: client.set_experiment_tag(home, "a", "b")))
    told.tell("its name again", refusal(lambda: client.create_experiment("trashing")))
    told.tell("deleted twice", refusal(lambda: client.delete_experiment(home)))
    named = {
        view: [each.name for each in client.search_experiments(view_type=view) if each.name == "trashing"]
        for view in (1, 2, 3)
    }
    told.tell("experiments by view", named)
    client.restore_experiment(home)
    told.tell("restored experiment", client.get_experiment(home).lifecycle_stage)
    told.tell("its runs are back", _views(client, home))
    told.tell("restored twice", refusal(lambda: client.restore_experiment(home)))
    told.tell("tags", client.get_experiment(home).tags["team"])


def _models(client: Any, told: Told) -> None:
    client.create_registered_model("trashing-model")
    for _ in range(2):
        client.create_model_version("trashing-model", "s3://bucket/model")
    client.set_registered_model_alias("trashing-model", "champion", "1")
    client.delete_model_version("trashing-model", "1")
    told.tell("versions left", [v.version for v in client.search_model_versions("name='trashing-model'")])
    told.tell("the alias", refusal(lambda: client.get_model_version_by_alias("trashing-model", "champion")))
    told.tell("the version", refusal(lambda: client.get_model_version("trashing-model", "1")))
    third = client.create_model_version("trashing-model", "s3://bucket/model")
    told.tell("the next number", str(third.version))
    client.delete_registered_model("trashing-model")
    told.tell("the model", refusal(lambda: client.get_registered_model("trashing-model")))
    client.create_registered_model("trashing-model")
    told.tell("its name is free", client.get_registered_model("trashing-model").latest_versions)
