"""Health, version, what the server says of itself, and requests that are no good form."""

from __future__ import annotations

from tests.protocols.mlflow.talking import Talk
from tests.protocols.mlflow.wire import Request

__all__ = ["plumbing"]


ABLE = "each server tells its own abilities"


def plumbing(talk: Talk) -> None:
    talk.get("/health", "alive")
    talk.get("/version", "a plain version", free=ABLE)
    talk.get("/api/3.0/mlflow/server-info", "abilities in JSON", free=ABLE)
    talk.get("/ajax-api/3.0/mlflow/server-info", "the same for browsers", free=ABLE)
    _routes(talk)
    _bodies(talk)


def _routes(talk: Talk) -> None:
    talk.get("/api/2.0/mlflow/nowhere", "an unknown route")
    talk.get("/ajax-api/2.0/mlflow/nowhere", "an unknown route for browsers")
    talk.post("/api/3.0/mlflow/nowhere/at-all", "an unknown route, POST", {"a": 1})
    talk.get("/api/9.0/mlflow/experiments/search", "an unknown version")
    talk.get("/api/2.0/mlflow/experiments/create", "a method that the route has not")
    talk.post(
        "/ajax-api/2.0/mlflow/experiments/search",
        "every route is there for browsers too",
        {"filter": "name = 'no such'", "max_results": 5},
    )
    talk.get(
        "/api/2.0/mlflow/experiments/search",
        "the search of experiments by GET",
        {"filter": "name = 'no such'", "max_results": 5},
    )


def _bodies(talk: Talk) -> None:
    kind = {"Content-Type": "application/json"}
    path = "/api/2.0/mlflow/experiments/create"
    for says, text in {
        "a body that is no JSON": "{",
        "an empty body": "",
        "a body that is a list": "[1, 2]",
        "a body that is a number": "7",
        "a body that is null": "null",
        "a body that is a JSON text in a text": '"{}"',
    }.items():
        talk.ask(says, Request(method="POST", path=path, text=text, headers=kind))
    talk.ask(
        "JSON without its content type",
        Request(method="POST", path="/api/2.0/mlflow/runs/search", text='{"experiment_ids": ["no such"]}'),
    )
    talk.ask(
        "JSON with a charset",
        Request(
            method="POST",
            path="/api/2.0/mlflow/runs/search",
            text='{"experiment_ids": []}',
            headers={"Content-Type": "application/json; charset=utf-8"},
        ),
    )
    talk.ask(
        "JSON said to be a form",
        Request(
            method="POST",
            path="/api/2.0/mlflow/experiments/create",
            text='{"name": "plumbing-form"}',
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        ),
    )
    talk.post(
        "experiments/create",
        "unknown fields are ignored",
        {"name": "plumbing-unknown", "colour": "red", "nested": {"a": [1, None]}},
    )
