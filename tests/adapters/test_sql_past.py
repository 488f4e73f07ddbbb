"""MLflow's database on PostgreSQL tells what the same one on SQLite tells."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from sqlalchemy import Boolean, Column, MetaData, Table, create_engine, inspect, select, text

from loopwright.adapters.sql.past import SqlHistory
from loopwright.loops.comparing import compare
from tests.loops.past import opened, store

TABLES = [
    "alembic_version",
    "experiments",
    "experiment_tags",
    "runs",
    "params",
    "tags",
    "metrics",
    "latest_metrics",
    "inputs",
    "input_tags",
    "datasets",
    "logged_models",
    "logged_model_params",
    "logged_model_tags",
    "logged_model_metrics",
    "registered_models",
    "registered_model_tags",
    "registered_model_aliases",
    "model_versions",
    "model_version_tags",
    "trace_info",
    "trace_tags",
    "trace_request_metadata",
    "spans",
    "assessments",
    "entity_associations",
]


def _copied(database: Path, url: str) -> None:
    """The same rows in a schema of PostgreSQL."""
    source, target = create_engine(f"sqlite:///{database}"), create_engine(url)
    with source.connect() as there, target.begin() as here:
        for name in TABLES:
            found = inspect(there).get_columns(name)
            columns = [Column(each["name"], each["type"]) for each in found]
            table = Table(name, MetaData(), *columns)
            table.create(here)
            rows = [_typed(table, row) for row in there.execute(select(table))]
            if rows:
                here.execute(table.insert(), rows)
    source.dispose()
    target.dispose()


def _typed(table: Table, row: Any) -> dict[str, Any]:
    values = dict(zip((column.name for column in table.c), row, strict=True))
    flags = {column.name for column in table.c if isinstance(column.type, Boolean)}
    return {name: bool(value) if name in flags else value for name, value in values.items()}


def test_postgresql_tells_the_same(postgres_url: str, tmp_path: Path) -> None:
    at, parts = store("three", tmp_path), urlsplit(postgres_url)
    kept = [(name, value) for name, value in parse_qsl(parts.query) if name != "schema"]
    bare = urlunsplit(("postgresql+psycopg", *parts[1:3], urlencode(kept), ""))
    engine = create_engine(bare)
    with engine.begin() as connection:
        connection.execute(text("create schema past"))
    engine.dispose()
    searched = urlencode([*kept, ("options", "-csearch_path=past")])
    url = urlunsplit(("postgresql+psycopg", *parts[1:3], searched, ""))
    _copied(at / "mlflow.db", url)
    with closing(opened(at)) as there, closing(SqlHistory(url, there)) as here:
        assert here.address.startswith("postgresql://")
        assert "@" not in here.address
        found = compare(there, here)
    assert found.differences == ()
    assert found.digest_there == found.digest_here
    assert found.there["traces"] == 1
