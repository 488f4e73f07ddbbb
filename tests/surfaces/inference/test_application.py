"""The V2 surface by raw requests: what it answers, and that a user's mistake is a 4xx with a reason."""

from __future__ import annotations

import gzip
import json
import struct
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from loopwright import __version__
from loopwright.core.errors import Denied
from loopwright.core.expressions import Scalar
from loopwright.serving.runtime import Runtime
from loopwright.serving.verbs import deploy
from loopwright.surfaces.inference.application import InferenceApp
from tests.serving.worlds import ENDPOINT, Linear, config, deployed, expected, row
from tests.surfaces.asking import Answer, ask

WEIGHTS = [0.1, 0.001, 0.01]
TYPES = {
    "carrier": "BYTES",
    "distance": "FP64",
    "month": "INT64",
    "tailnum": "BYTES",
    "scheduled_at": "INT64",
    "is_holiday": "BOOL",
}
INFER = f"/v2/models/{ENDPOINT}/infer"


@pytest.fixture(scope="module")
def runtime() -> Iterator[Runtime]:
    ctx = deployed((1, 100.0), shadow=(2,))
    deploy(ctx, "a/strange name", config((2, 100.0)))
    made = Runtime(ctx)
    made.start()
    yield made
    made.close()


@pytest.fixture(scope="module")
def app(runtime: Runtime) -> InferenceApp:
    return InferenceApp(runtime, body_limit=200_000)


def body(*rows: dict[str, Scalar], **more: Any) -> dict[str, Any]:
    """A JSON request of rows."""
    inputs = [
        {"name": name, "datatype": kind, "shape": [len(rows)], "data": [each[name] for each in rows]}
        for name, kind in TYPES.items()
    ]
    return {"inputs": inputs, **more}


def changed(which: str, **parts: Any) -> dict[str, Any]:
    """A request of one row with one input changed."""
    found = body(row())
    found["inputs"] = [{**each, **parts} if each["name"] == which else each for each in found["inputs"]]
    return found


def outputs(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer.body
    return {each["name"]: each["data"] for each in answer.json["outputs"]}


def refused(answer: Answer, status: int, said: str) -> None:
    assert answer.status == status, answer.body
    assert list(answer.json) == ["error"]
    assert said in answer.json["error"]
    assert answer.headers["content-type"] == "application/json"


def test_health_and_server_metadata(app: InferenceApp) -> None:
    assert ask(app, "GET", "/v2/health/live").status == 200
    assert ask(app, "GET", "/v2/health/ready").json == {"ready": True}
    about = ask(app, "GET", "/v2").json
    assert about == {"name": "loopwright", "version": __version__, "extensions": ["binary_tensor_data"]}


def test_a_server_is_not_ready_before_its_endpoints_are_loaded() -> None:
    cold = InferenceApp(Runtime(deployed((1, 100.0))))
    answer = ask(cold, "GET", "/v2/health/ready")

    assert (answer.status, answer.json) == (503, {"ready": False})
    assert ask(cold, "GET", "/v2/health/live").status == 200


def test_a_model_describes_its_inputs_and_outputs(app: InferenceApp) -> None:
    found = ask(app, "GET", f"/v2/models/{ENDPOINT}").json

    assert found["name"] == ENDPOINT
    assert found["versions"] == ["1", "2"]
    assert found["platform"] == "loopwright_linear"
    assert {each["name"]: each["datatype"] for each in found["inputs"]} == TYPES
    assert {each["name"] for each in found["inputs"] if each.get("parameters") == {"optional": True}} == {
        "distance",
        "tailnum",
    }
    assert {each["name"]: each["datatype"] for each in found["outputs"]} == {
        "score": "FP64",
        "model_version": "INT64",
        "prediction_id": "BYTES",
    }
    assert all(each["shape"] == [-1] for each in found["inputs"] + found["outputs"])


@pytest.mark.parametrize("path", ["ready", "versions/1/ready", "versions/2", ""])
def test_models_and_versions_are_ready(app: InferenceApp, path: str) -> None:
    assert ask(app, "GET", f"/v2/models/{ENDPOINT}/{path}").status == 200


def test_the_repository_lists_what_is_loaded(app: InferenceApp) -> None:
    found = ask(app, "POST", "/v2/repository/index").json

    assert [(each["name"], each["version"]) for each in found] == [
        ("a/strange name", "2"),
        (ENDPOINT, "1"),
        (ENDPOINT, "2"),
    ]


def test_a_prediction(app: InferenceApp) -> None:
    rows = (row(), row(carrier="ZZ", distance=None, tailnum=None), row(carrier="UA", month=1))
    answer = ask(app, "POST", INFER, value=body(*rows, id="q-1"))

    found = outputs(answer)
    assert found["score"] == pytest.approx(expected(WEIGHTS, *rows), rel=1e-12)
    assert found["model_version"] == [1, 1, 1]
    assert found["prediction_id"] == ["q-1.0", "q-1.1", "q-1.2"]
    assert (answer.json["model_name"], answer.json["model_version"], answer.json["id"]) == (
        ENDPOINT,
        "1",
        "q-1",
    )


def test_a_request_without_an_id_is_given_one(app: InferenceApp) -> None:
    answer = ask(app, "POST", INFER, value=body(row()))

    assert outputs(answer)["prediction_id"] == [answer.json["id"] + ".0"]
    assert answer.json["id"]


def test_a_named_version_and_a_name_with_a_slash(app: InferenceApp) -> None:
    pinned = ask(app, "POST", f"/v2/models/{ENDPOINT}/versions/2/infer", value=body(row()))
    strange = ask(app, "POST", "/v2/models/a%2Fstrange%20name/infer", value=body(row()))

    assert pinned.json["model_version"] == "2"
    assert (
        outputs(pinned)["score"]
        == outputs(strange)["score"]
        == pytest.approx(expected([0.2, -0.001, 0.02], row()))
    )


def test_nullable_inputs_may_be_left_out_and_shapes_may_have_a_second_axis(app: InferenceApp) -> None:
    wanted = outputs(ask(app, "POST", INFER, value=body(row(distance=None, tailnum=None))))["score"]
    left_out = body(row())
    left_out["inputs"] = [each for each in left_out["inputs"] if each["name"] not in {"distance", "tailnum"}]
    assert outputs(ask(app, "POST", INFER, value=left_out))["score"] == wanted
    for data in ([["B6"]], ["B6"]):
        nested = changed("carrier", shape=[1, 1], data=data)
        assert outputs(ask(app, "POST", INFER, value=nested))["score"] == expected(WEIGHTS, row())


def test_smaller_number_types_are_taken(app: InferenceApp) -> None:
    value = changed("month", datatype="UINT8")
    value["inputs"] = [
        {**each, "datatype": "FP32", "data": [0.1]} if each["name"] == "distance" else each
        for each in value["inputs"]
    ]
    single = float(np.float32(0.1))
    assert outputs(ask(app, "POST", INFER, value=value))["score"] == expected(WEIGHTS, row(distance=single))


def test_only_the_outputs_asked_for_are_sent(app: InferenceApp) -> None:
    answer = ask(app, "POST", INFER, value=body(row(), outputs=[{"name": "score"}]))

    assert list(outputs(answer)) == ["score"]


def binary(rows: list[dict[str, Scalar]], head_changes: Any = None, **more: Any) -> tuple[bytes, int]:
    """A request with every tensor as bytes, and the length of its head."""
    tails, inputs = [], []
    for name, kind in TYPES.items():
        values = [each[name] for each in rows]
        if kind == "BYTES":
            data = b"".join(struct.pack("<I", len(str(v).encode())) + str(v).encode() for v in values)
        else:
            code = {"FP64": "<f8", "INT64": "<i8", "BOOL": "|b1"}[kind]
            data = np.array([np.nan if v is None else v for v in values]).astype(code).tobytes()
        tails.append(data)
        parameters = {"binary_data_size": len(data)}
        inputs.append({"name": name, "datatype": kind, "shape": [len(rows)], "parameters": parameters})
    head = {"inputs": inputs, **more}
    if head_changes is not None:
        head_changes(head)
    encoded = json.dumps(head).encode()
    return encoded + b"".join(tails), len(encoded)


def ask_binary(app: InferenceApp, sent: tuple[bytes, int], **headers: str) -> Answer:
    return ask(
        app,
        "POST",
        INFER,
        body=sent[0],
        headers={"Inference-Header-Content-Length": str(sent[1]), **headers},
    )


ROWS = [row(), row(carrier="ÅÄ", distance=None, is_holiday=True), row(carrier="UA", month=1)]


def test_tensors_as_bytes_give_what_tensors_as_json_give(app: InferenceApp) -> None:
    sent = binary(ROWS, id="b1")
    assert (
        outputs(ask_binary(app, sent))["score"]
        == outputs(ask(app, "POST", INFER, value=body(*ROWS)))["score"]
    )


def test_outputs_as_bytes(app: InferenceApp) -> None:
    answer = ask_binary(app, binary(ROWS, id="ü1", parameters={"binary_data_output": True}))

    length = int(answer.headers["inference-header-content-length"])
    head, tail = json.loads(answer.body[:length]), answer.body[length:]
    sizes = [each["parameters"]["binary_data_size"] for each in head["outputs"]]
    assert [each.get("data") for each in head["outputs"]] == [None, None, None]
    assert sum(sizes) == len(tail)
    scores = np.frombuffer(tail[: sizes[0]], "<f8").tolist()
    assert scores == outputs(ask(app, "POST", INFER, value=body(*ROWS)))["score"]
    assert np.frombuffer(tail[sizes[0] : sizes[0] + sizes[1]], "<i8").tolist() == [1, 1, 1]
    ids = tail[sizes[0] + sizes[1] :]
    assert ids[:4] == struct.pack("<I", 5)
    assert ids[4:9].decode() == "ü1.0"


def test_one_output_as_bytes_and_one_as_json(app: InferenceApp) -> None:
    wanted = [{"name": "score", "parameters": {"binary_data": True}}, {"name": "prediction_id"}]
    answer = ask(app, "POST", INFER, value=body(row(), id="q", outputs=wanted))

    length = int(answer.headers["inference-header-content-length"])
    head = json.loads(answer.body[:length])
    assert head["outputs"][1]["data"] == ["q.0"]
    assert len(answer.body) - length == 8


def test_packed_bodies_and_replies(app: InferenceApp) -> None:
    plain = json.dumps(body(*[row()] * 40, id="q")).encode()
    wanted = ask(app, "POST", INFER, body=plain).body
    for name, packed in (("gzip", gzip.compress(plain)), ("deflate", zlib.compress(plain))):
        headers = {"Content-Encoding": name, "Accept-Encoding": name}
        answer = ask(app, "POST", INFER, body=packed, headers=headers)
        assert answer.headers["content-encoding"] == name
        assert zlib.decompress(answer.body, 31 if name == "gzip" else 15) == wanted
    sent = binary(ROWS)
    assert ask_binary(app, (gzip.compress(sent[0]), sent[1]), **{"Content-Encoding": "gzip"}).status == 200


def test_large_calls_are_answered_too(app: InferenceApp) -> None:
    rows = [row(month=number % 12 + 1) for number in range(500)]
    found = outputs(ask_binary(app, binary(rows)))

    assert found["score"] == pytest.approx(expected(WEIGHTS, *rows), rel=1e-12)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"inputs": []}, "input 'carrier' is missing"),
        ({}, "missing required field `inputs`"),
        ([], "Expected `object`, got `array`"),
        (changed("carrier", name="colour"), "no input 'colour'"),
        (changed("month", name="carrier"), "sent twice"),
        (changed("month", datatype="FP64"), "input 'month' is 'FP64'. send it as INT64"),
        (changed("month", datatype="X" * 500), "is 'XXXX"),
        (changed("month", data=["secret"]), "Expected `int`, got `str` - at `$[0]`"),
        (changed("month", data=[7.5]), "Expected `int`, got `float`"),
        (changed("month", data=[None]), "got `null`"),
        (changed("month", datatype="INT8", data=[128]), "<= 127"),
        (changed("month", data=[2**63]), "input 'month' is not INT64"),
        (changed("month", data=[7, 8]), "2 values for 1 rows"),
        (changed("month", shape=[2], data=[7, 8]), "the inputs have [1, 2] rows"),
        (changed("month", shape=[1, 2], data=[7, 8]), "shape [1, 2]"),
        (changed("month", shape=[]), "shape []"),
        (changed("month", shape=[-1]), "shape [-1]"),
        (changed("month", shape=[1, 1], data=[[7], 8]), "is not INT64"),
        (changed("month", data=None), "is not INT64"),
        (changed("month", data={"a": 1}), "is not INT64"),
        ({**body(row()), "outputs": [{"name": "class"}]}, "no output 'class'"),
        (changed("month", parameters={"binary_data_size": 8}), "data and bytes"),
        ({"inputs": [{**each, "shape": [0], "data": []} for each in body(row())["inputs"]]}, "no rows"),
        (body(row(), id="x" * 300), "request id"),
        (body(row(), id="a\u0000b"), "request id"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(app: InferenceApp, value: Any, said: str) -> None:
    answer = ask(app, "POST", INFER, value=value)

    refused(answer, 400, said)
    assert "secret" not in answer.body.decode()


def drop(head: dict[str, Any]) -> None:
    del head["inputs"][2]["parameters"]


def shrink(head: dict[str, Any]) -> None:
    head["inputs"][-1]["parameters"]["binary_data_size"] -= 1


def negative(head: dict[str, Any]) -> None:
    head["inputs"][0]["parameters"]["binary_data_size"] = -1


def overlong(head: dict[str, Any]) -> None:
    head["inputs"][-1]["parameters"]["binary_data_size"] = 10_000


def misnamed(head: dict[str, Any]) -> None:
    head["inputs"][0]["datatype"], head["inputs"][3]["datatype"] = "INT64", "INT64"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (drop, "has no data"),
        (shrink, "2 bytes for 3 rows of BOOL"),
        (negative, "says -1 bytes"),
        (overlong, "says 10000 bytes"),
        (misnamed, "is 'INT64'"),
    ],
)
def test_bytes_that_do_not_fit_are_refused(app: InferenceApp, changes: Any, said: str) -> None:
    refused(ask_binary(app, binary(ROWS, changes)), 400, said)


@pytest.mark.parametrize("length", ["-1", "x", "999999", "9" * 40, "3"])
def test_a_head_length_that_does_not_fit_is_refused(app: InferenceApp, length: str) -> None:
    answer = ask(app, "POST", INFER, body=b"{}{}", headers={"Inference-Header-Content-Length": length})

    assert answer.status == 400
    assert answer.json["error"]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"null",
        b"\xff\xfe",
        b'{"inputs": [{"name": "\xff"}]}',
        b"[" * 100_000,
        b'{"inputs": [{"name": "month", "datatype": "INT64", "shape": [1], "data": ' + b"[" * 50_000 + b"}]}",
        b'{"inputs": [{"name": "month", "datatype": "INT64", "shape": [1], "data": [NaN]}]}',
    ],
)
def test_malformed_json_is_refused(app: InferenceApp, raw: bytes) -> None:
    answer = ask(app, "POST", INFER, body=raw)

    assert answer.status == 400, answer.body
    assert answer.json["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v2/models/nobody/infer", 404),
        ("GET", "/v2/models/nobody", 404),
        ("GET", "/v2/models/nobody/ready", 404),
        ("GET", "/v2/models/delays/versions/9", 404),
        ("GET", "/v2/models/delays/versions/x", 404),
        ("GET", "/v2/models/delays/versions", 404),
        ("GET", "/v2/models/delays/secrets", 404),
        ("GET", "/v2/models", 404),
        ("GET", "/v2/nothing", 404),
        ("GET", "/v2x", 404),
        ("GET", "/other", 404),
        ("GET", "/v2/models/%ff", 400),
        ("GET", "/v2/models/" + "x" * 600, 400),
        ("GET", "/v2/models/..%2f..%2fetc%2fpasswd", 400),
        ("GET", "/v2/models/%00", 400),
        ("GET", INFER, 405),
        ("DELETE", f"/v2/models/{ENDPOINT}", 405),
        ("POST", "/v2/health/live", 405),
        ("GET", "/v2/repository/index", 405),
    ],
)
def test_wrong_paths_and_methods(app: InferenceApp, method: str, path: str, status: int) -> None:
    answer = ask(app, method, path, value=body(row()) if method == "POST" else None)

    assert answer.status == status, answer.body
    assert answer.json["error"]
    if status == 405:
        assert answer.headers["allow"] in {"GET", "POST"}


def test_a_version_that_is_not_served_is_not_found(app: InferenceApp) -> None:
    refused(ask(app, "POST", f"/v2/models/{ENDPOINT}/versions/9/infer", value=body(row())), 404, "version 9")


def test_bodies_over_the_limit_are_refused(app: InferenceApp) -> None:
    pieces = [b"x" * 50_000] * 5
    refused(ask(app, "POST", INFER, body=pieces), 413, "over 200,000 bytes")
    refused(
        ask(app, "POST", INFER, body=b"", headers={"Content-Length": "104857600"}), 413, "over 200,000 bytes"
    )
    bomb = gzip.compress(b" " * 5_000_000)
    refused(
        ask(app, "POST", INFER, body=bomb, headers={"Content-Encoding": "gzip"}), 413, "over 200,000 bytes"
    )


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
def test_bodies_that_cannot_be_unpacked_are_refused(app: InferenceApp, encoding: str) -> None:
    for raw in (b"plain", gzip.compress(b"{}" * 500)[:20]):
        answer = ask(app, "POST", INFER, body=raw, headers={"Content-Encoding": encoding})
        assert answer.status == 400
        assert answer.json["error"]


def test_refusals_are_counted(runtime: Runtime, app: InferenceApp) -> None:
    before = runtime.statistics(ENDPOINT).failed
    ask(app, "POST", INFER, body=b"{")

    assert runtime.statistics(ENDPOINT).failed == before + 1


def test_a_full_server_says_try_again() -> None:
    ctx, gate = deployed((1, 100.0)), threading.Event()
    framework = ctx.ports.frameworks["linear"]
    assert isinstance(framework, Linear)
    framework.gate = gate
    full = Runtime(ctx, max_waiting_rows=1)
    app = InferenceApp(full)
    slow = threading.Thread(target=ask, args=(app, "POST", INFER), kwargs={"value": body(row())})
    slow.start()
    for _ in range(400):
        if full.waiting_rows:
            break
        gate.wait(0.01)
    answer = ask(app, "POST", INFER, value=body(row()))
    gate.set()
    slow.join()

    refused(answer, 503, "rows wait already")
    assert answer.headers["retry-after"] == "1"


def test_callers_without_the_scope_are_refused(runtime: Runtime) -> None:
    def refuse(scope: Any, right: str) -> None:
        raise Denied(f"you lack {right}", hint="ask for it")

    guarded = InferenceApp(runtime, authorise=refuse)
    refused(ask(guarded, "POST", INFER, value=body(row())), 403, "you lack endpoint:predict")
    for path in ("", f"/models/{ENDPOINT}", f"/models/{ENDPOINT}/versions/1/ready", "/nothing"):
        refused(ask(guarded, "GET", f"/v2{path}"), 403, "you lack endpoint:read")
    refused(ask(guarded, "POST", "/v2/repository/index"), 403, "you lack endpoint:read")
    assert ask(guarded, "GET", "/v2/health/live").status == 200
