"""Traces with their spans, tags, links and assessments."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from loopwright.core.errors import Unavailable

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, _TEXT, nullable=null)


def _big(name: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, _BIG, nullable=null)


def upgrade() -> None:
    op.create_table(
        "traces",
        sa.Column("no", _BIG, primary_key=True, autoincrement=True),
        _text("id"),
        _text("space"),
        _text("experiment_id"),
        _big("started_ms"),
        _big("duration_ms", null=True),
        _text("state"),
        _text("client_request_id", null=True),
        _text("request_preview", null=True),
        _text("response_preview", null=True),
        _text("session", null=True),
        _text("tags"),
        _text("metadata"),
        sa.UniqueConstraint("space", "id", name="traces_id"),
    )
    op.create_index("traces_start", "traces", ["space", "experiment_id", sa.text("started_ms DESC"), "id"])
    op.create_index("traces_session", "traces", ["space", "session"])
    for name in ("trace_tags", "trace_metadata"):
        _texts(name)
    op.create_table(
        "trace_links",
        _big("trace_no"),
        _text("kind"),
        _text("target"),
        _text("space"),
        sa.PrimaryKeyConstraint("trace_no", "kind", "target", name="trace_links_pk"),
        sqlite_with_rowid=False,
    )
    op.create_index("trace_links_target", "trace_links", ["space", "kind", "target", "trace_no"])
    _spans()
    _assessments()


def _texts(name: str) -> None:
    op.create_table(
        name,
        _big("trace_no"),
        _big("key_no"),
        _text("head"),
        _text("value"),
        _text("space"),
        sa.PrimaryKeyConstraint("trace_no", "key_no", name=f"{name}_pk"),
        sqlite_with_rowid=False,
    )
    op.create_index(f"{name}_value", name, ["key_no", "head", "trace_no"])


def _spans() -> None:
    op.create_table(
        "spans",
        _big("trace_no"),
        _text("id"),
        _text("space"),
        _text("parent_id", null=True),
        _text("name"),
        _text("type", null=True),
        _text("status"),
        _big("start_ns"),
        _big("end_ns", null=True),
        _text("content"),
        sa.PrimaryKeyConstraint("trace_no", "id", name="spans_pk"),
    )
    op.create_index("spans_facts", "spans", ["trace_no", "name", "type", "status"])


def _assessments() -> None:
    op.create_table(
        "assessments",
        _text("id"),
        _text("space"),
        _big("trace_no"),
        _text("name"),
        _text("kind"),
        _text("value"),
        sa.Column("measure", sa.Float(53), nullable=True),
        _text("error", null=True),
        _text("source_type"),
        _text("source_id", null=True),
        _text("run_id", null=True),
        _text("span_id", null=True),
        _text("rationale", null=True),
        _text("metadata"),
        sa.Column("is_session_wide", sa.SmallInteger, nullable=False),
        _big("created_ms"),
        _big("updated_ms"),
        _text("overrides", null=True),
        sa.Column("valid", sa.SmallInteger, nullable=False),
        sa.PrimaryKeyConstraint("space", "id", name="assessments_pk"),
    )
    op.create_index("assessments_trace", "assessments", ["trace_no", "created_ms"])
    op.create_index("assessments_name", "assessments", ["space", "kind", "name", "trace_no"])


def downgrade() -> None:
    raise Unavailable(
        "a ledger is not brought back to an older revision", hint="restore the copy made before"
    )
