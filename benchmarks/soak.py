"""Half an hour of mixed work by sixteen clients: does memory stay flat, and is all of it kept?

Each client holds sessions as MLflow's clients do: runs with params, points one by one and in batches, files,
versions with aliases, searches and histories. The server's memory, handles and threads are sampled; after a
warm-up (a fifth of the time) a line is put through memory by least squares. At the end every acknowledged run
is listed, a sample is read field by field, and once the server has ended `loopwright journal verify` and
`loopwright doctor` look the store over. Prints JSON; exits with 1 on any error.

    python benchmarks/soak.py [--minutes 30] [--clients 16] [--rate 240] [--sample 200]
    python benchmarks/soak.py --store postgresql --processes 2

On PostgreSQL `memory_mb` is that of our processes together; the database's own is told beside it, its shared
pages counted once.
`--rate` bounds the sessions begun in a minute by all clients together, so that a machine can do other work.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from protocol.line import MB
from protocol.measuring import Server, family, memory_mb
from protocol.servers import ours, postgres
from protocol.sessions import Sessions

WARM_UP = 0.2
SAMPLES = 360
FAULTS = (OSError, RuntimeError, ValueError, KeyError, AssertionError)


class Sample(NamedTuple):
    """The server at one moment."""

    at_s: float
    memory_mb: float
    handles: int
    threads: int
    database_mb: float


def sampled(server: Server, at_s: float) -> Sample:
    own, database = (
        replace(server, pids=server.pids[: len(server.urls)], keeper=None),
        server.pids[len(server.urls) :],
    )
    processes = family(own)
    return Sample(
        at_s,
        memory_mb(own),
        sum(each.num_fds() for each in processes),
        sum(each.num_threads() for each in processes),
        proportional_mb(replace(server, pids=database, keeper=None)),
    )


def proportional_mb(server: Server) -> float:
    """Megabytes of all its processes, a page that several share counted once; 0 without processes."""
    total = 0
    for process in family(server):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total / MB


def worked(sessions: Sessions, until: float, pause_s: float, faults: list[str]) -> None:
    """Sessions until the time is over; each begins `pause_s` after the one before at the earliest."""
    begins = time.monotonic()
    while time.monotonic() < until:
        try:
            sessions.hold()
        except FAULTS as fault:
            faults.append(f"client {sessions.client}: {type(fault).__name__}: {fault}")
            return
        begins = max(begins + pause_s, time.monotonic() - pause_s)
        time.sleep(max(0.0, min(begins, until) - time.monotonic()))


def watched(server: Server, threads: Sequence[threading.Thread], every_s: float) -> list[Sample]:
    """Samples until all threads have ended."""
    begun, samples = time.monotonic(), list[Sample]()
    while any(thread.is_alive() for thread in threads):
        samples.append(sampled(server, time.monotonic() - begun))
        next((thread for thread in threads if thread.is_alive()), threads[0]).join(every_s)
    return samples


def told_of(samples: Sequence[Sample], length_s: float) -> dict[str, Any]:
    """Memory, handles and threads after the warm-up; the slope in MB an hour."""
    late = [each for each in samples if each.at_s >= WARM_UP * length_s] or list(samples)
    memory = [each.memory_mb for each in late]
    slope = statistics.linear_regression([each.at_s for each in late], memory).slope if len(late) > 1 else 0.0
    return {
        "memory_mb": {
            "first": round(samples[0].memory_mb, 1),
            "after_warm_up": round(memory[0], 1),
            "median": round(statistics.median(memory), 1),
            "last": round(memory[-1], 1),
            "peak": round(max(each.memory_mb for each in samples), 1),
            "slope_per_hour": round(3600 * slope, 2),
        },
        "database_mb": ends([round(each.database_mb) for each in late]),
        "handles": ends([each.handles for each in late]),
        "threads": ends([each.threads for each in late]),
        "by_minute_mb": by_minute(samples),
    }


def ends(counts: Sequence[int]) -> dict[str, int]:
    return {"after_warm_up": counts[0], "last": counts[-1], "most": max(counts)}


def by_minute(samples: Sequence[Sample]) -> list[float]:
    minutes: dict[int, list[float]] = {}
    for each in samples:
        minutes.setdefault(int(each.at_s // 60), []).append(each.memory_mb)
    return [round(statistics.median(values), 1) for _, values in sorted(minutes.items())]


def soaked(server: Server, given: argparse.Namespace) -> dict[str, Any]:
    """The work, what the server was like under it, and whether it kept everything."""
    length_s, faults = 60 * given.minutes, list[str]()
    crowd = [Sessions(server.line(), client) for client in range(given.clients)]
    until = time.monotonic() + length_s
    pause_s = 60 * given.clients / given.rate if given.rate else 0.0
    threads = [threading.Thread(target=worked, args=(each, until, pause_s, faults)) for each in crowd]
    for thread in threads:
        thread.start()
    samples = watched(server, threads, max(0.5, length_s / SAMPLES))
    runs = 0
    for each in crowd:
        try:
            runs += each.verify(given.sample // given.clients + 1)
        except FAULTS as fault:
            faults.append(f"client {each.client}, verifying: {type(fault).__name__}: {fault}")
    calls = sum((each.calls for each in crowd), Counter[str]())
    return {
        "minutes": given.minutes,
        "clients": given.clients,
        "runs": runs,
        "calls": calls.total(),
        "versions": sum(each.versions for each in crowd),
        "errors": faults[:20],
        **told_of(samples, length_s),
        "by_call": dict(calls.most_common()),
    }


def looked_over(workspace: Path, database: str) -> dict[str, bool]:
    """Whether the stopped store is whole: the chain of the journal, and the file itself."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("LOOPWRIGHT_")}
    kept |= {"LOOPWRIGHT_DATABASE": database} if database else {}
    told = {}
    for name, words in {"journal": ["journal", "verify"], "store": ["doctor"]}.items():
        command = [sys.executable, "-m", "loopwright", *words]
        done = subprocess.run(command, cwd=workspace, env=kept, capture_output=True, text=True, check=False)
        told[name] = done.returncode == 0
        if done.returncode:
            print(done.stdout, done.stderr, file=sys.stderr)
    return told


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rate", type=float, default=0.0, help="sessions a minute in all; 0: no bound")
    parser.add_argument("--sample", type=int, default=200, help="runs read field by field at the end")
    parser.add_argument("--store", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--processes", type=int, default=1, help="more than one on PostgreSQL alone")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="loopwright-soak-")))
        keeper = stack.enter_context(postgres()) if given.store == "postgresql" else None
        with ours(folder=folder, store=given.store, processes=given.processes, keeper=keeper) as server:
            told = soaked(server, given)
        told = {"load": os.getloadavg(), **told, "whole": looked_over(folder, keeper[0] if keeper else "")}
    print(json.dumps(told, indent=2))
    return 0 if not told["errors"] and all(told["whole"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
