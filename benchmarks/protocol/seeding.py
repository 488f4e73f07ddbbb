"""Many runs written straight into an SQLite file, after the pattern of one that was made by calls."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["ACC", "LOSS", "MODEL", "OURS", "START", "THEIRS", "seed_bulk"]

START = 1_600_000_000_000
PATIENCE_S = 180.0
CHUNK = 20_000
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


def seed_bulk(database: Path, tables: Mapping[str, str], run: str, count: int) -> None:
    """Write `count` more runs like one that is there, straight into an SQLite file.

    Every row of the pattern is repeated; the run's id and number, its start, the two metrics and the
    model's name are drawn anew wherever they stand, so columns that are not known here are copied as they
    are. acc and loss are uniform in [0, 1); the model is one of ten.
    """
    with contextlib.closing(sqlite3.connect(database, timeout=PATIENCE_S)) as connection:
        number = run
        if "no" in tables.values():
            number = connection.execute("select no from runs where id = ?", (run,)).fetchone()[0]
        top = connection.execute(f"select max({tables['runs']}) from runs").fetchone()[0]
        for first in range(0, count, CHUNK):
            drawn = [Drawn(run, number, top, at) for at in range(first, min(count, first + CHUNK))]
            with connection:
                _repeat(connection, tables, number, drawn)


def _repeat(
    connection: sqlite3.Connection, tables: Mapping[str, str], number: Any, drawn: list[Drawn]
) -> None:
    for table, key in tables.items():
        cursor = connection.execute(f"select * from {table} where {key} = ?", (number,))
        columns = [column[0] for column in cursor.description]
        pattern, place = cursor.fetchall(), columns.index(key)
        statement = f"insert into {table} values ({', '.join('?' * len(columns))})"
        connection.executemany(statement, (each.row(row, place) for each in drawn for row in pattern))


class Drawn:
    """What one seeded run has in place of its pattern's values."""

    def __init__(self, run: str, number: Any, top: Any, at: int) -> None:
        chance = random.Random(f"{run}{at}")
        self._run, self._id, self._at = run, f"{chance.getrandbits(128):032x}", at + 1
        self._number = self._id if number == run else top + 1 + at
        self._values: dict[Any, Any] = {ACC: chance.random(), LOSS: chance.random()}
        self._values |= {START: START + self._at, START * 1000: (START + self._at) * 1000}
        self._texts = [(self._run, self._id), (MODEL, f"m{chance.randrange(10)}")]
        self._texts += [(str(drawn), str(mine)) for drawn, mine in self._values.items()]

    def row(self, pattern: tuple[Any, ...], key: int) -> list[Any]:
        """One row of this run."""
        cells = [self._cell(value) for value in pattern]
        cells[key] = self._number
        return cells

    def _cell(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value) if len(value) >= SHORTEST else value
        if isinstance(value, int | float):
            return self._values.get(value, value)
        return value

    def _text(self, value: str) -> str:
        for drawn, mine in self._texts:
            value = value.replace(drawn, mine)
        return value
