"""The SQLite file of the online store: definitions, packed entities and watermarks."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from loopwright.core.errors import Corrupt, Invalid, Unavailable

__all__ = ["Batch", "Database", "News", "Overtaken", "Stored"]

_VERSION = 1
_WAIT_MS = 10_000
_TABLES = frozenset({"views", "entities", "forgotten", "counter"})
_SCHEMA = """
CREATE TABLE IF NOT EXISTS views (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, definition BLOB NOT NULL, watermark INTEGER
) STRICT;
CREATE TABLE IF NOT EXISTS entities (
    view INTEGER NOT NULL, key BLOB NOT NULL, generation INTEGER NOT NULL, content BLOB NOT NULL,
    PRIMARY KEY (view, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS forgotten (
    generation INTEGER NOT NULL, view TEXT NOT NULL, digest TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS counter (generation INTEGER NOT NULL) STRICT;
INSERT INTO counter SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM counter);
"""


_CHANGED = """
SELECT views.name, key, content FROM entities JOIN views ON views.id = entities.view WHERE generation > ?
"""
_SAVE = "INSERT OR REPLACE INTO entities (view, key, generation, content) VALUES (?, ?, ?, ?)"
_REMOVE = "DELETE FROM entities WHERE view = (SELECT id FROM views WHERE name = ?) AND key = ?"


class Stored(NamedTuple):
    """An entity as bytes; in order by view, then key."""

    view: str
    key: bytes
    content: bytes


class News(NamedTuple):
    """What came into the file after a generation."""

    generation: int
    definitions: Sequence[tuple[str, bytes]]
    watermarks: Mapping[str, int]
    entities: Sequence[Stored]
    forgotten: Sequence[tuple[str, str]]


class Batch(NamedTuple):
    """What one flush writes."""

    entities: Sequence[Stored]
    emptied: Sequence[tuple[str, bytes]]
    watermarks: Mapping[str, int]


class Overtaken(Exception):
    """Another process wrote after what this one has seen."""


class Database:
    """One connection, used by one thread at a time. Every write is durable when it returns.

    The generation grows with each write, so that a process finds what others wrote since it last looked.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with self._translated():
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self) -> None:
        run = self._connection.execute
        run(f"PRAGMA busy_timeout = {_WAIT_MS}")
        found = run("PRAGMA user_version").fetchone()[0]
        tables = {row[0] for row in run("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables and not tables >= _TABLES:
            raise Invalid(
                f"{self._path} is the database of another program",
                hint="move it away, then materialize the feature views again",
            )
        if found > _VERSION:
            raise Unavailable(
                f"the online store {self._path.name} was made by a newer version of Loopwright",
                hint="install that version, or remove the file and materialize again",
            )
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run("PRAGMA secure_delete = ON")
        if found < _VERSION:
            self._connection.executescript(
                f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA user_version = {_VERSION};COMMIT;"
            )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise Unavailable(
                f"the online store {self._path} cannot be used: {error}",
                hint="free some space, make its folder writable, or wait for the process that holds it",
            ) from error
        except sqlite3.DatabaseError as error:
            raise Corrupt(
                f"the online store {self._path} is damaged: {error}",
                hint="remove the file and materialize the feature views again",
            ) from error

    @contextmanager
    def _writing(self) -> Iterator[int]:
        """A transaction and its generation; all of it is durable at the end, or none."""
        with self._lock, self._translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                row = self._connection.execute(
                    "UPDATE counter SET generation = generation + 1 RETURNING generation"
                )
                yield int(row.fetchone()[0])
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk may have ended it already
                    self._connection.execute("ROLLBACK")
                raise

    def data_version(self) -> int:
        """A number that changes when another connection has written."""
        with self._lock, self._translated():
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def news(self, after: int) -> News:
        """What was written after a generation, in one snapshot."""
        with self._lock, self._translated():
            run = self._connection.execute
            run("BEGIN")
            try:
                return News(
                    generation=int(run("SELECT generation FROM counter").fetchone()[0]),
                    definitions=run("SELECT name, definition FROM views").fetchall(),
                    watermarks=dict(
                        run("SELECT name, watermark FROM views WHERE watermark IS NOT NULL").fetchall()
                    ),
                    entities=[Stored(*row) for row in run(_CHANGED, (after,))],
                    forgotten=run(
                        "SELECT view, digest FROM forgotten WHERE generation > ?", (after,)
                    ).fetchall(),
                )
            finally:
                run("COMMIT")

    def add_view(self, name: str, definition: bytes) -> tuple[bytes, int]:
        """Keep a definition unless the name is there; the one that is kept, and the generation."""
        with self._writing() as generation:
            run = self._connection.execute
            run(
                "INSERT INTO views (name, definition) VALUES (?, ?) ON CONFLICT DO NOTHING",
                (name, definition),
            )
            found: bytes = run("SELECT definition FROM views WHERE name = ?", (name,)).fetchone()[0]
            return found, generation

    def save(self, batch: Batch, *, expect: int) -> int:
        """Write a batch as a whole; its generation. `Overtaken` when another process wrote after `expect`."""
        with self._writing() as generation:
            if generation != expect + 1:
                raise Overtaken
            many = self._connection.executemany
            ids = dict(self._connection.execute("SELECT name, id FROM views").fetchall())
            # in the order of the keys, so that pages are filled to the end
            ordered = sorted(batch.entities)
            many(_SAVE, ((ids[view], key, generation, content) for view, key, content in ordered))
            many(_REMOVE, batch.emptied)
            many(
                "UPDATE views SET watermark = max(coalesce(watermark, ?2), ?2) WHERE name = ?1",
                batch.watermarks.items(),
            )
        return generation

    def forget(self, view: str, key: bytes, digest: str) -> int:
        """Take an entity away, for other processes too, and overwrite its bytes; the generation."""
        with self._writing() as generation:
            run = self._connection.execute
            run(_REMOVE, (view, key))
            run("INSERT INTO forgotten VALUES (?, ?, ?)", (generation, view, digest))
        with self._lock, self._translated():
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return generation

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()
