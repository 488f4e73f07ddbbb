"""Replies that are whole when they begin: written in one piece, without the steps that a long one needs."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

__all__ = ["reply_whole"]


def reply_whole(cycle: RequestResponseCycle, status: int, lines: bytes, body: bytes) -> bool:
    """Write status, headers and body at once; False when it has to be sent the usual way.

    `lines` are headers as they stand on the wire, each with its end; they name neither length nor connection.
    """
    is_plain = not (cycle.response_started or cycle.disconnected or cycle.flow.write_paused)
    if not is_plain or cycle.scope["method"] == "HEAD":
        return False
    cycle.response_started = cycle.response_complete = True
    parts = [STATUS_LINE[status]]
    for name, value in cycle.default_headers:
        parts += (name, b": ", value, b"\r\n")
    ends = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
    parts += (lines, b"content-length: %d\r\n" % len(body), ends, body)
    cycle.transport.write(b"".join(parts))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True
