"""The V2 protocol over a real socket: kept connections, pieces, packing, many callers at once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.protocols.serving_worlds import served
from tests.serving.worlds import expected, row

INFER = "/v2/models/delays/infer"
TYPES = {
    "carrier": "BYTES",
    "distance": "FP64",
    "month": "INT64",
    "tailnum": "BYTES",
    "scheduled_at": "INT64",
    "is_holiday": "BOOL",
}


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with served() as address, httpx.Client(base_url=f"http://{address}", timeout=10) as made:
        yield made


def request(month: int, rows: int = 1, **more: Any) -> dict[str, Any]:
    values = row(month=month)
    inputs = [
        {"name": name, "datatype": kind, "shape": [rows], "data": [values[name]] * rows}
        for name, kind in TYPES.items()
    ]
    return {"inputs": inputs, **more}


def test_one_connection_carries_good_and_bad_requests(client: httpx.Client) -> None:
    for number in range(5):
        answer = client.post(INFER, json=request(7, id=f"q{number}"))
        assert answer.status_code == 200
        assert answer.json()["id"] == f"q{number}"
        assert client.post(INFER, content=b"{").status_code == 400
        assert client.get(INFER).status_code == 405
        assert client.get("/v2/models/nobody").status_code == 404


def test_a_body_in_pieces_without_a_length(client: httpx.Client) -> None:
    whole = httpx.Request("POST", "http://x", json=request(3, rows=2000)).content
    pieces = (whole[at : at + 10_000] for at in range(0, len(whole), 10_000))
    answer = client.post(INFER, content=pieces)

    assert answer.status_code == 200
    assert len(answer.json()["outputs"][0]["data"]) == 2000


def test_a_large_reply_is_packed_when_that_is_accepted(client: httpx.Client) -> None:
    answer = client.post(INFER, json=request(3, rows=500), headers={"Accept-Encoding": "gzip"})

    assert answer.headers["content-encoding"] == "gzip"
    assert len(answer.json()["outputs"][0]["data"]) == 500


def test_a_hundred_megabytes_are_refused(client: httpx.Client) -> None:
    megabyte = b" " * 1_000_000
    try:
        answer = client.post(INFER, content=(megabyte for _ in range(100)))
    except httpx.WriteError:
        return  # refused and closed while the rest was on its way
    assert answer.status_code == 413
    assert "over" in answer.json()["error"]


def test_callers_at_once_get_their_own_answers(client: httpx.Client) -> None:
    def ask(number: int) -> tuple[float, str]:
        answer = client.post(INFER, json=request(number % 12 + 1, id=f"c{number}")).json()
        return answer["outputs"][0]["data"][0], answer["id"]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(200)))
    for number, (score, request_id) in enumerate(found):
        assert request_id == f"c{number}"
        assert score == pytest.approx(expected([0.1, 0.001, 0.01], row(month=number % 12 + 1))[0], rel=1e-12)
