"""Says whether a feed still speaks the same language: levels never seen, values far out of range or missing.

A change of unit, code or format at the source puts values where none ever were: between the levels of a
quantised column, or far outside its range. No test of distributions sees that in a day of rows; a
comparison with each stretch of the reference itself does. Season is in the null because the reference is
trailing, and its own stretches, each held against the others, say how many new values a healthy one brings.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec
import numpy as np
from numpy.typing import NDArray

from loopwright.monitoring.nouns import FeedLimits
from loopwright.stats.distributions import binomial_tail

__all__ = ["ColumnWindow", "FeedSign", "SignKind", "sign_of", "stretch"]

_RESOLUTION = 1e-6
_TAILS = (0.001, 0.999)
_BULK = (0.05, 0.95)


class SignKind(StrEnum):
    """What is wrong with a column."""

    LEVELS = "levels"
    """values between those of the reference, or far beyond them"""
    RANGE = "range"
    """values far outside the reference's range"""
    MISSING = "missing"
    """values that used to be there are not"""


class ColumnWindow(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One numeric column: the reference's values with the stretch of each (never falling), and the window's.

    NaN is a missing value. Categories come as codes `(n,) float64`, with `is_category` set: they have levels
    but no range.
    """

    name: str
    reference: NDArray[np.float64]
    stretches: NDArray[np.int64]
    """number of the stretch, as long as the window, that each value of the reference lies in"""
    window: NDArray[np.float64]
    order: NDArray[np.int64] | None = None
    """what sorts the reference, stably, where the caller has it at hand"""
    is_category: bool = False


class FeedSign(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What the window of a column shows: the share of strange values and its limit, of the strangest kind."""

    column: str
    kind: SignKind
    share: float
    limit: float
    n: int
    p_value: float
    holds: bool
    """whether the column is called changed"""
    strange: NDArray[np.bool_]
    """(n,) which rows of the window are strange"""


def sign_of(column: ColumnWindow, limits: FeedLimits) -> FeedSign | None:
    """The sign that holds, else the one nearest to its limit; None while there is too little to judge by."""
    stretches = 1 + int(np.count_nonzero(np.diff(column.stretches))) if len(column.stretches) else 0
    if stretches < limits.min_windows or len(column.window) < limits.min_rows:
        return None
    masks = {SignKind.MISSING: _missing(column)}
    there = _Sorted(column)
    if len(there.values) >= limits.min_rows:
        far = there.far(limits.margin)
        levels = there.levels()
        if levels[0].sum() <= limits.quantised * len(there.values):
            masks[SignKind.LEVELS] = (levels[0] | far[0], levels[1] | far[1])
        masks[SignKind.RANGE] = far
    signs = [_judged(column, kind, *pair, limits) for kind, pair in masks.items()]
    return max(signs, key=lambda sign: (sign.holds, sign.share / sign.limit))


def stretch(strange: NDArray[np.bool_]) -> tuple[int, int] | None:
    """First and last index of the stretch where strange rows outnumber others most (Kadane), or None."""
    best, run, first, found = 0.0, 0.0, 0, None
    for at, is_strange in enumerate(strange.tolist()):
        if run <= 0.0:
            run, first = 0.0, at
        run += 0.5 if is_strange else -0.5
        if run > best:
            best, found = run, (first, at)
    return found


_Mask = tuple[NDArray[np.bool_], NDArray[np.bool_]]


def _missing(column: ColumnWindow) -> _Mask:
    return ~np.isfinite(column.reference), ~np.isfinite(column.window)


class _Sorted:
    """A reference column sorted once, with what its levels and its range say of a window."""

    def __init__(self, column: ColumnWindow) -> None:
        self._column = column
        order = np.argsort(column.reference, kind="stable") if column.order is None else column.order
        self._order = order[: int(np.isfinite(column.reference).sum())]
        self.values = column.reference[self._order]
        """the values that are there, ascending; of equal ones the oldest first"""
        self._width = self._quantile(_BULK[1]) - self._quantile(_BULK[0])

    def _quantile(self, share: float) -> float:
        return float(self.values[int(share * (len(self.values) - 1))]) if len(self.values) else 0.0

    def levels(self) -> _Mask:
        """Which reference values occur in one stretch only; which of the window's, in its range, in none."""
        values, window, places = self.values, self._column.window, self._column.stretches[self._order]
        step = 0.5 if self._column.is_category else _RESOLUTION * (self._width or 1.0)
        starts = np.flatnonzero(np.concatenate([[True], np.diff(values) > step]))
        ends = np.append(starts[1:], len(values)) - 1
        alone = np.zeros(len(self._column.reference), np.bool_)
        alone[self._order] = np.repeat(places[starts] == places[ends], ends - starts + 1)
        after = np.minimum(np.searchsorted(values, window), len(values) - 1)
        before = np.maximum(after - 1, 0)
        near = np.minimum(np.abs(values[after] - window), np.abs(window - values[before])) <= step
        within = np.isfinite(window)
        if not self._column.is_category:
            within &= (window >= values[0]) & (window <= values[-1])
        return alone, within & ~near

    def far(self, margin: float) -> _Mask:
        """Which values of the reference and of the window are far outside the reference's range."""
        if self._column.is_category:
            return np.zeros(len(self._column.reference), np.bool_), np.zeros(
                len(self._column.window), np.bool_
            )
        reach = margin * self._width
        low, high = self._quantile(_TAILS[0]) - reach, self._quantile(_TAILS[1]) + reach
        masks = [(x < low) | (x > high) for x in (self._column.reference, self._column.window)]
        return masks[0], masks[1]


def _judged(
    column: ColumnWindow,
    kind: SignKind,
    known: NDArray[np.bool_],
    strange: NDArray[np.bool_],
    limits: FeedLimits,
) -> FeedSign:
    """The share of strange values among those there are, against the reference's strangest stretch."""
    of_all = kind is SignKind.MISSING
    there = strange | True if of_all else np.isfinite(column.window)
    among = known | True if of_all else np.isfinite(column.reference)
    n, count = int(there.sum()), int(strange.sum())
    worst = _strangest(column.stretches, known, among, limits.min_rows)
    floor = limits.range_floor if kind is SignKind.RANGE else limits.floor
    limit = max(floor, limits.factor * worst)
    share = count / n if n else 0.0
    p_value = binomial_tail(count, n, worst) if n else 1.0
    holds = n >= limits.min_rows and share >= limit and p_value <= limits.alpha
    return FeedSign(
        column=column.name,
        kind=kind,
        share=share,
        limit=limit,
        n=n,
        p_value=p_value,
        holds=holds,
        strange=strange,
    )


def _strangest(
    stretches: NDArray[np.int64], strange: NDArray[np.bool_], there: NDArray[np.bool_], min_rows: int
) -> float:
    """The greatest share of strange values in a stretch, of those with enough rows; 1 when none has."""
    codes = stretches - stretches[0]
    rows = np.bincount(codes[there], minlength=int(codes[-1]) + 1)
    counts = np.bincount(codes[strange & there], minlength=len(rows))
    enough = rows >= max(min_rows, 1)
    worst = float((counts[enough] / rows[enough]).max()) if enough.any() else 1.0
    return min(max(worst, 1.0 / (len(stretches) + 1)), 1.0)
