"""Traces of MLflow 2's client, whose spans are files: begun, ended, failed, found, tagged, deleted."""

from __future__ import annotations

from typing import Any

from tests.protocols.mlflow.sessions.told import Told, refusal

__all__ = ["session"]


def session(mlflow: Any, told: Told) -> None:
    home = mlflow.set_experiment("tracing before")
    told.hide(home.experiment_id, "home")
    client = mlflow.MlflowClient()

    def look_up(city: str) -> int:
        return len(city)

    looked_up = mlflow.trace(look_up, span_type="TOOL")

    def answer(question: str) -> int:
        return int(looked_up(question)) + 1

    def fail() -> None:
        raise ValueError("no weather")

    mlflow.trace(answer, name="answer")("Rome")
    first = _last(mlflow)
    told.hide(first, "first")
    told.tell("failed", refusal_of(mlflow.trace(fail)))
    root = client.start_trace("by hand", inputs={"x": 1}, tags={"team": "blue"})
    told.hide(root.request_id, "third")
    child = client.start_span("child", request_id=root.request_id, parent_id=root.span_id, inputs={"y": 2})
    client.end_span(root.request_id, child.span_id, outputs={"z": 3})
    client.end_trace(root.request_id, outputs="done", attributes={"a": "b"})
    told.tell("one", _whole(client.get_trace(first)))
    told.tell("by hand", _whole(client.get_trace(root.request_id)))
    found = client.search_traces(experiment_ids=[home.experiment_id])
    told.tell("found", sorted([str(trace.info.status), len(trace.data.spans)] for trace in found))
    bad = client.search_traces(experiment_ids=[home.experiment_id], filter_string="status = 'ERROR'")
    told.tell("bad", [trace.info.tags["mlflow.traceName"] for trace in bad])
    client.set_trace_tag(first, "colour", "green")
    told.tell("tagged", client.get_trace(first).info.tags["colour"])
    client.delete_trace_tag(first, "colour")
    told.tell("untagged", "colour" in client.get_trace(first).info.tags)
    gone = client.delete_traces(experiment_id=home.experiment_id, request_ids=[first])
    told.tell("deleted", gone)
    told.tell("none", refusal(lambda: client.get_trace(first)))


def refusal_of(call: Any) -> str:
    try:
        call()
    except ValueError as error:
        return str(error)
    return "nothing"


def _last(mlflow: Any) -> str:
    return str(mlflow.get_last_active_trace().info.request_id)


def _whole(trace: Any) -> dict[str, Any]:
    own = ("mlflow.source", "mlflow.user", "mlflow.artifactLocation", "mlflow.git")
    names = {span.span_id: span.name for span in trace.data.spans}
    return {
        "status": str(trace.info.status),
        "tags": {key: value for key, value in sorted(trace.info.tags.items()) if not key.startswith(own)},
        "metadata": sorted(key for key in trace.info.request_metadata if not key.startswith(own)),
        "request": trace.data.request,
        "response": trace.data.response,
        "spans": [
            [span.name, span.span_type, names.get(span.parent_id), span.inputs, span.outputs]
            for span in trace.data.spans
        ],
    }
