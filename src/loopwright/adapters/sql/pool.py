"""A pool of idle connections, newest used first; the number in use is bounded."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from loopwright.core.errors import LoopwrightError, Unavailable

__all__ = ["Pool", "Pooled"]


class Pooled(Protocol):
    """What a pool lends."""

    def is_sound(self) -> bool:
        """Whether it can be used again."""

    def close(self) -> None:
        """Let go of it."""


C = TypeVar("C", bound=Pooled)


class Pool(Generic[C]):
    """Lends connections. Thread safe.

    One that is no longer sound when it comes back is closed. One that turns out to be dead when it is
    lent (the server was started anew) is replaced without the borrower noticing.
    """

    def __init__(self, connect: Callable[[], C], *, kept: int, most: int, wait_s: float = 30.0) -> None:
        self._connect = connect
        self._kept = kept
        self._wait_s = wait_s
        self._idle: deque[C] = deque()
        self._slots = threading.BoundedSemaphore(most)
        self._closed = False

    @contextmanager
    def lend(self, begin: Callable[[C], None]) -> Iterator[C]:
        """A connection for the length of the block, once `begin` worked on it."""
        if not self._slots.acquire(timeout=self._wait_s):
            raise Unavailable(
                f"no connection to the ledger became free in {self._wait_s:g} s",
                hint="fewer requests at once, or end a long read",
            )
        try:
            connection = self._begun(begin)
            try:
                yield connection
            finally:
                self._put(connection)
        finally:
            self._slots.release()

    def close(self) -> None:
        """Close the idle connections; lent ones are closed when they come back."""
        self._closed = True
        self.drop()

    def drop(self) -> None:
        """Close the idle connections; the next borrower gets a new one."""
        while self._idle:
            self._idle.pop().close()

    def _begun(self, begin: Callable[[C], None]) -> C:
        while True:
            if self._closed:
                raise Unavailable("the ledger is closed", hint="open it again")
            try:
                connection, is_fresh = self._idle.pop(), False
            except IndexError:
                connection, is_fresh = self._connect(), True
            try:
                begin(connection)
            except LoopwrightError:
                was_dead = not connection.is_sound()
                self._put(connection)
                if is_fresh or not was_dead:
                    raise
            else:
                return connection

    def _put(self, connection: C) -> None:
        if self._closed or len(self._idle) >= self._kept or not connection.is_sound():
            connection.close()
        else:
            self._idle.append(connection)
