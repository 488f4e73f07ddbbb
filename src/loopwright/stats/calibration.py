"""Tells whether probabilities mean what they say: in the large, by bins, and by a recalibration line."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from loopwright.core.errors import Invalid
from loopwright.stats.distributions import chi2_sf, normal_two_sided
from loopwright.stats.intervals import Difference, Estimate, paired_mean_difference, wald, wilson
from loopwright.stats.samples import (
    BoolArray,
    FloatArray,
    UndefinedStatistic,
    both_classes,
    finite,
    probabilities,
)

__all__ = [
    "CalibrationLine",
    "CalibrationTest",
    "ReliabilityBin",
    "calibration_in_the_large",
    "calibration_line",
    "equal_count_edges",
    "equal_width_edges",
    "expected_calibration_error",
    "maximum_calibration_error",
    "reliability",
    "spiegelhalter",
]

_NEWTON_STEPS = 50


class ReliabilityBin(msgspec.Struct, frozen=True, kw_only=True):
    """Rows with `low` <= probability < `high` (the last bin takes its upper edge too): said and seen."""

    low: float
    high: float
    n: int
    predicted: float
    observed: Estimate


class CalibrationTest(msgspec.Struct, frozen=True, kw_only=True):
    """A standard normal statistic under perfect calibration, its two-sided p, over n rows."""

    z: float
    p: float
    n: int


class CalibrationLine(msgspec.Struct, frozen=True, kw_only=True):
    """logit(true probability) = intercept + slope * logit(predicted), 0 and 1 when perfect.

    `p` is the likelihood-ratio test of both at once (chi-square, 2 degrees of freedom).
    """

    intercept: Estimate
    slope: Estimate
    p: float
    n: int


def calibration_in_the_large(
    labels: npt.ArrayLike,
    predicted: npt.ArrayLike,
    *,
    level: float = 0.95,
    clusters: npt.ArrayLike | None = None,
) -> Difference:
    """Mean predicted minus mean observed over the same rows; above 0 the model promises too much."""
    truth, numbers = probabilities(labels, predicted)
    return paired_mean_difference(numbers, truth, level=level, clusters=clusters)


def equal_width_edges(bins: int) -> FloatArray:
    """The edges `(bins + 1,)` of bins of one width over [0, 1]."""
    if bins < 1:
        raise Invalid(f"{bins} bins", hint="ask for one or more")
    return np.linspace(0.0, 1.0, bins + 1)


def equal_count_edges(predicted: npt.ArrayLike, bins: int) -> FloatArray:
    """Edges from 0 to 1 that share `predicted` out about equally; ties may leave fewer than `bins` bins."""
    numbers = finite(predicted, "predicted")
    if bins < 1 or numbers.size == 0:
        raise Invalid(f"{bins} bins of {numbers.size} rows", hint="ask for one or more over some rows")
    inner = np.quantile(numbers, np.arange(1, bins) / bins, method="higher")
    edges = np.concatenate([[0.0], inner, [1.0]])
    return np.unique(edges)


def reliability(
    labels: npt.ArrayLike, predicted: npt.ArrayLike, edges: npt.ArrayLike, *, level: float = 0.95
) -> tuple[ReliabilityBin, ...]:
    """The reliability table: a row for each bin that is not empty, observed shares with Wilson intervals."""
    truth, numbers = probabilities(labels, predicted)
    limits = finite(edges, "edges")
    counts, said, seen = _by_bin(truth, numbers, limits)
    return tuple(
        ReliabilityBin(
            low=float(limits[i]),
            high=float(limits[i + 1]),
            n=int(counts[i]),
            predicted=float(said[i] / counts[i]),
            observed=wilson(int(seen[i]), int(counts[i]), level=level),
        )
        for i in np.flatnonzero(counts)
    )


def expected_calibration_error(
    labels: npt.ArrayLike, predicted: npt.ArrayLike, edges: npt.ArrayLike
) -> float:
    """The gap of said and seen averaged over bins by their rows (Naeini, Cooper and Hauskrecht 2015).

    Above 0 even for a perfect model, by sampling and by the choice of bins: compare like with like only.
    """
    truth, numbers = probabilities(labels, predicted)
    _, said, seen = _by_bin(truth, numbers, finite(edges, "edges"))
    return float(np.abs(said - seen).sum()) / truth.size


def maximum_calibration_error(labels: npt.ArrayLike, predicted: npt.ArrayLike, edges: npt.ArrayLike) -> float:
    """The largest gap of said and seen over the bins that are not empty."""
    truth, numbers = probabilities(labels, predicted)
    counts, said, seen = _by_bin(truth, numbers, finite(edges, "edges"))
    filled = counts > 0
    return float((np.abs(said - seen)[filled] / counts[filled]).max())


def spiegelhalter(labels: npt.ArrayLike, predicted: npt.ArrayLike) -> CalibrationTest:
    """Spiegelhalter's z (1986): whether the Brier score is what the probabilities themselves foretell.

    Undefined when every probability is 0, 1/2 or 1, for then the score does not vary under calibration.
    """
    truth, numbers = probabilities(labels, predicted)
    slant = 1.0 - 2.0 * numbers
    variance = float((slant * slant * numbers * (1.0 - numbers)).sum())
    if variance <= 0.0:
        raise UndefinedStatistic(
            "every probability is 0, 1/2 or 1", hint="test calibration in the large instead"
        )
    z = float(((truth - numbers) * slant).sum()) / math.sqrt(variance)
    return CalibrationTest(z=z, p=normal_two_sided(z), n=truth.size)


def calibration_line(
    labels: npt.ArrayLike, predicted: npt.ArrayLike, *, level: float = 0.95
) -> CalibrationLine:
    """Cox's recalibration (1958): logistic regression of the outcome on logit(predicted), by Newton's method.

    Probabilities of exactly 0 or 1 have no logit, so they are refused. Undefined for one class, for constant
    probabilities, and when the probabilities separate the classes perfectly.
    """
    truth, numbers = probabilities(labels, predicted)
    both_classes(truth)
    if numbers.min() <= 0.0 or numbers.max() >= 1.0:
        raise UndefinedStatistic("a probability of 0 or 1 has no logit", hint="clip probabilities first")
    logits = np.log(numbers) - np.log1p(-numbers)
    if np.ptp(logits) == 0.0:
        raise UndefinedStatistic(
            "every probability is the same: a line has no slope", hint="use calibration in the large"
        )
    beta, information = _fit_line(truth, logits)
    covariance = np.linalg.inv(information)
    gain = 2.0 * (_log_likelihood(truth, logits, beta) - _log_likelihood(truth, logits, np.array([0.0, 1.0])))
    intercept, slope = (
        wald(float(beta[i]), math.sqrt(float(covariance[i, i])), n=truth.size, level=level, method="logistic")
        for i in range(2)
    )
    return CalibrationLine(intercept=intercept, slope=slope, p=chi2_sf(max(0.0, gain), 2.0), n=truth.size)


def _by_bin(
    truth: BoolArray, numbers: FloatArray, edges: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    if edges.size < 2 or edges[0] > 0.0 or edges[-1] < 1.0 or (np.diff(edges) <= 0.0).any():
        raise Invalid("edges do not rise from 0 to 1", hint="use equal_width_edges or equal_count_edges")
    bins = edges.size - 1
    where = np.minimum(np.searchsorted(edges, numbers, "right") - 1, bins - 1)
    counts, said, seen = (
        np.bincount(where, weights=weights, minlength=bins).astype(np.float64)
        for weights in (None, numbers, truth)
    )
    return counts, said, seen


def _fit_line(truth: BoolArray, logits: FloatArray) -> tuple[FloatArray, FloatArray]:
    design = np.vstack([np.ones_like(logits), logits])
    beta = np.array([0.0, 1.0])
    value = _log_likelihood(truth, logits, beta)
    for _ in range(_NEWTON_STEPS):
        expected = 0.5 * (1.0 + np.tanh(0.5 * (beta @ design)))
        information = (design * (expected * (1.0 - expected))) @ design.T
        if np.linalg.cond(information) > 1e14:
            break
        step: FloatArray = np.linalg.solve(information, design @ (truth - expected)).astype(np.float64)
        beta, value, moved = _uphill(truth, logits, beta, step, value)
        if moved < 1e-12:
            return beta, information
    raise UndefinedStatistic(
        "the probabilities separate the classes: the best line has no end", hint="gather more rows"
    )


def _uphill(
    truth: BoolArray, logits: FloatArray, beta: FloatArray, step: FloatArray, value: float
) -> tuple[FloatArray, float, float]:
    """Newton's step, halved until it does not lower the likelihood; also how far it went."""
    for halvings in range(30):
        trial = beta + step * 0.5**halvings
        found = _log_likelihood(truth, logits, trial)
        if found >= value:
            return trial, found, float(np.abs(trial - beta).max())
    return beta, value, 0.0


def _log_likelihood(truth: BoolArray, logits: FloatArray, beta: FloatArray) -> float:
    line = beta[0] + beta[1] * logits
    return float(-np.logaddexp(0.0, np.where(truth, -line, line)).sum())
