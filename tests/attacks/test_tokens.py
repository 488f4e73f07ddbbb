"""Page tokens that no list gave out, and pages of sizes that none has: refused, on every list there is."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from loopwright.client.index import Entry, load_index
from tests.attacks.worlds import World, answered, furnished

LISTS = [
    entry
    for entry in load_index().entries.values()
    if not entry.local and entry.method == "GET" and any(p.name == "token" for p in entry.parameters)
]
VALUES: list[Any] = [
    2**64 - 1,
    2**63,
    2**63 - 1,
    -(2**63),
    -1,
    0,
    1.5,
    float("nan"),
    float("-inf"),
    "",
    "x",
    "\0",
    "' OR 1=1 --",
    "a" * 5000,
    None,
    True,
    [],
    {},
    b"x",
]
SIZES = [0, -1, 1, 10**12, 2**63, -(2**63) - 1, 1.5, "x", "9" * 5000, None, [], {}, True, "NaN", "1e3", " 7 "]
SEARCHES: dict[str, dict[str, Any]] = {
    "runs/search": {"experiment_ids": ["{experiment_id}"], "order_by": ["metrics.loss DESC", "params.lr"]},
    "experiments/search": {},
    "logged-models/search": {"experiment_ids": ["{experiment_id}"]},
    "registered-models/search": {},
    "model-versions/search": {"order_by": ["version_number DESC"]},
    "metrics/get-history": {"run_id": "{run_id}", "metric_key": "loss"},
}
ASKED_BY_GET = {"registered-models/search", "model-versions/search", "metrics/get-history"}


def written(key: Any) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(key)).decode().rstrip("=")


def forged() -> Iterator[str]:
    for one in VALUES:
        yield written(one)
        yield written([one])
        for other in VALUES:
            yield written([one, other])
            yield written([1, one, other])
    yield from ("x", "=", "é", "!!!!", "\0", "-1", "1.2", "²", "1.²", "01.1", "9" * 5000, "1." + "9" * 5000)
    yield base64.b64encode(json.dumps({"offset": -1}).encode()).decode()
    yield base64.urlsafe_b64encode(b"\xdd\xff\xff\xff\xff").decode()
    yield base64.urlsafe_b64encode(b"\x91" * 20_000).decode()
    yield base64.urlsafe_b64encode(b"\xdb\x7f\xff\xff\xff").decode()


TOKENS = tuple(forged())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with furnished(tmp_path_factory.mktemp("tokens"), is_serving=False) as found:
        yield found


@pytest.mark.parametrize("entry", LISTS, ids=lambda entry: str(entry.name))
def test_a_forged_token_of_our_lists_is_refused(world: World, entry: Entry) -> None:
    target = f"/api/v1{entry.path}"
    for token in TOKENS:
        answered(world.ask("GET", f"{target}?token={quote(token)}"), f"{entry.name} {token[:200]}")


@pytest.mark.parametrize("entry", LISTS, ids=lambda entry: str(entry.name))
def test_a_page_has_a_size(world: World, entry: Entry) -> None:
    for size in SIZES:
        answered(world.ask("GET", f"/api/v1{entry.path}?limit={quote(str(size))}"), f"{entry.name} {size!r}")


@pytest.mark.parametrize("row", ["0", "5", "72", "1000000", "999999999999999999", "9" * 19, "²", "-1"])
def test_a_row_to_go_on_with_is_one_there_is_or_the_end(world: World, row: str) -> None:
    """The tokens of rows name a version, or a piece of the quarantine, and a row of it."""
    first = world.ask("GET", "/api/v1/datasets/weather/quarantine?limit=1").json
    piece = first["next_token"].partition(".")[0]
    for target in (f"rows?token=1.{quote(row)}", f"quarantine?token={piece}.{quote(row)}"):
        answered(world.ask("GET", f"/api/v1/datasets/weather/{target}"), target)


def asked(world: World, path: str, **more: Any) -> None:
    given = {
        name: json.loads(json.dumps(value).replace("{experiment_id}", world.names["experiment_id"]))
        for name, value in {**SEARCHES[path], **more}.items()
    }
    given = {name: world.names["run_id"] if value == "{run_id}" else value for name, value in given.items()}
    if path in ASKED_BY_GET:
        query = "&".join(
            f"{name}={quote(str(each), safe='')}"
            for name, value in given.items()
            for each in (value if isinstance(value, list) else [value])
        )
        answer = world.ask("GET", f"/api/2.0/mlflow/{path}?{query}")
    else:
        answer = world.post(path, given)
    answered(answer, f"{path} {more!r}"[:300])


@pytest.mark.parametrize("path", SEARCHES)
def test_a_forged_token_of_the_protocols_lists_is_refused(world: World, path: str) -> None:
    for token in TOKENS:
        asked(world, path, page_token=token)


@pytest.mark.parametrize("path", SEARCHES)
def test_a_page_of_the_protocol_has_a_size(world: World, path: str) -> None:
    for size in SIZES:
        asked(world, path, max_results=size)


def test_a_token_of_one_list_is_none_of_another(world: World) -> None:
    """Also where both are keyed by the same kinds of values."""
    found = world.post("runs/search", {"experiment_ids": [world.names["experiment_id"]], "max_results": 1})
    token = found.json["next_page_token"]
    for entry in LISTS:
        answered(world.ask("GET", f"/api/v1{entry.path}?token={quote(token)}"), str(entry.name))
    for path in SEARCHES:
        asked(world, path, page_token=token)
