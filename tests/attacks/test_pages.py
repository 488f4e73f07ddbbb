"""Pages asked for what no link leads to: a page that says so, and never a fault."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from loopwright.surfaces.ui.pages import PAGES
from tests.attacks.worlds import World, answered, furnished

PATHS = [*(page.path for page in PAGES), "/rows", "/runs/{run_id}/frame", "/static/app.js"]
VALUES = [
    "",
    " ",
    "x",
    "..",
    "\0",
    "a\0b",
    "\u202e",
    "'",
    '"',
    "' OR 1=1 --",
    "<script>alert(1)</script>",
    "9" * 5000,
    "²",
    "-1",
    "1e400",
    "nan",
    "a" * 3000,
    "(" * 3000,
    "params.`",
    "metrics.a > 1e999",
    "attributes.run_id IN (" + ",".join(["'a'"] * 3000) + ")",
    "model:x@99999999999999999999",
    "2013-13-45",
    "0001-01-01T00:00:00-23:59",
    "é",
]
NAMES = (
    *("kind", "token", "filter", "order", "column", "group", "lifecycle", "limit", "name", "days", "action"),
    *("subject", "run", "runs", "parent", "path", "all", "left", "right", "model", "alias", "version"),
    "experiment",
)
ASKING = {"/rows", "/experiments/{name:path}", "/models/compare"}
"""what reads most of its query"""
PARTS = [
    "%2e%2e",
    "..%2f..%2fetc%2fpasswd",
    "%00",
    "%ff",
    "'",
    "a" * 3000,
    "model:m@1",
    "9" * 5000,
    "%3Cx%3E",
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with furnished(tmp_path_factory.mktemp("pages"), is_serving=False) as found:
        yield found


def filled(path: str) -> str:
    """A template's path with a name of this world in each place; `{name:path}` is `{name}`."""
    return re.sub(r"\{(\w+):path\}", r"{\1}", path).replace("{incident_id}", "{run_id}")


@pytest.mark.parametrize("path", PATHS)
def test_nasty_queries(world: World, path: str) -> None:
    values = VALUES if path in ASKING else VALUES[::4]
    for name in NAMES:
        for value in values:
            target = f"{filled(path)}?{name}={quote(value)}"
            answered(world.ask("GET", target), target[:200])
            if path in {"/rows", "/experiments/{name:path}"}:
                target += "&experiment=e"
                answered(world.ask("GET", target), target[:200])


@pytest.mark.parametrize("path", [path for path in PATHS if "{" in path])
def test_nasty_parts(world: World, path: str) -> None:
    for part in [*PARTS, world.names["run_id"]]:
        target = re.sub(r"\{[^}]*\}", lambda _, put=part: put, path)  # type: ignore[misc]  # bound at once
        answered(world.ask("GET", target), target[:200])


def test_a_run_that_is_no_incident_is_not_shown_as_one(world: World) -> None:
    for target in ("/incidents/{run_id}", "/api/v1/incidents/{run_id}"):
        answer = world.ask("GET", target)
        assert answer.status == 404
        assert b"no incident" in answer.body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "X"])
def test_pages_are_read_only(world: World, method: str) -> None:
    for path in PATHS:
        assert world.ask(method, filled(path)).status in {400, 404, 405}, path


@pytest.mark.parametrize("path", PATHS)
def test_every_page_says_what_it_may_load(world: World, path: str) -> None:
    answer = world.ask("GET", filled(path))
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy or "frame-ancestors 'none'" in policy
    assert "unsafe-eval" not in policy
    assert "script-src 'self'" in policy or "script-src" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] in {"DENY", "SAMEORIGIN"}
    assert "access-control-allow-origin" not in answer.headers
