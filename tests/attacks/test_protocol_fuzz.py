"""Recorded calls of MLflow's clients, changed in every place: an answer in the protocol's form, no 5xx."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.attacks.worlds import World, answered, furnished
from tests.protocols.mlflow.groups import DONE_GROUPS
from tests.protocols.mlflow.keeping import kept
from tests.protocols.mlflow.wire import Request, expanded, path_of
from tests.surfaces.asking import Answer

DEEP: Any = "deep"
HUGE = "x" * 20_000
NASTY: list[Any] = [
    None, True, 0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**400, 0.5, 1e308,
    "", " ", "x", "0", "-1", "9" * 5000, "NaN", "Infinity", "1e999", "\0", "a\0b", "\ud800", "\udfff\ud800",
    "\u202e", "\r\nSet-Cookie: a=b", "é" * 300, "💣", "../../x", "'", '"', "`", "\\", "%", "%" * 500,
    "' OR 1=1 --", "<script>alert(1)</script>", "=1+1", "${jndi:ldap://x}", "{{7*7}}", HUGE, [], {},
    [[]], [{}], [None], [1], {"key": "x"}, {"": None}, [{"key": "k", "value": "v"}] * 3, ["x"] * 2000,
    {"a": {"b": {"c": []}}}, DEEP,
]  # fmt: skip


def requests() -> list[Request]:
    found = [each.request for group in DONE_GROUPS for each in kept(group)]
    seen: dict[str, Request] = {}
    for each in found:
        shape = f"{each.method} {each.path} {sorted(each.json) if isinstance(each.json, dict) else ''}"
        seen.setdefault(shape + str([name for name, _ in each.query]), each)
    return list(seen.values())


REQUESTS = requests()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with furnished(tmp_path_factory.mktemp("fuzzed"), is_serving=False) as found:
        yield found


def filled(world: World, value: Any) -> Any:
    """A recorded value with names of this world."""
    if isinstance(value, str):
        for kind, name in (("experiment", "experiment_id"), ("run", "run_id")):
            for number in range(1, 4):
                value = value.replace(f"{{{kind}:{number}}}", world.names[name])
        return value
    if isinstance(value, list | tuple):
        return [filled(world, each) for each in value]
    if isinstance(value, dict):
        return {filled(world, key): filled(world, each) for key, each in value.items()}
    return value


def places(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value, the whole too; of a long list the first two."""
    yield before
    if isinstance(value, dict):
        for key, each in value.items():
            yield from places(each, (*before, key))
    if isinstance(value, list):
        for at, each in enumerate(value[:2]):
            yield from places(each, (*before, at))


def with_at(value: Any, place: tuple[Any, ...], put: Any) -> Any:
    if not place:
        return put
    first, *rest = place
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[first] = with_at(value[first], tuple(rest), put)
    return copy


def encoded(value: Any) -> bytes:
    """JSON with what a JSON library would not write: halves of surrogate pairs, and great depth."""
    text = json.dumps(value)
    return text.replace(f'"{DEEP}"', "[" * 3000 + "]" * 3000).encode()


def sent(world: World, request: Request, body: bytes | None, query: list[tuple[str, Any]]) -> Answer:
    path = filled(world, expanded(path_of(request.path)))
    told = urlencode([(name, expanded(value)) for name, value in query], errors="surrogatepass")
    headers = {"content-type": "application/json"} if body is not None else {}
    target = (path + (f"?{told}" if told else "")).encode("utf-8", "replace").decode("latin-1")
    return world.ask(request.method, target, body=body or b"", headers={**request.headers, **headers})


def checked(world: World, request: Request, answer: Answer, what: str) -> None:
    answered(answer, f"{request.method} {request.path} {what}"[:500])
    if answer.status >= 400 and request.path.startswith(("/api", "/ajax-api")) is False:
        told = answer.json
        assert set(told) == {"error_code", "message"}, told
        msgspec.convert(told, dict[str, str])


def changed(world: World, request: Request) -> Iterator[tuple[Any, list[tuple[str, Any]], str]]:
    """Every change of one call: a value in the place of another, something left out, something more."""
    body, query = filled(world, expanded(request.json)), filled(world, [list(p) for p in request.query])
    pairs = [(name, value) for name, value in query]
    for place in places(body) if body is not None else ():
        for put in NASTY:
            yield with_at(body, place, put), pairs, f"{place} = {str(put)[:40]!r}"
    for at, (name, _) in enumerate(pairs):
        for put in NASTY:
            if not isinstance(put, list | dict):
                yield body, [*pairs[:at], (name, put), *pairs[at + 1 :]], f"?{name} = {str(put)[:40]!r}"
        yield body, [*pairs[:at], *pairs[at + 1 :]], f"without ?{name}"
        yield body, [*pairs, pairs[at]], f"?{name} twice"
    if isinstance(body, dict):
        for name in body:
            yield {k: v for k, v in body.items() if k != name}, pairs, f"without {name}"
        yield {**body, "unknown": NASTY[:40], "": 1}, pairs, "with unknown fields"


@pytest.mark.slow
@pytest.mark.parametrize("request_", REQUESTS, ids=lambda r: f"{r.method}-{r.path[:60]}")
def test_every_place_of_every_call(world: World, request_: Request) -> None:
    for body, query, what in changed(world, request_):
        data = None if request_.json is None else encoded(body)
        checked(world, request_, sent(world, request_, data, query), what)


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(NASTY),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_calls_changed_in_a_few_places(world: World, data: st.DataObject) -> None:
    request = data.draw(st.sampled_from([each for each in REQUESTS if isinstance(each.json, dict)]))
    body = filled(world, expanded(request.json))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(list(places(body))))
        body = with_at(body, place, data.draw(any_json))
    checked(world, request, sent(world, request, encoded(body), []), repr(body)[:300])


@given(st.binary(max_size=300))
def test_bodies_that_are_no_json(world: World, body: bytes) -> None:
    for path in ("runs/search", "runs/log-batch", "experiments/create", "model-versions/create"):
        request = Request(method="POST", path=path)
        checked(world, request, sent(world, request, body, []), repr(body))
