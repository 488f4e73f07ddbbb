"""Reads request bodies within a limit, unpacks and packs them, and splits JSON heads from tensor bytes."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from starlette.types import Receive

from loopwright.core.errors import Invalid, TooLarge

__all__ = ["HEAD_LENGTH", "inflate", "pack", "read_body", "split_head"]

HEAD_LENGTH = b"inference-header-content-length"
_GZIP_FROM = 1024
_GZIP, _ZLIB = 31, 15


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], limit: int) -> bytes:
    """The whole body; `TooLarge` as soon as it is over the limit, by its length header or by its bytes."""
    announced = headers.get(b"content-length", b"0")
    if announced.isdigit() and int(announced[:20]) > limit:
        raise _too_large(limit)
    first = await receive()
    if not first.get("more_body", False):
        return _within(first.get("body", b""), limit)
    parts, size, message = [first.get("body", b"")], len(first.get("body", b"")), first
    while message.get("more_body", False):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Invalid("the caller went away", hint="send the whole body")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise _too_large(limit)
    return _within(b"".join(parts), limit)


def _within(body: bytes, limit: int) -> bytes:
    if len(body) > limit:
        raise _too_large(limit)
    return body


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is over {limit:,} bytes", hint="send fewer rows in a request")


def inflate(body: bytes, encoding: bytes, limit: int) -> bytes:
    """The body as it was before its Content-Encoding, never more than the limit."""
    if encoding in {b"", b"identity"}:
        return body
    if encoding not in {b"gzip", b"deflate"}:
        raise Invalid("the Content-Encoding is not known", hint="send gzip, deflate or none")
    unpacker = zlib.decompressobj(_GZIP if encoding == b"gzip" else _ZLIB)
    try:
        found = unpacker.decompress(body, limit + 1)
    except zlib.error as error:
        raise Invalid(f"the body is not {encoding.decode()}", hint="pack it again") from error
    if len(found) > limit:
        raise _too_large(limit)
    if not unpacker.eof:
        raise Invalid(f"the {encoding.decode()} body is cut short", hint="send the whole body")
    return found


def pack(body: bytes, accepted: bytes) -> tuple[bytes, bytes]:
    """The body packed, and how, when the caller takes that and it is worth it."""
    if len(body) < _GZIP_FROM:
        return body, b""
    for name, window in ((b"gzip", _GZIP), (b"deflate", _ZLIB)):
        if name in accepted:
            packer = zlib.compressobj(1, zlib.DEFLATED, window)
            return packer.compress(body) + packer.flush(), name
    return body, b""


def split_head(body: bytes, head_length: bytes | None) -> tuple[memoryview, memoryview]:
    """The JSON head and the tensor bytes behind it."""
    view = memoryview(body)
    if head_length is None:
        return view, view[len(view) :]
    if not head_length.isdigit() or len(head_length) > 12 or int(head_length) > len(view):
        raise Invalid(
            "Inference-Header-Content-Length does not fit the body", hint="give the length of its JSON part"
        )
    size = int(head_length)
    return view[:size], view[size:]
