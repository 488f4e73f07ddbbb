"""Of each metric of a run where its steps begin and how far apart they are, while they are evenly so.

Of points that were kept before nothing is known, and what comes behind them does not change that.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from loopwright.core.errors import Unavailable

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    for name in ("first_us", "first_step", "stride"):
        op.add_column("metric_latest", sa.Column(name, _BIG, nullable=True))


def downgrade() -> None:
    raise Unavailable(
        "a ledger is not brought back to an older revision", hint="restore the copy made before"
    )
