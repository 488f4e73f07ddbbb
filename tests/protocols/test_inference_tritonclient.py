"""Triton's own HTTP client against the V2 surface; needs `tritonclient[http]`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.protocols.serving_worlds import served
from tests.serving.worlds import expected, row

pytestmark = [
    pytest.mark.peer,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
triton = pytest.importorskip("tritonclient.http")
WEIGHTS = [0.1, 0.001, 0.01]
ROWS = [row(), row(carrier="UA", distance=None, is_holiday=True), row(carrier="AA", month=2)]


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with served() as address:
        made = triton.InferenceServerClient(address, concurrency=4)
        yield made
        made.close()


def inputs(*, binary: bool, second_axis: bool = False) -> list[Any]:
    columns = {
        "carrier": ("BYTES", np.array([str(each["carrier"]).encode() for each in ROWS], dtype=np.object_)),
        "distance": (
            "FP64",
            np.array([np.nan if each["distance"] is None else each["distance"] for each in ROWS]),
        ),
        "month": ("INT64", np.array([each["month"] for each in ROWS], dtype=np.int64)),
        "scheduled_at": ("INT64", np.array([each["scheduled_at"] for each in ROWS], dtype=np.int64)),
        "is_holiday": ("BOOL", np.array([each["is_holiday"] for each in ROWS], dtype=np.bool_)),
    }
    made = []
    for name, (kind, values) in columns.items():
        if name == "distance" and not binary:
            continue  # JSON has no NaN: the column is left out
        shaped = values.reshape(-1, 1) if second_axis else values
        tensor = triton.InferInput(name, list(shaped.shape), kind)
        tensor.set_data_from_numpy(shaped, binary_data=binary)
        made.append(tensor)
    return made


def wanted(*, with_distance: bool) -> list[float]:
    return expected(WEIGHTS, *(each if with_distance else {**each, "distance": None} for each in ROWS))


def test_health(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("delays")
    assert client.is_model_ready("delays", "2")
    assert not client.is_model_ready("nobody")
    assert not client.is_model_ready("delays", "9")


def test_metadata(client: Any) -> None:
    assert client.get_server_metadata()["name"] == "loopwright"
    described = client.get_model_metadata("delays")
    assert [each["name"] for each in described["inputs"]] == list(row())
    assert {each["name"] for each in described["outputs"]} == {"score", "model_version", "prediction_id"}
    assert {each["name"] for each in client.get_model_repository_index()} == {"delays"}


@pytest.mark.parametrize("second_axis", [False, True])
def test_the_clients_defaults_are_binary(client: Any, second_axis: bool) -> None:
    outputs = [triton.InferRequestedOutput(name) for name in ("score", "model_version", "prediction_id")]
    found = client.infer(
        "delays", inputs(binary=True, second_axis=second_axis), outputs=outputs, request_id="t1"
    )

    assert found.as_numpy("score").tolist() == pytest.approx(wanted(with_distance=True), rel=1e-12)
    assert found.as_numpy("model_version").tolist() == [1, 1, 1]
    assert found.as_numpy("prediction_id").tolist() == [b"t1.0", b"t1.1", b"t1.2"]
    assert found.get_response()["id"] == "t1"


def test_json_both_ways(client: Any) -> None:
    outputs = [triton.InferRequestedOutput("score", binary_data=False)]
    found = client.infer("delays", inputs(binary=False), outputs=outputs)

    assert found.as_numpy("score").tolist() == pytest.approx(wanted(with_distance=False), rel=1e-12)


def test_no_outputs_named(client: Any) -> None:
    found = client.infer("delays", inputs(binary=True), request_id="t2")

    assert found.as_numpy("score").tolist() == pytest.approx(wanted(with_distance=True), rel=1e-12)


@pytest.mark.parametrize("packing", ["gzip", "deflate"])
def test_packed_both_ways(client: Any, packing: str) -> None:
    found = client.infer(
        "delays",
        inputs(binary=True),
        request_compression_algorithm=packing,
        response_compression_algorithm=packing,
    )
    assert found.as_numpy("score").tolist() == pytest.approx(wanted(with_distance=True), rel=1e-12)


def test_a_version_and_calls_under_way(client: Any) -> None:
    pinned = client.infer("delays", inputs(binary=True), model_version="2")
    assert pinned.get_response()["model_version"] == "2"
    waiting = [client.async_infer("delays", inputs(binary=True), request_id=str(n)) for n in range(8)]
    assert [each.get_result().get_response()["id"] for each in waiting] == [str(n) for n in range(8)]


def refused(client: Any, tensors: list[Any], model: str = "delays", **more: Any) -> Any:
    with pytest.raises(triton.InferenceServerException) as caught:
        client.infer(model, tensors, **more)
    return caught.value


def test_refusals_are_readable_by_the_client(client: Any) -> None:
    assert "no endpoint named 'nobody'" in refused(client, inputs(binary=True), "nobody").message()
    assert "version 9" in refused(client, inputs(binary=True), model_version="9").message()
    assert "'carrier' is missing" in refused(client, inputs(binary=True)[1:]).message()
    named = [triton.InferRequestedOutput("class")]
    assert "no output 'class'" in refused(client, inputs(binary=True), outputs=named).message()
    wrong = triton.InferInput("carrier", [3], "FP32")
    wrong.set_data_from_numpy(np.zeros(3, np.float32))
    said = refused(client, [wrong, *inputs(binary=True)[1:]])
    assert "send it as BYTES" in said.message()
    assert said.status() == "400"
    short = triton.InferInput("carrier", [2], "BYTES")
    short.set_data_from_numpy(np.array([b"AA", b"B6"], dtype=np.object_))
    assert "the inputs have [2, 3] rows" in refused(client, [short, *inputs(binary=True)[1:]]).message()
