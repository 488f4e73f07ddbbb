"""Compares two samples of which only summaries are kept; every number comes with the bounds they prove.

Of a bin a summary tells how many values it surely holds and how many it may hold. Each measure here is a sum
of one term a bin that is 0 where both shares are equal, falls as the smaller share grows and rises as the
greater one does; so the bounds of the shares give those of the measure, bin by bin. They are safe and not
tight: shares of one sample sum to 1, which is not used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np

from loopwright.core.errors import Invalid
from loopwright.stats.samples import FloatArray, UndefinedStatistic
from loopwright.stats.sketches import Sketch

__all__ = ["MEASURES", "BinCounts", "Bounded", "bounded", "counts_of", "known_counts", "kolmogorov_smirnov"]

_PSEUDO_COUNT = 0.5


class Bounded(msgspec.Struct, frozen=True, kw_only=True):
    """A measure by summaries: between `low` and `high` lies that of all values."""

    value: float
    low: float
    high: float


class BinCounts(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """How many values of a sample lie in each of k bins, `(k,)` each: at least, most likely, at most."""

    least: FloatArray
    counts: FloatArray
    most: FloatArray

    @property
    def n(self) -> float:
        """How many values there are."""
        return float(self.counts.sum())


def known_counts(counts: Sequence[int], unsure: Sequence[int] | None = None) -> BinCounts:
    """Counts that are known; `unsure` more may be in each bin, of those that are counted in the last one."""
    found = np.asarray(counts, dtype=np.float64)
    more = np.zeros(found.size) if unsure is None else np.asarray(unsure, dtype=np.float64)
    least = found.copy()
    least[-1] = max(0.0, found[-1] - more[:-1].sum())
    return BinCounts(least=least, counts=found, most=np.minimum(found + more, found.sum()))


def counts_of(sketch: Sketch, edges: FloatArray) -> BinCounts:
    """How many of a sketch's values are before, between and after rising `edges` `(k - 1,)`.

    An edge is in the bin above it. Counts are those of the middle of what the ranks leave open.
    """
    at = np.searchsorted(sketch.values, edges, "left")
    low = np.concatenate([[0], sketch.least])[at].astype(np.float64)
    high = np.maximum(low, np.concatenate([sketch.greatest - 1, [sketch.n]])[at])
    begin, end = np.zeros(1), np.full(1, float(sketch.n))
    lows, highs = np.concatenate([begin, low, end]), np.concatenate([begin, high, end])
    middle = np.maximum.accumulate((lows + highs) / 2.0)
    return BinCounts(
        least=np.maximum(lows[1:] - highs[:-1], 0.0), counts=np.diff(middle), most=highs[1:] - lows[:-1]
    )


def kolmogorov_smirnov(first: Sketch, second: Sketch) -> Bounded:
    """The largest distance of the two distribution functions, within the ranks that both leave open.

    Between two neighbours of all kept values neither summary tells anything new, so that it is enough to look
    just before each of them and at it.
    """
    if not first.n or not second.n:
        raise UndefinedStatistic("one of the samples has no value", hint="see missing rates")
    points = np.union1d(first.values, second.values)
    sides = [
        (_shares(sketch, points, "left"), _shares(sketch, points, "right")) for sketch in (first, second)
    ]
    (one, other) = ([np.concatenate([a[at], b[at]]) for at in (0, 1)] for a, b in sides)
    low = np.maximum(np.maximum(one[0] - other[1], other[0] - one[1]), 0.0)
    value = np.abs((one[0] + one[1]) - (other[0] + other[1])) / 2.0
    high = np.maximum(one[1] - other[0], other[1] - one[0])
    return Bounded(value=float(value.max()), low=float(low.max()), high=float(high.max()))


def _shares(sketch: Sketch, points: FloatArray, side: str) -> tuple[FloatArray, FloatArray]:
    """Least and greatest share of values below each point, or up to it."""
    at = np.searchsorted(sketch.values, points, "left" if side == "left" else "right")
    low = np.concatenate([[0], sketch.least])[at]
    high = np.maximum(low, np.concatenate([sketch.greatest - 1, [sketch.n]])[at])
    return low / sketch.n, high / sketch.n


# ------------------------------------------------------------------------------- measures of counts

_Term = Callable[[FloatArray, FloatArray], FloatArray]


def _stability(p: FloatArray, q: FloatArray) -> FloatArray:
    found: FloatArray = (q - p) * np.log(q / p)
    return found


def _half_gap(p: FloatArray, q: FloatArray) -> FloatArray:
    found: FloatArray = np.abs(p - q) / 2.0
    return found


def _roots(p: FloatArray, q: FloatArray) -> FloatArray:
    found: FloatArray = (np.sqrt(p) - np.sqrt(q)) ** 2 / 2.0
    return found


def _divergence(p: FloatArray, q: FloatArray) -> FloatArray:
    middle = np.where(p + q > 0.0, (p + q) / 2.0, 1.0)
    parts = (np.where(x > 0.0, x * np.log2(np.where(x > 0.0, x, 1.0) / middle), 0.0) for x in (p, q))
    return np.asarray(sum(parts)) / 2.0


MEASURES: Mapping[str, tuple[_Term, bool, float]] = {
    "population_stability": (_stability, False, math.inf),
    "jensen_shannon": (_divergence, True, 1.0),
    "hellinger": (_roots, True, 1.0),
    "total_variation": (_half_gap, False, 1.0),
}
"""name: the term of a bin, whether the root of the sum is taken, the greatest value; as in `bins`"""


def bounded(measure: str, reference: BinCounts, current: BinCounts) -> Bounded:
    """A measure of `bins` by the counts of two summaries, with what their bounds make of it.

    `population_stability` has half a row added to every bin, as there. Raises `UndefinedStatistic` when one
    of them has no value.
    """
    if measure not in MEASURES:
        raise Invalid(f"no measure is called {measure}", hint=f"choose of {', '.join(MEASURES)}")
    if not reference.n or not current.n:
        raise UndefinedStatistic("one of the samples has no value", hint="see missing rates")
    term, is_root, greatest = MEASURES[measure]
    added = _PSEUDO_COUNT if measure == "population_stability" else 0.0
    low_p, p, high_p = _smoothed(reference, added)
    low_q, q, high_q = _smoothed(current, added)
    nearest = np.where(
        low_p > high_q, term(low_p, high_q), np.where(low_q > high_p, term(high_p, low_q), 0.0)
    )
    furthest = np.maximum(term(low_p, high_q), term(high_p, low_q))
    sums = (float(term(p, q).sum()), float(nearest.sum()), float(furthest.sum()))
    value, low, high = (min(greatest, math.sqrt(each) if is_root else each) for each in sums)
    return Bounded(value=value, low=min(low, value), high=max(high, value))


def _smoothed(counts: BinCounts, added: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    whole = counts.n + added * counts.counts.size
    low, middle, high = (
        (each + added) / whole for each in (counts.least, counts.counts, np.minimum(counts.most, counts.n))
    )
    return low, middle, high
