"""Carries the bytes of files between requests and the object store, in flat memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from typing import BinaryIO

from loopwright.engine.context import Context
from loopwright.ports.ledger import Artifact
from loopwright.surfaces.mlflow.failures import refusal
from loopwright.surfaces.mlflow.handover import handed_over, next_piece, piece_in, too_large
from loopwright.surfaces.mlflow.media import attachment
from loopwright.surfaces.mlflow.ranges import NoSuchPart, part_of
from loopwright.surfaces.mlflow.routing import Call, replied
from loopwright.surfaces.senders import Pace, Senders, Sending
from loopwright.tracking.artifacts import SMALL, Find, found, opened, prepared, store_stream
from loopwright.tracking.paths import name_of

__all__ = ["UPLOADS", "Transfers"]

_PIECE = 1 << 20
UPLOADS, _DOWNLOADS = 64, 4
"""threads: an upload keeps one at its sender's pace, a download only while a piece is read"""
_WAITING = 64
_Headers = list[tuple[bytes, bytes]]


class Transfers:
    """Uploads and downloads: a small file passes in one step of a thread, a great one has its own thread."""

    def __init__(self, upload_bytes: int, *, uploads: int = UPLOADS, pace: Pace | None = None) -> None:
        self._limit = upload_bytes
        self._uploads = ThreadPoolExecutor(uploads, thread_name_prefix="loopwright-upload")
        self._downloads = ThreadPoolExecutor(_DOWNLOADS, thread_name_prefix="loopwright-download")
        self._senders = Senders(uploads, waiting=_WAITING, pace=pace)

    async def put(self, call: Call, find: Find) -> None:
        """Keep the body as the file at a spot."""
        announced = call.headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced[:20]) > self._limit:
            raise too_large(self._limit)
        body, goes_on = await _beginning(call)
        if goes_on:
            await self._put_great(call, find, body)
        else:
            await call.in_turn(partial(prepared, call.ctx, find, body))
        if not replied(call.scope, b"", b""):
            await call.send(_start(200, [(b"content-length", b"0")]))
            await call.send({"type": "http.response.body", "body": b""})

    async def _put_great(self, call: Call, find: Find, first: bytes) -> None:
        work: Callable[[Iterator[bytes]], Artifact] = partial(store_stream, call.ctx, find)
        sending = Sending(call.receive)
        async with self._senders.place(sending):
            await handed_over(first, sending, work, limit=self._limit, pool=self._uploads)

    async def get(self, call: Call, find: Find) -> None:
        """Send the file at a spot, or the part of it that is asked for; for a HEAD, its headers alone."""
        if call.scope["method"] == "HEAD":
            file = await call.in_thread(partial(found, call.ctx, find))
            await call.send(_start(200, _told(file, None)))
            await call.send({"type": "http.response.body", "body": b""})
            return
        file, content = await call.in_thread(partial(_fetched, call.ctx, find))
        with content:
            try:
                part = part_of(call.headers, file.size_bytes, _etag(file))
            except NoSuchPart as error:
                await _send_no_part(call, error)
                return
            await call.send(_start(206 if part else 200, _told(file, part)))
            await self._send(call, content, part or range(file.size_bytes))

    async def _send(self, call: Call, content: BinaryIO, part: range) -> None:
        loop = asyncio.get_running_loop()
        for start in range(part.start, part.stop, _PIECE) or (part.start,):
            size = min(_PIECE, part.stop - start)
            if isinstance(content, BytesIO):
                piece = _read(content, start, size)
            else:
                piece = await loop.run_in_executor(self._downloads, _read, content, start, size)
            more = start + size < part.stop
            await call.send({"type": "http.response.body", "body": piece, "more_body": more})


async def _beginning(call: Call) -> tuple[bytes, bool]:
    """The whole body when it is small, else its first bytes; and whether more comes.

    Its first piece has the time that the connection gives a body: a clock for each costs as much as reading.
    """
    piece, goes_on = piece_in(await call.receive())
    if not goes_on:
        return piece, False
    pieces, size = [piece], len(piece)
    while goes_on and size <= SMALL:
        piece, goes_on = await next_piece(call.receive)
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces), goes_on


def _fetched(ctx: Context, find: Find) -> tuple[Artifact, BinaryIO]:
    file = found(ctx, find)
    return file, opened(ctx, file)


def _read(content: BinaryIO, start: int, size: int) -> bytes:
    content.seek(start)
    return content.read(size)


def _start(status: int, headers: _Headers) -> dict[str, object]:
    return {"type": "http.response.start", "status": status, "headers": headers}


def _etag(file: Artifact) -> bytes:
    return b'"%b"' % file.digest.encode()


def _told(file: Artifact, part: range | None) -> _Headers:
    headers = [*attachment(name_of(file.path)), (b"etag", _etag(file)), (b"accept-ranges", b"bytes")]
    if part is None:
        return [*headers, (b"content-length", b"%d" % file.size_bytes)]
    place = b"bytes %d-%d/%d" % (part.start, part.stop - 1, file.size_bytes)
    return [*headers, (b"content-length", b"%d" % len(part)), (b"content-range", place)]


async def _send_no_part(call: Call, error: NoSuchPart) -> None:
    _, body = refusal(error)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"content-range", b"bytes */%d" % error.size),
    ]
    await call.send(_start(416, headers))
    await call.send({"type": "http.response.body", "body": body})
