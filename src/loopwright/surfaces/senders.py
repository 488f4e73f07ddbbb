"""Great uploads share a few threads: where all are taken, who sends too slowly gives way to who waits."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
from starlette.types import Message, Receive

from loopwright.core.errors import Unavailable

__all__ = ["Pace", "Senders", "Sending"]

_LOOKED_AT_S = 0.5


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """What a great upload has to come at while others wait for its thread."""

    each_bytes: int = 50_000
    """a second, at least"""
    over_s: float = 10.0
    """for so long each is left alone, and over so long it is counted"""


class Sending:
    """The `receive` of one upload, which counts what comes; it can be told to give way."""

    def __init__(self, receive: Receive, clock: Callable[[], float] = time.monotonic) -> None:
        self._receive = receive
        self._clock = clock
        self._since = clock()
        self._came = 0
        self._waits: asyncio.Timeout | None = None
        self._goes = False

    async def __call__(self) -> Message:
        """The next message; `Unavailable` once it has to give way."""
        if self._goes:
            raise _gave_way()
        try:
            async with asyncio.timeout(None) as self._waits:
                message = await self._receive()
        except TimeoutError as error:
            if self._goes:
                raise _gave_way() from error
            raise
        finally:
            self._waits = None
        self._came += len(message.get("body", b""))
        return message

    def pace(self, over_s: float) -> float | None:
        """Bytes a second since the last look, which was so long ago at least; None before that.

        None too while it is not the sender who is waited for: what is held of his is not written yet.
        """
        now = self._clock()
        if now - self._since < over_s:
            return None
        found, awaited = self._came / (now - self._since), self._waits is not None
        self._since, self._came = now, 0
        return found if awaited else None

    def begin(self) -> None:
        """Count from now on."""
        self._since, self._came = self._clock(), 0

    def give_way(self) -> None:
        """End it where it waits for its sender, or before it does so again."""
        self._goes = True
        if self._waits is not None:
            self._waits.reschedule(asyncio.get_running_loop().time())


class Senders:
    """Those who have a thread, and those who wait for one, first come first. All of one event loop."""

    def __init__(self, threads: int, *, waiting: int, pace: Pace | None = None) -> None:
        self._free = threads
        self._most_waiting = waiting
        self._pace = pace or Pace()
        self._sending: set[Sending] = set()
        self._leaving: set[Sending] = set()
        self._waiting: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def place(self, sending: Sending) -> AsyncIterator[None]:
        """Room for one upload; waits while there is none. `Unavailable` where too many wait already."""
        await self._entered()
        self._sending.add(sending)
        sending.begin()
        try:
            yield
        finally:
            self._sending.discard(sending)
            self._leaving.discard(sending)
            self._leave()

    async def _entered(self) -> None:
        if self._free:
            self._free -= 1
            return
        if len(self._waiting) >= self._most_waiting:
            raise Unavailable("too many great uploads at once", hint="try again in a moment")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            while not turn.done():
                if self._waiting[0] is turn:
                    self._make_room()
                await asyncio.wait({turn}, timeout=_LOOKED_AT_S)
        except BaseException:
            self._withdraw(turn)
            raise

    def _withdraw(self, turn: asyncio.Future[None]) -> None:
        """Who went away while he waited leaves his place to the next."""
        if turn.done():
            self._leave()
        else:
            self._waiting.remove(turn)

    def _leave(self) -> None:
        if self._waiting:
            self._waiting.popleft().set_result(None)
        else:
            self._free += 1

    def _make_room(self) -> None:
        """Let the slowest give way, as many as wait and no more."""
        paces = {
            each: pace
            for each in self._sending - self._leaving
            if (pace := each.pace(self._pace.over_s)) is not None and pace < self._pace.each_bytes
        }
        wanted = max(0, len(self._waiting) - len(self._leaving))
        for each in sorted(paces, key=paces.__getitem__)[:wanted]:
            self._leaving.add(each)
            each.give_way()


def _gave_way() -> Unavailable:
    return Unavailable(
        "the upload came too slowly while others waited for its place",
        hint="send it again when fewer send, or over a faster line",
        where="body",
    )
