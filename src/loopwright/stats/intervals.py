"""Puts limits around numbers: proportions, means, differences, and anything else by the bootstrap."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
import numpy.typing as npt

from loopwright.core.errors import Invalid
from loopwright.stats.distributions import (
    beta_quantile,
    normal_quantile,
    normal_two_sided,
    student_t_quantile,
)
from loopwright.stats.samples import FloatArray, IntArray, UndefinedStatistic, finite, level_between

__all__ = [
    "Difference",
    "Estimate",
    "ResampledStatistic",
    "bootstrap",
    "cluster_codes",
    "difference",
    "jeffreys_upper",
    "mean",
    "newcombe",
    "paired_mean_difference",
    "wald",
    "wilson",
]

ResampledStatistic = Callable[[IntArray], float]
"""A statistic of a resample: row numbers (with repeats) in, a number out, or `UndefinedStatistic` raised."""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A number with its `level` interval from `low` to `high`, over `n` rows, by the named method."""

    value: float
    low: float
    high: float
    n: int
    level: float
    method: str


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A difference (first minus second) with its interval, and the two-sided test that it is 0.

    `se` is its standard error, `z` the difference in standard errors (Student's t where the method says so).
    """

    value: float
    se: float
    low: float
    high: float
    z: float
    p: float
    n: int
    level: float
    method: str


def wald(value: float, se: float, *, n: int, level: float, method: str) -> Estimate:
    """The normal interval value +- z * se."""
    reach = normal_quantile(0.5 + level_between(level) / 2.0) * se
    return Estimate(value=value, low=value - reach, high=value + reach, n=n, level=level, method=method)


def difference(value: float, se: float, *, n: int, level: float, method: str) -> Difference:
    """The normal interval and two-sided test of a difference with a known standard error.

    A standard error of 0 with a difference of 0 (two identical scores) gives z = 0 and p = 1; a difference
    without any spread has no test and raises `UndefinedStatistic`.
    """
    reach = normal_quantile(0.5 + level_between(level) / 2.0) * se
    if se == 0.0 and value != 0.0:
        raise UndefinedStatistic(
            f"the difference {value:g} has no spread over {n} rows", hint="gather more rows"
        )
    z = value / se if se > 0.0 else 0.0
    return Difference(
        value=value, se=se, low=value - reach, high=value + reach, z=z, p=normal_two_sided(z),
        n=n, level=level, method=method,
    )  # fmt: skip


def wilson(successes: int, n: int, *, level: float = 0.95) -> Estimate:
    """A proportion with Wilson's score interval (Wilson 1927), sound from the first row on."""
    _counts(successes, n)
    z = normal_quantile(0.5 + level_between(level) / 2.0)
    share = successes / n
    centre = (share + z * z / (2.0 * n)) / (1.0 + z * z / n)
    reach = z / (1.0 + z * z / n) * math.sqrt(share * (1.0 - share) / n + z * z / (4.0 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - reach)
    high = 1.0 if successes == n else min(1.0, centre + reach)
    return Estimate(value=share, low=low, high=high, n=n, level=level, method="wilson")


def newcombe(successes: int, n: int, other_successes: int, other_n: int, *, level: float = 0.95) -> Estimate:
    """The difference of two independent proportions, first minus other (Newcombe 1998, method 10)."""
    first = wilson(successes, n, level=level)
    other = wilson(other_successes, other_n, level=level)
    gap = first.value - other.value
    return Estimate(
        value=gap,
        low=gap - math.hypot(first.value - first.low, other.high - other.value),
        high=gap + math.hypot(first.high - first.value, other.value - other.low),
        n=n + other_n,
        level=level,
        method="newcombe",
    )


def mean(values: npt.ArrayLike, *, level: float = 0.95) -> Estimate:
    """A mean with Student's t interval; needs two values."""
    sample = finite(values, "values")
    centre, se = _mean_and_error(sample)
    reach = student_t_quantile(0.5 + level_between(level) / 2.0, sample.size - 1) * se
    return Estimate(
        value=centre, low=centre - reach, high=centre + reach, n=sample.size, level=level, method="student_t"
    )


def paired_mean_difference(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    level: float = 0.95,
    clusters: npt.ArrayLike | None = None,
) -> Difference:
    """The mean of `first - second` over the same rows, with a normal interval and test.

    With `clusters` (a day, a customer: one a row) rows of one cluster may depend on each other: the error is
    the sandwich one of a ratio of cluster sums with the G/(G-1) correction (Liang and Zeger 1986).
    """
    left, right = finite(first, "first"), finite(second, "second")
    if left.size != right.size:
        raise Invalid(
            f"{left.size} first values but {right.size} second",
            hint="a paired difference needs the same rows",
        )
    gaps = left - right
    if clusters is None:
        value, se = _mean_and_error(gaps)
        return difference(value, se, n=gaps.size, level=level, method="paired")
    value = _mean_and_error(gaps)[0]
    codes, groups = cluster_codes(clusters, gaps.size)
    sums = np.bincount(codes, weights=gaps - value, minlength=groups)
    se = math.sqrt(groups / (groups - 1.0) * float(sums @ sums)) / gaps.size
    return difference(value, se, n=gaps.size, level=level, method="paired_clustered")


def jeffreys_upper(successes: int, n: int, *, level: float) -> float:
    """The one-sided upper limit of a proportion from its Jeffreys posterior, beta(k + 1/2, n - k + 1/2)."""
    _counts(successes, n)
    if successes == n:
        return 1.0
    return beta_quantile(level_between(level), successes + 0.5, n - successes + 0.5)


def bootstrap(
    statistic: ResampledStatistic,
    rows: int,
    rng: np.random.Generator,
    *,
    draws: int = 1000,
    level: float = 0.95,
    clusters: npt.ArrayLike | None = None,
) -> Estimate:
    """Any statistic of rows with its percentile bootstrap interval (Efron and Tibshirani 1993, chapter 13).

    `statistic` takes row numbers, so a paired comparison is one that reads both scores at the same rows.
    With `clusters` whole clusters are drawn. Draws on which it is undefined are left out; more than 5 % of
    them raise `UndefinedStatistic`. Costs `draws` calls.
    """
    level_between(level)
    value = statistic(np.arange(rows, dtype=np.int64))
    members = _members(clusters, rows)
    results = []
    for _ in range(draws):
        try:
            results.append(statistic(_resample(rows, members, rng)))
        except UndefinedStatistic:
            continue
    if len(results) < 0.95 * draws:
        raise UndefinedStatistic(
            f"{draws - len(results)} of {draws} resamples of {rows} rows have no value",
            hint="gather more rows",
        )
    low, high = np.quantile(np.asarray(results), [0.5 - level / 2.0, 0.5 + level / 2.0])
    method = "bootstrap" if members is None else "bootstrap_clustered"
    return Estimate(value=value, low=float(low), high=float(high), n=rows, level=level, method=method)


def cluster_codes(clusters: npt.ArrayLike, rows: int) -> tuple[IntArray, int]:
    """Clusters as codes 0..G-1, one a row, and their number G, which must be two or more."""
    labels = np.asarray(clusters)
    if labels.shape != (rows,):
        raise Invalid(
            f"clusters has shape {labels.shape}, not ({rows},)", hint="pass one cluster for each row"
        )
    levels, codes = np.unique(labels, return_inverse=True)
    if levels.size < 2:
        raise UndefinedStatistic(
            f"{levels.size} cluster has no spread between clusters", hint="widen the window"
        )
    return codes.astype(np.int64, copy=False), int(levels.size)


def _counts(successes: int, n: int) -> None:
    if n == 0:
        raise UndefinedStatistic("a share of no rows has no value", hint="wait for rows, or widen the window")
    if not 0 <= successes <= n:
        raise Invalid(f"{successes} of {n} is not a share", hint="pass counts with 0 <= successes <= n")


def _mean_and_error(sample: FloatArray) -> tuple[float, float]:
    if sample.size < 2:
        raise UndefinedStatistic(
            f"{sample.size} value(s) have no spread", hint="an interval needs two rows or more"
        )
    return float(sample.mean()), float(sample.std(ddof=1)) / math.sqrt(sample.size)


def _members(clusters: npt.ArrayLike | None, rows: int) -> list[IntArray] | None:
    if clusters is None:
        return None
    codes, groups = cluster_codes(clusters, rows)
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.searchsorted(codes[order], np.arange(1, groups)))


def _resample(rows: int, members: list[IntArray] | None, rng: np.random.Generator) -> IntArray:
    if members is None:
        return rng.integers(0, rows, rows)
    picked = rng.integers(0, len(members), len(members))
    return np.concatenate([members[group] for group in picked])
