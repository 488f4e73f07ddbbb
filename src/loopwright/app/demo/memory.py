"""Peak memory of the process tree: the highest sum of proportional set sizes seen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import psutil

__all__ = ["PeakMemory"]

_EVERY_S = 1.0
_MB = 1024 * 1024


class PeakMemory:
    """Samples this process and its children every second while it is open."""

    def __init__(self) -> None:
        self._peak = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak-memory", daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    @property
    def peak_mb(self) -> float:
        """The highest sum so far, in MiB."""
        self._sample()
        return round(self._peak / _MB, 1)

    def _watch(self) -> None:
        while not self._done.wait(_EVERY_S):
            self._sample()

    def _sample(self) -> None:
        own = psutil.Process()
        processes = (own, *own.children(recursive=True))
        # resident pages bound the proportional ones and cost nothing to ask for; counting the proportional
        # ones walks through all pages and holds up who maps more of them, so only a new peak is counted
        if _sum(processes, _resident) > self._peak:
            self._peak = max(self._peak, _sum(processes, _proportional))


def _resident(process: psutil.Process) -> int:
    return int(process.memory_info().rss)


def _proportional(process: psutil.Process) -> int:
    return int(process.memory_full_info().pss)


def _sum(processes: Iterable[psutil.Process], size_of: Callable[[psutil.Process], int]) -> int:
    total = 0
    for process in processes:
        try:
            total += size_of(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, AttributeError):
            continue
    return total
