"""Peak memory of the process tree: the highest sum of proportional set sizes seen."""

from __future__ import annotations

import threading

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
        total = 0
        for process in (own, *own.children(recursive=True)):
            try:
                total += process.memory_full_info().pss
            except (psutil.NoSuchProcess, psutil.AccessDenied, AttributeError):
                continue
        self._peak = max(self._peak, total)
