"""Exports of traces that no program makes: protobuf and JSON cut, changed, nested, great, and of anything."""

from __future__ import annotations

import gzip
import json
import random
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.attacks.worlds import World, answered, furnished
from tests.surfaces.asking import Answer

PROTOBUF, JSON = "application/x-protobuf", "application/json"
SOON_S = 10.0
IDS: list[Any] = [
    "",
    "00" * 16,
    "0",
    "zz" * 16,
    "a" * 31,
    "a" * 33,
    "a" * 10_000,
    "../../etc",
    "\0" * 16,
    "é" * 16,
    None,
    7,
    [],
]
TIMES = [-1, 0, 2**63, 2**64, 2**64 - 1, 10**400, 1.5, "1" * 5000, "x", None, True, [], "²"]
VALUES: list[Any] = [
    {},
    None,
    [],
    "x",
    {"stringValue": "\0" * 10},
    {"stringValue": 7},
    {"intValue": "9" * 5000},
    {"intValue": 2**64},
    {"intValue": 1.5},
    {"doubleValue": "1e999"},
    {"doubleValue": "NaN"},
    {"doubleValue": 10**400},
    {"arrayValue": {"values": 7}},
    {"arrayValue": {"values": [None, {}, {"arrayValue": None}]}},
    {"kvlistValue": {"values": [{"key": None}, {"value": {}}, 7, {}]}},
    {"unknown": {"a": 1}},
    {"stringValue": "x" * 1_000_000},
    {"stringValue": "<script>alert(1)</script>"},
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with furnished(tmp_path_factory.mktemp("spans"), is_serving=False) as found:
        yield found


def export(world: World, body: bytes, kind: str, **headers: str) -> Answer:
    began = time.process_time()
    told = {"content-type": kind, "x-mlflow-experiment-id": world.names["experiment_id"], **headers}
    answer = world.ask("POST", "/v1/traces", body=body, headers=told)
    answered(answer, repr(body[:200]))
    assert time.process_time() - began < SOON_S
    return answer


def request_of(**changes: Any) -> dict[str, Any]:
    span = {
        "traceId": "0af7651916cd43dd8448eb211c80319c",
        "spanId": "b7ad6b7169203331",
        "parentSpanId": "",
        "name": "call",
        "startTimeUnixNano": 1_700_000_000_000_000_000,
        "endTimeUnixNano": "1700000001000000000",
        "attributes": [{"key": "mlflow.spanInputs", "value": {"stringValue": "{}"}}],
        "events": [],
        "links": [],
        "status": {"code": 1},
        **changes,
    }
    return {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"spans": [span]}]}]}


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def whole() -> bytes:
    """A right request in protobuf."""
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add()
    span.trace_id, span.span_id, span.name = bytes(range(1, 17)), bytes(range(1, 9)), "call"
    span.start_time_unix_nano, span.end_time_unix_nano = 10**18, 10**18 + 5
    for key in ("a", "mlflow.spanInputs", "gen_ai.usage.input_tokens"):
        span.attributes.add(key=key).value.string_value = "1"
    span.events.add(name="event", time_unix_nano=10**18)
    span.links.add(trace_id=bytes(range(2, 18)), span_id=bytes(range(2, 10)))
    return bytes(request.SerializeToString())


def test_what_is_right_is_taken(world: World) -> None:
    assert export(world, whole(), PROTOBUF).status == 200
    assert export(world, as_json(request_of()), JSON).status == 200


@pytest.mark.parametrize("name", ["traceId", "spanId", "parentSpanId"])
def test_ids_that_are_none(world: World, name: str) -> None:
    for value in IDS:
        answer = export(world, as_json(request_of(**{name: value})), JSON)
        assert answer.status == 400 or (name == "parentSpanId" and not str(value or "").strip("0")), value


@pytest.mark.parametrize(
    "name", ["startTimeUnixNano", "endTimeUnixNano", "kind", "status", "name", "events", "links"]
)
def test_values_of_other_kinds(world: World, name: str) -> None:
    for value in [*TIMES, *VALUES, *IDS, [{"name": 7}], [{"traceId": "x"}], {"code": 10**30}, {"code": "x"}]:
        export(world, as_json(request_of(**{name: value})), JSON)


def test_attributes_of_any_value(world: World) -> None:
    for value in VALUES:
        for key in (
            "x",
            "",
            "mlflow.traceRequestId",
            "mlflow.spanType",
            "mlflow.spanInputs",
            "k" * 100_000,
            "\0",
        ):
            export(world, as_json(request_of(attributes=[{"key": key, "value": value}])), JSON)
    wrong: list[Any] = [7, None, "x", [7], [None], [{}], {"key": "x"}, [{"key": 7, "value": 7}]]
    for pairs in wrong:
        export(world, as_json(request_of(attributes=pairs)), JSON)


def nested_json(depth: int) -> bytes:
    inner = '{"arrayValue":{"values":[' * depth + "{}" + "]}}" * depth
    text = json.dumps(request_of(attributes=[{"key": "x", "value": "HERE"}]))
    return text.replace('"HERE"', inner).encode()


def nested_protobuf(depth: int) -> bytes:
    """An attribute of lists in lists, written without a library, which would refuse to."""

    def field(number: int, inner: bytes) -> bytes:
        size, told = len(inner), b""
        while size > 127:
            told, size = told + bytes([size & 127 | 128]), size >> 7
        return bytes([number << 3 | 2]) + told + bytes([size]) + inner

    value = b""
    for _ in range(depth):
        value = field(5, field(1, value))
    pair = field(1, b"x") + field(2, value)
    span = field(1, bytes(range(1, 17))) + field(2, bytes(range(1, 9))) + field(5, b"n") + field(9, pair)
    return field(1, field(2, field(2, span)))


@pytest.mark.parametrize("depth", [10, 40, 100, 1_000, 20_000])
def test_attributes_that_are_deep(world: World, depth: int) -> None:
    for body, kind in ((nested_json(depth), JSON), (nested_protobuf(depth), PROTOBUF)):
        answer = export(world, body, kind)
        assert answer.status == (200 if depth < 64 else 400), (depth, kind)


@pytest.mark.slow
def test_more_spans_than_one_request_has(world: World) -> None:
    span = request_of()["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    body = as_json({"resourceSpans": [{"scopeSpans": [{"spans": [span] * 120_000}]}]})
    answer = export(world, gzip.compress(body), JSON, **{"content-encoding": "gzip"})
    assert answer.status in {400, 413}
    many = as_json({"resourceSpans": [{"scopeSpans": [{"spans": []}] * 100} for _ in range(20_000)]})
    assert export(world, many, JSON).status in {400, 413}
    export(world, many[: 15 << 20], JSON)


def test_bombs_and_foreign_forms(world: World) -> None:
    bomb = gzip.compress(b"\0" * 80_000_000, 9)
    assert export(world, bomb, PROTOBUF, **{"content-encoding": "gzip"}).status in {400, 413}
    for kind in ("", "text/plain", "application/x-www-form-urlencoded", "application/protobuf", "\xff"):
        assert export(world, whole(), kind).status in {400, 415}
    for name in ("", "x", "-1", "9" * 199, "' OR 1=1 --", "../..", "\xff"):
        assert export(world, whole(), PROTOBUF, **{"x-mlflow-experiment-id": name}).status in {400, 404}, name
        export(world, whole(), PROTOBUF, **{"x-mlflow-run-id": name})


@pytest.mark.slow
def test_bytes_that_are_changed_or_cut(world: World) -> None:
    """Every cut, and a few thousand changes of single bytes and lengths."""
    right, rng = whole(), random.Random(7)
    for at in range(len(right)):
        export(world, right[:at], PROTOBUF)
    for _ in range(1_500):
        body = bytearray(right)
        for _ in range(rng.randint(1, 4)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        export(world, bytes(body), PROTOBUF)
    for size in (2**31 - 1, 2**32 - 1):
        export(world, b"\x0a" + b"\xff\xff\xff\xff\x07" + struct.pack("<I", size) + right, PROTOBUF)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_any_bytes(world: World, body: bytes) -> None:
    export(world, body, PROTOBUF)
    export(world, body, JSON)
