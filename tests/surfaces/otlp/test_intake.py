"""`POST /v1/traces`: both forms say the same; whatever else comes is refused whole, with a 4xx."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from loopwright.app.assembling import assemble
from loopwright.surfaces.http import Application
from loopwright.workspace import Workspace, load_settings
from tests.surfaces.asking import Answer, ask

PROTOBUF, JSON = "application/x-protobuf", "application/json"
HOME = {"x-mlflow-experiment-id": "0"}
START_NS = 1_700_000_000_000_000_000


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    folder: Path = tmp_path_factory.mktemp("otlp")
    settings = load_settings({"workspace": str(folder / ".loopwright")}, environment={})
    with Workspace.open(settings=settings) as workspace:
        yield assemble(workspace)


def post(app: Application, body: bytes, kind: str = JSON, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask(app, "POST", "/v1/traces", body=body, headers={"content-type": kind, **HOME, **named})


def plain(number: int, **more: Any) -> dict[str, Any]:
    return {
        "traceId": f"{number:032x}",
        "spanId": f"{number:016x}",
        "name": "ask",
        "startTimeUnixNano": str(START_NS),
        "endTimeUnixNano": START_NS + 5_000_000,
        "status": {"code": 1},
        **more,
    }


def request(*spans: Any) -> bytes:
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}).encode()


def whole(app: Application, number: int) -> Any:
    return ask(app, "GET", f"/api/3.0/mlflow/traces/get?trace_id=tr-{number:032x}").json.get("trace")


VALUES = [
    ({"stringValue": "naïve\u0000"}, AnyValue(string_value="naïve\u0000")),
    ({"intValue": "-7"}, AnyValue(int_value=-7)),
    ({"doubleValue": 0.25}, AnyValue(double_value=0.25)),
    ({"doubleValue": "NaN"}, AnyValue(double_value=float("nan"))),
    ({"boolValue": False}, AnyValue(bool_value=False)),
    ({"bytesValue": "AAE="}, AnyValue(bytes_value=b"\0\1")),
    ({}, AnyValue()),
]


def test_both_forms_say_the_same(app: Application) -> None:
    sent = ExportTraceServiceRequest()
    span = sent.resource_spans.add().scope_spans.add().spans.add(name="ask", start_time_unix_nano=START_NS)
    span.trace_id, span.span_id = (1).to_bytes(16), (1).to_bytes(8)
    span.end_time_unix_nano, span.status.code = START_NS + 5_000_000, 1
    pairs = []
    for number, (told, value) in enumerate(VALUES):
        pairs.append({"key": f"k{number}", "value": told})
        added = span.attributes.add(key=f"k{number}")
        added.value.CopyFrom(value)
    deep = span.attributes.add(key="deep").value.kvlist_value.values.add(key="list")
    deep.value.array_value.values.add(int_value=1)
    listed = {"arrayValue": {"values": [{"intValue": 1}]}}
    pairs.append({"key": "deep", "value": {"kvlistValue": {"values": [{"key": "list", "value": listed}]}}})
    assert post(app, sent.SerializeToString(), PROTOBUF).status == 200
    assert post(app, request(plain(2, attributes=pairs))).status == 200
    one, two = whole(app, 1)["spans"][0], whole(app, 2)["spans"][0]
    for told in (one, two):
        told["attributes"] = [each for each in told["attributes"] if each["key"] != "mlflow.traceRequestId"]
        del told["trace_id"], told["span_id"]
    assert one == two
    assert len(one["attributes"]) == len(VALUES) + 1


def test_the_reply_has_the_form_of_the_question(app: Application) -> None:
    empty = ExportTraceServiceRequest()
    empty.resource_spans.add()
    for body, kind, reply in ((request(), JSON, b"{}"), (empty.SerializeToString(), PROTOBUF, b"")):
        answer = post(app, body, kind)
        assert (answer.status, answer.headers["content-type"], answer.body) == (200, kind, reply)


def test_a_packed_body_is_read_within_the_limit(app: Application) -> None:
    assert post(app, gzip.compress(request(plain(3))), content_encoding="gzip").status == 200
    bomb = gzip.compress(b" " * (40 << 20))
    assert post(app, bomb, content_encoding="gzip").status == 400
    assert post(app, bomb[:100], content_encoding="gzip").status == 400
    assert post(app, b"{}", content_encoding="br").status == 400


DEEP: dict[str, Any] = {"intValue": 1}
for _ in range(70):
    DEEP = {"arrayValue": {"values": [DEEP]}}
BROKEN: dict[str, Any] = {
    "no JSON": b"{",
    "a list": b"[]",
    "no spans": b"{}",
    "no id": request(plain(9, traceId="")),
    "an id of zeros": request(plain(9, traceId="0" * 32)),
    "an id in base64": request(plain(9, spanId="AAAAAAAAAAE=")),
    "a long id": request(plain(9, spanId="1" * 18)),
    "a time before all": request(plain(9, startTimeUnixNano=-1)),
    "a time after all": request(plain(9, endTimeUnixNano=2**64)),
    "a number too large": request(plain(9, attributes=[{"key": "a", "value": {"intValue": 2**70}}])),
    "a number that is none": request(plain(9, attributes=[{"key": "a", "value": {"intValue": "x"}}])),
    "too deep": request(plain(9, attributes=[{"key": "a", "value": DEEP}])),
    "half a pair": b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"\\ud800"}]}]}]}',
    "too many": request(*[plain(9)] * 10_001),
    "a good one before a bad one": request(plain(9), plain(8, spanId="")),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_refused_whole(app: Application, what: str) -> None:
    answer = post(app, BROKEN[what])
    assert answer.status == 400, answer.body[:200]
    assert answer.json["message"]
    assert whole(app, 9) is None


def test_who_asks_wrongly_is_told_so(app: Application) -> None:
    body = request(plain(7))
    assert post(app, body, "text/plain").status == 400
    assert post(app, b"\xff\xff", PROTOBUF).status == 400
    assert post(app, body, x_mlflow_experiment_id="999").status == 404
    assert post(app, body, x_mlflow_experiment_id="../etc").status == 400
    headers = {"content-type": JSON}
    assert ask(app, "POST", "/v1/traces", body=body, headers=headers).status == 400
    assert ask(app, "GET", "/v1/traces").status == 405
    assert whole(app, 7) is None


def test_the_same_span_again_is_one(app: Application) -> None:
    for name in ("first", "second"):
        assert post(app, request(plain(6, name=name), plain(6, name=name))).status == 200
    assert [span["name"] for span in whole(app, 6)["spans"]] == ["second"]


def test_a_run_is_linked_where_its_root_came(app: Application) -> None:
    run = ask(app, "POST", "/api/2.0/mlflow/runs/create", value={"experiment_id": "0"}).json["run"]["info"]
    assert post(app, request(plain(5)), x_mlflow_run_id=run["run_id"]).status == 200
    places = [{"mlflow_experiment": {"experiment_id": "0"}}]
    asked = {"locations": places, "filter": f"run_id = '{run['run_id']}'"}
    found = ask(app, "POST", "/api/3.0/mlflow/traces/search", value=asked).json["traces"]
    assert [each["trace_id"] for each in found] == [f"tr-{5:032x}"]


def test_pages_show_what_strangers_wrote_as_text(app: Application) -> None:
    bad = "<script>alert(1)</script>"
    pairs = [{"key": bad, "value": {"stringValue": bad}}]
    assert (
        post(app, request(plain(4, name=bad, attributes=pairs, status={"code": 2, "message": bad}))).status
        == 200
    )
    page = ask(app, "GET", f"/traces/tr-{4:032x}")
    listed = ask(app, "GET", "/traces?experiment=Default&filter=status%20=%20'ERROR'")
    assert (page.status, listed.status) == (200, 200)
    assert bad.encode() not in page.body + listed.body
    assert b"&lt;script&gt;alert(1)" in page.body
    refused = ask(app, "GET", "/traces?experiment=Default&filter=colour%20=%20'red'")
    assert refused.status == 200
    assert b"Invalid attribute key" in refused.body
    assert ask(app, "GET", "/traces/tr-none").status == 404
