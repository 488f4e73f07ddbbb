"""Compares numeric columns exactly: one sort of the current sample, searched in a sorted reference."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from loopwright.core.errors import Invalid
from loopwright.stats.distributions import kolmogorov_sf
from loopwright.stats.drift import bins
from loopwright.stats.samples import FloatArray, IntArray, UndefinedStatistic, present

__all__ = [
    "NumericComparison",
    "NumericReference",
    "hellinger",
    "jensen_shannon",
    "kolmogorov_smirnov",
    "kolmogorov_smirnov_p",
    "mean_shift",
    "normed_wasserstein",
    "population_stability",
    "wasserstein",
]

_Ranks = tuple[IntArray, IntArray]


class NumericComparison(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What every numeric measure needs of a reference and a current sample.

    `points` are the k distinct current values, rising; `current_upto` counts current values <= each point,
    and `reference_below` and `reference_upto` count reference values < and <= it. `area` lies between the
    distribution functions of the current sample and the whole reference. With `inside` the current rows are
    some of the reference's, and every measure is against the rest of the reference.
    """

    reference: NumericReference
    points: FloatArray
    current_upto: IntArray
    reference_below: IntArray
    reference_upto: IntArray
    current_bins: IntArray
    current_mean: float
    area: float
    current_missing: int
    inside: bool

    @property
    def n_current(self) -> int:
        """Current values that are there."""
        return int(self.current_upto[-1])

    @property
    def n_reference(self) -> int:
        """Reference values compared with: all, or the rest when the current ones are among them."""
        return self.reference.n - (self.n_current if self.inside else 0)

    @property
    def widening(self) -> float:
        """How much further the current sample is from the rest than from a whole that it belongs to."""
        return self.reference.n / self.n_reference

    @property
    def effective_size(self) -> float:
        """Size n m / (n + m): what the noise of a two-sample measure shrinks with."""
        return self.n_reference * self.n_current / (self.n_reference + self.n_current)

    @property
    def reference_bins(self) -> IntArray:
        """Counts of the reference (or its rest) in its own fixed bins."""
        return self.reference.counts - self.current_bins if self.inside else self.reference.counts


class NumericReference(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A numeric sample prepared once to be compared with many: its sorted values and its fixed bins.

    `values` `(n,)` rising and finite; `partial_sums` `(n + 1,)` of `values - centre`; `edges` `(b - 1,)`
    between the bins and `counts` `(b,)` in them.
    """

    values: FloatArray
    partial_sums: FloatArray
    centre: float
    scale: float
    edges: FloatArray
    counts: IntArray
    missing: int

    @classmethod
    def fit(
        cls,
        values: npt.ArrayLike,
        *,
        missing: npt.ArrayLike | None = None,
        bin_count: int = 10,
        edges: npt.ArrayLike | None = None,
    ) -> NumericReference:
        """Sort a reference and fix its bins: given `edges` between bins, or about equal counts.

        NaN, infinities and masked rows are missing. Raises `UndefinedStatistic` when nothing is there.
        """
        there, gone = present(values, missing, "reference")
        return cls.of_sorted(np.sort(there), missing=gone, bin_count=bin_count, edges=edges)

    @classmethod
    def of_sorted(
        cls,
        rising: FloatArray,
        *,
        missing: int,
        bin_count: int = 10,
        edges: npt.ArrayLike | None = None,
    ) -> NumericReference:
        """As `fit`, from finite values already in rising order (a reference kept on disk)."""
        if rising.size == 0:
            raise UndefinedStatistic(
                f"the reference has no value, {missing} missing", hint="leave this column out"
            )
        centre = float(rising[rising.size // 2])
        sums = np.cumsum(rising - centre, dtype=np.longdouble).astype(np.float64)
        limits = _inner_edges(rising, bin_count) if edges is None else _given_edges(edges)
        return cls(
            values=rising,
            partial_sums=np.concatenate([[0.0], sums]),
            centre=centre,
            scale=float(rising.std()),
            edges=limits,
            counts=bins.count_sorted(rising, limits),
            missing=missing,
        )

    @classmethod
    def merge(cls, parts: Sequence[NumericReference], *, bin_count: int = 10) -> NumericReference:
        """One reference of several (the days of a trailing window), as if fitted on all rows at once."""
        if not parts:
            raise Invalid("there is no reference to merge", hint="pass one or more")
        together = np.sort(np.concatenate([part.values for part in parts]), kind="stable")
        return cls.of_sorted(together, missing=sum(part.missing for part in parts), bin_count=bin_count)

    @property
    def n(self) -> int:
        """How many values there are, missing ones apart."""
        return int(self.values.size)

    def compare(
        self,
        current: npt.ArrayLike,
        *,
        missing: npt.ArrayLike | None = None,
        inside: bool = False,
    ) -> NumericComparison:
        """Set a current sample of m against this reference of n, in O(m log m + m log n).

        `inside` says that the current rows are some of the reference's own. Raises `UndefinedStatistic` when
        no current value is there, or no other reference value.
        """
        there, gone = present(current, missing, "current")
        if there.size == 0:
            raise UndefinedStatistic(
                f"the current sample has no value, {gone} missing", hint="see missing rates"
            )
        if inside and there.size >= self.n:
            raise UndefinedStatistic("the current rows are the whole reference", hint="draw fewer rows")
        rising = np.sort(there)
        last = np.append(np.flatnonzero(rising[1:] != rising[:-1]), rising.size - 1)
        points = rising[last]
        current_upto = last.astype(np.int64) + 1
        below, upto = ranks = _ranks(self.values, points)
        return NumericComparison(
            reference=self,
            points=points,
            current_upto=current_upto,
            reference_below=below,
            reference_upto=upto,
            current_bins=bins.count_sorted(rising, self.edges),
            current_mean=self.centre + float((rising - self.centre).mean()),
            area=_area_between(self, points, current_upto, ranks),
            current_missing=gone,
            inside=inside,
        )


def kolmogorov_smirnov(pair: NumericComparison) -> float:
    """The largest distance of the two distribution functions, in [0, 1] (Smirnov 1939)."""
    n, m = pair.reference.n, pair.n_current
    before = np.concatenate([[0], pair.current_upto[:-1]])
    above = np.abs(pair.current_upto * n - pair.reference_upto * m)
    under = np.abs(before * n - pair.reference_below * m)
    return min(1.0, int(max(above.max(), under.max())) / (n * m) * pair.widening)


def kolmogorov_smirnov_p(pair: NumericComparison, statistic: float) -> float:
    """The asymptotic p of a KS distance; too large (safe) when values are tied."""
    return kolmogorov_sf(math.sqrt(pair.effective_size) * statistic)


def wasserstein(pair: NumericComparison) -> float:
    """The area between the two distribution functions, in the column's unit (Vallender 1974)."""
    return pair.area * pair.widening


def normed_wasserstein(pair: NumericComparison) -> float:
    """Wasserstein distance in standard deviations of the whole reference; undefined when that is constant."""
    return wasserstein(pair) / _spread(pair)


def mean_shift(pair: NumericComparison) -> float:
    """Current mean minus reference mean, in standard deviations of the whole reference."""
    reference_mean = pair.reference.centre + float(pair.reference.partial_sums[-1]) / pair.reference.n
    return (pair.current_mean - reference_mean) * pair.widening / _spread(pair)


def population_stability(pair: NumericComparison) -> float:
    """Population stability index over the reference's fixed bins; see `bins.population_stability`."""
    return bins.population_stability(pair.reference_bins, pair.current_bins)


def jensen_shannon(pair: NumericComparison) -> float:
    """Jensen-Shannon distance (base 2) over the reference's fixed bins, in [0, 1]."""
    return bins.jensen_shannon(pair.reference_bins, pair.current_bins)


def hellinger(pair: NumericComparison) -> float:
    """Hellinger distance over the reference's fixed bins, in [0, 1]."""
    return bins.hellinger(pair.reference_bins, pair.current_bins)


def _ranks(values: FloatArray, points: FloatArray) -> _Ranks:
    """How many rising `values` are < and <= each point; tied values alone are searched twice."""
    below = np.searchsorted(values, points, "left")
    end = values.size - 1
    hit = values[np.minimum(below, end)] == points
    upto = below + hit
    tied = np.flatnonzero(hit & (values[np.minimum(below + 1, end)] == points) & (below < end))
    upto[tied] = np.searchsorted(values, points[tied], "right")
    return below, upto


def _area_between(ref: NumericReference, points: FloatArray, current: IntArray, ranks: _Ranks) -> float:
    """The area between the reference's distribution function and the current one, in O(k) for k points.

    Between two neighbouring points the current function is flat and the reference's rises, so that they cross
    at one reference value at most; partial sums give the area on each side of it at once.
    """
    n, m = ref.n, int(current[-1])
    below, upto = ranks
    centred = points - ref.centre
    area_at = (upto * centred - ref.partial_sums[upto]) / n
    start, stop, level = centred[:-1], centred[1:], current[:-1]
    crossing = (level * n) // m
    middle = np.clip(ref.values[crossing] - ref.centre, start, stop)
    rank = np.clip(crossing, upto[:-1], below[1:])
    area_at_middle = (rank * middle - ref.partial_sums[rank]) / n
    inner = (level / m) * (2.0 * middle - start - stop) + area_at[:-1] + area_at[1:] - 2.0 * area_at_middle
    beyond = float(ref.partial_sums[-1]) / n - float(centred[-1]) + float(area_at[-1])
    return float(np.maximum(inner, 0.0).sum()) + max(0.0, float(area_at[0])) + max(0.0, beyond)


def _spread(pair: NumericComparison) -> float:
    if pair.reference.scale == 0.0 or pair.reference.values[0] == pair.reference.values[-1]:
        raise UndefinedStatistic("the reference is constant", hint="use the KS or Wasserstein distance")
    return pair.reference.scale


def _inner_edges(rising: FloatArray, bin_count: int) -> FloatArray:
    if bin_count < 2:
        raise Invalid(f"{bin_count} bin(s)", hint="ask for two or more")
    at = (np.arange(1, bin_count) * rising.size) // bin_count
    edges: FloatArray = np.unique(rising[at])
    inner = edges[edges > rising[0]]
    return inner if inner.size else np.unique([rising[0], np.nextafter(rising[-1], np.inf)])


def _given_edges(edges: npt.ArrayLike) -> FloatArray:
    limits = np.asarray(edges, dtype=np.float64)
    if (
        limits.ndim != 1
        or limits.size == 0
        or not np.isfinite(limits).all()
        or (np.diff(limits) <= 0.0).any()
    ):
        raise Invalid(
            "edges between bins do not rise", hint="pass one or more finite, strictly rising numbers"
        )
    return limits
