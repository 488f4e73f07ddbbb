"""Reads a request's whole body within a limit, unpacked where it came packed: what the raw routes share."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from starlette.types import Receive

from loopwright.core.errors import Invalid, TooLarge

__all__ = ["inflate", "read_body", "read_raw"]

_WINDOWS = {b"gzip": 31, b"deflate": 15}


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], limit: int) -> bytes:
    """The body; `TooLarge` when its header, its bytes or what they unpack to are over the limit."""
    body = await read_raw(receive, headers, limit)
    return inflate(body, headers.get(b"content-encoding", b""), limit)


async def read_raw(receive: Receive, headers: Mapping[bytes, bytes], limit: int) -> bytes:
    """The body as it was sent; `TooLarge` as soon as it is over the limit, by its header or by its bytes."""
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit() and int(announced[:20]) > limit:
        raise _too_large(limit)
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body", False):
        body = await _gathered(receive, body, limit)
    if len(body) > limit:
        raise _too_large(limit)
    return body


async def _gathered(receive: Receive, first: bytes, limit: int) -> bytes:
    parts, size, goes_on = [first], len(first), True
    while goes_on:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Invalid("the caller went away", hint="send the whole body")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise _too_large(limit)
        goes_on = message.get("more_body", False)
    return b"".join(parts)


def inflate(body: bytes, encoding: bytes, limit: int) -> bytes:
    """The body as it was before its Content-Encoding; `TooLarge` before more than the limit is unpacked."""
    if encoding in {b"", b"identity"}:
        return body
    window = _WINDOWS.get(encoding)
    if window is None:
        raise Invalid("the Content-Encoding is not known", hint="send gzip, deflate or none")
    unpacker = zlib.decompressobj(window)
    try:
        found = unpacker.decompress(body, limit + 1)
    except zlib.error as error:
        raise Invalid(f"the body is not {encoding.decode()}", hint="pack it again") from error
    if len(found) > limit:
        raise _too_large(limit)
    if not unpacker.eof:
        raise Invalid(f"the {encoding.decode()} body is cut short", hint="send the whole body")
    return found


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is over {limit:,} bytes", hint="send less at once")
