"""Prompts of MLflow 3: registered, found, aliased, formatted, deleted."""

from __future__ import annotations

from typing import Any

from tests.protocols.mlflow.sessions.told import Told, refusal

__all__ = ["session"]


def session(mlflow: Any, told: Told) -> None:
    genai, client = mlflow.genai, mlflow.MlflowClient()
    one = genai.register_prompt("greeting", "Hello {{name}}", commit_message="first", tags={"team": "blue"})
    two = genai.register_prompt("greeting", [{"role": "user", "content": "Hello {{name}} of {{place}}"}])
    told.tell("versions", [one.version, two.version])
    genai.set_prompt_alias("greeting", "production", 1)
    loaded = genai.load_prompt("prompts:/greeting@production")
    told.tell("loaded", [loaded.name, loaded.version, loaded.template, loaded.commit_message, loaded.tags])
    told.tell("said", loaded.format(name="Ann"))
    told.tell("chat", genai.load_prompt("greeting", version=2).format(name="Ann", place="Rome"))
    told.tell("variables", sorted(genai.load_prompt("prompts:/greeting/2").variables))
    told.tell("none", genai.load_prompt("greeting", version=9, allow_missing=True))
    found = genai.search_prompts("name = 'greeting'")
    told.tell("found", [[each.name, dict(sorted(each.tags.items()))] for each in found])
    told.tell("no model", [each.name for each in client.search_registered_models("name = 'greeting'")])
    told.tell("taken", refusal(lambda: client.create_registered_model("greeting")))
    genai.set_prompt_tag("greeting", "lang", "en")
    genai.set_prompt_version_tag("greeting", 1, "author", "ann")
    told.tell("tags", [genai.get_prompt_tags("greeting"), genai.load_prompt("greeting", version=1).tags])
    genai.delete_prompt_alias("greeting", "production")
    told.tell(
        "no alias", refusal(lambda: genai.load_prompt("prompts:/greeting@production", allow_missing=False))
    )
    client.delete_prompt_version("greeting", "1")
    client.delete_prompt_version("greeting", "2")
    client.delete_prompt("greeting")
    told.tell("gone", len(genai.search_prompts("name = 'greeting'")))
