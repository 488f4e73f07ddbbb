"""How fast an MLflow history comes in: runs, points and bytes a second, by way; prints JSON.

    python benchmarks/importing.py                       # a database, made large here
    python benchmarks/importing.py --runs 5000 --points 2000000 --mb 400
    python benchmarks/importing.py --source http://127.0.0.1:5000   # any store that is there

The database has the schema and the rows that real MLflow 3.17.2 made (tests/protocols/mlflow/past/kept), with
runs, points and a file added by SQL. Each part is measured on a store of its own, into a new workspace.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from loopwright.loops.bringing import Asked, Report, bring
from loopwright.loops.comparing import compare
from loopwright.loops.own import OwnHistory
from loopwright.ports.histories import History
from loopwright.workspace import Workspace
from loopwright.workspace.histories import open_history
from tests.loops.past import at_database, opened, store

KEYS = 5


def more_runs(at: Path, count: int) -> None:
    """Runs with 10 params, 10 metrics and 3 tags each."""
    with at_database(at) as rows:
        (like,) = rows.execute("select run_uuid from runs where name = 'odd'").fetchone()
        columns = [row[1] for row in rows.execute("pragma table_info(runs)")]
        chosen = ", ".join({"run_uuid": "?", "artifact_uri": "''"}.get(name, name) for name in columns)
        ids = [f"{number:032x}" for number in range(count)]
        rows.executemany(
            f"insert into runs select {chosen} from runs where run_uuid = '{like}'", ([i] for i in ids)
        )
        rows.executemany(
            "insert into params values (?, ?, ?)", ((f"p{k}", str(k), i) for i in ids for k in range(10))
        )
        rows.executemany(
            "insert into tags values (?, ?, ?)", ((f"t{k}", "x", i) for i in ids for k in range(3))
        )
        each = [(f"m{k}", k / 7, 1_700_000_000_000, i) for i in ids for k in range(10)]
        rows.executemany("insert into metrics values (?, ?, ?, ?, 0, 0)", each)
        rows.executemany("insert into latest_metrics values (?, ?, ?, 0, 0, ?)", each)


def more_points(at: Path, count: int) -> None:
    """One run with long histories of a few metrics."""
    with at_database(at) as rows:
        (run,) = rows.execute("select run_uuid from runs where name = 'still running'").fetchone()
        for key in (f"long {number}" for number in range(KEYS)):
            each = ((key, 1 / (s + 1), 1_700_000_000_000 + s, run, s) for s in range(count // KEYS))
            rows.executemany("insert into metrics values (?, ?, ?, ?, ?, 0)", each)
            last = count // KEYS - 1
            rows.execute(
                "insert into latest_metrics values (?, ?, ?, ?, 0, ?)",
                (key, 1 / (last + 1), 1_700_000_000_000 + last, last, run),
            )


def more_bytes(at: Path, megabytes: int) -> None:
    """Files of 50 MB beside a run's."""
    home = next((at / "mlruns").glob("*/*/artifacts/empty.txt")).parent
    for number in range(max(1, megabytes // 50)):
        (home / f"big {number}.bin").write_bytes(os.urandom(50_000_000))


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(history: History, folder: Path) -> dict[str, Any]:
    with closing(history), Workspace.open(folder / ".loopwright") as target:
        report, took, cpu = timed(lambda: bring(history, target, Asked()))
        _, again, _ = timed(lambda: bring(history, target, Asked()))
        compared, verified, _ = timed(lambda: compare(history, OwnHistory(target.context())))
    return {**told(report, took), "cpu_s": round(cpu, 2), "again_s": round(again, 2),
            "verify_s": round(verified, 2), "same": compared.ok, "peak_mb": round(peak_mb())}  # fmt: skip


def timed(work: Any) -> tuple[Any, float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    done = work()
    return done, time.perf_counter() - wall, time.process_time() - cpu


def told(report: Report, took: float) -> dict[str, Any]:
    runs = report.counts["runs"].get("found", 0)
    return {
        "runs": runs,
        "points": report.points,
        "mb": round(report.bytes / 1e6, 1),
        "seconds": round(took, 2),
        "runs_per_s": round(runs / took),
        "points_per_s": round(report.points / took),
        "mb_per_s": round(report.bytes / 1e6 / took, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=2_000)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--mb", type=int, default=200)
    parser.add_argument("--source")
    asked = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="importing-") as name:
        folder = Path(name)
        if asked.source:
            found["source"] = measured(open_history(asked.source), folder)
        else:
            grown = {"runs": (more_runs, asked.runs), "points": (more_points, asked.points),
                     "files": (more_bytes, asked.mb)}  # fmt: skip
            for what, (grow, count) in grown.items():
                at = store("three", folder / what)
                grow(at, count)
                found[what] = measured(opened(at), folder / what)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
