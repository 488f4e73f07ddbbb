"""Splits JSON heads from tensor bytes, and packs replies."""

from __future__ import annotations

import zlib

from loopwright.core.errors import Invalid

__all__ = ["HEAD_LENGTH", "pack", "split_head"]

HEAD_LENGTH = b"inference-header-content-length"
_GZIP_FROM = 1024
_GZIP, _ZLIB = 31, 15


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
