"""The tables of the ledger: one definition for SQLite and PostgreSQL.

Instants are integer microseconds since 1970, values of open shape are JSON text, text is ordered by
its bytes on every store, and every row carries its space.
"""

from __future__ import annotations

from sqlalchemy import (
    Column,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
    text,
)

from loopwright.adapters.sql import measure_tables, trace_tables
from loopwright.adapters.sql.columns import BIG, METADATA, REAL, TEXT
from loopwright.adapters.sql.columns import big as _big
from loopwright.adapters.sql.columns import derived as _derived
from loopwright.adapters.sql.columns import number as _number
from loopwright.adapters.sql.columns import real as _real
from loopwright.adapters.sql.columns import text_column as _text

__all__ = [
    "APPLICATION_ID",
    "BIG",
    "METADATA",
    "REAL",
    "REVISION",
    "REVISIONS",
    "TEXT",
    "aliases",
    "artifacts",
    "assessments",
    "asset_measures",
    "assets",
    "decisions",
    "documents",
    "experiments",
    "jobs",
    "journal",
    "journal_head",
    "links",
    "metric_keys",
    "metric_latest",
    "metric_points",
    "revision_table",
    "run_params",
    "run_tags",
    "runs",
    "segments",
    "signals",
    "spans",
    "trace_links",
    "trace_metadata",
    "trace_tags",
    "traces",
    "versions",
]

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008")
"""every revision there was, oldest first; the last is the one this release writes"""
REVISION = REVISIONS[-1]
APPLICATION_ID = 0x4C505752
"""`LPWR` in the header of the SQLite file, so that a foreign file is told from ours"""

traces = trace_tables.traces
trace_tags = trace_tables.trace_tags
trace_metadata = trace_tables.trace_metadata
trace_links = trace_tables.trace_links
spans = trace_tables.spans
assessments = trace_tables.assessments
asset_measures = measure_tables.asset_measures


_BY_CHANGE = (text("changed_ms DESC"), "name", text("number DESC"))
"""the newest change first: how versions are searched unless another order is asked for"""


def _experiment() -> Column[int]:
    """The number of a run's experiment, 0 without one: what is listed and ordered within it."""
    return Column("experiment_no", BIG, nullable=False, server_default="0")


def _trash(table: str) -> Index:
    """What lies in the trash, by when it went there: small beside what does not."""
    there = text("deleted_at IS NOT NULL")
    return Index(f"{table}_trash", "space", "deleted_at", "id", sqlite_where=there, postgresql_where=there)


revision_table = Table(
    "alembic_version",
    METADATA,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

assets = Table(
    "assets",
    METADATA,
    _text("id"),
    _text("space"),
    _text("kind"),
    _text("name"),
    _big("created_at"),
    _text("created_by"),
    _text("tags"),
    _text("description"),
    Column("facts", TEXT, nullable=False, server_default="{}"),
    _big("updated_at", null=True),
    _big("deleted_at", null=True),
    PrimaryKeyConstraint("id", name="assets_pk"),
    UniqueConstraint("space", "kind", "name", name="assets_name"),
    _trash("assets"),
)

versions = Table(
    "versions",
    METADATA,
    _text("id"),
    _text("space"),
    _text("asset_id"),
    _text("kind"),
    _text("name"),
    _big("number"),
    _text("digest"),
    _big("size_bytes"),
    _big("created_at"),
    _text("created_by"),
    _text("run_id", null=True),
    _big("parent", null=True),
    _text("facts"),
    _text("tags"),
    _text("description"),
    Column("stage", TEXT, nullable=False, server_default=""),
    _big("updated_at", null=True),
    _big("deleted_at", null=True),
    _big("removed_at", null=True),
    _derived("changed_ms", "COALESCE(updated_at, created_at) / 1000"),
    PrimaryKeyConstraint("asset_id", "number", name="versions_pk"),
    UniqueConstraint("id", name="versions_id"),
    ForeignKeyConstraint(["asset_id"], ["assets.id"], name="versions_asset"),
    Index("versions_digest", "asset_id", "digest"),
    Index("versions_name", "space", "kind", "name", "number"),
    Index("versions_changed", "space", "kind", *_BY_CHANGE),
    Index("versions_name_changed", "space", "kind", "name", text("changed_ms DESC"), text("number DESC")),
    Index("versions_run", "space", "run_id", *_BY_CHANGE),
    _trash("versions"),
)

aliases = Table(
    "aliases",
    METADATA,
    _text("space"),
    _text("asset_id"),
    _text("alias"),
    _big("number"),
    _big("moved_at"),
    _text("moved_by"),
    _text("decision_id", null=True),
    PrimaryKeyConstraint("asset_id", "alias", name="aliases_pk"),
    ForeignKeyConstraint(
        ["asset_id", "number"], ["versions.asset_id", "versions.number"], name="aliases_version"
    ),
)

runs = Table(
    "runs",
    METADATA,
    _number(),
    _text("id"),
    _text("space"),
    _text("kind"),
    _text("name"),
    _text("state"),
    _big("created_at"),
    _text("created_by"),
    _text("experiment", null=True),
    _text("parent_id", null=True),
    _big("started_at", null=True),
    _big("ended_at", null=True),
    _text("params"),
    _text("tags"),
    _text("facts"),
    _big("deleted_at", null=True),
    _experiment(),
    _big("removed_at", null=True),
    UniqueConstraint("id", name="runs_id"),
    Index("runs_time", "space", "created_at", "id"),
    Index("runs_kind", "space", "kind", "created_at", "id"),
    Index("runs_experiment", "space", "experiment", "created_at", "id"),
    Index("runs_state", "space", "state", "created_at", "id"),
    Index("runs_parent", "space", "parent_id", "created_at", "id"),
    Index("runs_start", "experiment_no", "started_at", "id"),
    _trash("runs"),
)

experiments = Table(
    "experiments",
    METADATA,
    _number(),
    _text("space"),
    _text("name"),
    UniqueConstraint("space", "name", name="experiments_name"),
)


def _texts_of_runs(name: str) -> Table:
    """A text by run and key, found by the first characters of the text (an index holds no long ones)."""
    return Table(
        name,
        METADATA,
        _big("run_no"),
        _big("key_no"),
        _text("head"),
        _text("value"),
        _text("space"),
        _experiment(),
        PrimaryKeyConstraint("run_no", "key_no", name=f"{name}_pk"),
        Index(f"{name}_value", "experiment_no", "key_no", "head", "run_no"),
        sqlite_with_rowid=False,
    )


run_params = _texts_of_runs("run_params")
run_tags = _texts_of_runs("run_tags")

links = Table(
    "links",
    METADATA,
    _number(),
    _text("space"),
    _text("run_id"),
    _text("role"),
    _text("kind"),
    _text("name"),
    _big("version"),
    _text("digest"),
    _big("at"),
    UniqueConstraint("run_id", "role", "kind", "name", "version", name="links_edge"),
    ForeignKeyConstraint(["run_id"], ["runs.id"], name="links_run"),
    Index("links_version", "space", "kind", "name", "version", "role", "at"),
)

metric_keys = Table(
    "metric_keys",
    METADATA,
    _number(),
    _text("space"),
    _text("name"),
    UniqueConstraint("space", "name", name="metric_keys_name"),
)

metric_points = Table(
    "metric_points",
    METADATA,
    _big("run_no"),
    _big("key_no"),
    _big("at_us"),
    _big("step"),
    Column("is_nan", SmallInteger, nullable=False),
    _real("value"),
    _text("space"),
    PrimaryKeyConstraint("run_no", "key_no", "at_us", "step", "is_nan", "value", name="metric_points_pk"),
    sqlite_with_rowid=False,
)

metric_latest = Table(
    "metric_latest",
    METADATA,
    _big("run_no"),
    _big("key_no"),
    _big("at_us"),
    _big("step"),
    Column("is_nan", SmallInteger, nullable=False),
    _real("value"),
    _text("space"),
    _experiment(),
    _big("first_us", null=True),
    _big("first_step", null=True),
    _big("stride", null=True),
    PrimaryKeyConstraint("run_no", "key_no", name="metric_latest_pk"),
    Index("metric_latest_value", "experiment_no", "key_no", "is_nan", "value", "run_no"),
    sqlite_with_rowid=False,
)

artifacts = Table(
    "artifacts",
    METADATA,
    _text("space"),
    _text("owner"),
    _text("path"),
    _text("digest"),
    _big("size_bytes"),
    _big("at"),
    PrimaryKeyConstraint("space", "owner", "path", name="artifacts_pk"),
    sqlite_with_rowid=False,
)

signals = Table(
    "signals",
    METADATA,
    _text("id"),
    _text("space"),
    _text("subject"),
    _text("name"),
    _real("value"),
    _big("at"),
    _big("window_start", null=True),
    _big("window_end", null=True),
    _big("n", null=True),
    _real("low", null=True),
    _real("high", null=True),
    _text("unit"),
    _text("facts"),
    PrimaryKeyConstraint("id", name="signals_pk"),
    Index("signals_subject", "space", "subject", "at", "id"),
    Index("signals_name", "space", "subject", "name", "at", "id"),
)

decisions = Table(
    "decisions",
    METADATA,
    _text("id"),
    _text("space"),
    _text("policy"),
    _text("subject"),
    _text("action"),
    _text("verdict"),
    _text("reason"),
    _text("evidence"),
    _big("at"),
    _text("by"),
    PrimaryKeyConstraint("id", name="decisions_pk"),
    Index("decisions_time", "space", "at", "id"),
    Index("decisions_subject", "space", "subject", "at", "id"),
    Index("decisions_action", "space", "action", "at", "id"),
)

journal = Table(
    "journal",
    METADATA,
    Column("seq", BIG, nullable=False, autoincrement=False),
    _text("id"),
    _text("space"),
    _text("principal"),
    _text("kind"),
    _text("subject"),
    _big("at"),
    _big("wall_at"),
    _text("payload"),
    _text("payload_digest"),
    _text("previous"),
    _text("hash"),
    PrimaryKeyConstraint("seq", name="journal_pk"),
    UniqueConstraint("id", name="journal_id"),
    Index("journal_space", "space", "seq"),
    Index("journal_subject", "space", "subject", "seq"),
    Index("journal_kind", "space", "kind", "seq"),
)

journal_head = Table(
    "journal_head",
    METADATA,
    Column("no", BIG, nullable=False, autoincrement=False),
    _big("count"),
    _text("hash"),
    PrimaryKeyConstraint("no", name="journal_head_pk"),
)

jobs = Table(
    "jobs",
    METADATA,
    _text("id"),
    _text("space"),
    _text("operation"),
    _text("arguments"),
    _text("state"),
    _big("created_at"),
    _text("created_by"),
    _big("not_before"),
    _text("key", null=True),
    _big("attempt"),
    _big("max_attempts"),
    Column("at_most_once", SmallInteger, nullable=False),
    _real("lease_s"),
    _big("fence"),
    _text("worker", null=True),
    _big("leased_until", null=True),
    _big("ended_at", null=True),
    _text("result"),
    _text("error"),
    PrimaryKeyConstraint("id", name="jobs_pk"),
    UniqueConstraint("space", "key", name="jobs_key"),
    Index("jobs_time", "space", "created_at", "id"),
    Index("jobs_state", "space", "state", "created_at", "id"),
    Index("jobs_operation", "space", "operation", "created_at", "id"),
    Index(
        "jobs_open",
        "created_at",
        "id",
        sqlite_where=text("state IN ('queued', 'running')"),
        postgresql_where=text("state IN ('queued', 'running')"),
    ),
)

segments = Table(
    "segments",
    METADATA,
    _text("id"),
    _text("space"),
    _text("stream"),
    _text("digest"),
    _big("rows"),
    _big("size_bytes"),
    _big("start_at"),
    _big("end_at"),
    _big("created_at"),
    _text("facts"),
    PrimaryKeyConstraint("space", "id", name="segments_pk"),
    Index("segments_start", "space", "stream", "start_at", "id"),
    Index("segments_end", "space", "stream", "end_at"),
)

documents = Table(
    "documents",
    METADATA,
    _text("space"),
    _text("collection"),
    _text("key"),
    _text("body"),
    PrimaryKeyConstraint("space", "collection", "key", name="documents_pk"),
    sqlite_with_rowid=False,
)
