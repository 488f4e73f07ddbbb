"""Request bodies: whole and limited for JSON, piece by piece for uploads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

from starlette.requests import ClientDisconnect, Request

from loopwright.core.errors import Invalid, TooLarge, Unavailable
from loopwright.engine.operation import Upload

__all__ = ["read_body", "upload_of"]

_PATIENCE_S = 60.0


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


def upload_of(request: Request, limit: int) -> Upload:
    """The body as pieces that a thread of the pool may iterate once, at the sender's pace."""
    _check_length(_declared_length(request), limit)
    media_type = request.headers.get("content-type", "application/octet-stream").partition(";")[0].strip()
    pieces = _pieces(request.stream(), asyncio.get_running_loop(), limit)
    return Upload(chunks=pieces, media_type=media_type.lower())


def _pieces(stream: AsyncIterator[bytes], loop: asyncio.AbstractEventLoop, limit: int) -> Iterator[bytes]:
    size = 0
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
        raise Unavailable(
            f"nothing came for {_PATIENCE_S:g} s", hint="send the upload again", where="body"
        ) from error
    except ClientDisconnect as error:
        raise Invalid("the upload ended before it was whole", hint="send it again", where="body") from error
