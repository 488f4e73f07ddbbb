"""What tracking and registry cost over MLflow's protocol: ours beside a real `mlflow server`, in one run.

The same requests go to both, one server at a time, each on SQLite in a folder of its own, or each on a
PostgreSQL of its own; MLflow has two workers and its job runner off. Requests go over kept connections by
bare sockets, so that the client's own cost does not hide the server's. Wall times depend on what else the
machine does; `cpu_ms`, the processor time of the server's whole process tree per call, holds on a busy one
too. On PostgreSQL `cpu_ms` counts the database's processes as well, `server_cpu_ms` those that serve alone.
Prints JSON: figures of each server, and `ratios`, in which more than 1 is in our favour. Sizes to search are
seeded in bulk, into the database itself; MLflow gets the smallest of them alone. A store of many runs is
made once and kept in the user's cache. PostgreSQL stands as it comes, and its time and memory are counted
with each server's. The whole takes about ten minutes; a table of it goes to standard error.

MLflow's workers leave Nagle's algorithm on, so a reply in two parts waits 40 ms for its caller's late
acknowledgement, whatever the client; `--acknowledge` answers each packet at once and takes that away.

    python benchmarks/tracking.py [--quick] [--only ROW,ROW] [--runs 10000,50000,1000000]
    python benchmarks/tracking.py --without mlflow
    python benchmarks/tracking.py --store postgresql --processes 2 --runs 10000,50000
    python benchmarks/tracking.py --only runs --turns 8 --seconds 2    # where a machine's speed drifts
    python benchmarks/tracking.py --uri http://127.0.0.1:5000    # a server that runs already; no seeding
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import partial

from protocol.measuring import QUICK, Figures, Server, Sizes
from protocol.reading import history, search
from protocol.servers import ours, theirs
from protocol.storing import artifacts, models, registry
from protocol.writing import batches, rest, runs

ROWS: dict[str, Callable[[Server, Sizes], Figures]] = {
    "rest": rest,
    "runs": runs,
    "batches": batches,
    "history": history,
    "search": search,
    "artifacts": artifacts,
    "registry": registry,
    "models": models,
}
SHOWN = (
    "start_s",
    "processes",
    "per_s",
    "runs_per_s",
    "metrics_per_s",
    "mb_per_s",
    "p50_ms",
    "cpu_ms",
    "server_cpu_ms",
    "memory_mb",
)
BETTER_HIGH = re.compile(r"per_s$")
COMPARED = re.compile(r"per_s$|^(p50_ms|cpu_ms|server_cpu_ms|start_s|processes|memory_mb)$")


def measured(server: Server, sizes: Sizes, rows: Iterable[str]) -> Figures:
    """Figures by piece of work."""
    told: Figures = {}
    for name in rows:
        begun = time.perf_counter()
        told |= ROWS[name](server, sizes)
        print(f"{server.name}: {name}, {time.perf_counter() - begun:.0f} s", file=sys.stderr)
    return told


def in_turns(
    starts: dict[str, Callable[[], AbstractContextManager[Server]]],
    sizes: Sizes,
    rows: Iterable[str],
    turns: int,
) -> Figures:
    """Both servers up at once, measured in turns: medians, so that a machine that slows down slows both."""
    with ExitStack() as stack:
        servers = {name: stack.enter_context(start()) for name, start in starts.items()}
        rounds = [
            {name: measured(server, sizes, rows) for name, server in servers.items()} for _ in range(turns)
        ]
        return {
            name: {"server": server.name, "figures": medians([each[name] for each in rounds])}
            for name, server in servers.items()
        }


def medians(told: Sequence[Figures]) -> Figures:
    """Of each figure the median of several times."""
    return {
        work: {figure: round(statistics.median(each[work][figure] for each in told), 3) for figure in figures}
        for work, figures in told[0].items()
    }


def ratios(mine: Figures, other: Figures) -> Figures:
    """How many times better ours is, for each figure that both have."""
    found: Figures = {}
    for name in mine.keys() & other.keys():
        for figure in mine[name].keys() & other[name].keys():
            one, two = mine[name][figure], other[name][figure]
            if COMPARED.search(figure) and one > 0 and two > 0:
                better = one / two if BETTER_HIGH.search(figure) else two / one
                found.setdefault(name, {})[figure] = round(better, 2)
    return dict(sorted(found.items()))


def table(told: Figures) -> str:
    """What was measured, a line a figure: ours, MLflow's, and how many times better ours is."""
    mine, other = (told.get(name, {}).get("figures", {}) for name in ("ours", "mlflow"))
    better = told.get("ratios", {})
    lines = ["| work | figure | ours | MLflow | better |", "|---|---|---|---|---|"]
    for work in {**mine, **other}:
        for figure in SHOWN:
            one, two = mine.get(work, {}).get(figure), other.get(work, {}).get(figure)
            if one is not None or two is not None:
                times = better.get(work, {}).get(figure)
                cells = [work, figure, one, two, None if times is None else f"{times} x"]
                lines.append("| " + " | ".join("-" if cell is None else str(cell) for cell in cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--uri", help="measure a server that runs already")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--only", help=f"some of {', '.join(ROWS)}")
    parser.add_argument("--runs", help="sizes to search, by commas; MLflow gets the smallest alone")
    parser.add_argument("--seconds", type=float, help="length of each repeated piece of work")
    parser.add_argument("--without", choices=["ours", "mlflow"], help="leave one server out")
    parser.add_argument("--store", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--processes", type=int, default=1, help="of ours; more than one on PostgreSQL alone")
    parser.add_argument("--turns", type=int, default=1, help="so often in turns, both servers up; medians")
    parser.add_argument("--acknowledge", action="store_true", help="acknowledge packets at once (Linux)")
    given = parser.parse_args()
    sizes = QUICK if given.quick else Sizes()
    if given.runs:
        sizes = replace(sizes, seeded=tuple(int(count) for count in given.runs.split(",")))
    if given.seconds:
        sizes = replace(sizes, seconds=given.seconds)
    rows = given.only.split(",") if given.only else list(ROWS)
    if given.uri:
        print(
            json.dumps(
                measured(
                    Server(urls=(given.uri,), name=given.uri, acknowledged=given.acknowledge), sizes, rows
                ),
                indent=2,
            )
        )
        return
    own = partial(ours, store=given.store, processes=given.processes)
    peer = partial(theirs, store=given.store)
    starts = {name: start for name, start in {"ours": own, "mlflow": peer}.items() if name != given.without}
    told = in_turns(starts, sizes, rows, given.turns) if given.turns > 1 else Figures()
    for name, start in starts.items() if not told else ():
        with start() as server:
            server = replace(server, acknowledged=given.acknowledge)
            told[name] = {"server": server.name, "figures": measured(server, sizes, rows)}
    if len(told) == 2:
        told["ratios"] = ratios(told["ours"]["figures"], told["mlflow"]["figures"])
    print(json.dumps({"load": os.getloadavg(), **told}, indent=2))
    print(table(told), file=sys.stderr)


if __name__ == "__main__":
    main()
