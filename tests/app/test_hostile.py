"""Every route of the real table, asked what no honest client asks: refused with a reason, never a 5xx."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopwright.client.index import Entry, load_index
from loopwright.surfaces.http import Application, build_app
from loopwright.workspace import Workspace, load_settings
from tests.surfaces.asking import Answer, ask

ROUTED = [entry for entry in load_index().entries.values() if not entry.local]
NASTY = [
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e",
    "%00",
    "a%0d%0ab",
    "%c0%ae%c0%ae",
    "%ff",
    "a" * 3000,
    "model:x@",
    "model:x@99999999999999999999",
    "model:x@3#abc",
    "dataset:x%23zz",
    "model:%25",
    "prediction:x",
    "run:x",
    "%E2%80%AE",
    "nothing",
    "'; drop table assets; --",
    "*",
    "-1",
    "1e400",
    "%F0%9F%92%A3",
]
BODIES = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"{}",
    b'"text"',
    b"\xff\xfe",
    b'{"a":' * 5000,
    b"[" * 100_000,
    b'{"version":1e999}',
    b'{"version":-1,"reason":"\\u0000"}',
    b'{"version":99999999999999999999999}',
    b'{"rows":[{}],"reason":""}',
    b'{"rows":[[[]]]}',
    b'{"config":{},"monitor":{},"contract":{}}',
]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Application]:
    folder: Path = tmp_path_factory.mktemp("hostile")
    found = load_settings({"workspace": str(folder / ".loopwright")}, environment={})
    with Workspace.open(settings=found) as workspace:
        yield build_app(workspace)


def _target(entry: Entry, values: list[str]) -> str:
    path, rest = entry.path, list(values)
    while "{" in path:
        start, stop = path.index("{"), path.index("}")
        path = path[:start] + (rest.pop(0) if rest else "x") + path[stop + 1 :]
    return f"/api/v1{path}"


def _check(answer: Answer, what: str) -> None:
    assert answer.status < 500, f"{what}: {answer.body[:400]!r}"
    if answer.status >= 400:
        failure: dict[str, Any] = answer.json
        assert failure["message"], what
        assert failure["hint"], f"{what}: {failure}"
        assert "Traceback" not in failure["message"]


@pytest.mark.parametrize("entry", ROUTED, ids=lambda entry: str(entry.name))
def test_nasty_names_are_refused(app: Application, entry: Entry) -> None:
    for value in NASTY:
        target = _target(entry, [value] * 5)
        body = b"{}" if entry.method != "GET" else b""
        _check(ask(app, entry.method, target, body=body), f"{entry.method} {target}")


@pytest.mark.parametrize("entry", ROUTED, ids=lambda entry: str(entry.name))
def test_nasty_queries_and_bodies_are_refused(app: Application, entry: Entry) -> None:
    target = _target(entry, [])
    if entry.method in {"POST", "PUT", "PATCH"}:
        for body in BODIES:
            _check(ask(app, entry.method, target, body=body), f"{entry.method} {target} {body[:60]!r}")
    queried = [p.name for p in entry.parameters if p.place == "query"]
    for name in [*queried, "unknown"]:
        for value in [*NASTY, "", "%22", "2013-13-45", "9" * 400, "%5B" * 2000]:
            _check(
                ask(app, entry.method, f"{target}?{name}={value}"), f"{entry.method} {target}?{name}={value}"
            )


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
bodied = [entry for entry in ROUTED if any(p.place == "body" for p in entry.parameters)]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_json_under_the_right_names_is_answered(app: Application, data: st.DataObject) -> None:
    entry = data.draw(st.sampled_from(bodied))
    names = [p.name for p in entry.parameters if p.place == "body"]
    body = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(names, json_values)))
    _check(ask(app, entry.method, _target(entry, []), value=body), f"{entry.name} {json.dumps(body)[:300]}")
