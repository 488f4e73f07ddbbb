"""Searches made to be slow, or to say something else to the database: answered soon, or refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from loopwright.tracking import verbs
from tests.attacks.worlds import World, answered, furnished

SOON_S = 10.0
"""of processor time: far above what any takes, far below what one that grows without bound would"""
SQL = [
    "' OR '1'='1",
    "'; DROP TABLE runs; --",
    "x' UNION SELECT value FROM settings --",
    "\\' OR 1=1 --",
    "%' ESCAPE '\\' OR 1=1 --",
    "1) OR (1=1",
    "sqlite_version()",
    "pg_sleep(10)",
    "load_extension('x')",
    "{run_id}",
    "{0.__class__}",
    "${x}",
    "%s",
    "?",
    ":x",
]
FIELDS = ["metrics", "params", "tags", "attributes", "datasets", "name", "run_id", "version_number"]
SEARCHES = [
    "runs/search",
    "experiments/search",
    "registered-models/search",
    "model-versions/search",
    "logged-models/search",
    "traces/search",
]
BY_GET = {"registered-models/search", "model-versions/search"}
CLAUSES = 10_000


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with furnished(tmp_path_factory.mktemp("searched"), is_serving=False) as found:
        ctx = found.workspace.context()
        for at in range(20):
            long = {"long": "a" * 5_900 + str(at)}
            verbs.start(ctx, "run", "a" * 240 + str(at), experiment="e", params=long, tags=long)
        yield found


def search(world: World, path: str, text: str, order: str = "") -> None:
    began = time.process_time()
    if path in BY_GET:
        target = f"/api/2.0/mlflow/{path}?filter={quote(text)}" + (
            f"&order_by={quote(order)}" if order else ""
        )
        answer = world.ask("GET", target)
    else:
        ids = [world.names["experiment_id"]]
        places = [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": ids[0]}}]
        body = {"experiment_ids": ids, "locations": places, "filter": text}
        if order:
            body["order_by"] = [{"field_name": order}] if path.startswith("logged") else [order]
        version = "3.0" if path.startswith("traces") else "2.0"
        answer = world.ask("POST", f"/api/{version}/mlflow/{path}", value=body)
    answered(answer, f"{path} {text[:80]}")
    assert answer.status == 200 or b"error_code" in answer.body
    assert time.process_time() - began < SOON_S, f"{path} {text[:80]}"


def ours(world: World, text: str, order: str = "") -> None:
    """The same text to our own operations and pages."""
    began = time.process_time()
    asked = f"filter={quote(text)}" + (f"&order={quote(order)}" if order else "")
    for target in (f"/api/v1/runs/search?experiment=e&{asked}", f"/rows?experiment=e&{asked}"):
        if len(target) < 60_000:
            answered(world.ask("GET", target), text[:80])
    assert time.process_time() - began < SOON_S, text[:80]


@pytest.mark.parametrize("path", SEARCHES)
def test_sql_in_every_place_is_a_text_or_refused(world: World, path: str) -> None:
    before = world.workspace.call("runs.list", limit=100)
    for text in SQL:
        quoted = text.replace("'", "''")
        for field in FIELDS:
            for asked in (
                text,
                f"{field}.{text} = 'x'",
                f"{field}.`{text}` = 'x'",
                f"{field}.\"{text}\" LIKE 'x'",
                f"{field}.x = '{text}'",
                f"{field}.x = '{quoted}'",
                f"{field} ILIKE '{quoted}'",
                f"{field}.x IN ('{quoted}', '{text}')",
                f"{field}.x > {text}",
                f"{field}.x {text} 'y'",
            ):
                search(world, path, asked)
        for order in (text, f"metrics.`{text}` DESC", f"name {text}", f"params.{text} ASC, {text}"):
            search(world, path, "", order)
        ours(world, f"params.`{text}` = '{quoted}'", f"metrics.`{text}` DESC")
    assert world.workspace.call("runs.list", limit=100) == before


def slow_texts() -> Iterator[str]:
    stars = "%a" * 2_000 + "b%"
    for field in (
        "params.long",
        "tags.long",
        "tag.long",
        "attributes.run_name",
        "name",
        "metadata.x",
        "attributes.name",
    ):
        for op in ("LIKE", "ILIKE"):
            yield f"{field} {op} '{stars}'"
            yield f"{field} {op} '{'%' * 50_000}'"
            yield f"{field} {op} '{'_' * 5_000}%{'_' * 5_000}'"
            yield f"{field} {op} '{'[' * 5_000}'"
        for pattern in (
            "(a+)+$",
            "(a|a)*b",
            "(.*a){20}b",
            "((a*)*)*b",
            "a{1,1000}{1,1000}",
            "(?=a)",
            "\\1",
            "[",
        ):
            yield f"{field} RLIKE '{pattern}'"
    yield " AND ".join(["metrics.loss > 0"] * CLAUSES)
    yield " AND ".join(f"params.p{at} = 'x'" for at in range(CLAUSES))
    yield " OR ".join(f"tags.`t{at}` LIKE '%x%'" for at in range(2_000))
    yield "(" * 5_000 + "metrics.a > 1" + ")" * 5_000
    yield "NOT " * 5_000 + "metrics.a > 1"
    yield "attributes.run_id IN (" + ",".join(["'x'"] * CLAUSES) + ")"
    yield "name IN (" + ",".join(["'x'"] * CLAUSES) + ")"
    yield "'" * 100_001
    yield "metrics.`" + "`" * 100_000
    yield "metrics.a > " + "9" * 100_000
    yield "metrics.a > 1e" + "9" * 1_000
    yield " " * 1_000_000 + "metrics.a > 1"
    yield "metrics." + "a." * 50_000 + "b > 1"
    yield "# " * 20_000


@pytest.mark.slow
@pytest.mark.parametrize("path", SEARCHES)
def test_no_search_takes_long_at_every_grammar(world: World, path: str) -> None:
    for text in slow_texts():
        search(world, path, text)


@pytest.mark.slow
def test_no_search_of_runs_takes_long(world: World) -> None:
    for text in slow_texts():
        search(world, "runs/search", text)
    for text in ("params.long LIKE '" + "%a" * 1_000 + "b'", "NOT " * 2_000 + "metrics.a > 1"):
        ours(world, text)


@pytest.mark.parametrize("path", SEARCHES)
def test_orders_of_thousands_are_refused_or_kept(world: World, path: str) -> None:
    search(world, path, "", ", ".join(f"metrics.m{at} DESC" for at in range(1_000)))
    search(world, path, "", "metrics." + "x" * 50_000)
