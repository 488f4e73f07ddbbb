"""Opens the ledger that a URL names."""

from __future__ import annotations

from pathlib import Path

from loopwright.adapters.sql.sqlite import SqliteLedger
from loopwright.core.errors import Invalid
from loopwright.ports.ledger import Ledger

__all__ = ["open_ledger", "sqlite_path"]

_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgres://")


def sqlite_path(url: str) -> Path | None:
    """The file of a `sqlite:///` URL, or None for another URL."""
    if not url.startswith(_SQLITE):
        return None
    path = url.removeprefix(_SQLITE)
    if not path or path == ":memory:":
        raise Invalid("a ledger in memory would lose everything", hint="name a file: sqlite:///ledger.db")
    return Path(path)


def open_ledger(url: str) -> Ledger:
    """The ledger at `sqlite:///relative.db`, `sqlite:////absolute.db` or `postgresql://...`; made when new.

    `Unavailable` when it cannot be reached or is of another revision, `Corrupt` when it is damaged,
    `Invalid` when it belongs to another program.
    """
    path = sqlite_path(url)
    if path is not None:
        return SqliteLedger(path)
    if url.startswith(_POSTGRES):
        from loopwright.adapters.sql.postgres import PostgresLedger

        return PostgresLedger(url)
    raise Invalid(
        f"{url.partition(':')[0][:40]!r} is not a store of metadata",
        hint="write sqlite:///path/ledger.db or postgresql://user@host/database",
    )
