"""What an aggregate over a window's rows is: the reference meaning, which every engine gives to the last bit.

Sums and means of floats are the exact sum, rounded once, so they depend neither on the order of the
rows nor on how an engine adds; sums of integers are integers. A standard deviation is the root of the
exact variance, rounded once. NaN is a value: a sum, a least or a greatest value with one in it is NaN,
and all of them are one value to `distinct`. A zero has no sign.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from loopwright.core.errors import Invalid
from loopwright.core.expressions import Scalar, WindowOp

__all__ = ["aggregate", "exact_mean", "exact_std", "exact_sum", "greatest", "least", "std_of_sums"]

_NAN = float("nan")


def exact_sum(values: Sequence[float]) -> float:
    """The exact sum of floats, rounded once to the nearest float; infinite beyond their range."""
    try:
        return math.fsum(values) + 0.0
    except ValueError:
        return _NAN
    except OverflowError:
        endless = [value for value in values if not math.isfinite(value)]
        if endless:
            return sum(endless)
        total = sum(map(Fraction, values), Fraction(0))
    try:
        return float(total)
    except OverflowError:
        return math.inf if total > 0 else -math.inf


def exact_mean(total: float, count: int) -> float | None:
    """A sum divided by its count, both as floats; None of nothing."""
    return float(total) / count if count else None


def std_of_sums(count: int, total: int, squares: int, exponent: int = 0) -> float | None:
    """The sample standard deviation of numbers whose sum and sum of squares are known exactly.

    The numbers are integers times 2 to the power of `exponent`; so are their sums, the squares with
    twice the exponent. The variance is (n * squares - total^2) / (n * (n - 1)), as integers, divided
    once. None of fewer than two.
    """
    if count < 2:
        return None
    over, under = count * squares - total * total, count * (count - 1)
    if exponent >= 0:
        over <<= 2 * exponent
    else:
        under <<= -2 * exponent
    try:
        return math.sqrt(over / under)
    except OverflowError:
        return float(math.isqrt(over // under))


def exact_std(values: Sequence[float]) -> float | None:
    """The sample standard deviation: the root of the exact variance, which is rounded once.

    NaN where a value is not finite; None of fewer than two.
    """
    if len(values) < 2:
        return None
    if not all(map(math.isfinite, values)):
        return _NAN
    ratios = [value.as_integer_ratio() for value in values]
    bits = max(under.bit_length() for _, under in ratios) - 1
    numbers = [over << (bits + 1 - under.bit_length()) for over, under in ratios]
    return std_of_sums(len(numbers), sum(numbers), sum(number * number for number in numbers), -bits)


def aggregate(op: WindowOp, values: Sequence[Scalar]) -> Scalar:
    """The aggregate of a window's values, in the rows' order from the oldest to the newest; None is null.

    The newest row is the one that an as-of join would give: the greatest event time, then known-at,
    then order, then place.
    """
    if op == "last":
        return values[-1] if values else None
    there = [value for value in values if value is not None]
    match op:
        case "count":
            return len(there)
        case "distinct":
            return len({None if _is_nan(value) else value for value in there})
        case "sum":
            return _sum(there)
        case "mean":
            return exact_mean(_sum(there), len(there))
        case "std":
            return exact_std(_numbers(there))
        case "min":
            return least(there)
        case "max":
            return greatest(there)


def _numbers(there: Sequence[Scalar]) -> list[int | float]:
    numbers: list[int | float] = []
    for value in there:
        if not isinstance(value, (int, float)):
            raise Invalid("a sum, a mean or a deviation needs numbers", hint="aggregate a column of numbers")
        numbers.append(value)
    return numbers


def _sum(there: Sequence[Scalar]) -> int | float:
    numbers = _numbers(there)
    return exact_sum(numbers) if any(isinstance(value, float) for value in numbers) else sum(numbers)


def least(there: Sequence[Scalar]) -> Scalar:
    """The least of values that are not null, NaN where one is NaN, None of nothing."""
    comparable: Any = there
    return _extreme(there, min(comparable, default=None))


def greatest(there: Sequence[Scalar]) -> Scalar:
    """The greatest of values that are not null, NaN where one is NaN, None of nothing."""
    comparable: Any = there
    return _extreme(there, max(comparable, default=None))


def _is_nan(value: Scalar) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _extreme(there: Sequence[Scalar], found: Scalar) -> Scalar:
    if not isinstance(found, float):
        return found
    return _NAN if any(map(_is_nan, there)) else found + 0.0
