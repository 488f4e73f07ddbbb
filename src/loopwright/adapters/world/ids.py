"""Ids that sort by the time they were made."""

from __future__ import annotations

import secrets
import threading
import time

__all__ = ["RandomIds"]

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BITS = 80
_PAIRS = tuple(high + low for high in _ALPHABET for low in _ALPHABET)


class RandomIds:
    """26 characters: 48 bits of milliseconds, then 80 random bits, counted up within a millisecond."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_ms = 0
        self._tail = 0

    def new(self) -> str:
        """A new id; later ones of this process sort after earlier ones."""
        with self._lock:
            now_ms = max(time.time_ns() // 1_000_000, self._last_ms)
            if now_ms == self._last_ms:
                self._tail += 1
            else:
                self._last_ms, self._tail = now_ms, secrets.randbits(_RANDOM_BITS - 1)
            value = (now_ms << _RANDOM_BITS) | self._tail
        return "".join([_PAIRS[(value >> shift) & 1023] for shift in range(120, -1, -10)])
