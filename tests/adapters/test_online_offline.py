"""The online store and the offline joins give the same at every instant, to the last bit."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.adapters.online import SqliteOnline
from loopwright.adapters.tables.joins import join_as_of
from loopwright.adapters.tables.windows import join_windows
from loopwright.core.expressions import Scalar, Window, col, when
from loopwright.core.instants import duration
from loopwright.ports.online import OnlineRow, OnlineView
from loopwright.ports.tables import AsOfJoin, WindowJoin
from loopwright.testing.online import bits, online_rows

UTC = pa.timestamp("us", "UTC")
FIRST = 1_370_000_000_000_000
STEP = 1_800_000_000
WINDOWS: dict[str, Window] = {
    "count": col("n").count("2h"),
    "sum": col("n").sum("7h"),
    "mean": col("n").mean("2h"),
    "fsum": col("x").sum("7h"),
    "fmean": col("x").mean("1h"),
    "least": col("x").min("2h"),
    "last": col("s").last("2h"),
    "kinds": col("s").distinct("7h"),
    "late": when(col("n") >= 2, 1, 0).sum("2h"),
}
VIEW = OnlineView(name="v@1", ttl=duration("3h"), latest=("n", "x", "s"), windows=WINDOWS)
KEYS = [("EWR", 1), ("JFK", 2), ("LGA", 1), ("JFK", 1)]


def view_table(rows: list[OnlineRow]) -> pa.Table:
    return pa.table(
        {
            "origin": pa.array([row.key[0] for row in rows], pa.string()),
            "number": pa.array([row.key[1] for row in rows], pa.int64()),
            "event": pa.array([row.event_us for row in rows], UTC),
            "known": pa.array([row.known_us for row in rows], UTC),
            "seq": pa.array([row.order for row in rows], pa.int64()),
            "n": pa.array([row.values["n"] for row in rows], pa.int64()),
            "x": pa.array([row.values["x"] for row in rows], pa.float64()),
            "s": pa.array([row.values["s"] for row in rows], pa.string()),
        }
    )


def offline(rows: list[OnlineRow], instants: list[int]) -> list[dict[str, Scalar | bytes]]:
    asked = [(key, at) for at in instants for key in KEYS]
    spine = pa.table(
        {
            "origin": [key[0] for key, _ in asked],
            "number": [key[1] for key, _ in asked],
            "at": pa.array([at for _, at in asked], UTC),
        }
    )
    entity = ("origin", "number")
    newest = AsOfJoin(
        keys=entity,
        time="at",
        event_time="event",
        known_at="known",
        order="seq",
        ttl=VIEW.ttl,
        columns=VIEW.latest,
    )
    windows = WindowJoin(
        keys=entity, time="at", known_at="known", event_time="event", order="seq", windows=WINDOWS
    )
    found = join_windows(join_as_of(spine, view_table(rows), newest), view_table(rows), windows)
    names = (*VIEW.latest, *WINDOWS)
    return [{name: bits(row[name]) for name in names} for row in found.select(list(names)).to_pylist()]


@settings(max_examples=40, deadline=None)
@given(
    rows=online_rows(),
    instants=st.lists(st.integers(-2, 200).map(lambda n: FIRST + n * STEP), min_size=1, max_size=6),
)
def test_online_is_offline_bit_for_bit(rows: list[OnlineRow], instants: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteOnline(Path(folder) / "online.db")
        store.define(VIEW)
        store.push(VIEW.name, rows)
        expected = offline(rows, instants)
        for reopened in (False, True):
            if reopened:
                store.flush(min(instants))
                store.close()
                store = SqliteOnline(Path(folder) / "online.db")
            found = [row for at in instants for row in store.read(VIEW.name, KEYS, at)]
            assert [{name: bits(value) for name, value in row.items()} for row in found] == expected
        store.close()


@settings(max_examples=40, deadline=None)
@given(rows=online_rows(), cut=st.integers(0, 24))
def test_rows_that_come_late_are_put_where_they_belong(rows: list[OnlineRow], cut: int) -> None:
    """What was known until the cut comes in order, the rest in whatever order, and then some of it again."""
    at = FIRST + (26 if cut % 2 else 148) * STEP
    early = sorted((row for row in rows if row.known_us < FIRST + cut * STEP), key=lambda row: row.known_us)
    rest = [row for row in rows if row.known_us >= FIRST + cut * STEP]
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteOnline(Path(folder) / "online.db")
        store.define(VIEW)
        store.push(VIEW.name, [*early, *rest, *early[:5]])
        found = store.read(VIEW.name, KEYS, at)
        assert [{name: bits(value) for name, value in row.items()} for row in found] == offline(
            [*early, *rest], [at]
        )
        store.close()
