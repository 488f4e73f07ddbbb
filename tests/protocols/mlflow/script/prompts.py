"""Prompts are registered models with tags; these are the calls that clients of MLflow 3 make for them."""

from __future__ import annotations

from tests.protocols.mlflow.talking import Talk

__all__ = ["prompts"]

MODELS, VERSIONS = "registered-models", "model-versions"
IS_PROMPT = {"key": "mlflow.prompt.is_prompt", "value": "true"}


def prompts(talk: Talk) -> None:
    name = "greeting"
    talk.get(f"{MODELS}/get", "not there yet", {"name": name})
    talk.post(
        f"{MODELS}/create", "a prompt", {"name": name, "tags": [IS_PROMPT, {"key": "team", "value": "blue"}]}
    )
    talk.post(f"{MODELS}/create", "a second time", {"name": name, "tags": [IS_PROMPT]})
    for number, text in enumerate(("Hello {{name}}", "Good day, {{name}}: {t*12000}"), 1):
        tags = [
            IS_PROMPT,
            {"key": "mlflow.prompt.text", "value": text},
            {"key": "_mlflow_prompt_type", "value": "text"},
        ]
        body = {"name": name, "source": "dummy-source", "description": f"text {number}", "tags": tags}
        talk.post(f"{VERSIONS}/create", f"its text {number}", body)
    talk.get(f"{VERSIONS}/get", "read", {"name": name, "version": "1"})
    talk.post(f"{MODELS}/alias", "an alias", {"name": name, "alias": "production", "version": "2"})
    talk.get(f"{MODELS}/alias", "read by it", {"name": name, "alias": "production"})
    talk.post(
        f"{VERSIONS}/set-tag",
        "a tag of a text",
        {"name": name, "version": "1", "key": "author", "value": "ann"},
    )
    talk.post(f"{MODELS}/set-tag", "a tag of the prompt", {"name": name, "key": "team", "value": "red"})
    found = {"filter": "tags.`mlflow.prompt.is_prompt` = 'true' AND name = 'greeting'"}
    talk.get(f"{MODELS}/search", "among prompts", found)
    talk.get(f"{MODELS}/search", "not among models", {"filter": "name = 'greeting'"})
    talk.get(
        f"{VERSIONS}/search",
        "its texts, as prompts",
        {"filter": f"name = '{name}' AND tags.`mlflow.prompt.is_prompt` = 'true'"},
    )
    talk.get(f"{VERSIONS}/search", "its texts, as versions", {"filter": f"name = '{name}'"})
    talk.post(
        f"{VERSIONS}/create", "a model's version of a prompt", {"name": name, "source": "mlflow-artifacts:/x"}
    )
    talk.post(f"{MODELS}/create", "a model of the same name", {"name": name})
    talk.post(f"{MODELS}/create", "a model", {"name": "greeter"})
    talk.post(f"{MODELS}/create", "a prompt of its name", {"name": "greeter", "tags": [IS_PROMPT]})
    talk.delete(f"{MODELS}/alias", "the alias goes", {"name": name, "alias": "production"})
    talk.delete(f"{VERSIONS}/delete", "a text goes", {"name": name, "version": "2"})
    talk.delete(f"{MODELS}/delete", "the prompt goes", {"name": name})
    talk.get(f"{MODELS}/get", "is gone", {"name": name})
