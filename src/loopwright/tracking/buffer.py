"""Takes points of metrics in at once and writes them soon: the caller never waits for a disk or a server."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

from loopwright.core.errors import Invalid, LoopwrightError
from loopwright.core.nouns import MetricPoint

__all__ = ["PointBuffer"]

log = logging.getLogger(__name__)

CAPACITY = 200_000
SOON = 20_000
"""points that a server writes in well under a second, so that a killed program loses no more"""
INTERVAL_S = 0.5
BATCH = 1_000
_PATIENCE_S = 60.0

_Entry = tuple[dict[str, float], int, int]


class PointBuffer:
    """Points on their way to `write`, which keeps a batch durably; thread safe.

    A thread of its own writes every half second. A caller that is ahead of it by `soon` entries waits. A
    write that fails for a while (`Unavailable` and the like) is tried again, and meanwhile `capacity` entries
    are taken; beyond them the caller gets the error. Nothing is dropped: `close` raises what still stands in
    the way.
    """

    def __init__(
        self,
        write: Callable[[Sequence[MetricPoint]], object],
        *,
        capacity: int = CAPACITY,
        soon: int = SOON,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._write = write
        self._capacity = capacity
        self._soon = min(soon, capacity)
        self._limit = self._soon
        self._interval_s = interval_s
        self._waiting: deque[_Entry] = deque()
        self._writing = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="loopwright-points", daemon=True)
        self._thread.start()

    def add(self, metrics: Mapping[str, float], step: int) -> None:
        """Take one point of each metric at this instant."""
        if self._closed.is_set():
            raise Invalid("the run has ended", hint="log inside its block, or start another run")
        self._waiting.append((dict(metrics), step, time.time_ns() // 1000))
        if len(self._waiting) > self._limit:
            self._make_room()

    def _make_room(self) -> None:
        """Write in the caller's own time; what fails is its matter only when nothing more can be taken."""
        try:
            self.flush()
        except LoopwrightError as error:
            if self._limit == self._capacity:
                raise
            self._put_off(error)

    def _put_off(self, error: LoopwrightError) -> None:
        self._limit = self._capacity
        log.warning("points not written yet", extra={"error": str(error)})

    def flush(self) -> None:
        """Write everything taken in before the call; durable at return."""
        with self._writing:
            left = len(self._waiting)
            while left > 0:
                entries = list(islice(self._waiting, min(left, BATCH)))
                left -= len(entries)
                for batch in _batches(entries):
                    self._write(batch)
                for _ in entries:
                    self._waiting.popleft()
                self._limit = self._soon

    def close(self) -> None:
        """Write what is left and stop; the error of a write that cannot be carried out is raised."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._thread.join()
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                self.flush()
            except LoopwrightError as error:
                if error.status < 500 or time.monotonic() > until:
                    raise
                time.sleep(self._interval_s)
            else:
                return

    def _loop(self) -> None:
        """Begin a write every interval, at once where the one before took as long."""
        pause = self._interval_s
        while not self._closed.wait(pause):
            begun = time.monotonic()
            try:
                self.flush()
                pause = max(0.0, self._interval_s - (time.monotonic() - begun))
            except LoopwrightError as error:
                self._put_off(error)
                pause = self._interval_s


def _batches(entries: Sequence[_Entry]) -> Iterator[list[MetricPoint]]:
    points: list[MetricPoint] = []
    for metrics, step, at_us in entries:
        for key, value in metrics.items():
            points.append(MetricPoint(key=key, value=float(value), step=step, at_us=at_us))
            if len(points) == BATCH:
                yield points
                points = []
    if points:
        yield points
