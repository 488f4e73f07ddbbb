"""Traces as clients of MLflow 2 start, end, find and tag them; their spans are files."""

from __future__ import annotations

from typing import Any

from tests.protocols.mlflow.script.traces import V3, start, trace_id
from tests.protocols.mlflow.talking import Talk

__all__ = ["older_traces"]

AT = "traces"


def _pairs(**values: str) -> list[dict[str, str]]:
    return [{"key": key.replace("__", "."), "value": value} for key, value in values.items()]


def _begin(talk: Talk, says: str, **body: Any) -> str:
    made = talk.post(AT, says, body)
    return str(made.get("trace_info", {}).get("request_id", "none"))


def older_traces(talk: Talk) -> None:
    home = talk.experiment("older traces")
    one = _begin(
        talk,
        "begun",
        experiment_id=home,
        timestamp_ms=1_700_000_000_000,
        request_metadata=_pairs(mlflow__traceInputs='{"x": 1}', mlflow__trace_schema__version="2"),
        tags=_pairs(mlflow__traceName="old", team="blue"),
    )
    two = _begin(talk, "begun bare", experiment_id=home, timestamp_ms=1_700_000_001_000)
    _begin(talk, "of no experiment", experiment_id="999999", timestamp_ms=1)
    talk.get(f"{AT}/{one}/info", "goes on")
    ended = {
        "timestamp_ms": 1_700_000_000_750,
        "status": "OK",
        "request_metadata": _pairs(mlflow__traceOutputs="2"),
        "tags": _pairs(team="red"),
    }
    talk.patch(f"{AT}/{one}", "ended", ended)
    talk.patch(f"{AT}/{two}", "ended badly", {"timestamp_ms": 1_700_000_001_100, "status": "ERROR"})
    talk.patch(f"{AT}/{'f' * 32}", "ended, of none", {**ended, "tags": []})
    talk.get(f"{AT}/{one}/info", "read")
    talk.get(f"{AT}/{'f' * 32}/info", "of none")
    talk.patch(f"{AT}/{one}/tags", "a tag", {"key": "colour", "value": "green"})
    talk.delete(f"{AT}/{one}/tags", "gone", {"key": "colour"})
    talk.delete(f"{AT}/{one}/tags", "gone before", {"key": "colour"})
    talk.get(AT, "all", {"experiment_ids": home, "max_results": 10})
    talk.get(AT, "some", {"experiment_ids": home, "filter": "status = 'OK'", "max_results": 10})
    talk.get(AT, "by time", {"experiment_ids": home, "order_by": "timestamp_ms ASC", "max_results": 1})
    talk.get(AT, "of nothing", {})
    talk.get(f"{V3}/{one}", "as a new one")
    start(talk, "a new one", home, 0x61, tags={"mlflow.traceName": "new"})
    talk.get(f"{AT}/{trace_id(0x61)}/info", "as an old one")
    missing = "MLflow has a code of its own here, NOT_FOUND; no client reads it"
    talk.get("/ajax-api/2.0/mlflow/get-trace-artifact", "no file yet", {"request_id": one}, free=missing)
    spans = '{"spans": []}'
    path = f"/api/2.0/mlflow-artifacts/artifacts/{home}/traces/{one}/artifacts/traces.json"
    talk.put(path, "its spans", spans)
    talk.get("/ajax-api/2.0/mlflow/get-trace-artifact", "the file", {"request_id": one})
    talk.post(f"{AT}/delete-traces", "deleted", {"experiment_id": home, "request_ids": [one]})
    talk.get(f"{AT}/{one}/info", "is gone")
