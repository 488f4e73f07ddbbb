"""What a run read and made: datasets, logged models, and their search."""

from __future__ import annotations

from typing import Any

from tests.protocols.mlflow.talking import Talk

__all__ = ["inputs", "logged_models", "logged_models_search"]

START = 1_700_000_000_000
NOBODY = "0" * 32
AGAIN = "the same again changes nothing and need not be an error"
WHOLE = "MLflow takes a dataset without its parts; it may as well be refused"
STRICT = "MLflow lets it pass; it may as well be refused"
NO_MODEL = "m-" + NOBODY


def dataset(name: str = "flights", digest: str = "d1", **more: str) -> dict[str, str]:
    return {"name": name, "digest": digest, "source_type": "local", "source": '{"uri": "x.csv"}', **more}


def inputs(talk: Talk) -> None:
    home, away = talk.experiment("inputs-home"), talk.experiment("inputs-away")
    run, other = talk.run(home, "reader"), talk.run(home, "second")

    def send(says: str, *, wording: bool = False, free: str = "", run_id: str = run, **body: Any) -> None:
        talk.post("runs/log-inputs", says, {"run_id": run_id, **body}, wording=wording, free=free)

    context = {"key": "mlflow.data.context", "value": "training"}
    full = dataset(schema='{"a": 1}', profile='{"rows": 3}')
    send("a dataset with a tag", datasets=[{"tags": [context], "dataset": full}])
    send("the same again", datasets=[{"tags": [context], "dataset": full}])
    send("the same in another context", datasets=[{"tags": [{**context, "value": "test"}], "dataset": full}])
    send("two at once", datasets=[{"dataset": dataset("b", "d2")}, {"dataset": dataset("c", "d3")}])
    talk.get("runs/get", "what the run read", {"run_id": run})
    send("a second run read it too", run_id=other, datasets=[{"tags": [context], "dataset": full}])
    send("nothing")
    _wrong_inputs(talk, send, talk.run(away, "odd reader"))
    for text in (
        "dataset.name = 'flights'",
        "datasets.digest = 'd2'",
        "dataset.context = 'training'",
        "dataset.name LIKE 'fl%' AND dataset.context = 'test'",
        "dataset.name IN ('b', 'c')",
    ):
        body = {"experiment_ids": [home], "filter": text, "order_by": ["attributes.run_name"]}
        talk.post("runs/search", f"runs where {text}", body)
    search = "/ajax-api/2.0/mlflow/experiments/search-datasets"
    path = "/api/2.0/mlflow/experiments/search-datasets"
    talk.post(path, "only for browsers, by a slip", {"experiment_ids": [home]}, free="ours has it there too")
    talk.post(search, "datasets of experiments", {"experiment_ids": [home]})
    away = talk.experiment("inputs-nothing")
    talk.post(search, "of one that has none", {"experiment_ids": [away]})
    talk.post(search, "of no experiments", {"experiment_ids": []})
    talk.post(search, "of none that is", {"experiment_ids": ["7399999999"]})
    _legacy_models(talk, home)


def _wrong_inputs(talk: Talk, send: Any, other: str) -> None:
    send(
        "a dataset without a name",
        free=WHOLE,
        run_id=other,
        datasets=[{"dataset": {"digest": "x", "source_type": "a", "source": "b"}}],
    )
    send(
        "without a digest",
        free=WHOLE,
        run_id=other,
        datasets=[{"dataset": {"name": "x", "source_type": "a", "source": "b"}}],
    )
    send("without a source", free=WHOLE, run_id=other, datasets=[{"dataset": {"name": "x", "digest": "x"}}])
    send("without a dataset", free=WHOLE, run_id=other, datasets=[{"tags": []}])
    send("a name too long", datasets=[{"dataset": dataset("{n*501}")}])
    send("a digest too long", datasets=[{"dataset": dataset("n", "{d*37}")}])
    send("a tag too long", datasets=[{"tags": [{"key": "{k*256}", "value": "x"}], "dataset": dataset("k")}])
    send("a list that is none", wording=True, datasets="x")
    send("of no run", run_id=NOBODY, datasets=[{"dataset": dataset()}])
    talk.post("runs/log-inputs", "without a run", {"datasets": []}, wording=True)


def _legacy_models(talk: Talk, home: str) -> None:
    run = talk.run(home, "legacy")
    text = (
        '{"run_id": "x", "artifact_path": "model", "utc_time_created": "2023-11-14 22:13:20", "flavors": {}}'
    )
    talk.post("runs/log-model", "the older way of telling of a model", {"run_id": run, "model_json": text})
    talk.post("runs/log-model", "no JSON", {"run_id": run, "model_json": "{"})
    talk.post("runs/log-model", "fields missing", {"run_id": run, "model_json": "{}"})
    talk.post("runs/log-model", "nothing", {"run_id": run})
    talk.get("runs/get", "it is a tag", {"run_id": run})


def logged_models(talk: Talk) -> None:
    home = talk.experiment("models-home")
    run = talk.run(home, "maker")
    body = {
        "experiment_id": home,
        "name": "tree",
        "model_type": "classifier",
        "source_run_id": run,
        "params": [{"key": "depth", "value": "3"}],
        "tags": [{"key": "t", "value": "1"}],
    }
    model = talk.post("logged-models", "with all", body)["model"]["info"]["model_id"]
    path = f"logged-models/{model}"
    talk.get(path, "read")
    talk.post("logged-models", "with an experiment alone", {"experiment_id": home})
    _states(talk, path, model)
    _model_parts(talk, home, path, model)
    _model_metrics(talk, run, model)
    _wrong_models(talk, home)
    _outputs(talk, home, model)
    talk.delete(path, "deleted", {"model_id": model})
    talk.get(path, "is gone")
    talk.delete(path, "a second time", {"model_id": model})
    talk.get(path, "unless asked for", {"allow_deleted": "true"})


def _states(talk: Talk, path: str, model: str) -> None:
    talk.patch(path, "ready", {"model_id": model, "status": "LOGGED_MODEL_READY"})
    talk.get(path, "is")
    talk.patch(path, "failed", {"model_id": model, "status": "LOGGED_MODEL_UPLOAD_FAILED"})
    talk.patch(path, "a state that is none", {"model_id": model, "status": "GREAT"}, free=STRICT)
    talk.patch(path, "no state", {"model_id": model})
    talk.patch(path, "a state by number", {"model_id": model, "status": 2})


def _model_parts(talk: Talk, home: str, path: str, model: str) -> None:
    tags = [{"key": "t", "value": "2"}, {"key": "u", "value": ""}]
    talk.patch(f"{path}/tags", "tags", {"tags": tags})
    talk.delete(f"{path}/tags/u", "a tag goes")
    talk.delete(f"{path}/tags/u", "a second time")
    leaves = {"model_id": model, "params": [{"key": "leaves", "value": "7"}]}
    talk.post(f"{path}/params", "params", leaves)
    talk.post(f"{path}/params", "the id is asked for in the body too", {"params": []}, free=STRICT)
    talk.post(f"{path}/params", "the same again", leaves, free=AGAIN)
    leaves = {"model_id": model, "params": [{"key": "leaves", "value": "8"}]}
    talk.post(f"{path}/params", "another value", leaves)
    talk.get(path, "what is there now")
    talk.get(f"{path}/artifacts/directories", "files of a model")
    body = {"experiment_id": home, "name": "odd"}
    odd = talk.post("logged-models", "another", body)["model"]["info"]["model_id"]
    route = f"logged-models/{odd}/tags"
    talk.patch(route, "a tag too long", {"tags": [{"key": "{k*251}", "value": "x"}]}, free=STRICT)
    talk.patch(route, "a value too long", {"tags": [{"key": "k", "value": "{v*8001}"}]}, free=STRICT)
    long = {"model_id": odd, "params": [{"key": "k", "value": "{v*6001}"}]}
    talk.post(f"logged-models/{odd}/params", "a param too long", long)
    talk.patch(f"{path}/tags", "tags that are none", {"tags": "x"}, wording=True)


def _model_metrics(talk: Talk, run: str, model: str) -> None:
    body = {"run_id": run, "key": "acc", "value": 0.5, "timestamp": START, "step": 1, "model_id": model}
    data = {"dataset_name": "flights", "dataset_digest": "d1"}
    talk.post("runs/log-metric", "a point of a model", body)
    talk.post("runs/log-metric", "on a dataset", {**body, "key": "auc", **data})
    talk.post("runs/log-metric", "a later one", {**body, "key": "auc", "step": 2, "value": 0.75, **data})
    batch = {
        "run_id": run,
        "metrics": [{"key": "f1", "value": 0.25, "timestamp": START, "step": 0, "model_id": model}],
    }
    talk.post("runs/log-batch", "in a batch", batch)
    talk.get(f"logged-models/{model}", "its metrics")
    talk.get("runs/get", "the run's", {"run_id": run})
    talk.get("metrics/get-history", "and their history", {"run_id": run, "metric_key": "auc"})
    body = {"run_id": run, "key": "lost", "value": 1.0, "timestamp": START, "model_id": NO_MODEL}
    talk.post("runs/log-metric", "of a model that is none", body)


def _wrong_models(talk: Talk, home: str) -> None:
    talk.post("logged-models", "no experiment", {"name": "x"}, wording=True)
    talk.post("logged-models", "one that is none", {"experiment_id": "7399999999", "name": "x"})
    talk.post(
        "logged-models",
        "a run that is none",
        {"experiment_id": home, "name": "x", "source_run_id": NOBODY},
        free=STRICT,
    )
    for name in ("a/b", "a:b", "a.b", "a%b", 'a"b', "a'b", "", " ", "{n*257}"):
        free = STRICT if not name.strip() or len(name) > 5 else ""
        talk.post(
            "logged-models", f"a name of {name[:9]!r}", {"experiment_id": home, "name": name}, free=free
        )
    talk.post("logged-models", "a number for a name", {"experiment_id": home, "name": 5}, wording=True)
    twice = [{"key": "a", "value": "1"}, {"key": "a", "value": "2"}]
    talk.post("logged-models", "a param twice", {"experiment_id": home, "name": "twice", "params": twice})
    talk.get(f"logged-models/{NO_MODEL}", "no such model")
    talk.get("logged-models/..%2f..", "an id that is a path")
    talk.patch(
        f"logged-models/{NO_MODEL}",
        "the id is asked for in the body too",
        {"status": "LOGGED_MODEL_READY"},
        free=STRICT,
    )
    done = {"model_id": NO_MODEL, "status": "LOGGED_MODEL_READY"}
    talk.patch(f"logged-models/{NO_MODEL}", "ending one that is none", done)
    talk.patch(f"logged-models/{NO_MODEL}/tags", "its tags", {"tags": [{"key": "a", "value": "b"}]})


def _outputs(talk: Talk, home: str, model: str) -> None:
    run = talk.run(home, "outputs")
    talk.post("runs/outputs", "a run made it", {"run_id": run, "models": [{"model_id": model, "step": 3}]})
    talk.post(
        "runs/outputs", "again", {"run_id": run, "models": [{"model_id": model, "step": 3}]}, free=AGAIN
    )
    talk.post("runs/log-inputs", "and read it", {"run_id": run, "models": [{"model_id": model}]})
    talk.get("runs/get", "both are told", {"run_id": run})
    talk.post("runs/outputs", "of no run", {"run_id": NOBODY, "models": [{"model_id": model, "step": 0}]})
    talk.post(
        "runs/outputs",
        "a model that is none",
        {"run_id": run, "models": [{"model_id": NO_MODEL, "step": 0}]},
        free=STRICT,
    )
    talk.post("runs/outputs", "no models", {"run_id": run}, wording=True)


def logged_models_search(talk: Talk) -> None:
    home = talk.experiment("models-search")
    run = talk.run(home, "maker")
    for number, name in enumerate(("a", "b", "c", "d")):
        _searchable(talk, home, run, number, name)

    def seek(says: str, text: str | None = None, *, free: str = "", **more: Any) -> dict[str, Any]:
        body = {"experiment_ids": [home], **({} if text is None else {"filter": text}), **more}
        found: dict[str, Any] = talk.post("logged-models/search", says, body, free=free)
        return found

    seek("newest first by default")
    by_name = [{"field_name": "name", "ascending": True}]
    for text in MODEL_GOOD:
        free = SLIP if text.startswith("status") else WIDER if text in WIDER_TEXTS else ""
        seek(f"where {text}", text, free=free, order_by=by_name)
    for text in MODEL_BAD:
        seek(f"refused: {text}", text, free=WIDER if text in WIDER_TEXTS else "")
    for order in MODEL_ORDERS:
        seek(f"ordered by {order}", order_by=[order])
    seek("by two", order_by=[{"field_name": "model_type"}, {"field_name": "name", "ascending": False}])
    seek(
        "metrics on a dataset",
        "metrics.acc > 0.1",
        datasets=[{"dataset_name": "flights", "dataset_digest": "d1"}],
    )
    seek("on another", "metrics.acc > 0.1", datasets=[{"dataset_name": "other"}])
    seek("a dataset without a name", datasets=[{"dataset_digest": "d1"}])
    first = seek("a page of three", max_results=3, order_by=by_name)
    seek("its rest", max_results=3, order_by=by_name, page_token=first["next_page_token"])
    for size in (0, -1, 100, 101, "x"):
        seek(f"a size of {size}", free=STRICT if size in {0, -1} else "", max_results=size, order_by=by_name)
    seek("a forged token", page_token="zzz")
    seek("no experiments", experiment_ids=[])
    talk.post("logged-models/search", "experiments left out", {})


def _searchable(talk: Talk, home: str, run: str, number: int, name: str) -> None:
    body = {
        "experiment_id": home,
        "name": name,
        "source_run_id": run,
        "model_type": "even" if number % 2 else "odd",
        "params": [{"key": "depth", "value": str(number)}],
        "tags": [{"key": "team", "value": "t" * number}],
    }
    model = talk.post("logged-models", f"to be found: {name}", body)["model"]["info"]["model_id"]
    if number:
        data = {"dataset_name": "flights", "dataset_digest": "d1"} if number == 1 else {}
        point = {
            "run_id": run,
            "key": "acc",
            "value": 0.25 * number,
            "timestamp": START,
            "step": 0,
            "model_id": model,
        }
        talk.post("runs/log-metric", "with a metric", {**point, **data})
        talk.patch(f"logged-models/{model}", "ready", {"model_id": model, "status": "LOGGED_MODEL_READY"})


SLIP = "MLflow holds the word against a number, so that nothing is ever found"
WIDER = "OR, NOT, brackets and NULL are understood; values of texts need quotes"
WIDER_TEXTS = (
    "name = a",
    "name = 'a' OR name = 'b'",
    "(name = 'a')",
    "tags.team IS NULL",
    "name = 'a' AND",
    "model_id = 'x'",
    "attribute.name IN ('a','c')",
    "run_id = 'x'",
)
MODEL_GOOD = (
    "name = 'a'",
    "name != 'a'",
    "name LIKE '_'",
    "name ILIKE 'A'",
    "attributes.name = 'b'",
    "attribute.name IN ('a','c')",
    "model_type = 'even'",
    "status = 'READY'",
    "status = 'PENDING'",
    "source_run_id = 'x'",
    "params.depth = '1'",
    "params.depth LIKE '_'",
    "tags.team = 'tt'",
    "tags.team != 'tt'",
    "tags.`team` LIKE 't%'",
    "metrics.acc > 0.3",
    "metrics.acc >= 0.25 AND name != 'd'",
    "creation_timestamp > 0",
    "creation_time > 0",
    "last_updated_timestamp > 0",
    "name NOT IN ('a')",
    "params.none = 'x'",
    "metrics.none > 0",
    "",
    "name='a' AND params.depth='0'",
)
MODEL_BAD = (
    "name > 'a'",
    "name = a",
    "name == 'a'",
    "name = 'a' OR name = 'b'",
    "(name = 'a')",
    "metrics.acc > 'x'",
    "metrics.acc LIKE '0%'",
    "params.depth > '1'",
    "colour = 'x'",
    "name",
    "things.a = 'x'",
    "tags.team IS NULL",
    "creation_time = 'x'",
    "name = 'a' AND",
    "run_id = 'x'",
    "model_id = 'x'",
)
MODEL_ORDERS: tuple[Any, ...] = (
    {"field_name": "name"},
    {"field_name": "name", "ascending": False},
    {"field_name": "creation_time"},
    {"field_name": "creation_timestamp", "ascending": False},
    {"field_name": "metrics.acc", "ascending": True},
    {"field_name": "metrics.acc", "ascending": False},
    {"field_name": "metrics.none", "ascending": True},
    {"field_name": "metrics.acc", "ascending": False, "dataset_name": "flights"},
    {"field_name": "params.depth"},
    {"field_name": "colour"},
    {"field_name": ""},
    {"ascending": True},
    {"field_name": "last_updated_timestamp", "ascending": True},
    "name",
)
