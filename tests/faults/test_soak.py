"""A minute of mixed work by sixteen clients; half an hour of it is `benchmarks/soak.py` without arguments."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.soak
@pytest.mark.slow
def test_mixed_work_leaves_no_error_and_takes_no_growing_memory(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks/soak.py"), "--minutes", "1", "--rate", "600"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert told["errors"] == []
    assert told["runs"] >= 16, "hardly anything was done"
    assert all(told["whole"].values())
    memory = told["memory_mb"]
    assert memory["peak"] < 200
    assert memory["last"] - memory["after_warm_up"] < 30
    for counted in ("handles", "threads"):  # pools fill up to their bounds, then stay
        assert told[counted]["most"] < 200, told[counted]
