"""Runs: made, read, changed, deleted, restored; their points, params and tags, one by one and in batches."""

from __future__ import annotations

from typing import Any

from tests.protocols.mlflow.talking import Talk

__all__ = ["batches", "metrics", "params_and_tags", "runs"]

START = 1_700_000_000_000
NOBODY = "0" * 32
STRICT = "MLflow lets a value of another type pass; it may as well be refused"


def runs(talk: Talk) -> None:
    home = talk.experiment("runs-home")
    tags = [{"key": "mlflow.user", "value": "ann"}, {"key": "mlflow.source.type", "value": "LOCAL"}]
    body = {"experiment_id": home, "run_name": "first", "start_time": START, "tags": tags, "user_id": "ann"}
    run = talk.post("runs/create", "with a name, tags and a user", body)["run"]["info"]["run_id"]
    talk.get("runs/get", "read again", {"run_id": run})
    talk.get("runs/get", "by its older field", {"run_uuid": run})
    _names(talk, home)
    _wrong_runs(talk, home)
    _run_changes(talk, run)
    _run_trash(talk, home, run)
    child = [{"key": "mlflow.parentRunId", "value": run}]
    talk.run(home, "child", START + 1, tags=child)


def _names(talk: Talk, home: str) -> None:
    talk.post("runs/create", "no name: one is made up", {"experiment_id": home, "start_time": START})
    talk.post(
        "runs/create", "an empty name too", {"experiment_id": home, "start_time": START, "run_name": ""}
    )
    named = [{"key": "mlflow.runName", "value": "by tag"}]
    talk.post("runs/create", "a name by tag", {"experiment_id": home, "start_time": START, "tags": named})
    both = {"experiment_id": home, "start_time": START, "tags": named, "run_name": "by field"}
    talk.post("runs/create", "two names that differ", both)
    talk.post("runs/create", "two names that agree", {**both, "run_name": "by tag"})
    talk.post("runs/create", "no start", {"experiment_id": home, "run_name": "no start"})
    talk.post(
        "runs/create",
        "a start as text",
        {"experiment_id": home, "run_name": "text", "start_time": str(START)},
    )
    talk.post("runs/create", "a name as long as may be", {**both, "tags": [], "run_name": "{r*250}"})


def _wrong_runs(talk: Talk, home: str) -> None:
    talk.post("runs/create", "in no experiment", {"experiment_id": "7399999999", "start_time": START})
    talk.post("runs/create", "an experiment that is no number", {"experiment_id": "abc", "start_time": START})
    talk.post(
        "runs/create", "a start that is none", {"experiment_id": home, "start_time": "soon"}, wording=True
    )
    talk.post(
        "runs/create", "a fraction for a start", {"experiment_id": home, "start_time": 1.5}, free=STRICT
    )
    talk.post("runs/create", "tags that are none", {"experiment_id": home, "tags": "x"}, free=STRICT)
    talk.post("runs/create", "a number for an id", {"experiment_id": 0}, wording=True)
    talk.get("runs/get", "no such run", {"run_id": NOBODY}, wording=True)
    talk.get("runs/get", "no id", wording=True)
    talk.get("runs/get", "an empty id", {"run_id": ""})
    talk.get("runs/get", "an id that is a path", {"run_id": "../../etc/passwd"})


def _run_changes(talk: Talk, run: str) -> None:
    end = START + 60_000
    talk.post("runs/update", "finished", {"run_id": run, "status": "FINISHED", "end_time": end})
    talk.get("runs/get", "is", {"run_id": run})
    talk.post("runs/update", "a new name", {"run_id": run, "run_name": "renamed"})
    talk.get("runs/get", "the tag follows the name", {"run_id": run})
    body = {"run_id": run, "key": "mlflow.runName", "value": "tagged"}
    talk.post("runs/set-tag", "a name by its tag", body)
    talk.get("runs/get", "the name follows the tag", {"run_id": run})
    talk.post("runs/update", "an empty name changes nothing", {"run_id": run, "run_name": ""})
    for status in ("RUNNING", "SCHEDULED", "FAILED", "KILLED", "FINISHED"):
        talk.post("runs/update", f"state {status}", {"run_id": run, "status": status})
    talk.get("runs/get", "after all", {"run_id": run})
    talk.post("runs/update", "a state by number", {"run_id": run, "status": 4})
    talk.post("runs/update", "a state that is none", {"run_id": run, "status": "DREAMING"}, free=STRICT)
    talk.post("runs/update", "an end that is none", {"run_id": run, "end_time": "x"}, wording=True)
    talk.post("runs/update", "nothing", {"run_id": run})
    talk.post("runs/update", "of no run", {"run_id": NOBODY, "status": "FINISHED"})
    talk.post("runs/update", "no id", {"status": "FINISHED"})


def _run_trash(talk: Talk, home: str, run: str) -> None:
    talk.post("runs/delete", "deleted", {"run_id": run})
    talk.get("runs/get", "can be read", {"run_id": run})
    refused: dict[str, dict[str, Any]] = {
        "runs/update": {"status": "FAILED"},
        "runs/set-tag": {"key": "a", "value": "b"},
        "runs/delete-tag": {"key": "mlflow.user"},
        "runs/log-parameter": {"key": "a", "value": "b"},
        "runs/log-metric": {"key": "a", "value": 1.0, "timestamp": START},
        "runs/log-batch": {"params": [{"key": "a", "value": "b"}]},
    }
    for route, body in refused.items():
        talk.post(route, "a deleted run refuses it", {"run_id": run, **body})
    talk.post("runs/delete", "a second time", {"run_id": run})
    found = {"experiment_ids": [home], "filter": "attributes.run_name = 'tagged'"}
    talk.post("runs/search", "not among the active", found)
    talk.post("runs/search", "among the deleted", {**found, "run_view_type": "DELETED_ONLY"})
    talk.post("runs/restore", "back", {"run_id": run})
    talk.get("runs/get", "active", {"run_id": run})
    talk.post("runs/restore", "a second time", {"run_id": run})
    talk.post("runs/delete", "of none", {"run_id": NOBODY})
    talk.post("runs/restore", "of none", {"run_id": NOBODY})
    talk.post("runs/delete", "no id", {}, wording=True)


def metrics(talk: Talk) -> None:
    run = talk.run(talk.experiment("metrics-home"), "points")

    other = talk.run(talk.experiment("metrics-away"), "odd points")

    def log(says: str, key: Any, value: Any, *, wording: bool = False, free: str = "", **more: Any) -> None:
        body = {"run_id": other if free else run, "key": key, "value": value, "timestamp": START, **more}
        talk.post("runs/log-metric", says, body, wording=wording, free=free)

    log("a point", "loss", 0.5, step=1)
    log("the same point again", "loss", 0.5, step=1)
    log("another value at its step", "loss", 0.25, step=1)
    log("an older step", "loss", 9.0, step=0)
    log("a later instant at its step", "loss", 0.125, step=1, timestamp=START + 5)
    talk.get("runs/get", "latest is highest by step, instant, value", {"run_id": run})
    talk.get("metrics/get-history", "all of them", {"run_id": run, "metric_key": "loss"})
    talk.get("metrics/get-history", "by the older field", {"run_uuid": run, "metric_key": "loss"})
    log("no step is step 0", "plain", 1.0)
    log("an integer", "whole", 3, step=1)
    log("a value as text", "text", "1.5", step=2)
    log("an instant and a step as text", "text64", 1.5, step="3", timestamp=str(START))
    log("not a number", "odd", "NaN", step=0)
    log("a number after it", "odd", 1.0, step=1)
    log("infinite", "up", "Infinity")
    log("minus infinite", "down", "-Infinity")
    log("a step below zero", "early", 1.0, step=-3)
    log("the largest", "huge", 1.7976931348623157e308)
    log("a tiny one", "tiny", 5e-324)
    log("a long fraction", "third", 1 / 3)
    log("a step as large as may be", "far", 1.0, step=9_223_372_036_854_775_807)
    log("a key with all that it may hold", "a-b_c.d e/f:g", 1.0)
    log("a key in other letters", "größe", 1.0)
    talk.get("runs/get", "the latest of all", {"run_id": run})
    for key in ("odd", "up", "down", "whole"):
        talk.get("metrics/get-history", f"how {key} comes back", {"run_id": run, "metric_key": key})
    _wrong_points(talk, log, run)


def _wrong_points(talk: Talk, log: Any, run: str) -> None:
    log("a key with a sign", "a$b", 1.0)
    log("a key that is a path", "../a", 1.0)
    log("a key that begins at the root", "/a", 1.0)
    log("a key with two slashes", "a//b", 1.0)
    log("a key that is a dot", ".", 1.0)
    log("no key", "", 1.0)
    log("a null key", None, 1.0, wording=True)
    log("a key of 250", "{k*250}", 1.0)
    log("a key of 251", "{k*251}", 1.0, wording=True)
    log("a value that is none", "a", "fast", wording=True)
    log("a null value", "a", None, wording=True)
    log("a value that is a list", "a", [1], wording=True)
    log("a value that is true", "a", True, free=STRICT)
    log("an instant that is none", "a", 1.0, timestamp="now", wording=True)
    log("an instant below zero", "a", 1.0, timestamp=-1)
    log("a fraction for an instant", "a", 1.0, timestamp=1.5, free=STRICT)
    log("a step that is none", "a", 1.0, step="x", wording=True)
    log("a step too large", "a", 1.0, step=9_223_372_036_854_775_808, free=STRICT)
    talk.post("runs/log-metric", "no value", {"run_id": run, "key": "a", "timestamp": START}, wording=True)
    talk.post("runs/log-metric", "no instant", {"run_id": run, "key": "a", "value": 1.0}, wording=True)
    talk.post("runs/log-metric", "no run", {"key": "a", "value": 1.0, "timestamp": START})
    body = {"run_id": NOBODY, "key": "a", "value": 1.0, "timestamp": START}
    talk.post("runs/log-metric", "of none", body)


def params_and_tags(talk: Talk) -> None:
    run = talk.run(talk.experiment("params-home"), "params")
    _params(talk, run)
    _tags(talk, run)
    talk.get("runs/get", "what is there in the end", {"run_id": run})


def _params(talk: Talk, run: str) -> None:
    def put(says: str, key: Any, value: Any, *, wording: bool = False) -> None:
        body = {"run_id": run, "key": key, "value": value}
        talk.post("runs/log-parameter", says, body, wording=wording)

    put("a param", "lr", "0.1")
    put("the same value again", "lr", "0.1")
    put("another value", "lr", "0.2", wording=True)
    put("an empty value", "empty", "")
    put("a number for a value", "number", 5, wording=True)
    put("a null is an empty value", "null", None)
    put("a value of 6000", "long", "{v*6000}")
    put("a value of 6001 is cut", "longer", "{v*6001}")
    put("a key of 250", "{k*250}", "x")
    put("a key of 251", "{k*251}", "x", wording=True)
    put("a key with a sign", "a$b", "x", wording=True)
    put("a key that is a path", "../x", "x", wording=True)
    put("no key", "", "x")
    put("a script", "html", "<script>alert(1)</script>")
    put("in other letters", "größe", "日本 \u0001 \U0001f600")
    talk.post("runs/log-parameter", "no value", {"run_id": run, "key": "none"})
    talk.post("runs/log-parameter", "of none", {"run_id": NOBODY, "key": "a", "value": "b"})


def _tags(talk: Talk, run: str) -> None:
    def put(says: str, key: Any, value: Any, *, wording: bool = False) -> None:
        talk.post("runs/set-tag", says, {"run_id": run, "key": key, "value": value}, wording=wording)

    put("a tag", "stage", "one")
    put("written over", "stage", "two")
    put("empty", "empty", "")
    put("a value of 8000", "long", "{v*8000}")
    put("a value of 8001 is cut", "longer", "{v*8001}")
    put("a key of 251", "{k*251}", "x", wording=True)
    put("a key with a sign", "a$b", "x")
    put("a number for a value", "number", 5, wording=True)
    put("no key", "", "x")
    talk.post("runs/set-tag", "no value", {"run_id": run, "key": "none"})
    talk.post("runs/set-tag", "of none", {"run_id": NOBODY, "key": "a", "value": "b"})
    talk.post("runs/delete-tag", "one goes", {"run_id": run, "key": "stage"})
    talk.post("runs/delete-tag", "that is not there", {"run_id": run, "key": "stage"}, wording=True)
    talk.post("runs/delete-tag", "no key", {"run_id": run}, wording=True)


def batches(talk: Talk) -> None:
    home = talk.experiment("batch-home")
    run, other = talk.run(home, "batch"), talk.run(home, "odd batches")

    def send(says: str, *, wording: bool = False, free: str = "", **body: Any) -> None:
        talk.post("runs/log-batch", says, {"run_id": run, **body}, wording=wording, free=free)

    point = {"key": "m", "value": 1.0, "timestamp": START, "step": 0}
    send(
        "all three",
        metrics=[point, {**point, "step": 1, "value": "NaN"}, {**point, "key": "n"}],
        params=[{"key": "p", "value": "1"}],
        tags=[{"key": "t", "value": "1"}],
    )
    talk.get("runs/get", "all there", {"run_id": run})
    send("nothing")
    send(
        "the same again",
        metrics=[point],
        params=[{"key": "p", "value": "1"}],
        tags=[{"key": "t", "value": "2"}],
    )
    send("one point twice", metrics=[point, point])
    send("one param twice", params=[{"key": "q", "value": "1"}, {"key": "q", "value": "1"}])
    send("one param twice, not the same", params=[{"key": "r", "value": "1"}, {"key": "r", "value": "2"}])
    send("one tag twice", tags=[{"key": "u", "value": "1"}, {"key": "u", "value": "2"}])
    send(
        "a param that conflicts",
        wording=True,
        params=[{"key": "p", "value": "2"}],
        tags=[{"key": "lost", "value": "1"}],
    )
    send(
        "a param that conflicts among good ones",
        params=[{"key": "fresh", "value": "1"}, {"key": "p", "value": "2"}],
    )
    talk.get("runs/get", "nothing of it", {"run_id": run})
    _batch_limits(send, other)
    _wrong_batches(send, point, other)
    talk.post("runs/log-batch", "no run", {"metrics": [point]})
    talk.post("runs/log-batch", "of none", {"run_id": NOBODY, "metrics": [point]})
    talk.get("runs/get", "what is there in the end", {"run_id": run})


def _batch_limits(send: Any, other: str) -> None:
    points = {"key": "b", "value": 0.5, "timestamp": START, "step": "{#}"}
    text = {"key": "k{i}", "value": "v"}
    send("1000 points", metrics={"$each": 1000, "$of": points})
    send("1001 points", wording=True, metrics={"$each": 1001, "$of": points})
    send("101 params", wording=True, params={"$each": 101, "$of": text})
    send("101 tags", wording=True, tags={"$each": 101, "$of": text})
    send(
        "1001 in all", wording=True, metrics={"$each": 951, "$of": points}, params={"$each": 50, "$of": text}
    )
    send(
        "more than a megabyte",
        free="a limit of the body is ours to set",
        run_id=other,
        tags={"$each": 100, "$of": {"key": "k{i}", "value": "{v*20000}"}},
    )


def _wrong_batches(send: Any, point: dict[str, Any], other: str) -> None:
    send("a list that is none", wording=True, metrics="x")
    send("points that are numbers", wording=True, metrics=[1])
    send("a point without a value", wording=True, metrics=[{"key": "a", "timestamp": START}])
    send("a point without a key", wording=True, metrics=[{"value": 1.0, "timestamp": START}])
    send("a point without an instant", wording=True, metrics=[{"key": "a", "value": 1.0}])
    send("a value that is none", free=STRICT, run_id=other, metrics=[{**point, "value": "x"}])
    send("a bad key in the middle", wording=True, metrics=[point, {**point, "key": "a$"}])
    send("a key too long", wording=True, metrics=[point, {**point, "key": "{k*251}"}])
    send("a param without a value", free=STRICT, run_id=other, params=[{"key": "a"}])
    send("a param too long is cut", params=[{"key": "a", "value": "{v*6001}"}])
    send("a tag too long is cut", tags=[{"key": "a", "value": "{v*8001}"}])
    send("a param that is a number", free=STRICT, run_id=other, params=[{"key": "a", "value": 1}])
    send("a null list", metrics=None)
    send("unknown fields", metrics=[{**point, "unit": "s"}], colour="red")
