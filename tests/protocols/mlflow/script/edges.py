"""Calls at the edge of what may be asked: half a name, the same twice, nothing where something is needed."""

from __future__ import annotations

from typing import Any

from tests.protocols.mlflow.script.traces import start, trace_id
from tests.protocols.mlflow.talking import Talk

__all__ = ["edges"]

START = 1_700_000_000_000
V3 = "/api/3.0/mlflow/traces"


def edges(talk: Talk) -> None:
    home = talk.experiment("edges")
    run = talk.run(home, "edged")
    _half_named_datasets(talk, run)
    _names_that_are_empty(talk, run)
    _long_sources(talk, run)
    _experiments_in_order(talk, home)
    _models_of_odd_experiments(talk)
    _which_traces(talk, home, run)
    _newest_by_alias(talk)
    _copies_outlive(talk, home, run)
    _runs_by_their_users(talk)


def _half_named_datasets(talk: Talk, run: str) -> None:
    point = {"key": "m", "value": 1.0, "timestamp": START, "step": 0}
    named, digested = {**point, "dataset_name": "d"}, {**point, "dataset_digest": "1"}
    talk.post("runs/log-metric", "on a dataset without a digest", {"run_id": run, **named}, wording=True)
    talk.post("runs/log-metric", "on a digest without a dataset", {"run_id": run, **digested}, wording=True)
    talk.post("runs/log-metric", "an empty digest", {"run_id": run, **named, "dataset_digest": ""})
    talk.post("runs/log-batch", "among others", {"run_id": run, "metrics": [point, named]}, wording=True)
    talk.get("runs/get", "nothing of it", {"run_id": run})
    talk.post("runs/log-metric", "on a dataset", {"run_id": run, **named, "dataset_digest": "1"})


def _names_that_are_empty(talk: Talk, run: str) -> None:
    empty = {"key": "mlflow.runName", "value": ""}
    talk.post("runs/set-tag", "an empty name", {"run_id": run, **empty})
    talk.post("runs/log-batch", "in a batch", {"run_id": run, "tags": [empty, {"key": "a", "value": "b"}]})
    talk.get("runs/get", "the name stays", {"run_id": run})
    talk.post("runs/delete-tag", "the tag of the name goes", {"run_id": run, "key": "mlflow.runName"})
    talk.post("runs/set-tag", "empty again", {"run_id": run, **empty})
    talk.get("runs/get", "still no tag", {"run_id": run})


def _long_sources(talk: Talk, run: str) -> None:
    def read(says: str, digest: str, **more: Any) -> None:
        dataset = {"name": "d", "digest": digest, "source_type": "local", "source": "s", **more}
        body = {"run_id": run, "datasets": [{"dataset": dataset}]}
        talk.post("runs/log-inputs", says, body, wording=True)

    read("a source as long as may be", "1", source="{s*65535}")
    read("a source too long", "2", source="{s*65536}")
    talk.get("runs/get", "one of them", {"run_id": run})


def _experiments_in_order(talk: Talk, home: str) -> None:
    for name in ("edge-b", "edge-a", "edge-c"):
        talk.experiment(name)
    for order in (["name DESC", "name"], ["name", "creation_time", "name DESC"]):
        body = {"filter": "name LIKE 'edge-%'", "order_by": order, "max_results": 10}
        talk.post("experiments/search", f"ordered by {', '.join(order)}", body)
    talk.get("experiments/get", "below all", {"experiment_id": "-1"})


def _models_of_odd_experiments(talk: Talk) -> None:
    talk.post("logged-models/search", "of a word", {"experiment_ids": ["x"]})
    talk.post("logged-models/search", "of an empty one", {"experiment_ids": [""]})
    talk.post("logged-models/search", "of one that is none", {"experiment_ids": ["7399999999"]})


def _which_traces(talk: Talk, home: str, run: str) -> None:
    start(talk, "to stay", home, 0xE1)
    gone, ids = f"{V3}/delete-traces", [trace_id(0xE1)]
    talk.post(gone, "which?", {"experiment_id": home}, wording=True)
    talk.post(gone, "none", {"experiment_id": home, "request_ids": []}, wording=True)
    talk.post(gone, "as many as there are", {"experiment_id": home, "max_traces": 5}, wording=True)
    both = {"experiment_id": home, "request_ids": ids, "max_timestamp_millis": 4_000_000_000_000}
    talk.post(gone, "two ways at once", both, wording=True)
    talk.post(gone, "one of one", {"experiment_id": home, "request_ids": ids, "max_traces": 1}, wording=True)
    talk.get(f"{V3}/{ids[0]}", "it stayed")
    link = "/api/2.0/mlflow/traces/link-to-run"
    talk.post(link, "which?", {"run_id": run}, wording=True)


def _newest_by_alias(talk: Talk) -> None:
    talk.post("registered-models/create", "a model", {"name": "newest"})
    asked = {"name": "newest", "alias": "latest"}
    talk.get("registered-models/alias", "the newest of none", asked)
    for _ in range(3):
        talk.post("model-versions/create", "a version", {"name": "newest", "source": "s3://bucket/x"})
    stage = {"name": "newest", "version": "2", "stage": "Production"}
    talk.post("model-versions/transition-stage", "one in production", stage)
    talk.get("registered-models/alias", "the newest", asked)
    talk.get("registered-models/alias", "in capitals", {**asked, "alias": "LATEST"})
    talk.delete("model-versions/delete", "the third goes", {"name": "newest", "version": "3"})
    talk.get("registered-models/alias", "the second is the newest", asked)
    same = {"name": "newest", "new_name": "newest"}
    talk.post("registered-models/rename", "to what it is named", same)


def _copies_outlive(talk: Talk, home: str, run: str) -> None:
    """A copy is a version of a version: its files stay where they were, whatever becomes of the other."""
    for name in ("whole", "copied"):
        talk.post("registered-models/create", f"a model {name}", {"name": name})
    files = f"mlflow-artifacts:/{home}/{run}/artifacts/model"
    talk.post("model-versions/create", "of a run's files", {"name": "whole", "source": files, "run_id": run})
    copy = {"name": "copied", "source": "models:/whole/1"}
    talk.post("model-versions/create", "of a version", copy)
    place = {"name": "copied", "version": "1"}
    talk.get("model-versions/get-download-uri", "where its files are", place)
    talk.delete("model-versions/delete", "the other goes", {"name": "whole", "version": "1"})
    talk.get("model-versions/get-download-uri", "where they still are", place)
    talk.delete("registered-models/delete", "all of it", {"name": "whole"})
    talk.get("model-versions/get-download-uri", "and still", place)


def _runs_by_their_users(talk: Talk) -> None:
    home = talk.experiment("users")
    for number, user in enumerate(["bob", "ann", "cid", "ann"]):
        tags = [{"key": "mlflow.user", "value": user}]
        talk.run(home, f"of {user}, {number}", START + number, tags=tags, user_id=user)
    for order in (["user_id"], ["attributes.user_id DESC", "start_time"], ["user_id", "run_name DESC"]):
        body = {"experiment_ids": [home], "order_by": order}
        talk.post("runs/search", f"ordered by {', '.join(order)}", body)
    first = talk.post(
        "runs/search", "two of them", {"experiment_ids": [home], "order_by": ["user_id"], "max_results": 2}
    )
    more = {"experiment_ids": [home], "order_by": ["user_id"], "page_token": first["next_page_token"]}
    talk.post("runs/search", "the others", more)
