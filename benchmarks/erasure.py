"""One key erased from ten versions of five million rows, ours and Delta's in one run; a table and JSON.

Whole processes. Ours: `loopwright data erase`, from every version, with its proof. Delta: `delete` and
`vacuum` without retention, after which its older versions cannot be read any more. `--peer` makes an
environment with deltalake in the user's cache at its first use. Each figure is the least of `--rounds`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from loopwright.data.appending import append
from loopwright.data.reading import read
from loopwright.workspace import Workspace

DELTA = "deltalake==1.2.1"
VERSIONS, KEYS, LIMIT_S = 10, 200_000, 10.0
WHO = "p0000123"
THEIRS = """
import sys
from deltalake import DeltaTable
table = DeltaTable(sys.argv[1])
table.delete(f"passenger = '{sys.argv[2]}'")
table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
"""
MAKE_THEIRS = """
import sys, pyarrow.parquet as pq
from deltalake import write_deltalake
for path in sys.argv[2:]:
    write_deltalake(sys.argv[1], pq.read_table(path), mode="append")
"""


def batch(number: int, rows: int) -> pa.Table:
    chance = np.random.default_rng(number)
    names = np.char.add("p", np.char.zfill(chance.integers(0, KEYS, rows).astype(str), 7))
    at = np.sort(chance.integers(0, 10**12, rows)) + 10**15 + number * 10**12
    columns = {f"x{at}": chance.normal(size=rows) for at in range(8)}
    return pa.table({"passenger": names, "at": pa.array(at, pa.timestamp("us", "UTC")), **columns})


def timed(command: list[str], env: dict[str, str] | None = None) -> dict[str, float]:
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, env={**os.environ, **(env or {})}, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": round(time.perf_counter() - began, 2), "cpu_s": round(cpu, 2)}


def ours(place: Path, parts: list[Path]) -> dict[str, float]:
    folder = place / ".loopwright"
    with Workspace.open(folder) as workspace:
        for part in parts:
            append(workspace.context(), "trips", pq.read_table(part), event_time="at")
    env = {"LOOPWRIGHT_WORKSPACE": str(folder)}
    told = timed([sys.executable, "-m", "loopwright", "data", "erase", "--entity", f"passenger={WHO}"], env)
    with Workspace.open(folder) as workspace:
        for number in range(1, len(parts) + 1):
            names = read(workspace.context(), f"trips@{number}", columns=["passenger"]).column(0)
            if WHO in names.unique().to_pylist():
                raise SystemExit(f"version {number} still holds {WHO}")
    return told


def theirs(place: Path, parts: list[Path], python: Path) -> dict[str, float]:
    table = str(place / "table")
    subprocess.run([str(python), "-c", MAKE_THEIRS, table, *map(str, parts)], check=True)
    return timed([str(python), "-c", THEIRS, table, WHO])


def peer_python() -> Path:
    home = Path.home() / ".cache" / "loopwright" / "benchmarks" / DELTA.replace("==", "-")
    if not (home / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(home / "bin" / "pip"), "install", "-q", DELTA, "pyarrow"], check=True)
    return home / "bin" / "python"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--peer", action="store_true")
    asked = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {"ours": [], "delta": []}
    with tempfile.TemporaryDirectory(prefix="loopwright-erasure-") as scratch:
        parts = []
        for number in range(VERSIONS):
            parts.append(Path(scratch) / f"{number}.parquet")
            pq.write_table(batch(number, asked.rows // VERSIONS), parts[-1])
        for _ in range(asked.rounds):
            place = Path(scratch) / "round"
            place.mkdir()
            found["ours"].append(ours(place, parts))
            if asked.peer:
                found["delta"].append(theirs(place, parts, peer_python()))
            shutil.rmtree(place)
    least = {name: min(told, key=lambda each: each["seconds"]) for name, told in found.items() if told}
    for name, told in least.items():
        print(f"{name:8} {told['seconds']:8.2f} s {told['cpu_s']:8.2f} s of processor", file=sys.stderr)
    print(json.dumps({"rows": asked.rows, "versions": VERSIONS, "limit_s": LIMIT_S, **least}))


if __name__ == "__main__":
    main()
