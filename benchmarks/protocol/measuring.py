"""What is measured of a server, and how: wall times, processor time, memory."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from protocol.line import MB, Line

__all__ = [
    "QUICK",
    "Figures",
    "Server",
    "Sizes",
    "Spent",
    "cpu_s",
    "crowd",
    "family",
    "memory_mb",
    "peak_mb",
    "repeated",
    "spread",
    "with_cpu",
]

Figures = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is done of each thing."""

    seconds: float = 10.0
    points: int = 100_000
    seeded: tuple[int, ...] = (10_000, 50_000, 1_000_000)
    artifact_mb: int = 200
    versions: int = 1000
    models: int = 10_000
    repeats: int = 20


QUICK = Sizes(seconds=1.5, points=5_000, seeded=(1_000,), artifact_mb=20, versions=50, models=200, repeats=5)


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server under test; `pids` and `database` are there when we started it.

    Of several processes that serve one store each has its address, which lines take in turn; `pids` are those
    and the store's own, which is `keeper`. `database` is a file of SQLite or an address of PostgreSQL.
    """

    urls: tuple[str, ...]
    name: str
    started_s: float = 0.0
    pids: tuple[int, ...] = ()
    keeper: int | None = None
    database: Path | str | None = None
    peer: bool = False
    tables: Mapping[str, str] = field(default_factory=dict)
    acknowledged: bool = False
    turn: Iterator[int] = field(default_factory=count)

    def line(self) -> Line:
        """A connection of one's own."""
        return Line(self.urls[next(self.turn) % len(self.urls)], acknowledged=self.acknowledged)


def family(server: Server) -> list[psutil.Process]:
    """Every process of a server that we started."""
    parents = [psutil.Process(pid) for pid in server.pids]
    return [each for parent in parents for each in (parent, *parent.children(recursive=True))]


class Spent(NamedTuple):
    """Processor seconds so far."""

    server: float
    """of the processes that serve"""
    keeper: float
    """of the database, where that has processes of its own"""


def cpu_s(server: Server) -> Spent | None:
    """What the whole tree has spent, with those of its children that ended; None unless we started it."""
    if not server.pids:
        return None
    spent = {pid: _of_tree(pid) for pid in server.pids}
    keeper = 0.0 if server.keeper is None else spent.pop(server.keeper)
    return Spent(sum(spent.values()), keeper)


def _of_tree(pid: int) -> float:
    parent = psutil.Process(pid)
    own = parent.cpu_times()
    total = own.user + own.system + own.children_user + own.children_system
    for process in parent.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def memory_mb(server: Server) -> float:
    """Resident megabytes of all its processes; 0 for a server that we did not start."""
    return sum(process.memory_info().rss for process in family(server)) / MB


@contextlib.contextmanager
def peak_mb(server: Server, every_s: float = 0.02) -> Iterator[list[float]]:
    """The most resident megabytes while the block runs, as the one item of a list once it ended."""
    told, ends = [memory_mb(server)], threading.Event()

    def look() -> None:
        while not ends.wait(every_s):
            told[0] = max(told[0], memory_mb(server))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield told
    finally:
        ends.set()
        looking.join()


def spread(times: Sequence[float]) -> Figures:
    ordered = sorted(times)
    middle = 1000 * statistics.median(ordered)
    return {"p50_ms": round(middle, 3), "p95_ms": round(1000 * ordered[int(0.95 * (len(ordered) - 1))], 3)}


def with_cpu(server: Server, before: Spent | None, calls: int) -> Figures:
    """Processor time a call: all of it, and that of the serving processes where a database has its own."""
    after = cpu_s(server)
    if after is None or before is None:
        return {}
    own, kept = after.server - before.server, after.keeper - before.keeper
    told = {"cpu_ms": round(1000 * (own + kept) / calls, 3)}
    return told if server.keeper is None else {**told, "server_cpu_ms": round(1000 * own / calls, 3)}


def crowd(server: Server, clients: int, seconds: float, work: Callable[[Line, int, int], object]) -> Figures:
    """`work(line, client, count)` again and again by several clients at once."""
    times: list[list[float]] = [[] for _ in range(clients)]
    faults: list[Exception] = []
    lines = [server.line() for _ in range(clients)]
    until = time.perf_counter() + seconds

    def one(client: int) -> None:
        try:
            while (begun := time.perf_counter()) < until:
                work(lines[client], client, len(times[client]))
                times[client].append(time.perf_counter() - begun)
        except (OSError, RuntimeError, ValueError) as fault:
            faults.append(fault)

    threads = [threading.Thread(target=one, args=(client,)) for client in range(clients)]
    before, begun = cpu_s(server), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.perf_counter() - begun
    for line in lines:
        line.close()
    if faults:
        raise faults[0]
    calls = [each for client in times for each in client]
    told = {"calls": len(calls), "per_s": round(len(calls) / wall, 1), **spread(calls)}
    return {**told, **with_cpu(server, before, len(calls))}


def repeated(server: Server, repeats: int, call: Callable[[], object], most_s: float = 20.0) -> Figures:
    """One caller's times; a slow call is not repeated for minutes."""
    times: list[float] = []
    before = cpu_s(server)
    while len(times) < repeats and sum(times) < most_s:
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return {"calls": len(times), **spread(times), **with_cpu(server, before, len(times))}
