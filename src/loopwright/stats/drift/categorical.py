"""Compares columns of levels, and finds levels that a reference has never seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from loopwright.core.errors import Invalid
from loopwright.stats.distributions import beta_quantile, binomial_tail, chi2_sf
from loopwright.stats.drift import bins
from loopwright.stats.intervals import Estimate, cluster_codes, wilson
from loopwright.stats.samples import BoolArray, IntArray, UndefinedStatistic

__all__ = [
    "CategoricalComparison",
    "CategoricalReference",
    "UnseenLevels",
    "chi_square",
    "chi_square_p",
    "cramers_v",
    "held_out_newcomers",
    "hellinger",
    "jensen_shannon",
    "largest_change",
    "population_stability",
    "total_variation",
    "unseen_levels",
]

LevelArray = npt.NDArray[Any]


class CategoricalComparison(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Counts of a reference and a current sample over all levels of either, the reference's first."""

    reference: CategoricalReference
    current: IntArray
    new_levels: LevelArray
    current_missing: int
    inside: bool

    @property
    def n_current(self) -> int:
        """Current values that are there."""
        return int(self.current.sum())

    @property
    def n_reference(self) -> int:
        """Reference values compared with: all, or the rest when the current ones are among them."""
        return self.reference.n - (self.n_current if self.inside else 0)

    @property
    def effective_size(self) -> float:
        """Size n m / (n + m): what the noise of a two-sample measure shrinks with."""
        return self.n_reference * self.n_current / (self.n_reference + self.n_current)

    @property
    def reference_counts(self) -> IntArray:
        """Counts of the reference (or its rest) by level; 0 for the new ones."""
        padded = np.concatenate([self.reference.counts, np.zeros(self.new_levels.size, np.int64)])
        return padded - self.current if self.inside else padded


class CategoricalReference(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Levels `(k,)` in rising order with how often each was seen. Numbers may be levels too."""

    levels: LevelArray
    counts: IntArray
    missing: int

    @classmethod
    def fit(cls, values: npt.ArrayLike, *, missing: npt.ArrayLike | None = None) -> CategoricalReference:
        """Count the levels of a column of strings or numbers. NaN, None and masked rows are missing."""
        levels, counts, gone = _count(values, missing, "reference")
        return cls.of_counts(levels, counts, missing=gone)

    @classmethod
    def of_counts(cls, levels: npt.ArrayLike, counts: npt.ArrayLike, *, missing: int) -> CategoricalReference:
        """From levels already counted (by a table engine, a dictionary-encoded column), in any order."""
        names, seen = _sorted_counts(levels, counts)
        if int(seen.sum()) == 0:
            raise UndefinedStatistic(
                f"the reference has no value, {missing} missing", hint="leave this column out"
            )
        return cls(levels=names, counts=seen, missing=missing)

    @classmethod
    def merge(cls, parts: Sequence[CategoricalReference]) -> CategoricalReference:
        """One reference of several (the days of a trailing window), as if fitted on all rows at once."""
        if not parts:
            raise Invalid("there is no reference to merge", hint="pass one or more")
        names, codes = np.unique(np.concatenate([part.levels for part in parts]), return_inverse=True)
        counts = np.zeros(names.size, dtype=np.int64)
        np.add.at(counts, codes, np.concatenate([part.counts for part in parts]))
        return cls(levels=names, counts=counts, missing=sum(part.missing for part in parts))

    @property
    def n(self) -> int:
        """How many values there are, missing ones apart."""
        return int(self.counts.sum())

    def compare(
        self, current: npt.ArrayLike, *, missing: npt.ArrayLike | None = None, inside: bool = False
    ) -> CategoricalComparison:
        """Set a current column against this reference; `inside` when its rows are among the reference's."""
        levels, counts, gone = _count(current, missing, "current")
        return self.compare_counts(levels, counts, missing=gone, inside=inside)

    def compare_counts(
        self, levels: npt.ArrayLike, counts: npt.ArrayLike, *, missing: int, inside: bool = False
    ) -> CategoricalComparison:
        """As `compare`, from levels already counted."""
        names, seen = _sorted_counts(levels, counts)
        total = int(seen.sum())
        if total == 0:
            raise UndefinedStatistic(
                f"the current sample has no value, {missing} missing", hint="see missing rates"
            )
        if inside and total >= self.n:
            raise UndefinedStatistic("the current rows are the whole reference", hint="draw fewer rows")
        at, known = self._find(names)
        if inside and not known.all():
            raise Invalid("a current level is not in the reference it is said to be inside of")
        current = np.zeros(self.levels.size, dtype=np.int64)
        current[at[known]] = seen[known]
        return CategoricalComparison(
            reference=self,
            current=np.concatenate([current, seen[~known]]),
            new_levels=names[~known],
            current_missing=missing,
            inside=inside,
        )

    def _find(self, names: LevelArray) -> tuple[IntArray, BoolArray]:
        """Where each name would be among the levels, and whether it is there."""
        if names.size and (names.dtype.kind in "US") != (self.levels.dtype.kind in "US"):
            raise Invalid(f"current levels are {names.dtype} but the reference's {self.levels.dtype}")
        try:
            at = np.searchsorted(self.levels, names)
            known = self.levels[np.minimum(at, self.levels.size - 1)] == names
        except TypeError as error:
            raise Invalid(f"current levels cannot be compared with the reference's: {error}") from error
        return at, np.asarray(known, dtype=np.bool_)


class UnseenLevels(msgspec.Struct, frozen=True, kw_only=True):
    """Current values on levels that occur nowhere in the reference.

    `p` is the exact chance of at least as many rows, were they to come no faster than `rate`, the
    reference's own pace of newcomers (an upper limit of it). `levels` are the new levels, the most frequent
    first.
    """

    share: Estimate
    rate: float
    p: float
    levels: tuple[str, ...]


def unseen_levels(
    pair: CategoricalComparison, *, newcomers: int | None = None, name_at_most: int = 10
) -> UnseenLevels:
    """How many current values are on levels never seen, and how surprising that is.

    The reference's own pace is `newcomers` of its n rows: by default its levels seen once (Good 1953: the
    chance that the next row is new is about that share); where rows come in bursts give `held_out_newcomers`
    instead. Its upper 95 % Jeffreys limit is the rate, and p the exact binomial tail at it.
    """
    new = pair.current[pair.reference.levels.size :]
    count, n = int(new.sum()), pair.reference.n
    alone = int(np.count_nonzero(pair.reference.counts == 1)) if newcomers is None else newcomers
    if not 0 <= alone <= n:
        raise Invalid(f"{alone} newcomers among {n} reference rows")
    rate = 1.0 if alone == n else beta_quantile(0.95, alone + 0.5, n - alone + 0.5)
    order = np.argsort(-new, kind="stable")[:name_at_most]
    return UnseenLevels(
        share=wilson(count, pair.n_current),
        rate=rate,
        p=binomial_tail(count, pair.n_current, rate),
        levels=tuple(str(pair.new_levels[i]) for i in order),
    )


def held_out_newcomers(values: npt.ArrayLike, blocks: npt.ArrayLike) -> int:
    """Rows whose level occurs in their own block (a day) only: new, had that block come last."""
    names = np.asarray(values)
    codes, groups = cluster_codes(blocks, names.size)
    levels, level_codes = np.unique(names, return_inverse=True)
    pairs, counts = np.unique(level_codes * np.int64(groups) + codes, return_counts=True)
    owners = np.bincount(pairs // groups, minlength=levels.size)
    return int(counts[owners[pairs // groups] == 1].sum())


def chi_square(pair: CategoricalComparison) -> float:
    """Pearson's chi-square of the two-row table of counts."""
    return bins.chi_square(pair.reference_counts, pair.current)


def chi_square_p(pair: CategoricalComparison, statistic: float) -> float:
    """The asymptotic p of a chi-square statistic; 1 when there is only one level."""
    dof = bins.chi_square_dof(pair.reference_counts, pair.current)
    return chi2_sf(statistic, dof) if dof else 1.0


def cramers_v(pair: CategoricalComparison) -> float:
    """Cramer's V with both samples weighing alike, in [0, 1]; see `bins.cramers_v`."""
    return bins.cramers_v(pair.reference_counts, pair.current)


def jensen_shannon(pair: CategoricalComparison) -> float:
    """Jensen-Shannon distance (base 2), in [0, 1]."""
    return bins.jensen_shannon(pair.reference_counts, pair.current)


def population_stability(pair: CategoricalComparison) -> float:
    """Population stability index over levels, half a row added to each."""
    return bins.population_stability(pair.reference_counts, pair.current)


def largest_change(pair: CategoricalComparison) -> float:
    """The largest change in one level's share, in [0, 1]."""
    return bins.largest_change(pair.reference_counts, pair.current)


def total_variation(pair: CategoricalComparison) -> float:
    """The share of rows that would have to change level, in [0, 1]."""
    return bins.total_variation(pair.reference_counts, pair.current)


def hellinger(pair: CategoricalComparison) -> float:
    """Hellinger distance, in [0, 1]."""
    return bins.hellinger(pair.reference_counts, pair.current)


def _count(
    values: npt.ArrayLike, missing: npt.ArrayLike | None, name: str
) -> tuple[LevelArray, IntArray, int]:
    column = np.asarray(values)
    if column.ndim != 1:
        raise Invalid(f"{name} has shape {column.shape}", hint="pass a vector")
    kept = _there(column)
    if missing is not None:
        mask = np.asarray(missing)
        if mask.dtype != np.bool_ or mask.shape != column.shape:
            raise Invalid(f"the missing mask of {name} is not {column.size} booleans")
        kept &= ~mask
    there = column[kept]
    if there.dtype == object:
        there = _uniform(there, name)
    levels, counts = np.unique(there, return_counts=True)
    return levels, counts.astype(np.int64), int(column.size - there.size)


def _there(column: LevelArray) -> BoolArray:
    if column.dtype.kind == "f":
        return ~np.isnan(column)
    if column.dtype == object:
        return np.fromiter((not _is_missing(v) for v in column), np.bool_, column.size)
    return np.ones(column.size, dtype=np.bool_)


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _uniform(column: LevelArray, name: str) -> LevelArray:
    """Objects of one sort as an array of that sort, so that they sort and compare."""
    kinds = {type(value) for value in column}
    if len(kinds) > 1 and not kinds <= {int, float, bool}:
        raise Invalid(
            f"{name} mixes {', '.join(sorted(kind.__name__ for kind in kinds))}", hint="use one type"
        )
    return np.array(column.tolist())


def _sorted_counts(levels: npt.ArrayLike, counts: npt.ArrayLike) -> tuple[LevelArray, IntArray]:
    names, seen = np.asarray(levels), np.asarray(counts)
    if (
        names.shape != seen.shape
        or names.ndim != 1
        or (seen.size and (seen.dtype.kind not in "iu" or seen.min() < 0))
    ):
        raise Invalid(
            "levels and counts do not match", hint="pass one whole count, 0 or more, for each level"
        )
    order = np.argsort(names, kind="stable")
    names, seen = names[order], seen[order].astype(np.int64)
    if (names[1:] == names[:-1]).any():
        raise Invalid("a level is counted twice", hint="add its counts first")
    return names, seen
