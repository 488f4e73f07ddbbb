"""Runs found by what they logged: experiments as numbers, params and tags as rows; a trash."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

from loopwright.core.errors import Unavailable

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_HEAD = 100
_BATCH = 500


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, _TEXT, nullable=False)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, _BIG, nullable=False)


def _experiment() -> sa.Column[int]:
    return sa.Column("experiment_no", _BIG, nullable=False, server_default="0")


def upgrade() -> None:
    op.add_column("assets", sa.Column("facts", _TEXT, nullable=False, server_default="{}"))
    op.add_column("assets", sa.Column("updated_at", _BIG, nullable=True))
    op.add_column("assets", sa.Column("deleted_at", _BIG, nullable=True))
    op.add_column("versions", sa.Column("stage", _TEXT, nullable=False, server_default=""))
    op.add_column("versions", sa.Column("updated_at", _BIG, nullable=True))
    op.add_column("versions", sa.Column("deleted_at", _BIG, nullable=True))
    op.create_index("versions_name", "versions", ["space", "kind", "name", "number"])
    op.create_index("versions_run", "versions", ["space", "run_id"])
    op.add_column("runs", sa.Column("deleted_at", _BIG, nullable=True))
    op.add_column("runs", _experiment())
    op.add_column("metric_latest", _experiment())
    _tables()
    _fill()
    op.create_index("runs_start", "runs", ["experiment_no", "started_at", "id"])
    op.create_index(
        "metric_latest_value", "metric_latest", ["experiment_no", "key_no", "is_nan", "value", "run_no"]
    )


def downgrade() -> None:
    raise Unavailable(
        "a ledger is not brought back to an older revision", hint="restore the copy made before"
    )


def _tables() -> None:
    op.create_table(
        "experiments",
        sa.Column("no", _BIG, primary_key=True, autoincrement=True),
        _text("space"),
        _text("name"),
        sa.UniqueConstraint("space", "name", name="experiments_name"),
    )
    op.create_table(
        "artifacts",
        _text("space"),
        _text("owner"),
        _text("path"),
        _text("digest"),
        _big("size_bytes"),
        _big("at"),
        sa.PrimaryKeyConstraint("space", "owner", "path", name="artifacts_pk"),
        sqlite_with_rowid=False,
    )
    for name in ("run_params", "run_tags"):
        op.create_table(
            name,
            _big("run_no"),
            _big("key_no"),
            _text("head"),
            _text("value"),
            _text("space"),
            _experiment(),
            sa.PrimaryKeyConstraint("run_no", "key_no", name=f"{name}_pk"),
            sqlite_with_rowid=False,
        )
        op.create_index(f"{name}_value", name, ["experiment_no", "key_no", "head", "run_no"])


def _fill() -> None:
    bind = op.get_bind()
    bind.execute(
        sa.text(
            "INSERT INTO experiments (space, name) SELECT DISTINCT space, experiment FROM runs "
            "WHERE experiment IS NOT NULL ORDER BY space, experiment"
        )
    )
    bind.execute(
        sa.text(
            "UPDATE runs SET experiment_no = (SELECT e.no FROM experiments e WHERE e.space = runs.space "
            "AND e.name = runs.experiment) WHERE experiment IS NOT NULL"
        )
    )
    bind.execute(
        sa.text(
            "UPDATE metric_latest SET experiment_no = (SELECT r.experiment_no FROM runs r "
            "WHERE r.no = metric_latest.run_no)"
        )
    )
    after, keys = 0, dict[tuple[str, str], int]()
    while rows := _some_runs(bind, after):
        for no, space, experiment, params, tags in rows:
            row = {"run": no, "space": space, "experiment": experiment}
            for table, texts in (("run_params", json.loads(params)), ("run_tags", json.loads(tags))):
                _add(bind, table, row, {_key(bind, keys, space, name): texts[name] for name in texts})
        after = rows[-1][0]


def _some_runs(bind: sa.Connection, after: int) -> list[tuple[int, str, int, str, str]]:
    asked = sa.text(
        "SELECT no, space, experiment_no, params, tags FROM runs WHERE no > :after ORDER BY no LIMIT :limit"
    )
    rows = bind.execute(asked, {"after": after, "limit": _BATCH})
    return [(row[0], row[1], row[2], row[3], row[4]) for row in rows]


def _key(bind: sa.Connection, keys: dict[tuple[str, str], int], space: str, name: str) -> int:
    found = keys.get((space, name))
    if found is None:
        values = {"space": space, "name": name}
        asked = sa.text("SELECT no FROM metric_keys WHERE space = :space AND name = :name")
        found = bind.execute(asked, values).scalar()
        if found is None:
            bind.execute(sa.text("INSERT INTO metric_keys (space, name) VALUES (:space, :name)"), values)
            found = bind.execute(asked, values).scalar_one()
        keys[space, name] = found
    return found


def _add(bind: sa.Connection, table: str, row: dict[str, object], texts: dict[int, str]) -> None:
    rows = [{**row, "key": key, "head": value[:_HEAD], "value": value} for key, value in texts.items()]
    if rows:
        bind.execute(
            sa.text(
                f"INSERT INTO {table} (run_no, key_no, head, value, space, experiment_no) "
                "VALUES (:run, :key, :head, :value, :space, :experiment)"
            ),
            rows,
        )
