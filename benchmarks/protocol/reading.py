"""Histories, first pages, deep pages and walks."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from protocol.line import PREFIX, Line
from protocol.measuring import Figures, Server, Sizes, cpu_s, repeated, with_cpu
from protocol.seeding import ACC, LOSS, MANY, MODEL, START, seed_bulk
from protocol.servers import ours
from protocol.writing import experiment, new_run, point

__all__ = [
    "history",
    "search",
]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def history(server: Server, sizes: Sizes) -> Figures:
    """A long curve, whole and sampled."""
    line = server.line()
    run = new_run(line, experiment(line))
    for first in range(0, sizes.points, 1000):
        points = [point("loss", 1 / (1 + step), step) for step in range(first, first + 1000)]
        line.call("POST", "runs/log-batch", {"run_id": run, "metrics": points})
    whole = urlencode({"run_id": run, "metric_key": "loss", "max_results": sizes.points})
    request = line.head("GET", f"{PREFIX}metrics/get-history?{whole}", 0)
    some = {"run_ids": run, "metric_key": "loss", "max_results": 320}
    size = line.drained(request)
    told = {
        "history whole": {**repeated(server, 3, lambda: line.drained(request)), "bytes": size},
        "history, 320 points": repeated(
            server, sizes.repeats, lambda: line.get("metrics/get-history-bulk-interval", **some)
        ),
    }
    line.close()
    return told


def search(server: Server, sizes: Sizes) -> Figures:
    """First pages, deep pages and a walk, over runs that were seeded in bulk."""
    told: Figures = {}
    for count in sizes.seeded:
        if server.database is None or (server.peer and count > min(sizes.seeded)):
            continue
        begun = time.perf_counter()
        with _holding(server, count) as (holder, home):
            line = holder.line()
            told |= first_pages(holder, sizes, line, home, count)
            if count == min(sizes.seeded):
                told |= deep_pages(holder, sizes, line, home, count)
            if count > MANY and count == max(sizes.seeded):
                told |= traps(holder, sizes, line, home, count)
            line.close()
        print(f"{server.name}: {count} runs searched, {time.perf_counter() - begun:.0f} s", file=sys.stderr)
    return told


@contextlib.contextmanager
def _holding(server: Server, count: int) -> Iterator[tuple[Server, str]]:
    """A server with so many seeded runs, and their experiment: of many, one on a store that is made once."""
    if count <= MANY or isinstance(server.database, str):
        line = server.line()
        yield server, seeded(server, line, count)
        line.close()
        return
    folder = _kept_store(count)
    is_new = not (folder / "seeded").exists()
    if is_new:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    with ours(folder=folder) as holder:
        line = holder.line()
        if is_new:
            (folder / "seeded").write_text(seeded(holder, line, count))
        line.close()
        yield holder, (folder / "seeded").read_text()


def _kept_store(count: int) -> Path:
    """Where a store of this many runs is kept between measurements: in the user's cache, by its tables."""
    sources = [HERE / "seeding.py", *sorted((ROOT / "src/loopwright/adapters/sql/migrations").rglob("*.py"))]
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "loopwright" / "benchmarks" / f"runs-{count}-{digest}"


def traps(server: Server, sizes: Sizes, line: Line, home: str, count: int) -> Figures:
    """Questions that a walk along the order, or one along the filter, would answer late."""
    rare = new_run(line, home)
    line.call("POST", "runs/log-metric", {"run_id": rare, **point("rare", 1.0, 0)})
    asked = {
        "nothing passes": ("metrics.acc > 2", "metrics.loss"),
        "no such text": ("params.model = 'none'", "metrics.loss"),
        "the far end": ("metrics.acc < 0.001", "metrics.acc DESC"),
        "few of another order": ("metrics.acc > 0.999", "metrics.loss"),
        "two halves, few of both": ("metrics.acc > 0.99 and metrics.loss < 0.001", "start_time DESC"),
        "two tenths, none of both": ("metrics.acc > 0.9 and params.model ILIKE 'x%'", "metrics.loss"),
        "ILIKE": ("params.model ILIKE 'M3'", "metrics.loss"),
        "ILIKE, nothing": ("params.model ILIKE '%none%'", "metrics.loss"),
        "a metric that one run has": ("", "metrics.rare"),
        "all the same": ("", "params.lr"),
    }
    told = {}
    for name, (text, order) in asked.items():
        body = {"experiment_ids": [home], "max_results": 100, "filter": text, "order_by": [order]}
        told[f"trap: {name}, {count} runs"] = repeated(
            server, sizes.repeats, lambda body=body: line.call("POST", "runs/search", body), most_s=5.0
        )
    return told


def first_pages(server: Server, sizes: Sizes, line: Line, home: str, count: int) -> Figures:
    asked = {
        "filter": {"filter": "metrics.acc > 0.5 and params.model = 'm3'", "order_by": ["metrics.acc DESC"]},
        "order": {"order_by": ["metrics.loss ASC"]},
    }
    told = {}
    for name, query in asked.items():
        body = {"experiment_ids": [home], "max_results": 100, **query}
        found = line.call("POST", "runs/search", body)
        assert 0 < len(found["runs"]) <= 100, (name, found)
        told[f"search by {name}, {count} runs"] = repeated(
            server, sizes.repeats, lambda body=body: line.call("POST", "runs/search", body)
        )
    return told


def deep_pages(server: Server, sizes: Sizes, line: Line, home: str, count: int) -> Figures:
    body: dict[str, Any] = {"experiment_ids": [home], "max_results": 100}
    first = repeated(server, sizes.repeats, lambda: line.call("POST", "runs/search", body))
    deep, seen, begun = body, 0, time.perf_counter()
    before = cpu_s(server)
    walk: dict[str, Any] = {**body, "max_results": 1000}
    while True:
        page = line.call("POST", "runs/search", walk)
        seen += len(page.get("runs", []))
        if not page.get("next_page_token"):
            break
        deep = {**body, "page_token": page["next_page_token"]}
        walk = {**walk, "page_token": page["next_page_token"]}
    wall = time.perf_counter() - begun
    assert seen == count, (seen, count)
    told = {"runs_per_s": round(seen / wall, 1), **with_cpu(server, before, seen)}
    last = repeated(server, sizes.repeats, lambda: line.call("POST", "runs/search", deep))
    return {"page, first": first, "page, deep": last, f"walk of {count} runs": told}


def seeded(server: Server, line: Line, count: int) -> str:
    """A new experiment with so many runs: one made by calls, the others written after its pattern."""
    home = experiment(line)
    run = new_run(line, home)
    line.call("POST", "runs/log-batch", {
        "run_id": run,
        "params": [{"key": "model", "value": MODEL}, {"key": "lr", "value": "0.1"}],
        "metrics": [point("acc", ACC, 0), point("loss", LOSS, 0)],
    })  # fmt: skip
    line.call("POST", "runs/update", {"run_id": run, "status": "FINISHED", "end_time": START + 5})
    assert server.database is not None
    seed_bulk(server.database, server.tables, run, count - 1)
    return home
