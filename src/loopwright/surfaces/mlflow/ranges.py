"""Which part of a file a request asks for (RFC 9110, 14)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from loopwright.core.errors import Invalid

__all__ = ["NoSuchPart", "part_of"]

_RANGE = re.compile(rb"bytes=(\d*)-(\d*)\Z")
_DIGITS = 19


class NoSuchPart(Invalid):
    """The part lies outside of the file, which has `size` bytes."""

    status = 416

    def __init__(self, size: int) -> None:
        super().__init__(f"the range lies outside of {size} bytes", hint="ask for less", where="header Range")
        self.size = size


def part_of(headers: Mapping[bytes, bytes], size: int, etag: bytes) -> range | None:
    """The one part asked for; None for the whole: no range, several, another unit, or of another content."""
    if headers.get(b"if-range", etag) != etag:
        return None
    matched = _RANGE.match(headers.get(b"range", b"").replace(b" ", b""))
    if matched is None or matched[1] == matched[2] == b"":
        return None
    if matched[1] == b"":
        start, stop = max(0, size - int(matched[2][:_DIGITS])), size
    else:
        start = int(matched[1][:_DIGITS])
        stop = min(size, int(matched[2][:_DIGITS]) + 1) if matched[2] else size
        if matched[2] and int(matched[2][:_DIGITS]) < start:
            return None
    if start >= stop:
        raise NoSuchPart(size)
    return range(start, stop)
