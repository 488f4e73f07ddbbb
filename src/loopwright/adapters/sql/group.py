"""Group commit: the works of all threads run on one writer thread and share commits."""

from __future__ import annotations

import copy
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from loopwright.core.errors import Conflict, Unavailable

__all__ = ["LONGEST_S", "MOST_WORKS", "GroupWriter", "MustRepeatError", "Store", "Then"]

log = logging.getLogger(__name__)
Then = Callable[[Any, BaseException | None], None]
"""who is told the value of a work, or its error"""

MOST_WORKS = 64
"""a group ends after so many works"""
LONGEST_S = 0.005
"""a group ends so long after its first work, which may have waited for other processes"""


class MustRepeatError(Unavailable):
    """A work, not at fault itself, could not be kept beside the others of its group."""


class Store(Protocol):
    """What the writer thread does with its one connection. Only that thread calls it."""

    def begin(self) -> None:
        """Open the group's transaction, waiting for other processes."""

    def run(self, function: Callable[[Any], Any]) -> Any:
        """Run a work; when it raises, it has left nothing, or `is_open` says that the group is lost.

        `MustRepeatError` when the group is lost and the work is to be repeated with the others.
        """

    def is_open(self) -> bool:
        """Whether the group's transaction is still there: a full disk may have ended it."""

    def commit(self) -> Any:
        """Make the group durable; what `released` is to be told.

        `MustRepeatError` when one of its works kept it from that, and nothing was committed.
        """

    def rollback(self) -> None:
        """Undo the group, whatever state it is in. Never raises."""

    def released(self, committed: Any) -> None:
        """The callers of a committed group go on."""

    def close(self) -> None:
        """Let go of the connection."""


class _Work:
    """One unit of work on its way through the writer thread."""

    __slots__ = ("_done", "error", "function", "then", "value")

    def __init__(self, function: Callable[[Any], Any], then: Then | None = None) -> None:
        self.function = function
        self.then = then
        self.value: Any = None
        self.error: BaseException | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def release(self) -> None:
        """Let the caller go on, or tell whoever did not wait."""
        if self.then is None:
            self._done.release()
            return
        try:
            self.then(None if self.error is not None else self.value, self.error)
        except Exception:  # the worker's last handler: what is committed stands, whoever cannot be told
            log.exception("a posted work could not be told of")

    def result(self) -> Any:
        """Wait for the commit; the value, or the error raised."""
        self._done.acquire()
        if self.error is not None:
            try:
                raise self.error
            finally:
                self.error = None  # else error and traceback keep each other alive
        return self.value


class _TransactionLostError(Exception):
    """A failing work took the whole group's transaction with it."""


class GroupWriter:
    """One thread with a queue. A lone work is committed at once; works that wait share the next commit."""

    def __init__(self, store: Store, *, name: str) -> None:
        self._store = store
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._gate = threading.Lock()
        self._closed = False
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    @property
    def is_here(self) -> bool:
        """Whether the caller is the writer thread: inside a work."""
        return threading.current_thread() is self._thread

    @property
    def waiting(self) -> int:
        """How many works wait for the next group."""
        return self._queue.qsize()

    def submit(self, function: Callable[[Any], Any]) -> Any:
        """Run a work on the writer thread and return its value once that is durable."""
        work = _Work(function)
        self._put(work)
        return work.result()

    def post(self, function: Callable[[Any], Any], then: Then) -> None:
        """As `submit`, without waiting; `then(value, error)` is called on the writer thread."""
        self._put(_Work(function, then))

    def _put(self, work: _Work) -> None:
        if os.getpid() != self._pid:
            raise Conflict(
                "the workspace was opened before this process was forked",
                hint="begin processes by multiprocessing.get_context('spawn'), or track on a server "
                "(`loopwright up`, LOOPWRIGHT_URL)",
            )
        with self._gate:
            if self._closed:
                raise Unavailable("the ledger is closed", hint="open it again")
            self._queue.put(work)

    def close(self) -> None:
        """Carry out what is queued, then end the thread and its connection."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        if not self.is_here:
            self._thread.join()

    def _loop(self) -> None:
        goes_on = True
        while goes_on and (first := self._queue.get()) is not None:
            goes_on = self._group(first)
        self._store.close()

    def _group(self, first: _Work) -> bool:
        """Carry out one group; False when the writer was told to end."""
        done: list[_Work] = []
        failed: list[_Work] = []
        committed, goes_on = None, True
        try:
            self._store.begin()
            goes_on = self._fill(first, done, failed)
            if done:
                committed = self._store.commit()
            else:
                self._store.rollback()
        except (_TransactionLostError, MustRepeatError):
            self._store.rollback()
            for work in done:
                self._group_of_one(work)
            for work in failed:
                work.release()
            return goes_on
        except BaseException as error:  # noqa: BLE001 - the worker's last handler: the callers get it
            self._store.rollback()
            _give(error, done or [first])
        for work in (*done, *failed) or (first,):
            work.release()
        if committed is not None:
            self._store.released(committed)
        return goes_on

    def _group_of_one(self, work: _Work) -> None:
        """Repeat a work whose group was lost."""
        committed = None
        try:
            self._store.begin()
            work.value = self._store.run(work.function)
            committed = self._store.commit()
        except BaseException as error:  # noqa: BLE001 - the worker's last handler: the caller gets it
            self._store.rollback()
            _give(error, [work])
        work.release()
        if committed is not None:
            self._store.released(committed)

    def _fill(self, first: _Work, done: list[_Work], failed: list[_Work]) -> bool:
        """Run works until none waits; False when the writer was told to end."""
        work: _Work | None = first
        ends = 0.0
        while work is not None:
            try:
                work.value = self._store.run(work.function)
                done.append(work)
            except MustRepeatError as error:
                done.append(work)
                raise _TransactionLostError from error
            except BaseException as error:  # a failing work fails alone
                work.error = error
                failed.append(work)
                if not self._store.is_open():
                    raise _TransactionLostError from error
            now = time.monotonic()
            ends = ends or now + LONGEST_S
            if len(done) + len(failed) >= MOST_WORKS or now >= ends:
                return True
            try:
                work = self._queue.get_nowait()
            except queue.Empty:
                return True
        return False


def _give(error: BaseException, works: Sequence[_Work]) -> None:
    works[0].error = error
    for work in works[1:]:
        work.error = copy.copy(error)
        work.error.__cause__ = error
