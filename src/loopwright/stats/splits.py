"""Shares traffic out by hashing whole numbers: the same key always falls to the same side."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from loopwright.core.errors import Invalid
from loopwright.stats.samples import BoolArray, FloatArray, IntArray

__all__ = ["assign", "in_share", "is_in_share", "unit_position", "unit_positions"]

_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


def unit_position(key: int, salt: int) -> float:
    """Where a 64-bit key falls in [0, 1), uniformly and for good; another salt gives an unrelated place.

    The finaliser of SplitMix64 (Steele, Lea and Flood 2014) over key and hashed salt, top 53 bits.
    """
    return (_mix((key & _MASK) ^ _mix(salt & _MASK)) >> 11) * 2.0**-53


def is_in_share(key: int, share: float, salt: int) -> bool:
    """Whether the key belongs to that share of keys; raising the share only ever adds keys."""
    return unit_position(key, salt) < _share(share)


def unit_positions(keys: npt.ArrayLike, salt: int) -> FloatArray:
    """As `unit_position`, for a vector of integers `(n,)`, bit for bit the same."""
    numbers: npt.NDArray[Any] = np.asarray(keys)
    if numbers.dtype.kind not in "iu":
        raise Invalid(f"keys are {numbers.dtype}, not integers", hint="hash names to 64-bit integers first")
    mixed = _mix_all(numbers.astype(np.uint64) ^ np.uint64(_mix(salt & _MASK)))
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def in_share(keys: npt.ArrayLike, share: float, salt: int) -> BoolArray:
    """As `is_in_share`, for a vector of integers `(n,)`."""
    return unit_positions(keys, salt) < _share(share)


def assign(keys: npt.ArrayLike, weights: npt.ArrayLike, salt: int) -> IntArray:
    """Which of k arms each key goes to `(n,)`, in proportion to the weights `(k,)`."""
    parts = np.asarray(weights, dtype=np.float64)
    if (
        parts.ndim != 1
        or parts.size == 0
        or not np.isfinite(parts).all()
        or parts.min() < 0.0
        or parts.sum() <= 0.0
    ):
        raise Invalid("weights are not shares", hint="pass numbers >= 0, at least one above 0")
    limits = np.cumsum(parts) / parts.sum()
    last = int(np.flatnonzero(parts)[-1])
    return np.minimum(np.searchsorted(limits, unit_positions(keys, salt), "right"), last)


def _share(share: float) -> float:
    if not 0.0 <= share <= 1.0:
        raise Invalid(f"share is {share}, not between 0 and 1", hint="5 per cent is 0.05")
    return share


def _mix(x: int) -> int:
    x = (x + _STEP) & _MASK
    x = ((x ^ (x >> 30)) * _FIRST) & _MASK
    x = ((x ^ (x >> 27)) * _SECOND) & _MASK
    return x ^ (x >> 31)


def _mix_all(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    x = x + np.uint64(_STEP)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(_FIRST)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(_SECOND)
    return x ^ (x >> np.uint64(31))
