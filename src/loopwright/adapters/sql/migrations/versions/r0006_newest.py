"""Assets of a kind with the newest first, as logged models are searched."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from loopwright.core.errors import Unavailable

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    newest = sa.text("created_at DESC")
    op.create_index("assets_newest", "assets", ["space", "kind", newest, "name"])


def downgrade() -> None:
    raise Unavailable(
        "a ledger is not brought back to an older revision", hint="restore the copy made before"
    )
