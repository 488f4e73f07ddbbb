"""The ledger on SQLite and PostgreSQL, by SQLAlchemy Core."""

from loopwright.adapters.sql.opening import open_ledger

__all__ = ["open_ledger"]
