"""Unpacks a body that came with a Content-Encoding, a piece at a time, in flat memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import chain

from loopwright.core.errors import Invalid, TooLarge, Unavailable

__all__ = ["unpacked"]

_GZIP, _ZLIB, _RAW = 31, 15, -15
"""window bits by which zlib tells the forms apart"""
_PIECE = 1 << 20
_MAGIC = b"\x1f\x8b"


def unpacked(
    pieces: Iterator[bytes], coding: str, *, limit: int, stays_gzip: bool = False
) -> Iterator[bytes]:
    """The body as it was before it was packed, as `Content-Encoding` says; `Invalid` for what is not known.

    `TooLarge` as soon as it unpacks to more than `limit` bytes. With `stays_gzip` the body is a gzip file by
    its name, which some servers tell as an encoding: it is given as it is, unless it was packed twice.
    """
    name = coding.strip().lower()
    if name in {"", "identity"}:
        yield from pieces
        return
    if name not in {"gzip", "x-gzip", "deflate"}:
        raise Invalid(
            f"the source's URL answers in the encoding {name[:40]!r}, which was not asked for",
            hint="let it answer plain, gzip or deflate, or fetch it by hand",
        )
    first = next(pieces, b"")
    if not first:
        return
    whole = chain((first,), pieces)
    if stays_gzip and not _is_gzip_in_gzip(first):
        yield from whole
        return
    size = 0
    try:
        for piece in _members(whole, _window(name, first)):
            size += len(piece)
            if size > limit:
                raise TooLarge(
                    f"the source's URL answers with what unpacks to over {limit:,} bytes",
                    hint="offer it in several files",
                )
            yield piece
    except zlib.error as error:
        raise Invalid(
            f"the source's URL says that it answers in {name}, and does not", hint="fetch it by hand"
        ) from error


def _is_gzip_in_gzip(first: bytes) -> bool:
    try:
        return zlib.decompressobj(_GZIP).decompress(first, len(_MAGIC)) == _MAGIC
    except zlib.error:
        return False


def _window(name: str, first: bytes) -> int:
    """`deflate` has a head of two bytes (RFC 1950), which some servers leave out."""
    if name != "deflate":
        return _GZIP
    has_head = len(first) > 1 and first[0] & 15 == 8 and int.from_bytes(first[:2], "big") % 31 == 0
    return _ZLIB if has_head else _RAW


def _members(pieces: Iterator[bytes], window: int) -> Iterator[bytes]:
    """What one stream holds after the other: gzip may have several, and zeros at its end."""
    unpacker = zlib.decompressobj(window)
    for piece in pieces:
        left = piece
        while left:
            if unpacker.eof:
                left = left.lstrip(b"\0") if window == _GZIP else left
                unpacker = zlib.decompressobj(window) if left else unpacker
            else:
                yield unpacker.decompress(left, _PIECE)
                left = unpacker.unconsumed_tail or unpacker.unused_data
    while rest := unpacker.decompress(b"", _PIECE):
        yield rest
    if not unpacker.eof:
        raise Unavailable("the source's URL was cut off", hint="try again")
