"""Versions in the order of their last change, with what they are searched by."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from loopwright.core.errors import Unavailable

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    in_row = op.get_bind().dialect.name == "postgresql" or None  # else in the indexes alone
    changed = sa.Computed("COALESCE(updated_at, created_at) / 1000", persisted=in_row)
    op.add_column("versions", sa.Column("changed_ms", _BIG, changed))
    newest, last = sa.text("changed_ms DESC"), sa.text("number DESC")
    op.create_index("versions_changed", "versions", ["space", "kind", newest, "name", last])
    op.create_index("versions_name_changed", "versions", ["space", "kind", "name", newest, last])
    op.drop_index("versions_run", "versions")
    op.create_index("versions_run", "versions", ["space", "run_id", newest, "name", last])


def downgrade() -> None:
    raise Unavailable(
        "a ledger is not brought back to an older revision", hint="restore the copy made before"
    )
