"""Two gigabytes are joined, checked and profiled within 600 MB; ten times as much is `make bench-large`."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.adapters.test_joins_parted import files

ROOT = Path(__file__).resolve().parents[2]
BENCHMARK = str(ROOT / "benchmarks/large.py")


@pytest.mark.slow
def test_a_tenth_of_it_stays_within_its_memory_and_comes_out_right(tmp_path: Path) -> None:
    """The benchmark compares what comes out; here is what it took."""
    given = ["--scale", "0.1", "--memory", "600MB", "--folder", str(tmp_path)]
    command = [sys.executable, BENCHMARK, *given]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=900)
    shutil.rmtree(tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert sum(each["memory_gb"] for each in told["files"].values()) > 2.0
    assert told["rows_compared"] > 5000
    assert len(told["broken"]) == 7
    for step in ("join", "check", "profile"):
        assert 0.1 < told[step]["anonymous_gb"] <= 0.6
        assert 0 < told[step]["scratch_gb"] <= 3.0, "it was not done in parts"
        assert told[step]["left_bytes"] == 0


def test_a_disk_without_the_room_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    command = [sys.executable, BENCHMARK, "--scale", "1e6", "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "GB free" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_join_that_was_killed_leaves_no_result_and_the_next_one_takes_its_scratch_away(
    tmp_path: Path,
) -> None:
    spine, view = files(tmp_path)
    out, whole = tmp_path / "joined.parquet", tmp_path / "whole.parquet"
    command = [sys.executable, "-m", "loopwright", "features", "join", "--spine", spine, "--view", view]
    command += [
        "--key",
        "k",
        "--key",
        "texts",
        "--time",
        "at",
        "--event-time",
        "event",
        "--known-at",
        "known",
    ]
    small = [*command, "--out", str(out), "--memory", "1MB"]
    with subprocess.Popen(small, stdout=subprocess.DEVNULL) as joining:
        while not list(tmp_path.glob(".loopwright-scratch-*/.loopwright-scratch-*/view")):
            assert joining.poll() is None, "it ended before it could be killed"
            time.sleep(0.001)
        joining.send_signal(signal.SIGKILL)
    assert not out.exists()
    assert list(tmp_path.glob(".loopwright-scratch-*"))
    subprocess.run(small, check=True, stdout=subprocess.DEVNULL, timeout=60)
    assert list(tmp_path.glob(".loopwright-scratch-*")) == []
    subprocess.run([*command, "--out", str(whole)], check=True, stdout=subprocess.DEVNULL, timeout=60)
    assert pq.read_table(out).to_pydict() == pq.read_table(whole).to_pydict()
