"""Runs the migrations on the connection it is given; Alembic loads this file."""

from __future__ import annotations

from alembic import context

from loopwright.adapters.sql.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
