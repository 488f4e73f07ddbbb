"""Online features: answers from memory kept in SQLite, or from a server: Redis, PostgreSQL."""

from loopwright.adapters.online.store import SqliteOnline

__all__ = ["SqliteOnline"]
