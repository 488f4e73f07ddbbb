"""Keeps a server's memory flat: the C library's share of it, which Python does not govern."""

from __future__ import annotations

import ctypes

__all__ = ["bound_arenas"]

_ARENA_MAX = -8
"""M_ARENA_MAX of glibc's malloc.h"""
_ARENAS = 2


def bound_arenas() -> bool:
    """Let all threads share two heaps; whether the C library could be told.

    glibc gives threads heaps of their own, eight for each processor, and what is free in one is of no use to
    the others: pages of SQLite and bodies of requests that came by thirty threads stay thirty times. Under
    one interpreter lock two heaps are hardly ever waited for.
    """
    try:
        told: int = ctypes.CDLL(None).mallopt(_ARENA_MAX, _ARENAS)
    except (AttributeError, OSError):  # another C library
        return False
    return told == 1
