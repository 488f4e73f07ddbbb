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
INTERVAL_S = 0.5
BATCH = 1_000
_PATIENCE_S = 60.0

_Entry = tuple[dict[str, float], int, int]


class PointBuffer:
    """Points on their way to `write`, which keeps a batch durably; thread safe.

    A thread of its own writes every half second. A full buffer makes the caller wait: nothing is dropped.
    A write that fails for a while (`Unavailable` and the like) is tried again; `close` raises what still
    stands in its way.
    """

    def __init__(
        self,
        write: Callable[[Sequence[MetricPoint]], object],
        *,
        capacity: int = CAPACITY,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._write = write
        self._capacity = capacity
        self._interval_s = interval_s
        self._waiting: deque[_Entry] = deque()
        self._writing = threading.Lock()
        self._closed = threading.Event()
        self._error: LoopwrightError | None = None
        self._thread = threading.Thread(target=self._loop, name="loopwright-points", daemon=True)
        self._thread.start()

    def add(self, metrics: Mapping[str, float], step: int) -> None:
        """Take one point of each metric at this instant."""
        if self._closed.is_set():
            raise Invalid("the run has ended", hint="log inside its block, or start another run")
        self._waiting.append((dict(metrics), step, time.time_ns() // 1000))
        if len(self._waiting) > self._capacity:
            self.flush()

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
                log.warning("points not written yet", extra={"error": str(error)})
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
