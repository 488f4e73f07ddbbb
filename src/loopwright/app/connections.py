"""Connections that cost little whoever opens them: each has deadlines, and there are never too many.

What uvicorn leaves open (it has one deadline, for a connection that rests between two requests) is closed
here: a head that does not end or is too long, a body that trickles, a body wrapped in far more than itself, a
reply that nobody reads, and connections without number. Trailers of a chunked body are dropped: as headers
they would pass what has looked at the headers already (RFC 9110, 6.5.1).
"""

from __future__ import annotations

import asyncio
import resource
from asyncio.events import TimerHandle
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from loopwright.app.replies import reply_whole
from loopwright.core.errors import Invalid, LoopwrightError, TooLarge, Unavailable
from loopwright.engine.wire import failure_of
from loopwright.surfaces.http import REPLY

__all__ = ["ConnectionLimits", "connection_type", "connections_at_most"]

_WRAPPED, _WRAPPED_AT_LEAST = 16, 65_536
_PHRASES = {
    400: b"Bad Request",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
    503: b"Service Unavailable",
}


class ConnectionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one connection may cost, and how many there may be."""

    connections: int = 1000
    """open at once; above it the one that has waited longest without a request is closed"""
    head_bytes: int = 131_072
    """of a request's line and headers, before they are even looked at"""
    head_s: float = 15.0
    """until the line and headers are whole"""
    pace_s: float = 30.0
    """how often a body that comes in is looked at, and how long one may go on that is not read any more"""
    pace_bytes: int = 1000
    """a second of a body, at least, over each such time"""
    stall_s: float = 60.0
    """until a reply that waits for its reader goes on"""


def connections_at_most(wanted: int) -> int:
    """As many connections as are wanted, but at most half of the files this process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft // 2))


class _Connection(HttpToolsProtocol):
    """One connection; `kept` and `waiting` are shared by all of a server."""

    kept: ClassVar[ConnectionLimits]
    waiting: ClassVar[dict[_Connection, None]]
    """those without a request, the longest first"""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._is_in_head, self._has_begun, self._has_asked = True, False, False
        self._head, self._came, self._wrapped, self._body = 0, 0, 0, 0
        self._deadline: TimerHandle | None = None
        self._stall: TimerHandle | None = None

    # -- a connection --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self.waiting[self] = None
        if len(self.connections) > self.kept.connections:
            oldest = next(iter(self.waiting))
            if oldest is self:
                self._refuse(503, Unavailable("too many connections are open", hint="try again in a second"))
                return
            self.waiting.pop(oldest)
            oldest.transport.abort()
        self._after(self.kept.head_s, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self.waiting.pop(self, None)
        self._after(0, None)
        if self._stall is not None:
            self._stall.cancel()
        super().connection_lost(exc)

    def _after(self, seconds: float, then: Callable[[], None] | None) -> None:
        """Put a deadline in the place of the one there is."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if then is None else self.loop.call_later(seconds, then)

    def _refuse(self, status: int, error: LoopwrightError) -> None:
        """Say why, where nothing has been said yet, and close."""
        self.waiting.pop(self, None)
        self._after(0, None)
        if self.transport.is_closing():
            return
        if self._is_answering() and self.cycle.response_started:
            self.transport.abort()
            return
        body = msgspec.json.encode(failure_of(error))
        head = (
            b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\nx-content-type-options: nosniff\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head % (status, _PHRASES[status], len(body)) + body)
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, Invalid("this is no HTTP request", hint="send HTTP/1.1", where="connection"))

    def _is_answering(self) -> bool:
        return self._has_asked and not self.cycle.response_complete

    # -- a request's head and body -------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._is_in_head:
            self._head += len(data)
        else:
            self._came += len(data)
            self._wrapped += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._is_in_head:
            self._look_at_head()
        else:
            self._look_at_body()

    def _look_at_head(self) -> None:
        if self._head > self.kept.head_bytes:
            error = TooLarge(
                f"the request's head has more than {self.kept.head_bytes} bytes",
                hint="send fewer or shorter headers",
                where="header",
            )
            self._refuse(431, error)
        elif self._deadline is None and (self._has_begun or not self._is_answering()):
            self._after(self.kept.head_s, self._head_is_late)

    def _look_at_body(self) -> None:
        if self._wrapped - self._body > max(_WRAPPED_AT_LEAST, _WRAPPED * self._body):
            self._refuse(400, Invalid("the chunks have more wrapping than content", hint="send larger ones"))
        elif self._deadline is None:
            self._came = 0
            self._after(self.kept.pace_s, self._look_at_pace)

    def _head_is_late(self) -> None:
        self._deadline = None
        if not self._has_begun:
            self.transport.close()
        elif not self._is_answering():
            hint = f"send the whole head within {self.kept.head_s:g} s"
            self._refuse(408, Unavailable("the request's head did not end", hint=hint))

    def _look_at_pace(self) -> None:
        """Whether the body came at its pace; while nobody here reads it, it need not come."""
        self._deadline = None
        if not self._is_answering():
            self.transport.abort()
            return
        is_read = not (self.flow.read_paused or self.cycle.waiting_for_100_continue)
        if is_read and self._came < self.kept.pace_s * self.kept.pace_bytes:
            hint = f"send at least {self.kept.pace_bytes} bytes a second"
            self._refuse(408, Unavailable("the request's body came too slowly", hint=hint))
            return
        self._came = 0
        self._after(self.kept.pace_s, self._look_at_pace)

    # -- what the parser tells -----------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._has_begun = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._wrapped, self._body = 0, 0
        self.waiting.pop(self, None)
        self._after(0, None)
        super().on_headers_complete()
        self._has_asked = True

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        cycle.scope[REPLY] = partial(reply_whole, cycle)  # type: ignore[literal-required]  # a key of ours
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_in_head, self._has_begun, self._head = True, False, 0
        self._after(0, None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._is_in_head and not self.transport.is_closing():
            self.waiting[self] = None

    # -- a reply's reader ----------------------------------------------------------------------

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall = self.loop.call_later(self.kept.stall_s, self.transport.abort)

    def resume_writing(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
        super().resume_writing()


def connection_type(limits: ConnectionLimits) -> type[asyncio.Protocol]:
    """The protocol of one server's connections, for uvicorn."""

    class Connection(_Connection):
        kept = limits
        waiting: ClassVar[dict[_Connection, None]] = {}

    return Connection
