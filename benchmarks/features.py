"""Joins as known at an instant, windows, and vectors: whole processes and warm calls. Prints JSON.

`--peer` runs the bare as-of join of Polars (event time alone: it leaks what was not known yet) on the
same files, which is about as fast as a machine can do it; and Feast, in an environment that is made in the
user's cache at its first use. `--no-large` leaves out the join of a million rows.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from feast_side import by_feast

from loopwright.adapters.online import SqliteOnline
from loopwright.adapters.tables.windows import join_windows
from loopwright.core.expressions import Window, col
from loopwright.ports.tables import WindowJoin

YEAR_US = 365 * 86_400 * 1_000_000
MINUTE_US = 60_000_000
FLIGHTS = 336_776
LIMITS = {
    "join_100k_s": 2.5,
    "join_100k_mb": 1500,
    "join_1m_s": 4.0,
    "join_1m_mb": 2000,
    "windows_s": 3.0,
    "materialize_s": 5.0,
    "materialize_file_mb": 15,
    "online_in_process_p50_ms": [0.03, 0.3],
    "online_http_p50_ms": [1.0, 2.2],
}
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


PREPARE = """
import sys, pyarrow.parquet as pq, loopwright as lw
from loopwright.core.schema import Column, ColumnType, Schema
from loopwright.data.verbs import append
from loopwright.features.verbs import define_service, define_view
names = tuple(f"f{i}" for i in range(10))
with lw.Workspace.open(sys.argv[1]) as ws:
    ctx = ws.context()
    append(ctx, "history", pq.read_table(sys.argv[2]), event_time="event", known_at="known")
    times = dict(event_time="event", known_at="known", order="seq")
    define_view(ctx, lw.FeatureView(name="v", entity=("k",), source="history", latest=names, **times))
    outputs = tuple(lw.Output(name=name, expr=lw.col(f"v.{name}")) for name in names)
    request = Schema(columns=(Column(name="k", type=ColumnType.INT),))
    look = (lw.Lookup(view="v"),)
    define_service(ctx, lw.FeatureService(name="s", request=request, lookups=look, outputs=outputs))
"""
MATERIALIZE = """
import sys, loopwright as lw
with lw.Workspace.open(sys.argv[1]) as ws:
    ws.call("features.materialize", name="v", until="1971-01-03T00:00:00Z")
"""
AT_US = 366 * 86_400 * 1_000_000


def materialize(folder: Path) -> dict[str, float]:
    """A whole process that takes the newest row of each key into a new store."""
    home = str(folder / ".loopwright")
    subprocess.run([sys.executable, "-c", PREPARE, home, str(folder / "view")], check=True)
    found = process([sys.executable, "-c", MATERIALIZE, home])
    found["file_mb"] = round(sum(file.stat().st_size for file in Path(home).glob("online.db*")) / 1e6, 2)
    return found


def percentiles(ask: Callable[[list[int]], object], chance: np.random.Generator) -> dict[str, float]:
    """Milliseconds of a call for 1 and for 100 keys."""
    found = {}
    for keys, calls in ((1, 3000), (100, 300)):
        times = []
        for _ in range(calls):
            asked = chance.integers(0, 100_000, keys).tolist()
            begun = time.perf_counter()
            ask(asked)
            times.append((time.perf_counter() - begun) * 1e3)
        times.sort()
        found |= {
            f"{keys}_p50_ms": round(times[calls // 2], 4),
            f"{keys}_p99_ms": round(times[calls * 99 // 100], 4),
        }
    return found


def in_process(folder: Path, chance: np.random.Generator) -> dict[str, float]:
    store = SqliteOnline(folder / ".loopwright" / "online.db")
    try:
        return percentiles(lambda keys: store.read("v@1", [(key,) for key in keys], AT_US), chance)
    finally:
        store.close()


def over_http(folder: Path, chance: np.random.Generator) -> dict[str, float]:
    """Lookups on a server that was started here and is ended here."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = ["--workspace", str(folder / ".loopwright"), "--port", str(port)]
    command = [sys.executable, "-m", "loopwright", "up", *place]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=30) as client:
            by_httpx = percentiles(asker(client), chance)
        with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            by_stdlib = percentiles(lambda keys: asked_plainly(connection, keys), chance)
            return {**by_httpx, **{f"http.client_{key}": value for key, value in by_stdlib.items()}}
    finally:
        server.terminate()
        server.wait(30)


def asked_plainly(connection: HTTPConnection, keys: list[int]) -> object:
    """The same by the standard library's client, JSON written and read, to show what the client takes."""
    body = json.dumps({"rows": [{"k": key} for key in keys], "at": "1971-01-02T12:00:00Z"})
    place = "/api/v1/features/services/s/lookup"
    connection.request("POST", place, body, {"content-type": "application/json"})
    reply = connection.getresponse()
    told = reply.read()
    if reply.status != HTTPStatus.OK:
        raise RuntimeError(told.decode())
    return json.loads(told)


def asker(client: httpx.Client) -> Callable[[list[int]], object]:
    """What looks keys up, once the server answers."""

    def ask(keys: list[int]) -> object:
        body = {"rows": [{"k": key} for key in keys], "at": "1971-01-02T12:00:00Z"}
        reply = client.post("/features/services/s/lookup", json=body)
        reply.raise_for_status()
        return reply.json()

    for _ in range(200):
        try:
            ask([1])
            break
        except httpx.TransportError:
            time.sleep(0.1)
    return ask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--no-large", action="store_true")
    given = parser.parse_args()
    chance = np.random.default_rng(0)
    found: dict[str, object] = {"limits": LIMITS, "load": os.getloadavg()[0], "windows_s": windows(chance)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_view(folder / "view", given.rows, 100_000, chance)
        joins = (("100k", 100_000), *(() if given.no_large else (("1m", 1_000_000),)))
        for label, rows in joins:
            write_spine(folder / label, rows, 100_000, chance)
            found[f"join_{label}"] = join(folder, label)
            if given.peer:
                found[f"polars_join_asof_{label}"] = peer(folder, label)
        found["materialize"] = materialize(folder)
        found["online_in_process"] = in_process(folder, chance)
        found["online_http"] = over_http(folder, chance)
        if given.peer:
            works = (*(f"join_{label}" for label, _ in joins), "materialize", "online")
            found["feast"] = {work: by_feast(folder, work) for work in works}
    json.dump(found, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
