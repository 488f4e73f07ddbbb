"""The files that MLflow's clients write of a trace's steps, as recorded from 3.17.2 and 2.22.5."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import Corrupt
from loopwright.core.traces import SpanEvent
from loopwright.llm.span_files import spans_of

NEW = {
    "trace_id": "VP72RiRth4jWZDbG56uAZw==",
    "span_id": "rNn8C7us9uE=",
    "parent_span_id": "2Z9lwmq7hMA=",
    "name": "look_up",
    "start_time_unix_nano": 1795271081554454776,
    "end_time_unix_nano": 1795271081554847073,
    "events": [{"name": "hm", "time_unix_nano": 1795271081554237440, "attributes": {"a": 1}}],
    "status": {"code": "STATUS_CODE_OK", "message": ""},
    "attributes": {"mlflow.spanType": '"TOOL"', "mlflow.spanOutputs": '{"value": [1, 2, 3]}'},
    "links": [],
}
OLD = {
    "name": "look_up",
    "context": {"span_id": "95c3d8a0fce948ea", "trace_id": "379eea33016e01ec36c8171544b995bb"},
    "parent_id": "be6987ba8c707fd0",
    "start_time": 1795271814541095392,
    "end_time": 1795271814541268407,
    "status_code": "ERROR",
    "status_message": "ValueError: no",
    "attributes": {"mlflow.spanType": '"TOOL"', "mlflow.spanInputs": '{"key": "what?"}'},
    "events": [{"name": "exception", "timestamp": 1795271814541, "attributes": {}}],
}


def test_a_step_of_a_new_client_is_read() -> None:
    (span,) = spans_of("tr-1", json.dumps({"spans": [NEW]}).encode())
    assert (span.id, span.parent_id, span.type) == ("acd9fc0bbbacf6e1", "d99f65c26abb84c0", "TOOL")
    assert (span.status, span.start_ns, span.end_ns) == ("OK", 1795271081554454776, 1795271081554847073)
    assert span.attributes["mlflow.spanOutputs"] == {"value": [1, 2, 3]}
    assert span.events == (SpanEvent(name="hm", at_ns=1795271081554237440, attributes={"a": 1}),)


def test_a_step_of_an_old_client_is_read() -> None:
    (span,) = spans_of("1" * 32, json.dumps({"spans": [OLD], "request": "", "response": ""}).encode())
    assert (span.trace_id, span.id, span.parent_id) == ("1" * 32, "95c3d8a0fce948ea", "be6987ba8c707fd0")
    assert (span.status, span.message, span.events[0].at_ns) == ("ERROR", "ValueError: no", 1795271814541)


def test_no_file_has_no_steps() -> None:
    assert spans_of("tr-1", b"") == ()


@pytest.mark.parametrize(
    "file",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"spans": 7}',
        b'{"spans": [7]}',
        b'{"spans": [{"span_id": "zz"}]}',
        b"\xff",
        b"[" * 100_000,
        json.dumps({"spans": [{**NEW, "start_time_unix_nano": "soon"}]}).encode(),
        json.dumps({"spans": [{**NEW, "attributes": [1]}]}).encode(),
    ],
)
def test_what_is_no_such_file_is_corrupt(file: bytes) -> None:
    with pytest.raises(Corrupt):
        spans_of("tr-1", file)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_any_value_of_a_field_is_read_or_corrupt(value: object) -> None:
    for field in NEW:
        try:
            spans_of("tr-1", json.dumps({"spans": [{**NEW, field: value}]}).encode())
        except Corrupt:
            continue
