"""Ten checks on a large Parquet file, with the first failing keys: ours by both engines, and peers.

Prints JSON. Whole processes, from start to the printed counts: seconds of the wall and of the processors,
the greatest resident memory, and the load of the machine. `--peers` makes environments with Pandera and
Great Expectations in the user's cache at its first use; the latter holds the whole table in pandas.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

COUNTRIES = ["US", "DE", "FR", "GB", "IT", "ES", "NL", "SE"]
PANDERA, EXPECTATIONS = "pandera[polars]==0.35.0", "great-expectations==1.24.1"
LIMITS = {"seconds": 2.5, "gigabytes": 0.8}

OURS = """
import sys, json
import loopwright as lw
from datetime import datetime
class Rows(lw.Contract):
    id: int = lw.field(unique=True)
    amount: float = lw.field(min=0, max=100000)
    qty: int = lw.field(min=0)
    country: str = lw.field(allowed={countries})
    code: str = lw.field(pattern="C[0-9]{{5}}")
    score: float
    at: datetime | None = lw.field(min="2023-01-01T00:00:00Z")
    start: float | None
    end: float | None
    ends_after_start = lw.row(lw.col("end") >= lw.col("start"))
    affordable = lw.row(lw.col("amount") <= 5000)
report = lw.check(Rows, sys.argv[1], engine="{engine}")
print(json.dumps({{rule.rule: [rule.failed, len(rule.first)] for rule in report.rules if rule.failed}}))
"""

PANDERA_PROGRAM = """
import sys, json, os
os.environ["PANDERA_VALIDATION_DEPTH"] = "SCHEMA_AND_DATA"
import polars as pl
import pandera.polars as pa
from datetime import datetime, UTC
check = pa.Check
lazy = pl.scan_parquet(sys.argv[1])
schema = pa.DataFrameSchema({{
    "id": pa.Column(int, unique=True),
    "amount": pa.Column(float, [check.in_range(0, 100000), check.le(5000)]),
    "qty": pa.Column(int, check.ge(0)),
    "country": pa.Column(str, check.isin({countries})),
    "code": pa.Column(str, check.str_matches("^C[0-9]{{5}}$")),
    "score": pa.Column(float),
    "at": pa.Column(pl.Datetime("us", "UTC"), check.ge(datetime(2023, 1, 1, tzinfo=UTC))),
}}, checks=pa.Check(lambda data: data.lazyframe.select(pl.col("end") >= pl.col("start"))))
try:
    schema.validate(lazy.collect(), lazy=True)
except pa.errors.SchemaErrors as error:
    cases = error.failure_cases
    print(json.dumps({{str(k[0]): v.height for k, v in cases.partition_by("check", as_dict=True).items()}}))
"""

EXPECTATIONS_PROGRAM = """
import sys, json
import pandas as pd
import great_expectations as gx
import great_expectations.expectations as e
frame = pd.read_parquet(sys.argv[1])
ctx = gx.get_context(mode="ephemeral")
batch = ctx.data_sources.add_pandas("p").add_dataframe_asset("a").add_batch_definition_whole_dataframe("b")
suite = gx.ExpectationSuite(name="s", expectations=[
    e.ExpectColumnValuesToNotBeNull(column="id"),
    e.ExpectColumnValuesToBeUnique(column="id"),
    e.ExpectColumnValuesToBeBetween(column="amount", min_value=0, max_value=100000),
    e.ExpectColumnValuesToBeBetween(column="qty", min_value=0),
    e.ExpectColumnValuesToBeInSet(column="country", value_set={countries}),
    e.ExpectColumnValuesToMatchRegex(column="code", regex="^C[0-9]{{5}}$"),
    e.ExpectColumnValuesToNotBeNull(column="score"),
    e.ExpectColumnValuesToBeBetween(column="at", min_value=pd.Timestamp("2023-01-01", tz="UTC")),
    e.ExpectColumnPairValuesAToBeGreaterThanB(column_A="end", column_B="start", or_equal=True),
    e.ExpectColumnMaxToBeBetween(column="amount", max_value=5000),
])
found = batch.get_batch({{"dataframe": frame}}).validate(suite)
print(json.dumps([each.result.get("unexpected_count") for each in found.results]))
"""


def make(path: Path, rows: int) -> None:
    """Nine columns with some bad values of every sort; a key repeats ten times."""
    chance = np.random.default_rng(7)

    def some(count: int) -> np.ndarray:
        return chance.choice(rows, min(count, rows), replace=False)

    ids = np.arange(rows)
    ids[some(10)] = 0
    amount, qty = chance.gamma(2, 50, rows), chance.integers(0, 100, rows)
    amount[some(100)], qty[some(77)] = -1, -5
    country = np.array(COUNTRIES)[chance.integers(0, 8, rows)].astype(object)
    country[some(33)] = "XX"
    code = np.char.add("C", chance.integers(10_000, 99_999, rows).astype(str)).astype(object)
    code[some(44)] = "bad"
    start = chance.random(rows) * 1000
    end = start + chance.random(rows) * 100
    late = some(55)
    end[late] = start[late] - 1
    at = 1_700_000_000_000_000 + np.sort(chance.integers(0, 86_400 * 365 * 10**6, rows))
    table = {
        "id": ids,
        "amount": amount,
        "qty": qty,
        "country": pa.array(country),
        "code": pa.array(code),
        "score": pa.array(chance.normal(0, 1, rows), mask=chance.random(rows) < 0.02),
        "at": pa.array(at, pa.timestamp("us", "UTC")),
        "start": start,
        "end": end,
    }
    pq.write_table(pa.table(table), path, compression="zstd", compression_level=1, row_group_size=131_072)


def measured(python: str, program: str, path: Path) -> dict[str, object]:
    """One run of a program as a process of its own."""
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen([python, "-W", "ignore", "-c", program, str(path)], stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - began
        out.seek(0)
        said = out.read().strip().splitlines()
    if process.returncode:
        raise SystemExit(f"{python} ended with {process.returncode}")
    return {
        "seconds": round(seconds, 2),
        "processor": round(usage.ru_utime + usage.ru_stime, 2),
        "gigabytes": round(usage.ru_maxrss / 1e6, 2),
        "found": json.loads(said[-1]) if said else None,
    }


def peer_python(requirement: str) -> str:
    """The Python of an environment with a peer."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "loopwright" / "peers"
    folder = cache / requirement.replace("==", "-").replace("[", "-").replace("]", "")
    python = folder / "bin" / "python"
    if not (folder / "made").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", requirement, "pyarrow"], check=True)
        (folder / "made").touch()
    return str(python)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", action="store_true")
    asked = parser.parse_args()
    ways = {
        f"loopwright, {engine}": (sys.executable, OURS.format(countries=COUNTRIES, engine=engine))
        for engine in ("polars", "duckdb")
    }
    if asked.peers:
        ways["pandera"] = (peer_python(PANDERA), PANDERA_PROGRAM.format(countries=COUNTRIES))
        ways["great expectations"] = (
            peer_python(EXPECTATIONS),
            EXPECTATIONS_PROGRAM.format(countries=COUNTRIES),
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        # apart, since a process begins with the memory of the one that starts it
        maker = multiprocessing.get_context("spawn").Process(target=make, args=(path, asked.rows))
        maker.start()
        maker.join()
        for name, (python, program) in ways.items():
            rounds = 1 if name == "great expectations" else asked.rounds
            runs = [{**measured(python, program, path), "load": os.getloadavg()[0]} for _ in range(rounds)]
            best = min(runs, key=lambda run: float(str(run["seconds"])))
            print(json.dumps({"way": name, "rows": asked.rows, **best, "limits": LIMITS}), flush=True)


if __name__ == "__main__":
    main()
