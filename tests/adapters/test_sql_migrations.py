"""A created store equals a migrated one; older, newer and foreign stores get a clear answer."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from alembic.script import ScriptDirectory

from loopwright.adapters.sql import open_ledger, upgrade_ledger
from loopwright.adapters.sql.postgres_link import connect_server, target_of
from loopwright.adapters.sql.schema import APPLICATION_ID, METADATA, REVISION, REVISIONS
from loopwright.adapters.sql.upgrading import MIGRATIONS, migrate
from loopwright.core.errors import Corrupt, Invalid, NotFound, Unavailable
from loopwright.core.queries import Comparison, Condition, Field, RunQuery, SortKey
from loopwright.ports.ledger import PageRequest
from loopwright.testing import ledger_values as make

NEXT = f"{int(REVISION) + 1:04}"
LATER = (*REVISIONS, NEXT)
SECOND = """
import sqlalchemy as sa
from alembic import op

revision = "{next}"
down_revision = "{last}"


def upgrade():
    op.add_column("assets", sa.Column("owner", sa.Text(), nullable=False, server_default="nobody"))
    if {broken}:
        op.execute("INSERT INTO no_such_table VALUES (1)")
"""


@contextlib.contextmanager
def sqlite_engine(path: Path) -> Iterator[sqlalchemy.Engine]:
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    try:
        yield engine
    finally:
        engine.dispose()


@contextlib.contextmanager
def server_engine(url: str) -> Iterator[sqlalchemy.Engine]:
    raw = connect_server(target_of(url))
    raw.autocommit = False
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: raw, poolclass=sqlalchemy.StaticPool
    )
    try:
        yield engine
    finally:
        engine.dispose()
        raw.close()


def plain(index: Any) -> str:
    options = {name: str(value) for name, value in index.pop("dialect_options", {}).items()}
    return repr((sorted(index.items()), sorted(options.items())))


def described(engine: sqlalchemy.Engine, schema: str | None) -> dict[str, Any]:
    """Everything reflection knows of the tables."""
    inspector = sqlalchemy.inspect(engine)
    found: dict[str, Any] = {}
    for table in inspector.get_table_names(schema=schema):
        columns = inspector.get_columns(table, schema=schema)
        found[table] = {
            "columns": [
                {
                    **column,
                    "type": repr(column["type"]),
                    "collation": getattr(column["type"], "collation", None),
                }
                for column in columns
            ],
            "key": inspector.get_pk_constraint(table, schema=schema),
            "indexes": sorted(map(plain, inspector.get_indexes(table, schema=schema))),
            "unique": sorted(map(repr, inspector.get_unique_constraints(table, schema=schema))),
            "foreign": sorted(map(repr, inspector.get_foreign_keys(table, schema=schema))),
            "options": inspector.get_table_options(table, schema=schema),
        }
    return found


def test_a_created_file_equals_a_migrated_one(tmp_path: Path) -> None:
    open_ledger(f"sqlite:///{tmp_path}/created.db").close()
    with (
        sqlite_engine(tmp_path / "created.db") as created,
        sqlite_engine(tmp_path / "migrated.db") as migrated,
    ):
        with migrated.begin() as connection:
            migrate(connection)
        assert described(created, None) == described(migrated, None)
        assert set(described(created, None)) == set(METADATA.tables)
        for query in ("SELECT * FROM alembic_version", "SELECT * FROM journal_head"):
            with created.connect() as one, migrated.connect() as two:
                assert one.exec_driver_sql(query).all() == two.exec_driver_sql(query).all()


def test_a_created_schema_equals_a_migrated_one(postgres_url: str) -> None:
    open_ledger(postgres_url).close()
    other = f"{postgres_url}_m"
    names = [target_of(url).schema for url in (postgres_url, other)]
    with server_engine(postgres_url) as created, server_engine(other) as migrated:
        with migrated.begin() as connection:
            connection.exec_driver_sql(f"CREATE SCHEMA {names[1]}")
            migrate(connection)
        one, two = described(created, names[0]), described(migrated, names[1])
        assert set(one) == set(two) == set(METADATA.tables)
        for table, held in one.items():
            assert repr(held).replace(names[0], "S") == repr(two[table]).replace(names[1], "S")


def test_the_newest_migration_is_the_revision_of_the_schema() -> None:
    scripts = ScriptDirectory(str(MIGRATIONS))
    assert scripts.get_heads() == [REVISION]
    assert [script.revision for script in reversed(list(scripts.walk_revisions()))] == list(REVISIONS)


OLD_RUNS = """
INSERT INTO runs
  (id, space, kind, name, state, created_at, created_by, experiment, started_at, params, tags, facts)
VALUES ('r1', 'default', 'run', 'one', 'finished', 5, 'me', 'e', 5, '{"lr":"0.1"}', '{"t":"a"}', '{}'),
       ('r2', 'default', 'run', 'two', 'finished', 6, 'me', 'e', 6, '{"lr":"0.2"}', '{}', '{}'),
       ('r3', 'default', 'run', 'alone', 'finished', 7, 'me', NULL, 7, '{"lr":"0.1"}', '{}', '{}');
INSERT INTO metric_keys (no, space, name) VALUES (1, 'default', 'auc');
INSERT INTO metric_latest (run_no, key_no, at_us, step, is_nan, value, space)
VALUES (1, 1, 5, 0, 0, 0.7, 'default'), (2, 1, 6, 0, 0, 0.9, 'default');
"""


def test_runs_of_the_first_revision_are_found_after_the_second(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with sqlite_engine(file) as engine, engine.begin() as connection:
        migrate(connection, to="0001")
    with contextlib.closing(sqlite3.connect(file)) as old:
        old.executescript(f"PRAGMA application_id = {APPLICATION_ID}; {OLD_RUNS}")
    report = upgrade_ledger(f"sqlite:///{file}")
    assert (report.before, report.after) == ("0001", REVISION)
    ledger = open_ledger(f"sqlite:///{file}")
    best = SortKey(Field("metric", "auc"), descending=True)

    def found(condition: Condition | None) -> list[str]:
        query = RunQuery(experiments=("e",), where=condition, order=(best,))
        with ledger.read() as tx:
            return [each.run.id for each in tx.runs.search("default", query, PageRequest()).items]

    assert found(None) == ["r2", "r1"]
    assert found(Comparison(Field("param", "lr"), "=", "0.1")) == ["r1"]
    assert found(Comparison(Field("tag", "t"), "=", "a")) == ["r1"]
    ledger.close()


def test_what_lay_in_the_trash_of_the_second_revision_is_listed_after_the_third(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with sqlite_engine(file) as engine, engine.begin() as connection:
        migrate(connection, to="0002")
    with contextlib.closing(sqlite3.connect(file)) as old:
        old.executescript(f"PRAGMA application_id = {APPLICATION_ID}; {OLD_RUNS}")
        old.execute("UPDATE runs SET deleted_at = 9 WHERE id = 'r2'")
        old.commit()
    report = upgrade_ledger(f"sqlite:///{file}")
    assert (report.before, report.after) == ("0002", REVISION)
    ledger = open_ledger(f"sqlite:///{file}")
    with ledger.read() as tx:
        (found,) = tx.trash.runs("default", PageRequest()).items
        assert found.id == "r2"
    ledger.write(lambda tx: tx.trash.remove_run("r2", found.created_at))
    with ledger.read() as tx, pytest.raises(NotFound):
        tx.runs.get("r2")
    ledger.close()


def write_later(folder: Path, *, broken: bool) -> None:
    text = SECOND.replace("{broken}", str(broken)).replace("{next}", NEXT).replace("{last}", REVISION)
    (folder / "versions" / "later.py").write_text(text)


@pytest.fixture
def later(tmp_path: Path) -> Path:
    """The migrations of a later release, which has one more."""
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    write_later(folder, broken=False)
    return folder


def test_an_older_file_is_copied_then_upgraded(tmp_path: Path, later: Path) -> None:
    file = tmp_path / "ledger.db"
    ledger = open_ledger(f"sqlite:///{file}")
    ledger.write(lambda tx: tx.assets.add(make.asset()))
    ledger.close()
    report = upgrade_ledger(f"sqlite:///{file}", migrations=later, revisions=LATER)
    assert (report.before, report.after) == (REVISION, NEXT)
    assert report.copy == f"{file}.before-{REVISION}"
    with contextlib.closing(sqlite3.connect(file)) as now:
        assert now.execute("SELECT id, owner FROM assets").fetchall() == [("a1", "nobody")]
    old = open_ledger(f"sqlite:///{report.copy}")
    with old.read() as tx:
        assert tx.assets.get("a1") == make.asset()
    old.close()
    with pytest.raises(Unavailable, match=f"{NEXT}, newer than this release knows"):
        open_ledger(f"sqlite:///{file}")
    with pytest.raises(Unavailable, match="newer"):
        upgrade_ledger(f"sqlite:///{file}")


def test_a_failed_upgrade_changes_nothing(tmp_path: Path, later: Path) -> None:
    file = tmp_path / "ledger.db"
    open_ledger(f"sqlite:///{file}").close()
    write_later(later, broken=True)
    for copies in (1, 2):
        with pytest.raises(Unavailable, match="nothing was changed"):
            upgrade_ledger(f"sqlite:///{file}", migrations=later, revisions=LATER)
        assert len(list(tmp_path.glob(f"ledger.db.before-{REVISION}*"))) == copies
    open_ledger(f"sqlite:///{file}").close()


def test_an_older_server_is_upgraded(postgres_url: str, later: Path) -> None:
    ledger = open_ledger(postgres_url)
    ledger.write(lambda tx: tx.assets.add(make.asset()))
    ledger.close()
    report = upgrade_ledger(postgres_url, migrations=later, revisions=LATER)
    assert (report.before, report.after, report.copy) == (REVISION, NEXT, None)
    with pytest.raises(Unavailable, match="newer"):
        open_ledger(postgres_url)


def test_an_upgrade_of_the_newest_does_nothing(tmp_path: Path, postgres_url: str) -> None:
    for url in (f"sqlite:///{tmp_path}/ledger.db", postgres_url):
        with pytest.raises(NotFound):
            upgrade_ledger(url)
        open_ledger(url).close()
        report = upgrade_ledger(url)
        assert (report.before, report.after, report.copy) == (REVISION, REVISION, None)
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.db"]


def test_an_older_file_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ledger.db"
    open_ledger(f"sqlite:///{file}").close()
    monkeypatch.setattr("loopwright.adapters.sql.creating.REVISIONS", LATER)
    monkeypatch.setattr("loopwright.adapters.sql.creating.REVISION", NEXT)
    with pytest.raises(Unavailable, match="loopwright db upgrade"):
        open_ledger(f"sqlite:///{file}")


def test_a_foreign_file_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE runs (id)")
        other.commit()
    before = file.read_bytes()
    with pytest.raises(Invalid, match="another program"):
        open_ledger(f"sqlite:///{file}")
    with pytest.raises(Invalid, match="not a ledger"):
        upgrade_ledger(f"sqlite:///{file}")
    assert file.read_bytes() == before


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_bytes(b"these are my notes, not a database\n" * 100)
    before = file.read_bytes()
    with pytest.raises(Corrupt, match="not a ledger"):
        open_ledger(f"sqlite:///{file}")
    assert file.read_bytes() == before


def test_a_foreign_schema_is_left_alone(postgres_url: str) -> None:
    schema = target_of(postgres_url).schema
    raw = connect_server(target_of(postgres_url))
    raw.execute(f"CREATE SCHEMA {schema}".encode())
    raw.execute(f"CREATE TABLE {schema}.runs (id int)".encode())
    raw.close()
    with pytest.raises(Invalid, match="another program"):
        open_ledger(postgres_url)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "mysql://x/y",
        "ledger.db",
        "",
        "postgresql://h/d?schema=a-b",
    ],
)
def test_a_url_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(Invalid):
        open_ledger(url)
