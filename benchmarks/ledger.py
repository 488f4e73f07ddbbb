"""What the ledger costs: units of work alone and together, points of metrics, reads, opening, verification.

Every unit writes a line of the journal and a document, and is on disk when it returns. `raw` is what SQLite
itself takes for a commit of one row on this disk at this moment: the floor of a lone unit.

    python benchmarks/ledger.py [--units N] [--folder DIR] [--url postgresql://...]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sqlite3
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loopwright.adapters.sql import open_ledger
from loopwright.core.nouns import MetricPoint
from loopwright.engine.journal import verify_ledger
from loopwright.ports.ledger import Ledger, Transaction
from loopwright.testing import ledger_values as make
from loopwright.testing.ledger_values import write_each


def microseconds(action: Callable[[int], object], times: int) -> dict[str, float]:
    """Median, 99th percentile and mean of an action."""
    taken = []
    for number in range(times):
        started = time.perf_counter_ns()
        action(number)
        taken.append((time.perf_counter_ns() - started) / 1000)
    taken.sort()
    return {
        "p50_us": round(statistics.median(taken), 1),
        "p99_us": round(taken[int(0.99 * (len(taken) - 1))], 1),
        "mean_us": round(statistics.fmean(taken), 1),
    }


def unit(ledger: Ledger, name: str) -> None:
    """One line of the journal and one document."""

    def work(tx: Transaction) -> None:
        tx.journal.append(make.event(name))
        tx.documents.put("default", "bench", name, {"n": 1})

    ledger.write(work)


def raw(folder: Path, times: int) -> dict[str, float]:
    """A commit of one row by the driver alone, with the same settings."""
    with contextlib.closing(sqlite3.connect(folder / "raw.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE t (a TEXT)")

        def commit(number: int) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO t VALUES (?)", (f"row {number}",))
            connection.execute("COMMIT")

        return microseconds(commit, times)


def together(ledger: Ledger, threads: int, units: int) -> dict[str, float]:
    """Units of several threads at once: how many a second in all."""
    each = units // threads

    def act(thread: int) -> None:
        for number in range(each):
            unit(ledger, f"{threads}.{thread}.{number}")

    started = time.perf_counter()
    working = [threading.Thread(target=act, args=(number,)) for number in range(threads)]
    for thread in working:
        thread.start()
    for thread in working:
        thread.join()
    taken = time.perf_counter() - started
    return {
        "units_per_s": round(each * threads / taken),
        "us_per_unit": round(taken / each / threads * 1e6, 1),
    }


def points(ledger: Ledger, batch: int, batches: int) -> dict[str, float]:
    """Points of a run's metrics in batches over ten keys."""
    ledger.write(lambda tx: tx.runs.add(make.run(f"run{batch}")))
    started = time.perf_counter()
    for number in range(batches):
        sent = [
            MetricPoint(key=f"k{n % 10}", value=n * 0.5, step=number * batch + n, at_us=n)
            for n in range(batch)
        ]
        write_each(ledger, lambda tx, part: tx.metrics.log(f"run{batch}", part), [sent])
    return {"points_per_s": round(batch * batches / (time.perf_counter() - started))}


def read(ledger: Ledger) -> Callable[[int], object]:
    """One snapshot and one query."""

    def action(number: int) -> object:
        with ledger.read() as tx:
            return tx.documents.get("default", "bench", f"alone.{number}")

    return action


def measure(url: str, folder: Path, units: int) -> dict[str, Any]:
    """Everything on one store."""
    started = time.perf_counter()
    ledger = open_ledger(url)
    created = time.perf_counter() - started
    ledger.close()
    started = time.perf_counter()
    ledger = open_ledger(url)
    opened = time.perf_counter() - started
    found: dict[str, Any] = {"create_ms": round(created * 1000, 1), "open_ms": round(opened * 1000, 1)}
    if url.startswith("sqlite"):
        found["raw_commit"] = raw(folder, units)
    found["unit"] = microseconds(lambda number: unit(ledger, f"alone.{number}"), units)
    for threads in (1, 8, 32):
        found[f"threads_{threads}"] = together(ledger, threads, units)
    found["read"] = microseconds(read(ledger), units)
    found["points_of_1"] = points(ledger, 1, min(units, 500))
    found["points_of_1000"] = points(ledger, 1000, 50)
    started = time.perf_counter()
    checked = verify_ledger(ledger)
    found["verify_lines_per_s"] = round(checked.lines / (time.perf_counter() - started))
    found["journal_ok"] = checked.ok
    started = time.perf_counter()
    found["dump_rows_per_s"] = round(sum(1 for _ in ledger.dump()) / (time.perf_counter() - started))
    ledger.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=2000)
    parser.add_argument("--folder", default=None, help="where the files are; a temporary folder by default")
    parser.add_argument("--url", default=None, help="another store: postgresql://...?schema=an_empty_one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as made:
        url = given.url or f"sqlite:///{made}/ledger.db"
        print(json.dumps(measure(url, Path(made), given.units), indent=2))


if __name__ == "__main__":
    main()
