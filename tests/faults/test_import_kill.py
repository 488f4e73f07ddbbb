"""An import that is killed at any moment goes on where it was: in the end all is there, once."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.loops.past import at_database, compared, store, workspace

KILLS = 6
COPIES = 40
RUN = """
import sys
from pathlib import Path
from tests.loops.past import brought, workspace
with workspace(Path(sys.argv[2])) as target:
    print("begun", flush=True)
    assert brought(Path(sys.argv[1]), target).ok
"""


def _grown(at: Path) -> int:
    """Many more runs, each with a copy of the long run's points; how many there are."""
    with at_database(at) as rows:
        (long,) = rows.execute("select run_uuid from runs where name = 'long'").fetchone()
        for number in range(COPIES):
            run_id = f"{number:032x}"
            for table in ("metrics", "latest_metrics", "params", "tags", "runs"):
                columns = [row[1] for row in rows.execute(f"pragma table_info({table})")]
                chosen = ", ".join("?" if name == "run_uuid" else name for name in columns)
                rows.execute(
                    f"insert into {table} select {chosen} from {table} where run_uuid = ?", (run_id, long)
                )
        return int(rows.execute("select count(*) from runs").fetchone()[0])


def _begin(at: Path, folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(at), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def _wait_for_a_run(folder: Path) -> None:
    """Until the first has come, whatever else the machine does."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for ledger in folder.rglob("ledger.db"):
            with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as rows:
                if rows.execute("select exists (select 1 from runs)").fetchone()[0]:
                    return
    raise AssertionError("no run came in a minute")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_import_goes_on_where_it_was_killed(seed: int, tmp_path: Path) -> None:
    chance, at = random.Random(seed), store("three", tmp_path)
    total = _grown(at)
    here = tmp_path / "here"
    here.mkdir()
    partial = 0
    for kill in range(KILLS):
        process = _begin(at, here)
        if kill:
            time.sleep(chance.uniform(0.02, 0.6))
        else:
            _wait_for_a_run(here)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        with workspace(here) as target:
            rows = target.ports.ledger.check()
            assert rows.faults == ()
            partial += 0 < rows.rows["runs"] < total
    assert partial
    process = _begin(at, here)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    with workspace(here) as target:
        found = compared(at, target)
        assert found.ok, found.differences
        assert found.here["runs"] == total
        with target.context().read() as tx:
            told = [line.subject for line in tx.journal.read(0, 100_000) if line.kind == "run.imported"]
        assert len(told) == len(set(told)) == total
