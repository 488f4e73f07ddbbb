"""Request bodies: whole and limited for JSON, piece by piece for uploads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

from starlette.requests import ClientDisconnect, Request

from loopwright.core.errors import Invalid, TooLarge, Unavailable
from loopwright.engine.operation import Upload

__all__ = ["read_body", "upload_of"]

_PATIENCE_S = 60.0
_SMALL = 1 << 20
"""bytes of an upload that is whole before a thread is asked for"""


def _check_length(size: int, limit: int) -> None:
    if size > limit:
        raise TooLarge(
            f"the body is over the limit of {limit:,} bytes",
            hint="send less at once, or raise max_body_mb / max_upload_mb of the server",
            where="body",
        )


def _declared_length(request: Request) -> int:
    text = request.headers.get("content-length", "0")
    if not text.isascii() or not text.isdigit():
        raise Invalid(f"Content-Length is {text[:40]!r}", hint="send a number of bytes", where="header")
    return int(text[:20])


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body; `TooLarge` by its declared length, or as soon as more has come."""
    _check_length(_declared_length(request), limit)
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        _check_length(size, limit)
        pieces.append(piece)
    return b"".join(pieces)


async def upload_of(request: Request, limit: int) -> Upload:
    """The body: as a tuple when it is small and here, else as pieces at the sender's pace, to be taken once.

    Its beginning is waited for here, where waiting costs nothing: who sends little, however slowly, keeps no
    thread.
    """
    _check_length(_declared_length(request), limit)
    media_type = request.headers.get("content-type", "application/octet-stream").partition(";")[0].strip()
    stream, begun, size = request.stream(), list[bytes](), 0
    while size <= _SMALL:
        piece = await _in_time(stream)
        if piece is None:
            return Upload(chunks=tuple(filter(None, begun)), media_type=media_type.lower())
        begun.append(piece)
        size += len(piece)
        _check_length(size, limit)
    pieces = _pieces(begun, stream, asyncio.get_running_loop(), limit)
    return Upload(chunks=pieces, media_type=media_type.lower())


async def _in_time(stream: AsyncIterator[bytes]) -> bytes | None:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await anext(stream, None)
    except TimeoutError as error:
        raise _silent() from error
    except ClientDisconnect as error:
        raise _cut_off() from error


def _pieces(
    begun: list[bytes], stream: AsyncIterator[bytes], loop: asyncio.AbstractEventLoop, limit: int
) -> Iterator[bytes]:
    size = sum(map(len, begun))
    yield from filter(None, begun)
    begun.clear()
    while True:
        piece = _await_piece(stream, loop)
        if piece is None:
            return
        size += len(piece)
        _check_length(size, limit)
        if piece:
            yield piece


def _await_piece(stream: AsyncIterator[bytes], loop: asyncio.AbstractEventLoop) -> bytes | None:
    async def following() -> bytes | None:
        return await anext(stream, None)

    future = asyncio.run_coroutine_threadsafe(following(), loop)
    try:
        return future.result(_PATIENCE_S)
    except TimeoutError as error:
        future.cancel()
        raise _silent() from error
    except ClientDisconnect as error:
        raise _cut_off() from error


def _silent() -> Unavailable:
    return Unavailable(f"nothing came for {_PATIENCE_S:g} s", hint="send the upload again", where="body")


def _cut_off() -> Invalid:
    return Invalid("the upload ended before it was whole", hint="send it again", where="body")
