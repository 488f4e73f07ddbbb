"""Many runs written straight into a store, after the pattern of one that was made by calls."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["ACC", "LOSS", "MANY", "MODEL", "OURS", "START", "THEIRS", "seed_bulk"]

START = 1_600_000_000_000
PATIENCE_S = 180.0
CHUNK = 100_000
MANY = 20_000
"""runs from which on indexes are made at the end"""
SHORTEST = 11
# Values that stand for what differs between seeded runs; they must come up nowhere else.
ACC, LOSS, MODEL = 0.123456789, 0.987654321, "model-to-be-drawn"

# Tables with the column that names the run, and with a run's number where rows have one.
OURS = {
    "runs": "no",
    "run_params": "run_no",
    "run_tags": "run_no",
    "metric_points": "run_no",
    "metric_latest": "run_no",
}
THEIRS = dict.fromkeys(("runs", "metrics", "latest_metrics", "params", "tags"), "run_uuid")

Run = Callable[[str], Any]


def seed_bulk(database: Path | str, tables: Mapping[str, str], run: str, count: int) -> None:
    """Write `count` more runs like one that is there, straight into a file of SQLite or into PostgreSQL.

    Every row of the pattern is repeated; the run's id and number, its start, the two metrics and the
    model's name are drawn anew wherever they stand, so columns that are not known here are copied as they
    are. acc and loss are uniform in [0, 1); the model is one of ten.
    """
    with _opened(database) as store:
        number: Any = run
        if "no" in tables.values():
            number = store.rows(f"SELECT no FROM runs WHERE id = {_quoted(run)}")[0][0]
        top = store.rows(f"SELECT max({tables['runs']}) FROM runs")[0][0]
        drawn = _Drawn(run, number, top)
        with store.unindexed(tables if count > MANY else ()):
            for first in range(0, count, CHUNK):
                store.draw(drawn.rows(first, min(count, first + CHUNK)))
                _repeat(store, drawn, tables, number)
                store.run("DELETE FROM drawn")
        store.run("ANALYZE")


def _repeat(store: _Sqlite | _Postgres, drawn: _Drawn, tables: Mapping[str, str], number: Any) -> None:
    """Each row that the tables have of the pattern, for every run that was drawn."""
    for table, key in tables.items():
        names, pattern = store.pattern(table, key, number)
        for row in pattern:
            cells = ", ".join(drawn.cells(names, row, key))
            store.run(f"INSERT INTO {table} SELECT {cells} FROM drawn d ORDER BY d.no")


class _Drawn:
    """What seeded runs have in place of their pattern's values, as expressions over the rows `drawn d`."""

    def __init__(self, run: str, number: Any, top: Any) -> None:
        self._chance = random.Random(run)
        self._top, self._is_numbered = top, number != run
        self._numbers = {ACC: "d.acc", LOSS: "d.loss", START: f"({START} + d.no)"}
        self._numbers[START * 1000] = f"(({START} + d.no) * 1000)"
        self._texts = {run: "d.id", MODEL: "d.model"}
        self._texts |= {str(value): f"CAST({text} AS TEXT)" for value, text in self._numbers.items()}

    def rows(self, first: int, last: int) -> Iterator[tuple[Any, ...]]:
        """Number, id, acc, loss and model of runs."""
        chance = self._chance
        for at in range(first, last):
            drawn = chance.random(), chance.random(), f"m{chance.randrange(10)}"
            yield (at + 1, f"{chance.getrandbits(128):032x}", *drawn)

    def cells(self, names: Sequence[str], row: Sequence[Any], key: str) -> list[str]:
        """The expression of each column for one row of the pattern."""
        own = f"({self._top} + d.no)" if self._is_numbered else "d.id"
        return [own if name == key else self._cell(value) for name, value in zip(names, row, strict=True)]

    def _cell(self, value: Any) -> str:
        if isinstance(value, str):
            text = _quoted(value)
            for drawn, mine in self._texts.items() if len(value) >= SHORTEST else ():
                if drawn in value:
                    text = f"REPLACE({text}, {_quoted(drawn)}, {mine})"
            return text
        if value is None:
            return "NULL"
        if isinstance(value, bool):
            return str(value).upper()
        return self._numbers.get(value, repr(value))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


class _Sqlite:
    """A file of SQLite that a server may have open."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, timeout=PATIENCE_S, isolation_level=None)
        self.run: Run = self._connection.execute
        for setting in ("cache_size = -400000", "synchronous = OFF", "temp_store = MEMORY"):
            self.run(f"PRAGMA {setting}")
        self.run("CREATE TEMP TABLE drawn (no INTEGER PRIMARY KEY, id, acc, loss, model)")

    def rows(self, text: str) -> Sequence[Any]:
        """All rows of a question."""
        return self._connection.execute(text).fetchall()

    def pattern(self, table: str, key: str, number: Any) -> tuple[list[str], Sequence[Any]]:
        """Names of a table's columns, and its rows about a run."""
        cursor = self._connection.execute(f"SELECT * FROM {table} WHERE {key} = ?", (number,))
        return [column[0] for column in cursor.description], cursor.fetchall()

    def draw(self, rows: Iterator[tuple[Any, ...]]) -> None:
        """Fill the table of what was drawn."""
        self.run("BEGIN")
        self._connection.executemany("INSERT INTO drawn VALUES (?, ?, ?, ?, ?)", rows)
        self.run("COMMIT")

    @contextlib.contextmanager
    def unindexed(self, tables: Sequence[str]) -> Iterator[None]:
        """A block without the indexes of tables: each is sorted once at its end, which is quicker."""
        names = ", ".join(map(_quoted, tables))
        found = self.rows(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL "
            f"AND tbl_name IN ({names})"
        )
        for name, _ in found:
            self.run(f"DROP INDEX {name}")
        yield
        for _, statement in found:
            self.run(statement)
        self.run("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


class _Postgres:
    """A schema of PostgreSQL: by our own address of it that one, else the one that is there by itself."""

    def __init__(self, url: str) -> None:
        import psycopg

        place, _, schema = url.partition("&schema=")
        self._connection = psycopg.connect(place, autocommit=True)
        self.run: Run = lambda text: self._connection.execute(text.encode())
        if schema:
            self.run(f"SET search_path TO {schema}")
        self.run("SET synchronous_commit TO OFF")
        self.run("CREATE TEMP TABLE drawn (no BIGINT, id TEXT, acc FLOAT8, loss FLOAT8, model TEXT)")

    def rows(self, text: str) -> Sequence[Any]:
        """All rows of a question."""
        return self._connection.execute(text.encode()).fetchall()

    def pattern(self, table: str, key: str, number: Any) -> tuple[list[str], Sequence[Any]]:
        """Names of a table's columns, and its rows about a run."""
        cursor = self._connection.execute(f"SELECT * FROM {table} WHERE {key} = %s".encode(), (number,))
        return [column.name for column in cursor.description or ()], cursor.fetchall()

    def draw(self, rows: Iterator[tuple[Any, ...]]) -> None:
        """Fill the table of what was drawn."""
        with self._connection.cursor() as cursor, cursor.copy("COPY drawn FROM STDIN") as into:
            for row in rows:
                into.write_row(row)

    @contextlib.contextmanager
    def unindexed(self, tables: Sequence[str]) -> Iterator[None]:
        """As it is: PostgreSQL's indexes grow quickly enough."""
        yield

    def close(self) -> None:
        """Move the counter of runs past the seeded ones, where they are counted, and hang up."""
        if self.rows(
            "SELECT 1 FROM information_schema.columns WHERE table_name = 'runs' AND column_name = 'no'"
        ):
            self.run("SELECT setval(pg_get_serial_sequence('runs', 'no'), (SELECT max(no) FROM runs))")
        self._connection.close()


@contextlib.contextmanager
def _opened(database: Path | str) -> Iterator[_Sqlite | _Postgres]:
    store = _Sqlite(database) if isinstance(database, Path) else _Postgres(database)
    try:
        yield store
    finally:
        store.close()
