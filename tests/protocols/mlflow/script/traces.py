"""Traces as clients of MLflow 3 start, read, tag, link, delete and count them; their spans come over OTLP."""

from __future__ import annotations

from typing import Any

from tests.protocols.mlflow.talking import Talk
from tests.protocols.mlflow.wire import Request

__all__ = ["links", "metrics", "spans", "traces"]

V3 = "/api/3.0/mlflow/traces"
NAME = "mlflow.traceName"
BY_SPEC = "OTLP wants the answer in the form of the question; MLflow always answers protobuf"
START_NS = 1_700_000_000_000_000_000
MS = 1_000_000


def trace_id(number: int) -> str:
    """The id of a script's trace."""
    return f"tr-{number:032x}"


def info(experiment: str, number: int, **more: Any) -> dict[str, Any]:
    """What a client tells of a trace that ended."""
    return {
        "trace_id": trace_id(number),
        "trace_location": {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}},
        "request_time": f"2023-11-14T22:13:{20 + number % 30:02d}.500Z",
        "execution_duration": "1.250s",
        "state": "OK",
        **more,
    }


def start(talk: Talk, says: str, experiment: str, number: int, **more: Any) -> Any:
    """Tell of a trace."""
    return talk.post(V3, says, {"trace": {"trace_info": info(experiment, number, **more)}})


def value(told: Any) -> dict[str, Any]:
    """A value as OTLP's JSON writes it."""
    match told:
        case bool():
            return {"boolValue": told}
        case int():
            return {"intValue": str(told)}
        case float():
            return {"doubleValue": told}
        case str():
            return {"stringValue": told}
        case list():
            return {"arrayValue": {"values": [value(each) for each in told]}}
        case dict():
            return {"kvlistValue": {"values": pairs(told)}}
    return {}


def pairs(told: dict[str, Any]) -> list[dict[str, Any]]:
    """Attributes as OTLP's JSON writes them."""
    return [{"key": key, "value": value(each)} for key, each in told.items()]


def span(trace: int, number: int, parent: int | None = None, **more: Any) -> dict[str, Any]:
    """A span as OTLP's JSON writes it; `attributes` are plain."""
    attributes = more.pop("attributes", {})
    begun = START_NS + number * MS
    return {
        "traceId": f"{trace:032x}",
        "spanId": f"{number:016x}",
        "name": f"span-{number}",
        "kind": 1,
        "startTimeUnixNano": str(begun),
        "endTimeUnixNano": str(begun + 100 * MS),
        "attributes": pairs(attributes),
        "status": {"code": 1},
        **({} if parent is None else {"parentSpanId": f"{parent:016x}"}),
        **more,
    }


def within(number: int) -> dict[str, Any]:
    """Times of a span that lie within those of a trace that `info` tells of."""
    begun = START_NS + (number % 30) * 1000 * MS + 500 * MS
    return {"startTimeUnixNano": str(begun), "endTimeUnixNano": str(begun + 50 * MS)}


def export(
    talk: Talk, says: str, experiment: str, spans: list[dict[str, Any]], *, resource: Any = None, **more: str
) -> None:
    """Send spans as an exporter of OpenTelemetry does."""
    body = {
        "resourceSpans": [
            {"resource": {"attributes": pairs(resource or {})}, "scopeSpans": [{"scope": {}, "spans": spans}]}
        ]
    }
    headers = {"x-mlflow-experiment-id": experiment, **more}
    talk.ask(says, Request(method="POST", path="/v1/traces", json=body, headers=headers), free=BY_SPEC)


def read(talk: Talk, says: str, number: int, **query: Any) -> Any:
    """A trace with its spans."""
    return talk.get(f"{V3}/get", says, {"trace_id": trace_id(number), **query})


def traces(talk: Talk) -> None:
    home = talk.experiment("traces")
    start(
        talk,
        "told of",
        home,
        1,
        tags={NAME: "first", "team": "blue"},
        trace_metadata={"mlflow.source.name": "a.py", "mlflow.trace.session": "s1"},
        client_request_id="c-1",
        request_preview='{"q": "why"}',
        response_preview='"because"',
    )
    talk.get(f"{V3}/{trace_id(1)}", "read")
    start(talk, "told again", home, 1, tags={NAME: "again", "team": "red"}, state="ERROR")
    talk.get(f"{V3}/{trace_id(1)}", "what it became")
    start(talk, "the least", home, 2, state="IN_PROGRESS", execution_duration=None)
    start(talk, "of no experiment", "999999", 3)
    start(talk, "without an id of an experiment", "", 3)
    start(talk, "a name too long", home, 3, tags={NAME: "n" * 5000})
    talk.post(V3, "nothing", {})
    talk.post(V3, "a trace of nothing", {"trace": {}})
    talk.get(f"{V3}/{trace_id(9)}", "not there")
    _usage(talk, home)
    _tags(talk)
    _infos(talk, home)


def _usage(talk: Talk, home: str) -> None:
    start(
        talk,
        "tokens and cost",
        home,
        4,
        trace_metadata={
            "mlflow.trace.tokenUsage": '{"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}',
            "mlflow.trace.cost": '{"input_cost": 0.5, "output_cost": 0.25, "total_cost": 0.75}',
            "mlflow.trace.sizeStats": '{"total_size_bytes": 10, "num_spans": 1}',
            "long": "v" * 300,
        },
    )
    start(talk, "tokens that are none", home, 5, trace_metadata={"mlflow.trace.tokenUsage": "seven"})


def _tags(talk: Talk) -> None:
    at = f"{V3}/{trace_id(1)}/tags"
    talk.patch(at, "a tag", {"key": "colour", "value": "green"})
    talk.patch(at, "replaced", {"key": "colour", "value": "grey"})
    talk.patch(at, "the name", {"key": NAME, "value": "renamed"})
    talk.patch(at, "a long one", {"key": "long", "value": "w" * 9000})
    talk.patch(at, "without a key", {"value": "x"})
    talk.patch(at, "a key with marks", {"key": "a{b}", "value": "x"})
    talk.patch(at, "a key that is the server's", {"key": "mlflow.trace.spansLocation", "value": "x"})
    talk.patch(
        f"{V3}/{trace_id(9)}/tags",
        "of none",
        {"key": "a", "value": "b"},
        free="MLflow's database refuses the row; ours says that there is no such trace",
    )
    talk.delete(at, "a tag goes", {"key": "colour"})
    talk.delete(at, "gone before", {"key": "colour"})
    talk.delete(at, "the server's", {"key": "mlflow.trace.spansLocation"})
    talk.delete(at, "the name goes", {"key": NAME})
    talk.get(f"{V3}/{trace_id(1)}", "what is left")


def _infos(talk: Talk, home: str) -> None:
    ids = [trace_id(number) for number in (2, 9, 1)]
    talk.post(f"{V3}/batchGetInfos", "several", {"trace_ids": ids})
    talk.post(
        f"{V3}/batchGetInfos", "of an experiment alone", {"trace_ids": ids, "experiment_ids": ["999999"]}
    )
    talk.post(f"{V3}/batchGetInfos", "none", {"trace_ids": []})
    talk.post(f"{V3}/batchGetInfos", "of its own", {"trace_ids": ids, "experiment_ids": [home]})


def spans(talk: Talk) -> None:
    home = talk.experiment("spans")
    export(
        talk,
        "a root and a child",
        home,
        [
            span(
                0x11,
                1,
                attributes={
                    "mlflow.spanType": '"CHAIN"',
                    "mlflow.spanInputs": '{"question": "why"}',
                    "mlflow.spanOutputs": '"because"',
                    "mlflow.traceTag.mlflow.traceName": "asked",
                    "mlflow.traceTag.team": "blue",
                    "user.id": "ann",
                    "session.id": "s9",
                },
            ),
            span(
                0x11,
                2,
                1,
                attributes={
                    "text": "naïve",
                    "whole": 7,
                    "real": 0.5,
                    "yes": True,
                    "list": [1, "a", False],
                    "map": {"a": 1, "b": {"c": []}},
                    "mlflow.chat.tokenUsage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7},
                },
                status={"code": 2, "message": "it broke"},
                events=[
                    {
                        "timeUnixNano": str(START_NS + 3),
                        "name": "exception",
                        "attributes": pairs({"exception.type": "ValueError", "n": 3}),
                    }
                ],
            ),
        ],
        resource={"service.name": "shop", "telemetry.sdk.name": "x", "mlflow.user": "y", "n": 3},
    )
    talk.get(f"{V3}/{trace_id(0x11)}", "what is told of it")
    read(talk, "with its spans", 0x11)
    talk.get(f"{V3}/batchGet", "in a batch", [("trace_ids", trace_id(0x11)), ("trace_ids", trace_id(0x99))])
    talk.get("/ajax-api/3.0/mlflow/get-trace-artifact", "as a file", {"request_id": trace_id(0x11)})
    _later(talk, home)
    _odd(talk, home)


def _later(talk: Talk, home: str) -> None:
    export(talk, "a child alone", home, [span(0x12, 4, 3, attributes={"a": 1})])
    talk.get(f"{V3}/{trace_id(0x12)}", "goes on")
    export(talk, "then its root", home, [span(0x12, 3, status={"code": 2, "message": "no"})])
    talk.get(f"{V3}/{trace_id(0x12)}", "ended by its root")
    export(talk, "the child again, changed", home, [span(0x12, 4, 3, attributes={"a": 2})])
    read(talk, "replaced", 0x12)
    sizes = {"mlflow.trace.sizeStats": '{"total_size_bytes": 10, "num_spans": 2}'}
    start(talk, "told of before its spans", home, 0x13, trace_metadata=sizes, tags={NAME: "early"})
    read(talk, "a part", 0x13, allow_partial="true")
    times = within(0x13)
    export(talk, "its spans", home, [span(0x13, 5, **times), span(0x13, 6, 5, **times)])
    read(talk, "whole", 0x13)
    usage = {"mlflow.chat.tokenUsage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}}
    export(talk, "tokens of a leaf", home, [span(0x14, 8, 7, attributes=usage)])
    export(talk, "tokens of its parent too", home, [span(0x14, 7, attributes=usage)])
    talk.get(f"{V3}/{trace_id(0x14)}", "counted once")


def _odd(talk: Talk, home: str) -> None:
    export(talk, "no span", home, [])
    export(talk, "no such experiment", "999999", [span(0x15, 1)])
    export(talk, "an id of nothing", home, [{**span(0x15, 1), "traceId": ""}])
    talk.get(f"{V3}/{trace_id(0x15)}", "nothing was kept")
    read(talk, "spans of none", 0x15)
    talk.get(f"{V3}/batchGet", "a batch of none", {"trace_ids": trace_id(0x15)})
    talk.get(f"{V3}/batchGet", "a batch of nothing")
    talk.get("/ajax-api/3.0/mlflow/get-trace-artifact", "a file of none", {"request_id": trace_id(0x15)})
    talk.get("/ajax-api/3.0/mlflow/get-trace-artifact", "a file of nothing")
    messages = {"messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}]}
    export(talk, "messages", home, [span(0x16, 1, attributes={"mlflow.spanInputs": messages})])
    long = {
        "mlflow.spanInputs": "q" * 1500,
        "mlflow.spanOutputs": {
            "choices": [{"message": {"role": "assistant", "content": [{"type": "text", "text": "part"}]}}]
        },
    }
    export(talk, "long ones", home, [span(0x17, 1, attributes=long)])
    talk.post(f"{V3}/batchGetInfos", "previews", {"trace_ids": [trace_id(0x16), trace_id(0x17)]})


def links(talk: Talk) -> None:
    home = talk.experiment("links")
    run = talk.run(home, "linked")
    for number in (0x21, 0x22, 0x23, 0x24):
        start(talk, f"trace {number}", home, number)
    ids = [trace_id(0x21), trace_id(0x22)]
    where = f"{V3}/search"
    talk.post("/api/2.0/mlflow/traces/link-to-run", "linked", {"trace_ids": ids, "run_id": run})
    talk.post("/api/2.0/mlflow/traces/link-to-run", "linked again", {"trace_ids": ids, "run_id": run})
    talk.post("/api/2.0/mlflow/traces/link-to-run", "none", {"trace_ids": [], "run_id": run})
    talk.post("/api/2.0/mlflow/traces/link-to-run", "no run", {"trace_ids": ids})
    talk.post(
        "/api/2.0/mlflow/traces/link-to-run",
        "too many",
        {"trace_ids": [trace_id(n) for n in range(101)], "run_id": run},
    )
    places = [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": home}}]
    talk.post(where, "of the run", {"locations": places, "filter": f"run_id = '{run}'"})
    prompts = [{"name": "greeting", "version": "1"}]
    talk.post(
        "/api/2.0/mlflow/traces/link-prompts",
        "a prompt",
        {"trace_id": trace_id(0x23), "prompt_versions": prompts},
    )
    talk.post(
        "/api/2.0/mlflow/traces/link-prompts",
        "of none",
        {"trace_id": trace_id(0x29), "prompt_versions": prompts},
    )
    talk.post(where, "of the prompt", {"locations": places, "filter": "prompt = 'greeting/1'"})
    _deleted(talk, home)


def _deleted(talk: Talk, home: str) -> None:
    gone = f"{V3}/delete-traces"
    talk.post(gone, "by id", {"experiment_id": home, "request_ids": [trace_id(0x21), trace_id(0x29)]})
    talk.post(gone, "of another", {"experiment_id": "0", "request_ids": [trace_id(0x22)]})
    talk.post(
        gone,
        "by time, one",
        {"experiment_id": home, "max_timestamp_millis": 1_700_100_000_000, "max_traces": 1},
    )
    talk.post(gone, "by time, an early one", {"experiment_id": home, "max_timestamp_millis": 1})
    talk.post(gone, "of no experiment", {"request_ids": [trace_id(0x22)]})
    talk.post(gone, "by time, all", {"experiment_id": home, "max_timestamp_millis": 1_700_100_000_000})
    talk.get(f"{V3}/{trace_id(0x22)}", "gone")


def metrics(talk: Talk) -> None:
    home = talk.experiment("counted")
    for number in range(0x31, 0x37):
        state, name = ("OK", "ERROR")[number % 3 == 0], ("a", "b")[number % 2]
        usage = f'{{"input_tokens": {number}, "output_tokens": 1, "total_tokens": {number + 1}}}'
        start(
            talk,
            f"trace {number}",
            home,
            number,
            state=state,
            tags={NAME: name},
            trace_metadata={"mlflow.trace.tokenUsage": usage},
            execution_duration=f"{number % 7}.5s",
        )
    two = [span(0x31, 1, **within(0x31)), span(0x31, 2, 1, status={"code": 2}, **within(0x31))]
    export(talk, "spans", home, [*two, span(0x32, 3, **within(0x32))])
    _counted(talk, home)
    both = {"experiment_ids": [home], "filter_string1": "status = 'ERROR'", "filter_string2": "name = 'a'"}
    at = f"{V3}/calculate-filter-correlation"
    talk.post(at, "how two filters meet", both)
    talk.post(at, "one that nothing meets", {**both, "filter_string2": "name = 'z'"})
    talk.post(at, "on top of another", {**both, "base_filter": "name != 'z'"})
    talk.post(at, "one filter alone", {"experiment_ids": [home], "filter_string1": "status = 'OK'"})


def _counted(talk: Talk, home: str) -> None:
    def ask(says: str, view: str, metric: str, *kinds: Any, **more: Any) -> None:
        aggregations = [each if isinstance(each, dict) else {"aggregation_type": each} for each in kinds]
        body = {
            "experiment_ids": [home],
            "view_type": view,
            "metric_name": metric,
            "aggregations": aggregations,
        }
        talk.post(f"{V3}/metrics", says, {**body, **more})

    median = {"aggregation_type": "PERCENTILE", "percentile_value": 50}
    ask("how many", "TRACES", "trace_count", "COUNT")
    ask("by name", "TRACES", "trace_count", "COUNT", dimensions=["trace_name"])
    ask("by state", "TRACES", "trace_count", "COUNT", dimensions=["trace_status"])
    ask("how long", "TRACES", "latency", "AVG", median)
    ask("tokens", "TRACES", "total_tokens", "SUM", "MAX", "MIN")
    ask(
        "by the hour",
        "TRACES",
        "trace_count",
        "COUNT",
        time_interval_seconds=3600,
        start_time_ms=1_699_990_000_000,
        end_time_ms=1_700_010_000_000,
    )
    ask("by the hour of no time", "TRACES", "trace_count", "COUNT", time_interval_seconds=3600)
    ask("only some", "TRACES", "trace_count", "COUNT", filters=["trace.status = 'OK'"])
    ask("by a tag", "TRACES", "trace_count", "COUNT", filters=["trace.tag.`mlflow.traceName` = 'a'"])
    ask("spans", "SPANS", "span_count", "COUNT", dimensions=["span_status"])
    ask("how long spans are", "SPANS", "latency", "AVG")
    ask("no such metric", "TRACES", "colour", "COUNT")
    ask("no such aggregation of it", "TRACES", "trace_count", "SUM")
    ask("no such dimension", "TRACES", "trace_count", "COUNT", dimensions=["colour"])
    ask("a filter of nothing", "TRACES", "trace_count", "COUNT", filters=["colour"])
