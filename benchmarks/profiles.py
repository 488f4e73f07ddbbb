"""The page of a profile of 100,000 rows of 30 columns, as whole processes, beside a reporter. Prints JSON.

Seconds, seconds of processors, and the greatest memory (resident) of each process.

`--peer PYTHON` names the Python of an environment with `fg-data-profiling`, which ydata-profiling became; it
is asked for its minimal report. Each figure is the median of `--rounds`, taken in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PEER = """
import sys, warnings
warnings.filterwarnings("ignore")
import pandas as pd
from data_profiling import ProfileReport
frame = pd.read_parquet(sys.argv[1])
ProfileReport(frame, minimal=True, progress_bar=False).to_file(sys.argv[2])
"""


def make_table(rows: int) -> pa.Table:
    drawn = np.random.default_rng(0)
    columns: dict[str, object] = {f"number {n}": drawn.normal(n, 1 + n, rows) for n in range(18)}
    columns |= {f"count {n}": drawn.integers(0, 10 ** (n + 1), rows) for n in range(4)}
    for n in range(5):
        levels = np.array([f"level {each}" for each in range(5 * (n + 1))])
        columns[f"kind {n}"] = levels[drawn.integers(0, len(levels), rows)]
    columns["id"] = np.array([f"id-{each:08d}" for each in range(rows)])
    instants = (1.6e15 + np.sort(drawn.random(rows)) * 1e14).astype("int64")
    columns["at"] = pa.array(instants, pa.timestamp("us", "UTC"))
    columns["gap"] = pa.array([None if each < 0.4 else float(each) for each in drawn.random(rows)])
    return pa.table(columns)


def timed(command: list[str]) -> dict[str, float]:
    began = time.perf_counter()
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(started.pid, 0)
    started.returncode = os.waitstatus_to_exitcode(status)
    if started.returncode:
        raise subprocess.CalledProcessError(started.returncode, command)
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "processor_s": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss / 1024,
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=100_000)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--peer", default="")
    given = options.parse_args()
    found: dict[str, list[dict[str, float]]] = {"loopwright": []}
    with tempfile.TemporaryDirectory() as folder:
        place, page = Path(folder) / "t.parquet", Path(folder) / "ours.html"
        theirs = Path(folder) / "theirs.html"
        pq.write_table(make_table(given.rows), place)
        ours = [sys.executable, "-m", "loopwright", "data", "profile", str(place), "--html", str(page)]
        for _ in range(given.rounds):
            found["loopwright"].append(timed(ours))
            if given.peer:
                peer = timed([given.peer, "-c", PEER, str(place), str(theirs)])
                found.setdefault("fg-data-profiling, minimal", []).append(peer)
        sizes = {"loopwright": page.stat().st_size}
        if given.peer:
            sizes["fg-data-profiling, minimal"] = theirs.stat().st_size
    told = {
        name: {
            "seconds": round(statistics.median(each["seconds"] for each in rounds), 2),
            "processor_s": round(statistics.median(each["processor_s"] for each in rounds), 2),
            "peak_mb": round(max(each["peak_mb"] for each in rounds)),
            "page_bytes": sizes[name],
        }
        for name, rounds in found.items()
    }
    print(json.dumps({"rows": given.rows, "columns": 30, "reach_s_of_100000": 3.0, **told}, indent=1))


if __name__ == "__main__":
    main()
