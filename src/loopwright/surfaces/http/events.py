"""The live feed: committed events as server-sent events, in the journal's order and without gaps.

One tail reads the journal for all listeners, woken by commits of this process and by a slow tick for those
of others; a listener that resumes reads what it missed from the journal itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from loopwright.core.errors import Invalid, LoopwrightError, Unavailable
from loopwright.core.nouns import Event
from loopwright.engine.context import Context
from loopwright.engine.live import Note, Subscription
from loopwright.surfaces.http.host import Host, Limits
from loopwright.surfaces.http.threads import Pool

__all__ = ["EventFeed", "Listener"]

log = logging.getLogger(__name__)

_BATCH = 500
_MISSED = 100
"""events that are read at once for one listener: what each of many slow ones may hold in memory"""
_PAUSE_S = 0.02
_GAP_LIMIT = 50_000
_RESYNC = b'event: resync\ndata: {"reason":"%b"}\n\n'


def _event_text(event: Event) -> bytes:
    return b"id: %d\ndata: %b\n\n" % (event.seq, msgspec.json.encode(event))


def _note_text(note: Note) -> bytes:
    return b"event: note\ndata: %b\n\n" % msgspec.json.encode(note)


class Listener:
    """One client's bounded queue; a client that is too slow is dropped and told to read again."""

    def __init__(self, space: str, limit: int) -> None:
        self.space = space
        self.joined = 0
        self.is_dropped = False
        self.ready = asyncio.Event()
        self._limit = limit
        self._queue: deque[tuple[int, bytes]] = deque()

    def offer(self, seq: int, text: bytes) -> None:
        """Take one text in; over the limit the listener is dropped."""
        if len(self._queue) >= self._limit:
            self.is_dropped = True
        else:
            self._queue.append((seq, text))
        self.ready.set()

    def drop(self) -> None:
        """Let the client go once it has what is queued."""
        self.is_dropped = True
        self.ready.set()

    def take(self, after: int) -> tuple[bytes, int]:
        """All texts there are, without events up to `after`; and the number of the last event."""
        self.ready.clear()
        texts = []
        while self._queue:
            seq, text = self._queue.popleft()
            if seq == 0 or seq > after:
                texts.append(text)
                after = max(after, seq)
        return b"".join(texts), after


class EventFeed:
    """Serves `/api/v1/events`."""

    def __init__(self, host: Host, limits: Limits, pool: Pool) -> None:
        self._host = host
        self._limits = limits
        self._pool = pool
        self._listeners: set[Listener] = set()
        self._tail: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._joining = asyncio.Lock()
        self._cursor = 0
        self._is_closing = False

    @property
    def count(self) -> int:
        """How many listen now."""
        return len(self._listeners)

    def close(self) -> None:
        """Let all listeners go; they come back by themselves when the server does."""
        self._is_closing = True
        if self._tail is not None:
            self._tail.cancel()
        for listener in self._listeners:
            listener.ready.set()

    async def reply(self, request: Request, ctx: Context) -> Response:
        """The stream for one client, from `Last-Event-ID` (or `?after=`) on, else from now on."""
        ctx.require("journal:read")
        after = _resume_point(request)
        if self.count >= self._limits.listeners:
            raise Unavailable("too many live feeds are open", hint="close some of them")
        return StreamingResponse(
            self._stream(Listener(ctx.space, self._limits.listener_queue), ctx, after),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )

    async def _stream(self, listener: Listener, ctx: Context, after: int | None) -> AsyncIterator[bytes]:
        try:
            yield b"retry: 1000\n: connected\n\n"
            await self._join(listener)
            last = listener.joined if after is None else after
            if not listener.joined - _GAP_LIMIT <= last <= listener.joined:
                yield _RESYNC % (b"too far behind" if last < listener.joined else b"no such event yet")
                last = listener.joined
            while last < listener.joined:
                text, last = await self._missed(ctx, last, listener.joined)
                yield text
            while not self._is_closing:
                text, last = listener.take(last)
                if text:
                    yield text
                if listener.is_dropped:
                    yield _RESYNC % b"too slow"
                    return
                if not await _within(listener.ready, self._limits.heartbeat_s):
                    yield b": still here\n\n"
        except LoopwrightError as error:
            log.warning("live feed ended", extra={"error": str(error)})
            yield _RESYNC % b"unavailable"
        finally:
            self._listeners.discard(listener)

    async def _missed(self, ctx: Context, after: int, until: int) -> tuple[bytes, int]:
        def read() -> tuple[bytes, int]:
            with ctx.read() as tx:
                events = tx.journal.read(after, _MISSED, space=ctx.space)
            wanted = [event for event in events if event.seq <= until]
            is_end = len(events) < _MISSED or len(wanted) < len(events)
            return b"".join(map(_event_text, wanted)), until if is_end else wanted[-1].seq

        return await self._pool.run(read, deadline_s=30.0, doing="reading the journal")

    async def _join(self, listener: Listener) -> None:
        async with self._joining:
            is_first = self._tail is None or self._tail.done()
            if is_first:
                self._cursor = await self._pool.run(self._head, deadline_s=30.0, doing="reading the journal")
            listener.joined = self._cursor
            self._listeners.add(listener)
            if is_first:
                self._tail = asyncio.create_task(self._follow(self._subscribed()))

    def _subscribed(self) -> Subscription:
        loop = asyncio.get_running_loop()

        def wake() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._woken.set)

        return self._host.live.subscribe(limit=_BATCH, wake=wake)

    def _head(self) -> int:
        with self._host.context().read() as tx:
            return tx.journal.head().count

    async def _follow(self, subscription: Subscription) -> None:
        try:
            while self._listeners:
                await _within(self._woken, self._limits.poll_s)
                self._woken.clear()
                await self._advance(subscription)
                await asyncio.sleep(_PAUSE_S)
        finally:
            self._host.live.unsubscribe(subscription)
            for listener in self._listeners:
                listener.drop()

    async def _advance(self, subscription: Subscription) -> None:
        for item in subscription.drain():
            if isinstance(item, Note):
                self._hand_out(None, 0, _note_text(item))
        try:
            while await self._hand_on():
                pass
        except LoopwrightError as error:
            log.warning("the journal cannot be followed", extra={"error": str(error)})

    async def _hand_on(self) -> bool:
        """Hand one batch of the journal to the listeners; whether there may be more."""

        def read() -> list[tuple[Event, bytes]]:
            with self._host.context().read() as tx:
                return [(event, _event_text(event)) for event in tx.journal.read(self._cursor, _BATCH)]

        found = await self._pool.run(read, deadline_s=30.0, doing="reading the journal")
        for event, text in found:
            self._cursor = event.seq
            self._hand_out(event.space, event.seq, text)
        return len(found) == _BATCH

    def _hand_out(self, space: str | None, seq: int, text: bytes) -> None:
        for listener in self._listeners:
            if space is None or listener.space == space:
                listener.offer(seq, text)


async def _within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True


def _resume_point(request: Request) -> int | None:
    text = request.headers.get("last-event-id") or request.query_params.get("after")
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise Invalid(
            f"{text[:40]!r} is not the number of an event", hint="send the id of the last event you saw"
        )
    return int(text)
