"""PostgreSQL: a row a view and key, in a schema of its own tables."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import psycopg

from loopwright.adapters.online.shared import Change, Held, SharedOnline
from loopwright.core.errors import Unavailable

__all__ = ["PostgresOnline", "PostgresValues"]

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS online_views (
        id serial PRIMARY KEY, name text NOT NULL UNIQUE, definition bytea NOT NULL, watermark bigint
    )""",
    """CREATE TABLE IF NOT EXISTS online_values (
        view int NOT NULL REFERENCES online_views (id), key bytea NOT NULL, value bytea NOT NULL,
        PRIMARY KEY (view, key)
    )""",
)
_FETCH = """
SELECT asked.place, views.watermark, held.value
FROM unnest(%s::int[], %s::text[], %s::bytea[]) AS asked (place, name, key)
LEFT JOIN online_views AS views ON views.name = asked.name
LEFT JOIN online_values AS held ON held.view = views.id AND held.key = asked.key
"""
_PUT = """
INSERT INTO online_values AS held (view, key, value)
SELECT views.id, new.key, new.value
FROM unnest(%s::bytea[], %s::bytea[]) AS new (key, value), online_views AS views
WHERE views.name = %s
ORDER BY new.key
ON CONFLICT (view, key) DO NOTHING
RETURNING held.key
"""
_SWAP = """
UPDATE online_values AS held SET value = new.value
FROM (
    SELECT views.id, new.key, new.tag, new.value
    FROM unnest(%s::bytea[], %s::bytea[], %s::bytea[]) AS new (key, tag, value), online_views AS views
    WHERE views.name = %s
) AS new
WHERE held.view = new.id AND held.key = new.key AND substring(held.value FROM 1 FOR 8) = new.tag
RETURNING held.key
"""
_LOCK = """
SELECT 1 FROM online_values WHERE view = (SELECT id FROM online_views WHERE name = %s) AND key = ANY (%s)
ORDER BY key FOR UPDATE
"""
_NO_KEY = b""
"""asks for the watermark of a view alone: no packed key is empty"""


class PostgresValues:
    """A connection a thread; every call is done as a whole or not at all."""

    def __init__(self, url: str) -> None:
        self._schema = (re.findall(r"[?&]schema=(\w+)", url) or [""])[0]
        self._url = re.sub(r"([?&])schema=\w+&?", r"\1", url).rstrip("?&").replace("+psycopg", "")
        self._local = threading.local()
        self._lock = threading.Lock()
        self._opened: list[psycopg.Connection[Any]] = []
        with self._cursor(whole=True) as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(726367)")  # two at once would both create
            if self._schema:
                cursor.execute(f'CREATE SCHEMA IF NOT EXISTS "{self._schema}"'.encode())
            for statement in _SCHEMA:
                cursor.execute(statement)

    def _connection(self) -> psycopg.Connection[Any]:
        found: psycopg.Connection[Any] | None = getattr(self._local, "connection", None)
        if found is None or found.closed:
            options = f"-c search_path={self._schema}" if self._schema else None
            found = psycopg.connect(self._url, options=options, autocommit=True, connect_timeout=10)
            self._local.connection = found
            with self._lock:
                self._opened.append(found)
        return found

    @contextmanager
    def _cursor(self, *, whole: bool = False) -> Iterator[psycopg.Cursor[Any]]:
        """A cursor whose statements stand alone, or, where it is asked for, are one transaction."""
        try:
            connection = self._connection()
            with (
                connection.transaction() if whole else nullcontext(),
                connection.cursor(binary=True) as cursor,
            ):
                yield cursor
        except psycopg.Error as error:
            raise Unavailable(
                f"the online store in PostgreSQL cannot be used: {str(error)[:200]}",
                hint="start the server, or check the setting `online`",
            ) from error

    def definitions(self) -> Mapping[str, bytes]:
        """By name."""
        with self._cursor() as cursor:
            return dict(cursor.execute("SELECT name, definition FROM online_views").fetchall())

    def define(self, name: str, definition: bytes) -> bytes:
        """Keep the first of a name."""
        insert = "INSERT INTO online_views (name, definition) VALUES (%s, %s) ON CONFLICT DO NOTHING"
        with self._cursor() as cursor:
            cursor.execute(insert, (name, definition))
            cursor.execute("SELECT definition FROM online_views WHERE name = %s", (name,))
            row = cursor.fetchone()
            assert row is not None
            found: bytes = row[0]
            return found

    def fetch(self, asked: Sequence[tuple[str, Sequence[bytes]]]) -> Sequence[Held]:
        """One statement."""
        flat = [(name, key) for name, keys in asked for key in (_NO_KEY, *keys)]
        places = list(range(len(flat)))
        with self._cursor() as cursor:
            cursor.execute(_FETCH, (places, [name for name, _ in flat], [key for _, key in flat]))
            rows = {place: (watermark, value) for place, watermark, value in cursor}
        found, place = [], 0
        for _, keys in asked:
            values = [rows[place + 1 + i][1] for i in range(len(keys))]
            found.append(Held(rows[place][0], values))
            place += len(keys) + 1
        return found

    def swap(self, view: str, changes: Sequence[Change]) -> Sequence[bytes]:
        """One transaction; rows are locked in the order of their keys, so that two never wait in a ring."""
        new = [change for change in changes if change.tag is None]
        old = [change for change in changes if change.tag is not None]
        done: set[bytes] = set()
        with self._cursor(whole=True) as cursor:
            if new:
                cursor.execute(_PUT, ([each.key for each in new], [each.value for each in new], view))
                done |= {row[0] for row in cursor}
            if old:
                keys = [each.key for each in old]
                cursor.execute(_LOCK, (view, keys))
                given = (keys, [each.tag for each in old], [each.value for each in old], view)
                cursor.execute(_SWAP, given)
                done |= {row[0] for row in cursor}
        return [change.key for change in changes if change.key not in done]

    def raise_watermark(self, views: Sequence[str], watermark_us: int) -> None:
        """One statement."""
        raised = "UPDATE online_views SET watermark = greatest(watermark, %s) WHERE name = ANY (%s)"
        with self._cursor() as cursor:
            cursor.execute(raised, (watermark_us, list(views)))

    def keys(self, view: str) -> Sequence[bytes]:
        """One statement."""
        of = "SELECT key FROM online_values WHERE view = (SELECT id FROM online_views WHERE name = %s)"
        with self._cursor() as cursor:
            return [row[0] for row in cursor.execute(of, (view,))]

    def remove(self, view: str, key: bytes) -> None:
        """One statement."""
        with self._cursor() as cursor:
            cursor.execute(
                "DELETE FROM online_values WHERE key = %s"
                " AND view = (SELECT id FROM online_views WHERE name = %s)",
                (key, view),
            )

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for connection in self._opened:
                connection.close()
            self._opened = []


class PostgresOnline(SharedOnline):
    """Online features in PostgreSQL; the URL may name a `schema`."""

    def __init__(self, url: str) -> None:
        super().__init__(PostgresValues(url))
