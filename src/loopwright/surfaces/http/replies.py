"""The five forms of an operation as replies: value, page, stream, blob, job."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from loopwright.core.errors import Invalid, LoopwrightError
from loopwright.core.nouns import Job
from loopwright.engine.operation import Blob
from loopwright.engine.wire import failure_of
from loopwright.surfaces.http.failures import fault_of
from loopwright.surfaces.http.threads import Pool

__all__ = [
    "REPLY",
    "Range",
    "RangeNotSatisfiable",
    "Reply",
    "WholeReply",
    "blob_reply",
    "job_reply",
    "json_reply",
    "parse_range",
    "stream_reply",
]

REPLY = "loopwright.reply"
"""where an application finds how to send a reply that is whole: a `Reply`, where the server has one"""

Reply = Callable[[int, bytes, bytes], bool]
"""sends status, header lines (without length and safety) and body at once; False: send it the usual way"""

_CHUNK = 1 << 16
_BATCH = 100
_SOON_S = 0.02
_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")


class WholeReply(Response):
    """JSON that is encoded already, written in one piece where the server can."""

    media_type = "application/json"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        reply: Reply | None = scope.get(REPLY)
        if reply is None or not reply(200, b"content-type: application/json\r\n", bytes(self.body)):
            await super().__call__(scope, receive, send)


def json_reply(body: bytes, status: int) -> Response:
    """A value or a page that is encoded already."""
    return Response(body, status, media_type="application/json")


def job_reply(job: Job) -> Response:
    """202 with the job and where to look after it."""
    return Response(
        msgspec.json.encode(job),
        202,
        headers={"location": f"/api/v1/jobs/{quote(job.id, safe='')}"},
        media_type="application/json",
    )


class Range(msgspec.Struct, frozen=True):
    """The bytes from `start` (inclusive) to `stop` (exclusive)."""

    start: int
    stop: int


class RangeNotSatisfiable(Invalid):
    """The range asked for lies outside the blob."""

    status = 416


def parse_range(header: str | None, size: int) -> Range | None:
    """The one range a header asks for; None for no range, several, or another unit (RFC 9110, 14.2)."""
    matched = _RANGE.match(header.replace(" ", "")) if header else None
    if matched is None or matched[1] == matched[2] == "":
        return None
    if matched[1] == "":
        start, stop = max(0, size - int(matched[2][:19])), size
    else:
        start = int(matched[1][:19])
        stop = min(size, int(matched[2][:19]) + 1) if matched[2] else size
    if start >= stop:
        raise RangeNotSatisfiable(
            f"the range {header!r} lies outside of {size} bytes",
            hint=f"ask for bytes 0 to {size - 1}",
            where="header Range",
        )
    return Range(start, stop)


def blob_reply(blob: Blob, request: Request, pool: Pool) -> Response:
    """The bytes as an attachment, whole or one range of them; the file is closed at the end."""
    try:
        wanted = parse_range(request.headers.get("range"), blob.size_bytes) if blob.file.seekable() else None
    except RangeNotSatisfiable:
        blob.file.close()
        raise
    part = wanted or Range(0, blob.size_bytes)
    headers = {
        "content-length": str(part.stop - part.start),
        "content-disposition": f"attachment; filename*=UTF-8''{quote(blob.filename, safe='')}",
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
        "accept-ranges": "bytes" if blob.file.seekable() else "none",
    }
    if wanted is not None:
        headers["content-range"] = f"bytes {part.start}-{part.stop - 1}/{blob.size_bytes}"
    pieces = _read(blob, part)
    return StreamingResponse(
        _pulled(pieces, pool, "reading a blob", close=blob.file.close),
        206 if wanted else 200,
        headers=headers,
        media_type=blob.media_type,
    )


def _read(blob: Blob, part: Range) -> Iterator[bytes]:
    if part.start:
        blob.file.seek(part.start)
    left = part.stop - part.start
    while left > 0:
        piece = blob.file.read(min(_CHUNK, left))
        if not piece:
            raise OSError(f"the blob ended {left} bytes early")
        left -= len(piece)
        yield piece


async def stream_reply(items: Iterable[Any], request: Request, pool: Pool, name: str) -> Response:
    """Items as lines of JSON, or as server-sent events when the caller accepts those.

    The first items are made before the reply starts, so what fails at once fails with its own status. What
    fails later ends the stream with a line whose only key is `$error` (an event named `error`).
    """
    as_events = "text/event-stream" in request.headers.get("accept", "")
    batches = _batches(iter(items), _event_line if as_events else _json_line)
    first = await pool.run(lambda: next(batches, b""), deadline_s=None, doing=name)
    ending = b"event: error\ndata: %b\n\n" if as_events else b'{"$error":%b}\n'

    async def body() -> AsyncIterator[bytes]:
        yield first
        try:
            async for piece in _pulled(batches, pool, name):
                yield piece
        except LoopwrightError as error:
            yield ending % msgspec.json.encode(failure_of(error))
        except Exception as error:  # noqa: BLE001 - the status is sent already: the stream must say it failed
            yield ending % msgspec.json.encode(failure_of(fault_of(error, name)))

    media_type = "text/event-stream" if as_events else "application/x-ndjson"
    return StreamingResponse(body(), media_type=media_type, headers={"cache-control": "no-store"})


def _json_line(item: Any) -> bytes:
    return msgspec.json.encode(item) + b"\n"


def _event_line(item: Any) -> bytes:
    return b"data: " + msgspec.json.encode(item) + b"\n\n"


def _batches(items: Iterator[Any], line: Callable[[Any], bytes]) -> Iterator[bytes]:
    """Lines in batches: the first item alone, then what comes within 20 ms, 100 at most."""
    batch: list[bytes] = []
    began = 0.0
    try:
        for item in items:
            batch.append(line(item))
            if len(batch) >= _BATCH or time.monotonic() - began > _SOON_S:
                yield b"".join(batch)
                batch.clear()
                began = time.monotonic()
    except Exception:
        if batch:
            yield b"".join(batch)
        raise
    if batch:
        yield b"".join(batch)


async def _pulled(
    pieces: Iterator[bytes], pool: Pool, name: str, *, close: Callable[[], object] | None = None
) -> AsyncIterator[bytes]:
    """Pieces of a sync iterator, each made in the pool."""
    try:
        while piece := await pool.run(lambda: next(pieces, b""), deadline_s=None, doing=name):
            yield piece
    finally:
        if close is not None:
            close()
