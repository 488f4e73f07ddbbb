"""The matrix of rights, from the tables of routes: who lacks a route's scope is refused at each of its paths.

A route without a scope, or one that answers who has none, fails here; what nobody declared is not there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from loopwright.app.assembling import assemble
from loopwright.engine.context import Principal
from loopwright.surfaces.http import Application
from loopwright.surfaces.mlflow.application import routes_of
from loopwright.surfaces.mlflow.routing import paths_of
from loopwright.surfaces.ui.pages import PAGES
from loopwright.workspace import Workspace, load_settings
from tests.surfaces.asking import Answer, ask

OPEN = {"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"}
"""probes, which say whether there is an answer and nothing else"""
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_SCOPE = re.compile(r"[a-z_]+:[a-z_]+\Z")
_PLACE = re.compile(r"\{[^}]*\}")


class Row(NamedTuple):
    """One route at one path."""

    method: str
    path: str
    scope: str

    @property
    def target(self) -> str:
        """An address of it."""
        return _PLACE.sub("x", self.path)

    def is_at(self, path: str) -> bool:
        """Whether an address is one of it: `{name}` is one part, `{name...}` all that is left."""
        parts = re.split(r"(\{[^}]*\})", self.path.rstrip("/"))
        kinds = [
            ".+" if p.endswith("...}") else "[^/]+" if p.startswith("{") else re.escape(p) for p in parts
        ]
        return re.fullmatch("".join(kinds), path) is not None


def rows(workspace: Workspace) -> Iterator[Row]:
    """Every route of every table, at every path it stands at."""
    for operation in workspace.operations.values():
        if not operation.local:
            yield Row(operation.method, f"/api/v1{operation.path}", operation.scope)
    for route in routes_of(workspace):
        for path in paths_of(route):
            yield Row(route.method, path, route.scope)
    yield Row("GET", "/api/v1/events", "journal:read")
    yield Row("GET", "/api/v1/openapi.json", "server:read")
    yield Row("GET", "/metrics", "server:read")
    yield Row("POST", "/v2/models/{name}/infer", "endpoint:predict")
    yield Row("POST", "/v2/models/{name}/versions/{version}/infer", "endpoint:predict")
    yield Row("POST", "/v2/repository/index", "endpoint:read")
    for path in ("", "/models/{name}", "/models/{name}/ready", "/models/{name}/versions/{version}"):
        yield Row("GET", f"/v2{path}", "endpoint:read")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    folder: Path = tmp_path_factory.mktemp("rights")
    found = load_settings({"workspace": str(folder / ".loopwright")}, environment={})
    with Workspace.open(settings=found) as opened:
        yield opened


@pytest.fixture(scope="module")
def matrix(workspace: Workspace) -> tuple[Row, ...]:
    return tuple(rows(workspace))


def who_has(workspace: Workspace, *scopes: str) -> Application:
    return assemble(workspace, principal=Principal(name="somebody", scopes=frozenset(scopes)))


def asked(app: Application, row: Row) -> Answer:
    return sent(app, row.method, row.target)


def sent(app: Application, method: str, target: str) -> Answer:
    body = b"" if method in {"GET", "HEAD"} else b"{}"
    return ask(app, method, target, body=body, headers={"content-type": "application/json"})


def denied(answer: Answer) -> bool:
    return answer.status == 403 and b"lacks the scope" in answer.body


def test_every_route_declares_a_scope(matrix: tuple[Row, ...]) -> None:
    assert len(matrix) > 300
    assert [row for row in matrix if not _SCOPE.match(row.scope)] == []


def test_what_is_only_asked_for_changes_nothing(matrix: tuple[Row, ...]) -> None:
    """GET needs no more than a right to read: no page of another site can make a browser change anything."""
    assert {row for row in matrix if row.method == "GET" and not row.scope.endswith(":read")} == set()


def test_who_has_no_right_gets_nothing(workspace: Workspace, matrix: tuple[Row, ...]) -> None:
    nobody = who_has(workspace)
    assert [row for row in matrix if not denied(asked(nobody, row))] == []


def test_who_has_every_right_but_one_does_not_get_it(workspace: Workspace, matrix: tuple[Row, ...]) -> None:
    scopes = {row.scope for row in matrix}
    for scope in scopes:
        most = who_has(workspace, *(scopes - {scope}))
        assert [row for row in matrix if row.scope == scope and not denied(asked(most, row))] == []


def test_who_has_the_right_is_not_refused_for_it(workspace: Workspace, matrix: tuple[Row, ...]) -> None:
    """Reading rights alone, so that nothing ends or empties what the others ask for."""
    for scope in sorted({row.scope for row in matrix if row.scope.endswith(":read")}):
        some = who_has(workspace, scope)
        for row in matrix:
            if row.scope == scope and row.path != "/api/v1/events":
                answer = asked(some, row)
                assert not denied(answer) or scope.encode() not in answer.body, row


def test_pages_show_nothing_to_who_may_nothing(workspace: Workspace) -> None:
    nobody = who_has(workspace)
    paths = [*(page.path for page in PAGES), "/rows", "/runs/{run_id}/frame?path=a.html"]
    for path in paths:
        answer = ask(nobody, "GET", _PLACE.sub("x", path))
        told = {"/models/compare": 400, "/assets/compare": 400, "/compare": 200}.get(
            path, 403
        )  # ask nothing yet
        assert (path, answer.status) == (path, told)


def test_probes_alone_are_open(workspace: Workspace) -> None:
    nobody = who_has(workspace)
    found = {path: ask(nobody, "GET", path).status for path in OPEN}
    assert found == {**dict.fromkeys(OPEN, 200), "/v2/health/ready": 503}


def test_what_is_not_declared_is_not_there(workspace: Workspace, matrix: tuple[Row, ...]) -> None:
    """Every path with every method that no route of it declares, asked with every right."""
    everybody = who_has(workspace, "*")
    for path in {row.target.rstrip("/") for row in matrix}:
        methods = {row.method for row in matrix if row.is_at(path)}
        for method in {*METHODS, "TRACE", "CONNECT", "PROPFIND", "get"} - methods:
            answer = sent(everybody, method, path)
            assert answer.status in {404, 405}, f"{method} {path}: {answer.status}"


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/v1",
        "/api/v2/assets",
        "/api/2.0",
        "/api/2.0/mlflow",
        "/api/9.9/mlflow/runs/search",
        "/api/2.0/mlflow/runs/search/",
        "/api/2.0/mlflow//runs/search",
        "/API/2.0/mlflow/runs/search",
        "/ajax-api/1.0/mlflow/runs/search",
        "/ajax-api/v1/assets",
        "/v1/assets",
        "/v2/../api/v1/assets",
        "/graphql",
        "/ajax-api/2.0/graphql",
        "/api/2.0/mlflow/users/create",
        "/api/2.0/mlflow/gateway-proxy",
        "/api/3.0/jobs",
        "/debug",
        "/docs",
        "/admin",
        "/.env",
        "/api/v1/testing/reset",
    ],
)
def test_prefixes_that_nobody_declared(workspace: Workspace, path: str) -> None:
    everybody = who_has(workspace, "*")
    for method in METHODS:
        answer = sent(everybody, method, path)
        assert answer.status in {400, 404, 405} or (path.endswith("search/") and method == "POST"), method
