"""Prompts as MLflow 2 has them: registered, found, aliased, formatted, deleted."""

from __future__ import annotations

from typing import Any

from tests.protocols.mlflow.sessions.told import Told, refusal

__all__ = ["session"]


def session(mlflow: Any, told: Told) -> None:
    client = mlflow.MlflowClient()
    one = mlflow.register_prompt("farewell", "Bye {{name}}", commit_message="first", tags={"team": "blue"})
    two = mlflow.register_prompt("farewell", "So long {{name}} of {{place}}", version_metadata={"by": "ann"})
    told.tell("versions", [one.version, two.version])
    mlflow.set_prompt_alias("farewell", "production", 1)
    loaded = mlflow.load_prompt("prompts:/farewell@production")
    told.tell("loaded", [loaded.name, loaded.version, loaded.template, loaded.commit_message])
    told.tell("said", loaded.format(name="Ann"))
    second = mlflow.load_prompt("farewell", version=2)
    told.tell("second", [second.format(name="Ann", place="Rome"), sorted(second.variables)])
    told.tell("none", refusal(lambda: mlflow.load_prompt("farewell", version=9)))
    told.tell("no model", [each.name for each in client.search_registered_models("name = 'farewell'")])
    told.tell("taken", refusal(lambda: client.create_registered_model("farewell")))
    with mlflow.start_run() as run:
        client.log_prompt(run.info.run_id, "prompts:/farewell@production")
    told.tell("of a run", [[each.name, each.version] for each in client.list_logged_prompts(run.info.run_id)])
    mlflow.delete_prompt_alias("farewell", "production")
    told.tell("no alias", refusal(lambda: mlflow.load_prompt("prompts:/farewell@production")))
    mlflow.delete_prompt("farewell", 1)
    mlflow.delete_prompt("farewell", 2)
    told.tell("gone", refusal(lambda: mlflow.load_prompt("farewell", version=1)))
