"""Carries a body from the event loop to a thread: bounded, at the slower one's pace."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from starlette.types import Message, Receive

from loopwright.core.errors import Invalid, LoopwrightError, TooLarge, Unavailable

__all__ = ["Handover", "handed_over", "next_piece", "piece_in", "too_large"]

T = TypeVar("T")
HELD = 4 << 20
"""bytes that are kept for a thread before the sender has to wait"""
PATIENCE_S = 60.0


class Handover:
    """Pieces of a body: put in by the loop, taken out by one thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._ended = False
        self._error: LoopwrightError | None = None
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Event()

    async def put(self, piece: bytes) -> None:
        """Hold a piece for the thread; waits while much is held already."""
        with self._changed:
            self._pieces.append(piece)
            self._held += len(piece)
            is_full = self._held > HELD
            if is_full:
                self._room.clear()
            self._changed.notify()
        if is_full:
            await self._room.wait()

    def end(self, error: LoopwrightError | None = None) -> None:
        """Nothing more comes; with an error, the thread is told so instead of what is held. Once."""
        with self._changed:
            if not self._ended:
                self._ended, self._error = True, error
            self._changed.notify()

    def pieces(self) -> Iterator[bytes]:
        """What was put in, in order; raises the error it ended with. For the thread."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pieces or self._ended)
                if self._error is not None:
                    raise self._error
                taken = tuple(self._pieces)
                self._pieces.clear()
                self._held = 0
            if not taken:
                return
            self._loop.call_soon_threadsafe(self._room.set)
            yield from taken


async def handed_over(
    first: bytes,
    receive: Receive,
    work: Callable[[Iterator[bytes]], T],
    *,
    limit: int,
    pool: ThreadPoolExecutor,
) -> T:
    """The value of `work(pieces)`, run in a thread while the rest of a body comes in behind its `first`."""
    handover = Handover()
    running = asyncio.get_running_loop().run_in_executor(pool, lambda: work(handover.pieces()))
    feeding = asyncio.ensure_future(_fed(handover, first, receive, limit))
    both: set[asyncio.Future[Any]] = {running, feeding}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        return await running
    finally:
        feeding.cancel()
        handover.end(_given_up())


async def _fed(handover: Handover, first: bytes, receive: Receive, limit: int) -> None:
    """Put the whole body in; whatever keeps it from being whole is told to the thread."""
    size, piece, goes_on = 0, first, True
    try:
        while True:
            size += len(piece)
            if size > limit:
                raise too_large(limit)
            if piece:
                await handover.put(piece)
            if not goes_on:
                break
            piece, goes_on = await next_piece(receive)
        handover.end()
    except LoopwrightError as error:
        handover.end(error)
    finally:
        handover.end(_given_up())


async def next_piece(receive: Receive) -> tuple[bytes, bool]:
    """The next bytes of a body, and whether more come; an error when its sender is gone or silent."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            message = await receive()
    except TimeoutError as error:
        raise Unavailable(f"nothing came for {PATIENCE_S:g} s", hint="send it again") from error
    return piece_in(message)


def piece_in(message: Message) -> tuple[bytes, bool]:
    """The bytes in a message, and whether more come; an error when their sender is gone."""
    if message["type"] == "http.disconnect":
        raise Invalid("the upload ended before it was whole", hint="send it again")
    return message.get("body", b""), message.get("more_body", False)


def too_large(limit: int) -> TooLarge:
    """What is told of a body over its limit."""
    return TooLarge(f"the file is over {limit:,} bytes", hint="raise max_upload_mb of the server")


def _given_up() -> Invalid:
    return Invalid("the upload was given up", hint="send it again")
