"""Scores predictions of a yes or no: ranking, squared and logarithmic loss, each with its sampling error."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from loopwright.core.errors import Invalid
from loopwright.stats.intervals import (
    Difference,
    Estimate,
    cluster_codes,
    difference,
    paired_mean_difference,
    wald,
    wilson,
)
from loopwright.stats.intervals import mean as mean_interval
from loopwright.stats.samples import (
    BoolArray,
    FloatArray,
    UndefinedStatistic,
    both_classes,
    labels_and_scores,
    probabilities,
)

__all__ = [
    "AucCovariance",
    "auc_covariance",
    "auc_difference",
    "auc_interval",
    "average_precision",
    "brier",
    "brier_difference",
    "brier_interval",
    "log_loss",
    "log_loss_difference",
    "roc_auc",
]

_CLIP = float(np.finfo(np.float64).eps)


class AucCovariance(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """AUCs of k scores over the same rows `(k,)` and the covariance of their sampling errors `(k, k)`."""

    aucs: FloatArray
    covariance: FloatArray
    positives: int
    negatives: int


def roc_auc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """The share of (positive, negative) pairs that `scores` ranks rightly, ties counting half.

    Exact: counted in integers (Mann-Whitney), one division. O(n log n). Raises `UndefinedStatistic` without
    rows of both classes.
    """
    truth, numbers = labels_and_scores(labels, scores)
    positives, negatives = both_classes(truth)
    low = np.sort(numbers[~truth])
    high = np.sort(numbers[truth])
    wins = int(np.searchsorted(low, high, "left").sum(dtype=np.int64))
    wins += int(np.searchsorted(low, high, "right").sum(dtype=np.int64))
    return wins / (2 * positives * negatives)


def auc_covariance(
    labels: npt.ArrayLike, *scores: npt.ArrayLike, clusters: npt.ArrayLike | None = None
) -> AucCovariance:
    """AUCs of one or more scores over the same rows, with their covariance.

    Independent rows: DeLong, DeLong and Clarke-Pearson (1988), placements found by sorting (Sun and Xu 2014),
    O(k n log n). With `clusters` (a day, a customer) rows of one cluster may depend on each other: Obuchowski
    (1997), with one G/(G-1) correction for both classes. Needs two rows of each class, or two
    clusters.
    """
    if not scores:
        raise Invalid("no scores were given", hint="pass the scores of at least one model")
    checked = [labels_and_scores(labels, row) for row in scores]
    truth = checked[0][0]
    positives, negatives = both_classes(truth)
    pairs = [_placements(truth, numbers) for _, numbers in checked]
    of_positives = np.vstack([pair[0] for pair in pairs])
    of_negatives = np.vstack([pair[1] for pair in pairs])
    aucs = np.array([roc_auc(truth, numbers) for _, numbers in checked])
    if clusters is None:
        covariance = _delong(of_positives, of_negatives)
    else:
        covariance = _obuchowski(of_positives - aucs[:, None], of_negatives - aucs[:, None], truth, clusters)
    return AucCovariance(aucs=aucs, covariance=covariance, positives=positives, negatives=negatives)


def auc_interval(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    level: float = 0.95,
    clusters: npt.ArrayLike | None = None,
) -> Estimate:
    """The AUC with its DeLong interval, made on the logit scale so that it stays inside [0, 1].

    An AUC of exactly 0 or 1 has no such scale; its interval then comes from the rule that one of the smaller
    class's n pairs wrong is the least that could be seen (Wilson's limits of n out of n).
    """
    found = auc_covariance(labels, scores, clusters=clusters)
    value, rows = float(found.aucs[0]), found.positives + found.negatives
    method = "delong" if clusters is None else "delong_clustered"
    if value in (0.0, 1.0):
        return _perfect(value, min(found.positives, found.negatives), rows, level, method)
    se = math.sqrt(max(0.0, float(found.covariance[0, 0])))
    logit = wald(
        math.log(value / (1.0 - value)), se / (value * (1.0 - value)), n=rows, level=level, method=method
    )
    return Estimate(
        value=value, low=_expit(logit.low), high=_expit(logit.high), n=rows, level=level, method=method
    )


def auc_difference(
    labels: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    level: float = 0.95,
    clusters: npt.ArrayLike | None = None,
) -> Difference:
    """AUC of `first` minus AUC of `second` on the same rows: DeLong's paired interval and test."""
    found = auc_covariance(labels, first, second, clusters=clusters)
    v = found.covariance
    se = math.sqrt(max(0.0, float(v[0, 0] + v[1, 1] - 2.0 * v[0, 1])))
    gap = float(found.aucs[0] - found.aucs[1])
    method = "delong" if clusters is None else "delong_clustered"
    return difference(gap, se, n=found.positives + found.negatives, level=level, method=method)


def average_precision(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """The precision averaged over recall steps, tied scores as one step (no interpolation)."""
    truth, numbers = labels_and_scores(labels, scores)
    positives = int(np.count_nonzero(truth))
    if positives == 0:
        raise UndefinedStatistic(f"none of {truth.size} rows is positive", hint="widen the window or slice")
    order = np.argsort(-numbers, kind="stable")
    hits = np.cumsum(truth[order])
    last_of_ties = np.append(np.flatnonzero(np.diff(numbers[order])), truth.size - 1)
    precision = hits[last_of_ties] / (last_of_ties + 1.0)
    gained = np.diff(hits[last_of_ties], prepend=0)
    return float(precision @ gained) / positives


def brier(labels: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """The mean squared difference of probability and outcome (Brier 1950); 0 is best."""
    return float(_squared(labels, predicted).mean())


def brier_interval(labels: npt.ArrayLike, predicted: npt.ArrayLike, *, level: float = 0.95) -> Estimate:
    """The Brier score with Student's t interval over rows."""
    return mean_interval(_squared(labels, predicted), level=level)


def brier_difference(
    labels: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    level: float = 0.95,
    clusters: npt.ArrayLike | None = None,
) -> Difference:
    """Brier score of `first` minus that of `second` on the same rows; below 0 the first is better."""
    return paired_mean_difference(
        _squared(labels, first), _squared(labels, second), level=level, clusters=clusters
    )


def log_loss(labels: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """The mean of -log(probability given to what happened), in nats; probabilities clipped at 2**-52."""
    return float(_surprise(labels, predicted).mean())


def log_loss_difference(
    labels: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    level: float = 0.95,
    clusters: npt.ArrayLike | None = None,
) -> Difference:
    """Log loss of `first` minus that of `second` on the same rows; below 0 the first is better."""
    return paired_mean_difference(
        _surprise(labels, first), _surprise(labels, second), level=level, clusters=clusters
    )


def _placements(truth: BoolArray, scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Each positive's share of negatives beaten, each negative's share of positives that beat it."""
    high, low = scores[truth], scores[~truth]
    sorted_high, sorted_low = np.sort(high), np.sort(low)
    beats = np.searchsorted(sorted_low, high, "left") + np.searchsorted(sorted_low, high, "right")
    loses = np.searchsorted(sorted_high, low, "left") + np.searchsorted(sorted_high, low, "right")
    return beats / (2.0 * low.size), 1.0 - loses / (2.0 * high.size)


def _delong(of_positives: FloatArray, of_negatives: FloatArray) -> FloatArray:
    m, n = of_positives.shape[1], of_negatives.shape[1]
    if m < 2 or n < 2:
        raise UndefinedStatistic(
            f"{m} positive and {n} negative rows give no error of an AUC", hint="two of each are the least"
        )
    errors: FloatArray = np.atleast_2d(np.cov(of_positives)) / m + np.atleast_2d(np.cov(of_negatives)) / n
    return errors


def _obuchowski(
    of_positives: FloatArray, of_negatives: FloatArray, truth: BoolArray, clusters: npt.ArrayLike
) -> FloatArray:
    codes, groups = cluster_codes(clusters, truth.size)
    m, n = of_positives.shape[1], of_negatives.shape[1]
    sums = [
        np.bincount(codes[truth], weights=p, minlength=groups) / m
        + np.bincount(codes[~truth], weights=q, minlength=groups) / n
        for p, q in zip(of_positives, of_negatives, strict=True)
    ]
    stacked = np.vstack(sums)
    errors: FloatArray = groups / (groups - 1.0) * (stacked @ stacked.T)
    return errors


def _perfect(value: float, smaller: int, rows: int, level: float, method: str) -> Estimate:
    far = wilson(smaller, smaller, level=level).low
    low, high = (far, 1.0) if value == 1.0 else (0.0, 1.0 - far)
    return Estimate(value=value, low=low, high=high, n=rows, level=level, method=f"{method}_wilson")


def _expit(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0.0 else math.exp(x) / (1.0 + math.exp(x))


def _squared(labels: npt.ArrayLike, predicted: npt.ArrayLike) -> FloatArray:
    truth, numbers = probabilities(labels, predicted)
    errors: FloatArray = np.square(numbers - truth)
    return errors


def _surprise(labels: npt.ArrayLike, predicted: npt.ArrayLike) -> FloatArray:
    truth, numbers = probabilities(labels, predicted)
    given = np.clip(np.where(truth, numbers, 1.0 - numbers), _CLIP, 1.0 - _CLIP)
    losses: FloatArray = -np.log(given)
    return losses
