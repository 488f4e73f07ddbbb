"""Takes points of metrics in at once and writes them soon: the caller never waits for a disk or a server."""

from __future__ import annotations

import logging
import operator
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, SupportsFloat, SupportsIndex

from loopwright.core.errors import Invalid, LoopwrightError
from loopwright.core.nouns import MetricPoint

__all__ = ["PATIENCE_S", "PointBuffer"]

log = logging.getLogger(__name__)

CAPACITY = 200_000
SOON = 20_000
"""points that a server writes in well under a second, so that a killed program loses no more"""
INTERVAL_S = 0.5
BATCH = 1_000
PATIENCE_S = 60.0
_KEY_LIMIT = 250
_STEP_END = 1 << 63

_Entry = tuple[dict[str, float], int, int]


class PointBuffer:
    """Points on their way to `write`, which keeps a batch durably; thread safe.

    A thread of its own writes every half second. A caller that is ahead of it by `soon` entries waits. A
    write that fails for a while (`Unavailable` and the like) is tried again, and meanwhile `capacity` entries
    are taken; beyond them the caller gets the error. Nothing is dropped: `close` raises what still stands in
    the way. With `soon=0` each point is written before `add` returns, which a process without the thread, one
    that was forked, takes. `pid` is the process it works in.
    """

    def __init__(
        self,
        write: Callable[[Sequence[MetricPoint]], object],
        *,
        capacity: int = CAPACITY,
        soon: int = SOON,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self.pid = os.getpid()
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

    def add(self, metrics: Mapping[str, SupportsFloat], step: SupportsIndex) -> None:
        """Take one point of each metric at this instant; `Invalid` names what can be no point."""
        if self._closed.is_set():
            raise Invalid("the run has ended", hint="log inside its block, or start another run")
        self._waiting.append((_numbers(metrics), _whole(step), time.time_ns() // 1000))
        if len(self._waiting) > self._limit:
            self._make_room()

    def _make_room(self) -> None:
        """Write in the caller's own time.

        What fails is its matter when nothing more can be taken, or when trying again will not help.
        """
        try:
            self.flush()
        except LoopwrightError as error:
            if self._limit == self._capacity or error.status < 500:
                raise
            self._put_off(error)

    def _put_off(self, error: LoopwrightError) -> None:
        if self._limit != self._capacity:
            log.warning("points are not written yet, and are tried again: %s", error)
        self._limit = self._capacity

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
        until = time.monotonic() + PATIENCE_S
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


def _numbers(metrics: Mapping[Any, Any]) -> dict[str, float]:
    """The values as they are now (an array may change before it is written), under names that can be kept."""
    try:
        found = {key: float(value) for key, value in metrics.items()}
    except (AttributeError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise _unfit(metrics) from error
    for key in found:
        if not _is_name(key):
            hint = f"use text of 1 to {_KEY_LIMIT} characters"
            raise Invalid(f"the metric {str(key)[:80]!r} has a bad name", hint=hint)
    return found


def _is_name(key: object) -> bool:
    """Whether every store can keep it: one that cannot be kept would hold up all that follow."""
    if not isinstance(key, str) or not 0 < len(key) <= _KEY_LIMIT or "\x00" in key:
        return False
    return key.isascii() or not any("\ud800" <= sign <= "\udfff" for sign in key)


def _unfit(metrics: object) -> Invalid:
    """Which of the values is no number."""
    if not isinstance(metrics, Mapping):
        return Invalid(
            f"{type(metrics).__name__} holds no metrics", hint='log numbers by name: run.log({"loss": 0.3})'
        )
    for key, value in metrics.items():
        try:
            float(value)
        except (TypeError, ValueError, OverflowError, RuntimeError):
            what = f"the metric {str(key)[:80]!r} is no number but {type(value).__name__}"
            return Invalid(what, hint="log one number for each metric; keep arrays and texts as files")
    return Invalid("the metrics changed while they were read", hint="log a mapping that nobody else changes")


def _whole(step: SupportsIndex) -> int:
    try:
        found = operator.index(step)
    except TypeError:
        what = f"the step {str(step)[:80]!r} is no whole number"
        raise Invalid(what, hint="count steps: 0, 1, 2") from None
    if not -_STEP_END <= found < _STEP_END:
        raise Invalid(f"the step {found} is too large", hint="give a number of 64 bits")
    return found


def _batches(entries: Sequence[_Entry]) -> Iterator[list[MetricPoint]]:
    points: list[MetricPoint] = []
    for metrics, step, at_us in entries:
        for key, value in metrics.items():
            points.append(MetricPoint(key=key, value=value, step=step, at_us=at_us))
            if len(points) == BATCH:
                yield points
                points = []
    if points:
        yield points
