"""A trash that can be listed by time, and tombstones of what was removed from it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from loopwright.core.errors import Unavailable

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    for table in ("versions", "runs"):
        op.add_column(table, sa.Column("removed_at", _BIG, nullable=True))
    there = sa.text("deleted_at IS NOT NULL")
    for table in ("assets", "versions", "runs"):
        op.create_index(
            f"{table}_trash",
            table,
            ["space", "deleted_at", "id"],
            sqlite_where=there,
            postgresql_where=there,
        )


def downgrade() -> None:
    raise Unavailable(
        "a ledger is not brought back to an older revision", hint="restore the copy made before"
    )
