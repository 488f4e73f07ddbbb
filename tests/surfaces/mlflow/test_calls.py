"""Calls as MLflow's clients make them: routes, arguments, errors; what they mean is tested with the verbs."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core import errors
from loopwright.core.errors import Corrupt, Fault, Invalid, NotFound, Taken, TooLarge, Unavailable
from loopwright.engine.context import Context, Principal
from loopwright.surfaces.mlflow.application import MlflowApp
from loopwright.surfaces.mlflow.failures import refusal
from loopwright.surfaces.mlflow.routing import Route
from loopwright.surfaces.mlflow.wire import Message, Nothing, Reader, number
from loopwright.testing.builders import memory_context
from tests.surfaces.asking import Answer, ask
from tests.surfaces.mlflow.places import Place, placed

API = "/api/2.0/mlflow"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with placed(tmp_path_factory.mktemp("calls")) as made:
        yield made


def call(place: Place, path: str, value: Any = None) -> Answer:
    return ask(place.app, "GET" if value is None else "POST", f"{API}/{path}", value=value)


def test_a_long_history_comes_whole_and_page_by_page(place: Place) -> None:
    """Whole where no size is given, as many as are asked for else, with a token where more are left."""
    run = call(place, "runs/create", {"experiment_id": "0"}).json["run"]["info"]["run_id"]
    count = 12_003
    for first in range(0, count, 1000):
        steps = range(first, min(count, first + 1000))
        points = [{"key": "m", "value": step / 7, "timestamp": step, "step": step} for step in steps]
        assert call(place, "runs/log-batch", {"run_id": run, "metrics": points}).status == 200
    asked = f"metrics/get-history?run_id={run}&metric_key=m"
    whole = call(place, asked).json
    wanted = [{"key": "m", "value": step / 7, "timestamp": step, "step": step} for step in range(count)]
    assert whole == {"metrics": wanted}
    assert call(place, f"{asked}&max_results={count}").json == whole
    for size in (5_000, 5_001, 10_000, count - 1):
        page = call(place, f"{asked}&max_results={size}").json
        assert page["metrics"] == wanted[:size]
        rest = call(place, f"{asked}&max_results={2 * count}&page_token={page['next_page_token']}").json
        assert rest == {"metrics": wanted[size:]}
    assert call(place, f"{asked}&max_results=0").status == 400


def test_a_run_goes_through(place: Place) -> None:
    made = call(place, "experiments/create", {"name": "through"}).json["experiment_id"]
    body = {"experiment_id": made, "start_time": "5", "run_name": "r", "unknown": {"a": None}}
    run = call(place, "runs/create", body).json["run"]["info"]
    assert (run["status"], run["start_time"], run["experiment_id"]) == ("RUNNING", 5, made)
    points = [{"key": "m", "value": value, "timestamp": 7, "step": "2"} for value in (1, "NaN", "-Infinity")]
    logged = call(place, "runs/log-batch", {"run_id": run["run_id"], "metrics": points})
    assert (logged.status, logged.json) == (200, {})
    history = call(place, f"metrics/get-history?run_id={run['run_id']}&metric_key=m").json["metrics"]
    assert {str(each["value"]) for each in history} == {"1.0", "NaN", "-1.7976931348623157e+308"}
    found = call(place, "runs/search", {"experiment_ids": [made], "filter": "metrics.m != 7"}).json["runs"]
    assert [each["info"]["run_id"] for each in found] == [run["run_id"]]


def test_what_is_written_by_a_call_is_seen_by_the_next(place: Place) -> None:
    for turn in range(20):
        assert (
            call(place, "runs/set-tag", {"run_id": place.run_id, "key": "n", "value": str(turn)}).json == {}
        )
        tags = call(place, f"runs/get?run_id={place.run_id}").json["run"]["data"]["tags"]
        assert {"key": "n", "value": str(turn)} in tags


@pytest.mark.parametrize("root", ["/api/2.0", "/api/3.0", "/ajax-api/2.0", "/ajax-api/3.0"])
def test_every_route_has_its_twins(place: Place, root: str) -> None:
    assert ask(place.app, "GET", f"{root}/mlflow/experiments/get?experiment_id=0").status == 200


@pytest.mark.parametrize(
    "path", ["/api/2.0/mlflow/none", "/api/9.0/mlflow/runs/get", "/ajax-api/x", "/api/2.0"]
)
def test_unknown_routes_are_told_as_clients_know_it(place: Place, path: str) -> None:
    answer = ask(place.app, "GET", path)
    assert (answer.status, answer.json["error_code"]) == (404, "ENDPOINT_NOT_FOUND")


def test_a_route_says_which_methods_it_has(place: Place) -> None:
    answer = ask(place.app, "DELETE", f"{API}/experiments/search")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, POST")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"run_id": "r"}, "Missing value for required parameter 'key'."),
        ({"run_id": "r", "key": None}, "Missing value for required parameter 'key'."),
        ({"run_id": "r", "key": ""}, "Missing value for required parameter 'key'."),
        ({"key": "k"}, "Missing value for required parameter 'run_id'."),
        ({"run_id": "r", "key": 7}, "Invalid value 7 for parameter 'key' supplied"),
        ({"run_id": "r", "key": ["x"]}, "Invalid value [\"x\"] for parameter 'key' supplied"),
        ([1], "Invalid value [1] for parameter 'body' supplied"),
    ],
)
def test_wrong_arguments_are_told_by_their_place(place: Place, body: Any, told: str) -> None:
    answer = call(place, "runs/set-tag", body)
    assert (answer.status, answer.json["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert answer.json["message"].startswith(told)


def test_only_json_is_taken(place: Place) -> None:
    """A page of another site can send forms and plain text without asking; JSON it cannot."""
    body = b'{"name": "forged"}'
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = ask(
            place.app, "POST", f"{API}/experiments/create", body=body, headers={"content-type": kind}
        )
        assert (answer.status, answer.json["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, b"null", b"7", b'"x"', b'{"name": "\xff"}'])
def test_bodies_that_are_none_are_refused(place: Place, body: bytes) -> None:
    kind = {"content-type": "application/json"}
    assert ask(place.app, "POST", f"{API}/experiments/create", body=body, headers=kind).status == 400


def test_a_body_is_unpacked_within_its_limit(place: Place) -> None:
    kind = {"content-type": "application/json", "content-encoding": "gzip"}
    small = gzip.compress(json.dumps({"run_id": place.run_id, "key": "z", "value": "1"}).encode())
    assert ask(place.app, "POST", f"{API}/runs/set-tag", body=small, headers=kind).status == 200
    bomb = gzip.compress(b" " * 50_000_000)
    assert ask(place.app, "POST", f"{API}/runs/set-tag", body=bomb, headers=kind).status == 400
    cut = ask(place.app, "POST", f"{API}/runs/set-tag", body=small[:-9], headers=kind)
    assert cut.status == 400
    long = json.dumps({"run_id": place.run_id, "tags": [{"key": "k", "value": "v" * 1_000_000}]}).encode()
    refused = ask(
        place.app, "POST", f"{API}/runs/log-batch", body=long, headers={"content-type": "application/json"}
    )
    assert (refused.status, refused.json["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_a_query_gives_lists_by_repeating(place: Place) -> None:
    query = f"run_ids={place.run_id}&run_ids={'0' * 32}&metric_key=none"
    assert call(place, f"metrics/get-history-bulk-interval?{query}").json == {}
    for wrong in ("%ff", "run_id=%ff", "&" * 20_000):
        assert call(place, f"runs/get?{wrong}").status == 400


class _Asked(Message, frozen=True):
    size: int = 0


class _Host:
    """A workspace in memory, of one principal."""

    settings: Any = None

    def __init__(self, *scopes: str) -> None:
        self._context = memory_context().acting_as(Principal(name="p", scopes=frozenset(scopes)))

    def context(self, principal: Any = None, space: str | None = None) -> Context:
        return self._context


def _failing(error: Exception) -> MlflowApp:
    def answer(_: Context, __: Any) -> None:
        raise error

    route = Route(method="GET", path="fails", scope="x:read", takes=Nothing, answer=answer)

    return MlflowApp(_Host("*"), [route])


def test_scopes_are_asked_for() -> None:
    route = Route(method="GET", path="x", scope="x:read", takes=Nothing, answer=lambda *_: None)
    app = MlflowApp(_Host(), [route])
    answer = ask(app, "GET", f"{API}/x")
    assert (answer.status, answer.json["error_code"]) == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Invalid("x"), 400, "INVALID_PARAMETER_VALUE"),
        (TooLarge("x"), 400, "INVALID_PARAMETER_VALUE"),
        (NotFound("x"), 404, "RESOURCE_DOES_NOT_EXIST"),
        (Taken("x"), 400, "RESOURCE_ALREADY_EXISTS"),
        (errors.Conflict("x"), 409, "RESOURCE_CONFLICT"),
        (errors.CheckFailed("x"), 400, "INVALID_PARAMETER_VALUE"),
        (errors.Unauthenticated("x"), 401, "UNAUTHENTICATED"),
        (errors.Denied("x"), 403, "PERMISSION_DENIED"),
        (Unavailable("x"), 503, "TEMPORARILY_UNAVAILABLE"),
        (Corrupt("x"), 500, "INTERNAL_ERROR"),
        (Fault("x"), 500, "INTERNAL_ERROR"),
        (ZeroDivisionError("secret /etc/x"), 500, "INTERNAL_ERROR"),
    ],
)
def test_errors_have_the_codes_that_clients_know(error: Exception, status: int, code: str) -> None:
    answer = ask(_failing(error), "GET", f"{API}/fails")
    assert (answer.status, answer.json["error_code"]) == (status, code)
    assert "secret" not in answer.json["message"]


def test_places_in_the_file_system_are_not_told() -> None:
    _, body = refusal(Unavailable("the disk is full", where="/home/ann/.loopwright/ledger.db"))
    assert b"ann" not in body
    assert b"character 3" in refusal(Invalid("no clause", where="character 3"))[1]


def test_two_routes_cannot_claim_one_path() -> None:
    route = Route(method="GET", path="x/{name}", scope="x:read", takes=Nothing, answer=lambda *_: None)
    with pytest.raises(Fault, match="two routes"):
        MlflowApp(_Host(), [route, route])


def test_parts_of_a_path_are_arguments() -> None:
    class Tag(Message, frozen=True):
        name: str
        key: str
        value: str = ""

    def answer(_: Context, asked: Tag) -> Tag:
        return asked

    routes = [
        Route(method="DELETE", path="t/{name}/tags/{key}", scope="x:read", takes=Tag, answer=answer),
        Route(method="GET", path="t/{name}/tags/{key...}", scope="x:read", takes=Tag, answer=answer),
        Route(method="GET", path="t/fixed/tags/one", scope="x:read", takes=Nothing, answer=lambda *_: None),
    ]
    app = MlflowApp(_Host("*"), routes)
    assert ask(app, "DELETE", f"{API}/t/a%2Fb/tags/c%20d").json == {"name": "a/b", "key": "c d"}
    assert ask(app, "DELETE", f"{API}/t/a/tags/b", value={"value": "v"}).json["value"] == "v"
    assert ask(app, "GET", f"{API}/t/a/tags/b/c?value=v").json == {"name": "a", "key": "b/c", "value": "v"}
    assert ask(app, "GET", f"{API}/t/fixed/tags/one").json == {}
    assert ask(app, "DELETE", f"{API}/t/a/tags").status == 404


@given(value=st.floats())
def test_numbers_come_back_as_they_were_written(value: float) -> None:
    class Value(Message, frozen=True, kw_only=True):
        value: float

    written = json.dumps({"value": number(value)}).encode()
    read = Reader(Value).body(written, {}).value
    assert read == value or (read != read and value != value)  # noqa: PLR0124 - NaN alone differs


@given(size=st.integers(-(2**63), 2**63 - 1))
def test_whole_numbers_are_read_as_numbers_and_as_texts(size: int) -> None:
    reader = Reader(_Asked)
    for text in (f'{{"size": {size}}}', f'{{"size": "{size}"}}', f'{{"size": {size}, "more": [null]}}'):
        assert reader.body(text.encode(), {}).size == size
    assert reader.query(f"size={size}".encode(), {}).size == size
    assert reader.body(b'{"size": null}', {}).size == 0


@given(
    body=st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists) | st.binary()
)
def test_whatever_comes_is_read_or_refused(body: Any) -> None:
    raw = body if isinstance(body, bytes) else json.dumps({"size": body, "tags": body}).encode()
    with suppress(Invalid):
        assert isinstance(Reader(_Asked).body(raw, {}), _Asked)
