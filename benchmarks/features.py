"""Joins as known at an instant, windows, and vectors: whole processes and warm calls. Prints JSON.

`--peer` runs the bare as-of join of Polars (event time alone: it leaks what was not known yet) on the
same files, which is about as fast as a machine can do it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from loopwright.adapters.tables.windows import join_windows
from loopwright.core.expressions import Window, col
from loopwright.ports.tables import WindowJoin

YEAR_US = 365 * 86_400 * 1_000_000
MINUTE_US = 60_000_000
FLIGHTS = 336_776
LIMITS = {"join_100k_s": 2.5, "join_100k_mb": 1500, "join_1m_s": 4.0, "join_1m_mb": 2000, "windows_s": 3.0}
VIEWS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("origin",), ("1h", "3h", "1d")),
    (("carrier",), ("2h", "6h", "7d")),
    (("origin", "carrier"), ("2h", "6h")),
    (("tailnum",), ("12h",)),
)
PEER = """
import sys, polars as pl
spine, view, out = sys.argv[1:]
left = pl.scan_parquet(spine).with_row_index("place").sort("asked")
right = pl.scan_parquet(view).drop("known", "seq").sort("event")
joined = left.join_asof(right, left_on="asked", right_on="event", by="k", tolerance="30d")
joined.sort("place").collect().write_parquet(out)
"""


def instants(micros: np.ndarray) -> pa.Array:
    return pa.array(micros).cast(pa.timestamp("us", "UTC"))


def write_view(path: Path, rows: int, keys: int, chance: np.random.Generator) -> None:
    event = chance.integers(0, YEAR_US, rows)
    columns = {f"f{i}": chance.normal(size=rows) for i in range(7)}
    columns |= {f"f{i}": chance.integers(0, 1000, rows) for i in range(7, 10)}
    known = event + chance.integers(0, 86_400_000_000, rows)
    times = {"event": instants(event), "known": instants(known), "seq": np.arange(rows)}
    pq.write_table(pa.table({"k": chance.integers(0, keys, rows), **times, **columns}), path)


def write_spine(path: Path, rows: int, keys: int, chance: np.random.Generator) -> None:
    asked = instants(chance.integers(0, YEAR_US, rows))
    pq.write_table(pa.table({"k": chance.integers(0, keys, rows), "asked": asked}), path)


def process(command: list[str]) -> dict[str, float]:
    """Wall and processor seconds and peak memory of a whole process."""
    begun = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{command[0]} failed")
    return {
        "s": round(time.perf_counter() - begun, 2),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "mb": round(usage.ru_maxrss / 1024),
    }


def join(folder: Path, spine: str) -> dict[str, float]:
    files = ["--spine", str(folder / spine), "--view", str(folder / "view"), "--out", str(folder / "out")]
    columns = ["--key", "k", "--time", "asked", "--event-time", "event", "--known-at", "known"]
    more = ["--order-by", "seq", "--ttl", "2592000"]
    return process([sys.executable, "-m", "loopwright", "features", "join", *files, *columns, *more])


def peer(folder: Path, spine: str) -> dict[str, float]:
    return process([sys.executable, "-c", PEER, *(str(folder / name) for name in (spine, "view", "out"))])


def windows(chance: np.random.Generator) -> float:
    """Seconds of two aggregates over nine windows of four views, for each flight of a year."""
    asked = np.sort(chance.integers(0, YEAR_US // MINUTE_US, FLIGHTS)) * MINUTE_US
    keys = {
        "origin": pa.array(chance.choice(["EWR", "JFK", "LGA"], FLIGHTS)),
        "carrier": pa.array(chance.choice([f"C{i}" for i in range(16)], FLIGHTS)),
        "tailnum": pa.array(chance.choice([f"N{i}" for i in range(4000)], FLIGHTS)),
    }
    spine = pa.table({**keys, "asked": instants(asked)})
    known = instants(asked + chance.integers(1, 300, FLIGHTS) * MINUTE_US)
    view = pa.table({**keys, "known": known, "delay": chance.integers(-20, 300, FLIGHTS)})
    begun = time.perf_counter()
    for entity, spans in VIEWS:
        asked_for: dict[str, Window] = {f"mean_{span}": col("delay").mean(span) for span in spans}
        asked_for |= {f"count_{span}": col("delay").count(span) for span in spans}
        join_windows(spine, view, WindowJoin(keys=entity, time="asked", known_at="known", windows=asked_for))
    return round(time.perf_counter() - begun, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--peer", action="store_true")
    given = parser.parse_args()
    chance = np.random.default_rng(0)
    found: dict[str, object] = {"limits": LIMITS, "load": os.getloadavg()[0], "windows_s": windows(chance)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_view(folder / "view", given.rows, 100_000, chance)
        for label, rows in (("100k", 100_000), ("1m", 1_000_000)):
            write_spine(folder / label, rows, 100_000, chance)
            found[f"join_{label}"] = join(folder, label)
            if given.peer:
                found[f"polars_join_asof_{label}"] = peer(folder, label)
    json.dump(found, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
