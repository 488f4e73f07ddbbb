"""The one hand-over from the event loop to verbs, which are sync: bounded, with a deadline."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from loopwright.core.errors import Unavailable

__all__ = ["Pool"]

log = logging.getLogger(__name__)
T = TypeVar("T")


class Pool:
    """Runs sync work in at most `threads` threads, with at most `waiting` works queued behind them."""

    def __init__(self, *, threads: int, waiting: int, name: str) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=f"loopwright-{name}")
        self._limit = threads + waiting
        self._taken = 0
        self._lock = threading.Lock()

    async def run(self, work: Callable[[], T], *, deadline_s: float | None, doing: str) -> T:
        """The value of `work()`; `Unavailable` when too many wait, or when it takes longer than the deadline.

        Work that has begun cannot be stopped: past its deadline it goes on, keeps its thread, and only its
        caller is let go.
        """
        future = self._submit(work, doing)
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(future)), deadline_s)
        except TimeoutError:
            if future.done():
                raise
            future.cancel()
            raise Unavailable(
                f"{doing} took longer than {deadline_s:g} s",
                hint="it may still be carried out: look before you ask again",
            ) from None

    def _submit(self, work: Callable[[], T], doing: str) -> Future[T]:
        with self._lock:
            if self._taken >= self._limit:
                raise Unavailable(f"{doing} has to wait: the server is busy", hint="try again in a second")
            self._taken += 1
        try:
            future = self._executor.submit(work)
        except RuntimeError as error:
            self._release()
            raise Unavailable("the server is stopping", hint="try again in a moment") from error
        future.add_done_callback(self._release)
        return future

    def _release(self, _: Future[Any] | None = None) -> None:
        with self._lock:
            self._taken -= 1

    def close(self) -> None:
        """Take no more work and drop what waits; what has begun is left to end."""
        self._executor.shutdown(wait=False, cancel_futures=True)
