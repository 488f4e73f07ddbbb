"""A pool of idle connections, newest used first; the number in use may be bounded."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from loopwright.core.errors import Unavailable

__all__ = ["Pool"]


class _Closable(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=_Closable)


class Pool(Generic[C]):
    """Lends connections. One that was broken while lent is closed instead of being kept. Thread safe."""

    def __init__(
        self, connect: Callable[[], C], *, kept: int, most: int, wait_s: float, works: Callable[[C], bool]
    ) -> None:
        self._connect = connect
        self._kept = kept
        self._wait_s = wait_s
        self._works = works
        self._idle: deque[C] = deque()
        self._slots = threading.BoundedSemaphore(most)
        self._closed = False

    @contextmanager
    def lend(self) -> Iterator[C]:
        """A connection for the length of the block."""
        if not self._slots.acquire(timeout=self._wait_s):
            raise Unavailable(
                f"no connection to the ledger became free in {self._wait_s:g} s",
                hint="fewer requests at once, or end a long read",
            )
        try:
            connection = self._take()
            try:
                yield connection
            finally:
                self._put(connection)
        finally:
            self._slots.release()

    def close(self) -> None:
        """Close the idle connections; lent ones are closed when they come back."""
        self._closed = True
        while self._idle:
            self._pop().close()

    def _take(self) -> C:
        if self._closed:
            raise Unavailable("the ledger is closed", hint="open it again")
        try:
            return self._pop()
        except IndexError:
            return self._connect()

    def _pop(self) -> C:
        return self._idle.pop()

    def _put(self, connection: C) -> None:
        if self._closed or len(self._idle) >= self._kept or not self._works(connection):
            connection.close()
        else:
            self._idle.append(connection)
