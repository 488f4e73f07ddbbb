"""Traces of MLflow 3's client: decorated, nested, failed, found, assessed, tagged, linked, deleted."""

from __future__ import annotations

import threading
from typing import Any

from tests.protocols.mlflow.sessions.told import Told, refusal

__all__ = ["session"]


def session(mlflow: Any, told: Told) -> None:
    home = mlflow.set_experiment("tracing")
    told.hide(home.experiment_id, "home")

    def look_up(city: str) -> dict[str, Any]:
        return {"city": city, "degrees": 21, "path": [1, 2.5, None, True]}

    looked_up = mlflow.trace(look_up, span_type="TOOL", attributes={"unit": "C"})

    def answered(question: str, city: str = "Rome") -> str:
        mlflow.update_current_trace(tags={"team": "blue"}, metadata={"kind": "weather"})
        with mlflow.start_span("think", span_type="LLM") as span:
            span.set_inputs({"messages": [{"role": "user", "content": question}]})
            span.set_attribute(
                "mlflow.chat.tokenUsage", {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18}
            )
            span.add_event(mlflow.entities.SpanEvent("seen", attributes={"n": 1}))
            span.set_outputs({"choices": ["look it up"]})
        return f"It is {looked_up(city)['degrees']} degrees"

    answer = mlflow.trace(answered, name="answer", span_type="AGENT")

    def fail() -> None:
        raise ValueError("no weather")

    answer("How warm is it?")
    first = told.hide(mlflow.get_last_active_trace_id(), "first")
    told.tell("failed", _raised(mlflow.trace(fail)))
    second = told.hide(mlflow.get_last_active_trace_id(), "second")
    with mlflow.start_run(run_name="traced") as run:
        told.hide(run.info.run_id, "run")
        answer("And in Oslo?", city="Oslo")
        third = told.hide(mlflow.get_last_active_trace_id(), "third")
    thread = threading.Thread(target=lambda: answer("From a thread?"))
    thread.start()
    thread.join()
    mlflow.flush_trace_async_logging()

    told.tell("one", _whole(mlflow.get_trace(first)))
    told.tell("an error", _whole(mlflow.get_trace(second)))
    told.tell("under a run", _info(mlflow.get_trace(third).info))
    _found(mlflow, told, run.info.run_id)
    _said(mlflow, told, first)
    _changed(mlflow, told, home.experiment_id, (first, second, third), run.info.run_id)
    _large(mlflow, told)


def _raised(call: Any) -> str:
    try:
        call()
    except ValueError as error:
        return str(error)
    return "nothing"


def _info(info: Any) -> dict[str, Any]:
    own = ("mlflow.source", "mlflow.user", "mlflow.trace.size", "mlflow.artifactLocation", "mlflow.git")
    return {
        "state": str(info.state),
        "request": info.request_preview,
        "response": info.response_preview,
        "tokens": info.token_usage,
        "tags": {key: value for key, value in sorted(info.tags.items()) if not key.startswith(own)},
        "metadata": {
            key: value for key, value in sorted(info.trace_metadata.items()) if not key.startswith(own)
        },
        "has begun": info.request_time > 0,
        "took": info.execution_duration is not None,
        "experiment": info.experiment_id,
    }


def _whole(trace: Any) -> dict[str, Any]:
    names = {span.span_id: span.name for span in trace.data.spans}
    return {
        "info": _info(trace.info),
        "request": trace.data.request,
        "response": trace.data.response,
        "spans": [
            {
                "name": span.name,
                "type": span.span_type,
                "parent": names.get(span.parent_id),
                "status": [str(span.status.status_code), span.status.description],
                "inputs": span.inputs,
                "outputs": span.outputs,
                "attributes": sorted(span.attributes),
                "usage": span.get_attribute("mlflow.chat.tokenUsage"),
                "events": [[event.name, sorted(event.attributes)] for event in span.events],
                "took": span.end_time_ns >= span.start_time_ns > 0,
            }
            for span in trace.data.spans
        ],
    }


def _found(mlflow: Any, told: Told, run_id: str) -> None:
    def names(**asked: Any) -> list[Any]:
        found = mlflow.search_traces(return_type="list", **asked)
        return sorted([trace.data.spans[0].name, trace.info.request_preview] for trace in found)

    told.tell("all", names())
    told.tell("failed ones", names(filter_string="trace.status = 'ERROR'"))
    told.tell("by name", names(filter_string="trace.name = 'answer'"))
    told.tell("by tag", names(filter_string="tag.team = 'blue' AND trace.status = 'OK'"))
    told.tell("by span", names(filter_string="span.type = 'TOOL' AND span.name LIKE 'look%'"))
    told.tell("by text", names(filter_string="trace.text LIKE '%Oslo%'"))
    told.tell("of the run", names(run_id=run_id))
    told.tell("paged", len(mlflow.search_traces(return_type="list", max_results=3)))
    table = mlflow.search_traces(filter_string="trace.status = 'ERROR'")
    told.tell("columns", sorted(table.columns))
    ordered = mlflow.search_traces(return_type="list", order_by=["timestamp_ms ASC"], include_spans=False)
    told.tell("in order", [trace.info.request_preview for trace in ordered])
    told.tell("without spans", [len(trace.data.spans) for trace in ordered])
    told.tell("refused", refusal(lambda: mlflow.search_traces(filter_string="colour = 'red'")))


def _said(mlflow: Any, told: Told, trace_id: str) -> None:
    source = mlflow.entities.AssessmentSource(source_type="HUMAN", source_id="ann")
    one = mlflow.log_feedback(
        trace_id=trace_id, name="score", value=0.8, rationale="good", source=source, metadata={"k": "v"}
    )
    mlflow.log_feedback(trace_id=trace_id, name="right", value=True)
    mlflow.log_feedback(trace_id=trace_id, name="deep", value={"a": ["b"]})
    mlflow.log_feedback(trace_id=trace_id, name="broken", error=ValueError("no judge"))
    expected = mlflow.log_expectation(
        trace_id=trace_id, name="facts", value={"city": "Rome", "n": [1, 2]}, source=source
    )
    told.tell("read", _assessment(mlflow.get_assessment(trace_id, one.assessment_id)))
    told.tell("expected", _assessment(mlflow.get_assessment(trace_id, expected.assessment_id)))
    mlflow.update_assessment(
        trace_id, one.assessment_id, mlflow.entities.Feedback(name="score", value=0.9, rationale="better")
    )
    told.tell("updated", _assessment(mlflow.get_assessment(trace_id, one.assessment_id)))
    new = mlflow.override_feedback(
        trace_id=trace_id, assessment_id=one.assessment_id, value=0.1, rationale="no", source=source
    )
    told.tell("overridden", _assessment(mlflow.get_assessment(trace_id, one.assessment_id)))
    told.tell("overriding", _assessment(mlflow.get_assessment(trace_id, new.assessment_id)))
    mlflow.delete_assessment(trace_id, new.assessment_id)
    told.tell("valid again", mlflow.get_assessment(trace_id, one.assessment_id).valid)
    said = mlflow.get_trace(trace_id).info.assessments
    told.tell("all that was said", sorted([each.name, each.source.source_type] for each in said))
    found = mlflow.search_traces(filter_string="feedback.score > 0.5", return_type="list")
    told.tell("found by it", [trace.info.request_preview for trace in found])
    told.tell("of none", refusal(lambda: mlflow.get_assessment(trace_id, "a-none")))
    told.tell("of no trace", refusal(lambda: mlflow.log_feedback(trace_id="tr-none", name="x", value=1)))


def _assessment(said: Any) -> dict[str, Any]:
    return {
        "name": said.name,
        "value": said.value,
        "rationale": said.rationale,
        "source": [said.source.source_type, said.source.source_id],
        "metadata": said.metadata,
        "valid": said.valid,
        "overrides": said.overrides is not None,
    }


def _changed(mlflow: Any, told: Told, home: str, ids: tuple[str, str, str], run_id: str) -> None:
    client = mlflow.MlflowClient()
    first, second, third = ids
    client.set_trace_tag(first, "colour", "green")
    told.tell("tagged", client.get_trace(first).info.tags["colour"])
    client.delete_trace_tag(first, "colour")
    told.tell("untagged", "colour" in client.get_trace(first).info.tags)
    client.link_traces_to_run(trace_ids=[first], run_id=run_id)
    linked = mlflow.search_traces(run_id=run_id, return_type="list")
    told.tell("linked", sorted(trace.info.request_preview for trace in linked))
    told.tell("deleted", client.delete_traces(experiment_id=home, trace_ids=[second]))
    told.tell("gone", mlflow.get_trace(second, silent=True))
    told.tell("still there", mlflow.get_trace(third) is not None)
    other = mlflow.set_experiment("tracing elsewhere")
    told.hide(other.experiment_id, "other")
    with mlflow.start_span("elsewhere"):
        pass
    mlflow.flush_trace_async_logging()
    both = mlflow.search_traces(locations=[home, other.experiment_id], return_type="list")
    told.tell("both", len(both))
    told.tell("elsewhere", [trace.data.spans[0].name for trace in mlflow.search_traces(return_type="list")])
    by_time = client.delete_traces(
        experiment_id=other.experiment_id, max_timestamp_millis=4_000_000_000_000, max_traces=10
    )
    told.tell("deleted by time", by_time)


def _large(mlflow: Any, told: Told) -> None:
    with mlflow.start_span("large") as span:
        span.set_inputs({"text": "x" * 300_000})
        for number in range(40):
            with mlflow.start_span(f"part {number}") as part:
                part.set_outputs({"n": number, "naïve": "é"})
    mlflow.flush_trace_async_logging()
    trace = mlflow.get_trace(mlflow.get_last_active_trace_id())
    told.tell("large", [len(trace.data.spans), len(trace.data.spans[0].inputs["text"])])
    told.tell("preview", len(trace.info.request_preview))
