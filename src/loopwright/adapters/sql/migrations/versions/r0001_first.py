"""The first tables of the ledger."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from loopwright.core.chain import GENESIS

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, _TEXT, nullable=null)


def _big(name: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, _BIG, nullable=null)


def _real(name: str, *, null: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Float(53), nullable=null)


def _number() -> sa.Column[int]:
    return sa.Column("no", _BIG, primary_key=True, autoincrement=True)


def upgrade() -> None:
    _nouns()
    _runs()
    _observations()
    _journal_and_jobs()
    _streams()


def downgrade() -> None:
    raise NotImplementedError("the first revision has none before it")


def _nouns() -> None:
    op.create_table(
        "assets",
        _text("id"),
        _text("space"),
        _text("kind"),
        _text("name"),
        _big("created_at"),
        _text("created_by"),
        _text("tags"),
        _text("description"),
        sa.PrimaryKeyConstraint("id", name="assets_pk"),
        sa.UniqueConstraint("space", "kind", "name", name="assets_name"),
    )
    op.create_table(
        "versions",
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
        sa.PrimaryKeyConstraint("asset_id", "number", name="versions_pk"),
        sa.UniqueConstraint("id", name="versions_id"),
        sa.ForeignKeyConstraint(["asset_id"], ["assets.id"], name="versions_asset"),
        sa.Index("versions_digest", "asset_id", "digest"),
    )
    op.create_table(
        "aliases",
        _text("space"),
        _text("asset_id"),
        _text("alias"),
        _big("number"),
        _big("moved_at"),
        _text("moved_by"),
        _text("decision_id", null=True),
        sa.PrimaryKeyConstraint("asset_id", "alias", name="aliases_pk"),
        sa.ForeignKeyConstraint(
            ["asset_id", "number"], ["versions.asset_id", "versions.number"], name="aliases_version"
        ),
    )


def _runs() -> None:
    op.create_table(
        "runs",
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
        sa.UniqueConstraint("id", name="runs_id"),
        sa.Index("runs_time", "space", "created_at", "id"),
        sa.Index("runs_kind", "space", "kind", "created_at", "id"),
        sa.Index("runs_experiment", "space", "experiment", "created_at", "id"),
        sa.Index("runs_state", "space", "state", "created_at", "id"),
        sa.Index("runs_parent", "space", "parent_id", "created_at", "id"),
    )
    op.create_table(
        "links",
        _number(),
        _text("space"),
        _text("run_id"),
        _text("role"),
        _text("kind"),
        _text("name"),
        _big("version"),
        _text("digest"),
        _big("at"),
        sa.UniqueConstraint("run_id", "role", "kind", "name", "version", name="links_edge"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="links_run"),
        sa.Index("links_version", "space", "kind", "name", "version", "role", "at"),
    )
    op.create_table(
        "metric_keys",
        _number(),
        _text("space"),
        _text("name"),
        sa.UniqueConstraint("space", "name", name="metric_keys_name"),
    )
    op.create_table(
        "metric_points",
        _big("run_no"),
        _big("key_no"),
        _big("at_us"),
        _big("step"),
        sa.Column("is_nan", sa.SmallInteger, nullable=False),
        _real("value"),
        _text("space"),
        sa.PrimaryKeyConstraint(
            "run_no", "key_no", "at_us", "step", "is_nan", "value", name="metric_points_pk"
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "metric_latest",
        _big("run_no"),
        _big("key_no"),
        _big("at_us"),
        _big("step"),
        sa.Column("is_nan", sa.SmallInteger, nullable=False),
        _real("value"),
        _text("space"),
        sa.PrimaryKeyConstraint("run_no", "key_no", name="metric_latest_pk"),
        sqlite_with_rowid=False,
    )


def _observations() -> None:
    op.create_table(
        "signals",
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
        sa.PrimaryKeyConstraint("id", name="signals_pk"),
        sa.Index("signals_subject", "space", "subject", "at", "id"),
        sa.Index("signals_name", "space", "subject", "name", "at", "id"),
    )
    op.create_table(
        "decisions",
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
        sa.PrimaryKeyConstraint("id", name="decisions_pk"),
        sa.Index("decisions_time", "space", "at", "id"),
        sa.Index("decisions_subject", "space", "subject", "at", "id"),
        sa.Index("decisions_action", "space", "action", "at", "id"),
    )


def _journal_and_jobs() -> None:
    op.create_table(
        "journal",
        sa.Column("seq", _BIG, nullable=False, autoincrement=False),
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
        sa.PrimaryKeyConstraint("seq", name="journal_pk"),
        sa.UniqueConstraint("id", name="journal_id"),
        sa.Index("journal_space", "space", "seq"),
        sa.Index("journal_subject", "space", "subject", "seq"),
        sa.Index("journal_kind", "space", "kind", "seq"),
    )
    op.create_table(
        "journal_head",
        sa.Column("no", _BIG, nullable=False, autoincrement=False),
        _big("count"),
        _text("hash"),
        sa.PrimaryKeyConstraint("no", name="journal_head_pk"),
    )
    op.create_table(
        "jobs",
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
        sa.Column("at_most_once", sa.SmallInteger, nullable=False),
        _real("lease_s"),
        _big("fence"),
        _text("worker", null=True),
        _big("leased_until", null=True),
        _big("ended_at", null=True),
        _text("result"),
        _text("error"),
        sa.PrimaryKeyConstraint("id", name="jobs_pk"),
        sa.UniqueConstraint("space", "key", name="jobs_key"),
        sa.Index("jobs_time", "space", "created_at", "id"),
        sa.Index("jobs_state", "space", "state", "created_at", "id"),
        sa.Index("jobs_operation", "space", "operation", "created_at", "id"),
        sa.Index(
            "jobs_open",
            "created_at",
            "id",
            sqlite_where=sa.text("state IN ('queued', 'running')"),
            postgresql_where=sa.text("state IN ('queued', 'running')"),
        ),
    )
    op.execute(f"INSERT INTO journal_head (no, count, hash) VALUES (1, 0, '{GENESIS}')")


def _streams() -> None:
    op.create_table(
        "segments",
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
        sa.PrimaryKeyConstraint("space", "id", name="segments_pk"),
        sa.Index("segments_start", "space", "stream", "start_at", "id"),
        sa.Index("segments_end", "space", "stream", "end_at"),
    )
    op.create_table(
        "documents",
        _text("space"),
        _text("collection"),
        _text("key"),
        _text("body"),
        sa.PrimaryKeyConstraint("space", "collection", "key", name="documents_pk"),
        sqlite_with_rowid=False,
    )
