"""Takes in arrays: what each statistic asks of its samples, and the refusal when they give no answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from loopwright.core.errors import Invalid

__all__ = [
    "BoolArray",
    "FloatArray",
    "IntArray",
    "UndefinedStatistic",
    "both_classes",
    "finite",
    "labels_and_scores",
    "level_between",
    "present",
    "probabilities",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


class UndefinedStatistic(Invalid):
    """The sample is well formed but the statistic has no value on it (empty, one class only, constant…).

    Raised where other libraries return NaN; the message says why. Malformed input raises plain `Invalid`.
    """


def level_between(level: float, name: str = "level") -> float:
    """`level` itself when it lies strictly between 0 and 1; raises `Invalid` otherwise."""
    if not 0.0 < level < 1.0:
        raise Invalid(f"{name} is {level}, not between 0 and 1", hint="give a share such as 0.95")
    return float(level)


def finite(values: npt.ArrayLike, name: str) -> FloatArray:
    """`values` as a finite `(n,) float64` vector; raises `Invalid` on another shape, NaN or infinity."""
    array = _numbers(values, name)
    if not np.isfinite(array).all():
        at = int(np.flatnonzero(~np.isfinite(array))[0])
        raise Invalid(f"{name}[{at}] is {array[at]}", hint="leave out rows without a finite number first")
    return array


def present(values: npt.ArrayLike, missing: npt.ArrayLike | None, name: str) -> tuple[FloatArray, int]:
    """The values that are there, and how many are missing: masked, NaN or infinite."""
    array = _numbers(values, name)
    kept = np.isfinite(array)
    if missing is not None:
        kept &= ~_mask(missing, array.size, name)
    there = array[kept]
    return there, array.size - there.size


def labels_and_scores(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[BoolArray, FloatArray]:
    """Labels (0/1 or bool) as `(n,) bool` and scores as finite `(n,) float64`, of one length n > 0."""
    truth = _binary(labels)
    numbers = finite(scores, "scores")
    if truth.size != numbers.size:
        raise Invalid(f"{truth.size} labels but {numbers.size} scores", hint="pass one score for each label")
    if truth.size == 0:
        raise UndefinedStatistic("there are no rows", hint="wait for labels, or widen the window")
    return truth, numbers


def probabilities(labels: npt.ArrayLike, predicted: npt.ArrayLike) -> tuple[BoolArray, FloatArray]:
    """As `labels_and_scores`, with every score between 0 and 1."""
    truth, numbers = labels_and_scores(labels, predicted)
    if numbers.min() < 0.0 or numbers.max() > 1.0:
        raise Invalid(
            f"predicted lies in [{numbers.min():g}, {numbers.max():g}], not in [0, 1]",
            hint="pass probabilities, not margins or percentages",
        )
    return truth, numbers


def both_classes(truth: BoolArray) -> tuple[int, int]:
    """How many positives and negatives; raises `UndefinedStatistic` when either is none."""
    positives = int(np.count_nonzero(truth))
    negatives = truth.size - positives
    if positives == 0 or negatives == 0:
        missing = "positive" if positives == 0 else "negative"
        raise UndefinedStatistic(
            f"none of {truth.size} rows is {missing}",
            hint="a ranking needs both classes: widen the window or slice",
        )
    return positives, negatives


def _numbers(values: npt.ArrayLike, name: str) -> FloatArray:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise Invalid(f"{name} are not numbers: {error}", hint="pass a vector of numbers") from error
    if array.ndim != 1:
        raise Invalid(f"{name} has shape {array.shape}", hint="pass a vector")
    return array


def _mask(missing: npt.ArrayLike, size: int, name: str) -> BoolArray:
    mask = np.asarray(missing)
    if mask.dtype != np.bool_ or mask.shape != (size,):
        raise Invalid(
            f"the missing mask of {name} is {mask.dtype} of shape {mask.shape}", hint=f"pass {size} booleans"
        )
    return mask


def _binary(labels: npt.ArrayLike) -> BoolArray:
    array: npt.NDArray[Any] = np.asarray(labels)
    if array.ndim != 1:
        raise Invalid(f"labels has shape {array.shape}", hint="pass a vector of 0 and 1")
    if array.dtype == np.bool_:
        return array
    if array.dtype.kind not in "iuf" or not ((array == 0) | (array == 1)).all():
        raise Invalid(
            "labels holds something other than 0 and 1", hint="leave out unlabelled rows, encode the rest"
        )
    return array.astype(np.bool_)
