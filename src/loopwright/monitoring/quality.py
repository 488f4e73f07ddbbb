"""Measures how good predictions turned out, from scores and the labels known so far."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from loopwright.core.errors import Invalid
from loopwright.monitoring.nouns import Quality, Reading
from loopwright.stats.calibration import (
    calibration_in_the_large,
    equal_width_edges,
    expected_calibration_error,
)
from loopwright.stats.classification import auc_interval, brier_interval
from loopwright.stats.intervals import Difference, Estimate

__all__ = ["expected_auc", "quality"]

_BINS = 10


def quality(group: str, scores: NDArray[np.float64], labels: NDArray[np.float64]) -> Quality:
    """The quality of a group: scores `(n,)` in [0, 1], labels `(n,)` of 0 and 1, NaN where none is known.

    A metric that has no value on these rows says why instead.
    """
    known = np.isfinite(labels)
    truth, said = labels[known], scores[known]
    edges = equal_width_edges(_BINS)
    return Quality(
        group=group,
        predictions=len(scores),
        labelled=len(truth),
        mean_score=float(scores.mean()) if len(scores) else None,
        mean_label=float(truth.mean()) if len(truth) else None,
        roc_auc=_reading(lambda: auc_interval(truth, said), len(truth)),
        roc_auc_expected=_reading(lambda: expected_auc(said), len(truth)),
        brier=_reading(lambda: brier_interval(truth, said), len(truth)),
        calibration_error=_reading(lambda: expected_calibration_error(truth, said, edges), len(truth)),
        calibration_gap=_reading(lambda: calibration_in_the_large(truth, said), len(truth)),
    )


def expected_auc(scores: NDArray[np.float64]) -> float:
    """The ROC-AUC to expect of these rows if every score in [0, 1] were the row's true chance.

    The expected number of rightly ordered pairs of a positive and a negative row, ties counting half, over
    the expected number of such pairs (the idea of confidence-based performance estimation).
    """
    order = np.argsort(scores, kind="stable")
    chance = scores[order]
    starts = np.flatnonzero(np.concatenate([[True], np.diff(chance) > 0])) if len(chance) else order
    size = np.diff(np.append(starts, len(chance)))
    level = chance[starts]
    below = np.concatenate([[0.0], np.cumsum(size * (1.0 - level))[:-1]]) if len(level) else level
    right = size * level * below + size * (size - 1) * level * (1.0 - level) / 2.0
    pairs = chance.sum() * (1.0 - chance).sum() - (chance * (1.0 - chance)).sum()
    if pairs <= 0.0:
        raise Invalid("the scores foretell one class only", hint="widen the window or slice")
    return float(right.sum() / pairs)


def _reading(measure: Callable[[], Estimate | Difference | float], n: int) -> Reading:
    try:
        found = measure()
    except Invalid as error:
        return Reading(n=n, absent=error.message)
    if isinstance(found, float):
        return Reading(value=found, n=n)
    return Reading(value=found.value, low=found.low, high=found.high, n=n)
