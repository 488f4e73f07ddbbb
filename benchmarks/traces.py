"""What traces cost: exported by OTLP and read by MLflow 3's protocol, ours beside a real `mlflow server`.

The same bytes go to both, one server at a time, each on SQLite in a folder of its own; MLflow has two workers
and its job runner off. `cpu_ms` is the processor time of the server's whole process tree per call. Prints
JSON: figures of each server, and `ratios`, in which more than 1 is in our favour. MLflow gets the smallest
number of traces to search alone.

    python benchmarks/traces.py [--quick] [--traces 1000,100000] [--without mlflow]
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import urlencode

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from protocol.line import Line
from protocol.measuring import QUICK, Figures, Server, Sizes, crowd, repeated
from protocol.servers import ours, theirs
from tracking import ratios

V3 = "/api/3.0/mlflow/traces"
START_NS = 1_700_000_000_000_000_000
TEXT = "It is warm in Rome, and the wind is from the south. " * 4


def pair(key: str, value: str | int) -> KeyValue:
    told = AnyValue(int_value=value) if isinstance(value, int) else AnyValue(string_value=value)
    return KeyValue(key=key, value=told)


def request(traces: int, spans: int, at: int = 0) -> tuple[bytes, list[str]]:
    """Traces of a root with children that were asked and answered, and the ids of the traces."""
    sent = ExportTraceServiceRequest()
    into = sent.resource_spans.add().scope_spans.add().spans
    ids = [secrets.token_bytes(16) for _ in range(traces)]
    for number, trace_id in enumerate(ids):
        begun = START_NS + (at + number) * 1_000_000
        root = secrets.token_bytes(8)
        for step in range(spans):
            span = into.add(trace_id=trace_id, name=f"step {step}", kind=1)
            span.span_id = root if step == 0 else secrets.token_bytes(8)
            if step:
                span.parent_span_id = root
            span.start_time_unix_nano, span.end_time_unix_nano = begun + step * 1000, begun + 900_000
            span.status.code = 2 if (at + number) % 20 == 19 else 1
            span.attributes.extend(
                [
                    pair("mlflow.spanType", "CHAIN" if step == 0 else "LLM"),
                    pair("mlflow.spanInputs", json.dumps({"question": f"How warm is it? {number}"})),
                    pair("mlflow.spanOutputs", json.dumps({"answer": TEXT})),
                    pair("model", "gpt"),
                    pair("tries", step),
                ]
            )
    return sent.SerializeToString(), [f"tr-{each.hex()}" for each in ids]


def export(line: Line, home: str, body: bytes) -> None:
    head = line.head("POST", "/v1/traces", len(body), "application/x-protobuf")
    head = head.replace(b"\r\n\r\n", f"\r\nx-mlflow-experiment-id: {home}\r\n\r\n".encode())
    status, reply = line.send(head, body)
    if status >= 300:
        raise RuntimeError(f"{status} {reply[:300]!r}")


def experiment(line: Line) -> str:
    return str(line.call("POST", "experiments/create", {"name": secrets.token_hex(8)})["experiment_id"])


def written(server: Server, sizes: Sizes) -> Figures:
    """One trace of 1, 10 and 100 spans a call."""
    line = server.line()
    home, told = experiment(line), dict[str, Any]()
    for spans in (1, 10, 100):
        waiting = [request(1, spans)[0] for _ in range(3000 if spans < 100 else 600)]
        for clients in (1, 4):

            def send(each: Line, client: int, count: int, bodies: list[bytes] = waiting) -> None:
                export(each, home, bodies.pop() if bodies else request(1, spans)[0])  # noqa: B023 - called within the round

            told[f"export of {spans} spans, {clients} clients"] = crowd(server, clients, sizes.seconds, send)
    line.close()
    return told


def read(server: Server, sizes: Sizes, counts: Sequence[int]) -> Figures:
    """A page of 100, whole traces of 10 spans, one trace; among few traces and many."""
    line, told = server.line(), dict[str, Any]()
    for count in counts[:1] if server.peer else counts:
        home, ids = experiment(line), list[str]()
        for at in range(0, count, 100):
            body, some = request(100, 10 if at == 0 else 1, at=count - at)
            export(line, home, body)
            ids = ids or some
        told |= _read(line, home, ids, partial(repeated, server, sizes.repeats), count)
    line.close()
    return told


def _read(
    line: Line, home: str, ids: list[str], timed: Callable[[Callable[[], object]], Figures], count: int
) -> Figures:
    where = [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": home}}]

    def page(text: str) -> int:
        asked = {"locations": where, "filter": text, "max_results": 100}
        return len(line.call("POST", f"{V3}/search", asked).get("traces", []))

    whole = f"{V3}/batchGet?{urlencode([('trace_ids', each) for each in ids])}"
    asked = {
        "page of 100": lambda: page(""),
        "page of 100, failed ones": lambda: page("trace.status = 'ERROR'"),
        "page of 100, by a span": lambda: page("span.type = 'LLM'"),
        "100 whole traces of 10 spans": lambda: len(line.call("GET", whole)["traces"]),
        "one trace of 10 spans": lambda: line.get(f"{V3}/get", trace_id=ids[0]),
    }
    return {f"{name}, of {count}": timed(call) for name, call in asked.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--traces", default="1000", help="how many there are to search, by commas")
    parser.add_argument("--without", choices=["ours", "mlflow"], help="leave one server out")
    given = parser.parse_args()
    sizes = QUICK if given.quick else replace(Sizes(), seconds=4.0)
    counts = [int(each) for each in given.traces.split(",")]
    told: Figures = {}
    for name, start in {"ours": ours, "mlflow": theirs}.items():
        if name == given.without:
            continue
        with start() as server:
            begun = time.perf_counter()
            figures = written(server, sizes) | read(server, sizes, counts)
            told[name] = {"server": server.name, "figures": figures}
            print(f"{server.name}: {time.perf_counter() - begun:.0f} s", file=sys.stderr)
    if len(told) == 2:
        told["ratios"] = ratios(told["ours"]["figures"], told["mlflow"]["figures"])
    print(json.dumps({"load": os.getloadavg(), **told}, indent=2))


if __name__ == "__main__":
    main()
