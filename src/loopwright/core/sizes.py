"""Sizes of memory and files as people write them: `600MB`, `4GB`, `1.5GiB`."""

from __future__ import annotations

import re

from loopwright.core.errors import Invalid

__all__ = ["parse_size"]

_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)\s*(|[kmgt]?b|[kmgt]ib)", re.IGNORECASE | re.ASCII)
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}


def parse_size(text: str) -> int:
    """Bytes of a size: `MB` is a million of them, `MiB` 2^20; a bare number is bytes. `Invalid` below one."""
    found = _SIZE.fullmatch(text.strip())
    size = int(float(found[1]) * _UNITS[found[2].lower()]) if found else 0
    if size < 1:
        raise Invalid(f"{text[:80]!r} is not a size", hint="write it as 600MB, 4GB or 1.5GiB")
    return size
