"""The peak the story tells: proportional sizes, held against the kernel's own file for this process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from loopwright.app.demo.memory import PeakMemory

_MB = 1024 * 1024


def _pss_mb() -> float:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def test_the_peak_is_the_proportional_size_and_never_falls() -> None:
    peak = PeakMemory()
    before = peak.peak_mb
    assert before >= 0.5 * _pss_mb()
    held = bytearray(b"x" * (64 * _MB))
    grown = peak.peak_mb
    assert grown >= before + 60
    assert len(held) == 64 * _MB
    del held
    assert peak.peak_mb >= grown


_ALONE = """
import psutil
from loopwright.app.demo.memory import PeakMemory

counted, whole = [], psutil.Process.memory_full_info

def counting(process):
    counted.append(process.pid)
    return whole(process)

psutil.Process.memory_full_info = counting
peak = PeakMemory()
held = bytearray(b"x" * (64 << 20))
first, at_first = peak.peak_mb, len(counted)
del held
print(at_first, all(peak.peak_mb == first for _ in range(5)), len(counted))
"""


def test_proportional_sizes_are_counted_only_where_a_new_peak_may_be() -> None:
    """In a process of its own: what other tests' children share with this one would count as a new peak."""
    told = subprocess.run(
        [sys.executable, "-c", _ALONE], capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout.split() == ["1", "True", "1"]
