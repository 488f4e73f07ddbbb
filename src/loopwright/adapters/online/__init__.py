"""Online features: answers from memory, kept in SQLite."""

from loopwright.adapters.online.store import SqliteOnline

__all__ = ["SqliteOnline"]
