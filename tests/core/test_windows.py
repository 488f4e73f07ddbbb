"""Aggregates of a window's rows."""

from __future__ import annotations

import math
import statistics
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import Invalid
from loopwright.core.expressions import Scalar, WindowOp
from loopwright.core.windows import aggregate, exact_mean, exact_std, exact_sum, std_of_sums

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(finite), st.randoms())
def test_a_sum_is_the_exact_one_rounded_once_in_any_order(values: list[float], chance: object) -> None:
    exact = sum(map(Fraction, values), Fraction(0))
    try:
        expected = float(exact)
    except OverflowError:
        expected = math.inf if exact > 0 else -math.inf
    assert exact_sum(values) == expected
    assert exact_sum(sorted(values)) == exact_sum(values)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1e308, 1e308], math.inf),
        ([-1e308, -1e308, -1e308], -math.inf),
        ([1e308, 1e308, -1e308, -1e308], 0.0),
        ([math.inf, 1e308, 1e308], math.inf),
        ([1e308, 1e308, -math.inf], -math.inf),
        ([], 0.0),
    ],
)
def test_sums_at_the_ends_of_what_floats_hold(values: list[float], expected: float) -> None:
    assert exact_sum(values) == expected


@pytest.mark.parametrize("values", [[math.nan, 1.0], [math.inf, -math.inf], [1e308, 1e308, math.nan]])
def test_sums_that_are_no_number(values: list[float]) -> None:
    assert math.isnan(exact_sum(values))


@given(st.lists(finite, min_size=2), st.randoms())
def test_a_deviation_is_the_root_of_the_exact_variance_in_any_order(values: list[float], chance: Any) -> None:
    numbers = [Fraction(value) for value in values]
    middle = sum(numbers, Fraction(0)) / len(numbers)
    variance = sum(((number - middle) ** 2 for number in numbers), Fraction(0)) / (len(numbers) - 1)
    found = exact_std(values)
    assert found is not None
    try:
        assert found == math.sqrt(float(variance))
    except OverflowError:
        assert found == pytest.approx(math.isqrt(int(variance)))
    chance.shuffle(values)
    assert exact_std(values) == found


@given(st.lists(st.integers(-(10**9), 10**9), min_size=2))
def test_a_deviation_of_integers_by_their_sums_is_that_of_the_numbers(values: list[int]) -> None:
    by_sums = std_of_sums(len(values), sum(values), sum(value * value for value in values))
    assert by_sums == exact_std([float(value) for value in values])
    assert by_sums == pytest.approx(statistics.stdev(values))


@pytest.mark.parametrize(
    ("op", "values", "expected"),
    [
        ("std", [1, None], None),
        ("std", [1, None, 3.0], math.sqrt(2)),
        ("sum", [], 0),
        ("sum", [None, 2, True], 3),
        ("mean", [None], None),
        ("mean", [1, None, 2], 1.5),
        ("count", [None, 0, ""], 2),
        ("min", [3, None, -1], -1),
        ("max", ["a", "b", None], "b"),
        ("min", [], None),
        ("last", [1, 2, None], None),
        ("last", [1, 2], 2),
        ("last", [], None),
        ("distinct", [1, 1, None, 2], 2),
        ("distinct", [math.nan, math.nan, 1.0], 2),
    ],
)
def test_aggregates(op: WindowOp, values: list[Scalar], expected: Scalar) -> None:
    assert aggregate(op, values) == expected


@pytest.mark.parametrize("op", ["min", "max", "sum", "mean"])
def test_nan_is_a_value(op: WindowOp) -> None:
    found = aggregate(op, [1.0, math.nan, 2.0])
    assert isinstance(found, float)
    assert math.isnan(found)


@pytest.mark.parametrize("op", ["min", "max", "sum"])
def test_zero_has_no_sign(op: WindowOp) -> None:
    found = aggregate(op, [-0.0])
    assert isinstance(found, float)
    assert math.copysign(1.0, found) == 1.0


def test_texts_have_no_sum() -> None:
    with pytest.raises(Invalid, match="numbers"):
        aggregate("mean", ["a"])


def test_a_mean_of_nothing_is_nothing() -> None:
    assert exact_mean(0, 0) is None
