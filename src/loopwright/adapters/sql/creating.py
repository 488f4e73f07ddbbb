"""Makes the tables of a new store, and says what is wrong with a store of another revision."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy.engine import Dialect
from sqlalchemy.schema import CreateIndex, CreateTable

from loopwright.adapters.sql.schema import METADATA, REVISION, REVISIONS, revision_table
from loopwright.core.chain import GENESIS
from loopwright.core.errors import Unavailable

__all__ = ["check_revision", "creation"]


def creation(dialect: Dialect) -> Iterator[str]:
    """Every statement that makes an empty store of the newest revision."""
    for table in METADATA.sorted_tables:
        yield str(CreateTable(table).compile(dialect=dialect))
        for index in sorted(table.indexes, key=lambda each: str(each.name)):
            yield str(CreateIndex(index).compile(dialect=dialect))
    yield f"INSERT INTO {revision_table.name} (version_num) VALUES ('{REVISION}')"
    yield f"INSERT INTO journal_head (no, count, hash) VALUES (1, 0, '{GENESIS}')"


def check_revision(found: str, where: str) -> None:
    """Nothing when this release can work with the store; else an error that says the way out."""
    if found == REVISION:
        return
    if found in REVISIONS:
        raise Unavailable(
            f"the ledger {where} is of the older revision {found}; this release needs {REVISION}",
            hint="run: loopwright db upgrade (it keeps a copy first)",
        )
    raise Unavailable(
        f"the ledger {where} is of revision {found or 'unknown'}, newer than this release knows ({REVISION})",
        hint="install the newer loopwright that wrote it, or restore a backup into another folder",
    )
