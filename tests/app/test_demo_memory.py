"""The peak the story tells: proportional sizes, held against the kernel's own file for this process."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

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


def test_proportional_sizes_are_counted_only_where_a_new_peak_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    whole = psutil.Process.memory_full_info

    def counting(process: psutil.Process) -> object:
        counted.append(process.pid)
        return whole(process)

    monkeypatch.setattr(psutil.Process, "memory_full_info", counting)
    peak = PeakMemory()
    held = bytearray(b"x" * (64 * _MB))
    first = peak.peak_mb
    at_first = len(counted)
    assert at_first >= 1
    del held
    for _ in range(5):
        assert peak.peak_mb == first
    assert len(counted) == at_first
