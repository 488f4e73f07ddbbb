"""Cohen's kappa against scikit-learn, and its error against the delta method and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from loopwright.core.errors import Invalid
from loopwright.stats.agreement import cohen_kappa
from loopwright.stats.samples import FloatArray, UndefinedStatistic

CHOICES = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=60)


@given(CHOICES)
def test_it_is_what_scikit_learn_finds(pairs: list[tuple[str, str]]) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    if len({*first, *second}) == 1:
        with pytest.raises(UndefinedStatistic, match="one and the same"):
            cohen_kappa(first, second)
        return
    if len({*first}) == 1 or len({*second}) == 1:
        assert cohen_kappa_score(first, second) == pytest.approx(0.0, abs=1e-12)
        with pytest.raises(UndefinedStatistic, match="kappa is 0 whatever the other chose"):
            cohen_kappa(first, second)
        return
    found = cohen_kappa(first, second)
    assert found.value == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)
    assert -1 <= found.low <= found.value + 1e-12
    assert found.value <= found.high + 1e-12 <= 1 + 2e-12
    assert found.n == len(pairs)


def _kappa(table: FloatArray) -> float:
    shares = table / table.sum()
    chance = float(shares.sum(axis=1) @ shares.sum(axis=0))
    return (float(np.trace(shares)) - chance) / (1 - chance)


@pytest.mark.parametrize(
    "table", [[[20, 5], [10, 15]], [[44, 5, 1], [7, 20, 3], [9, 5, 6]], [[5, 30], [25, 8]]]
)
def test_its_error_is_that_of_the_delta_method(table: list[list[int]]) -> None:
    counts = np.array(table, dtype=np.float64)
    n, step = counts.sum(), 1e-5
    slope = np.zeros_like(counts)
    for place in np.ndindex(counts.shape):
        more, less = counts.copy(), counts.copy()
        more[place] += step
        less[place] -= step
        slope[place] = n * (_kappa(more) - _kappa(less)) / (2 * step)
    shares = counts / n
    error = math.sqrt(((slope**2 * shares).sum() - (slope * shares).sum() ** 2) / n)
    first = [row for row, line in enumerate(table) for _, many in enumerate(line) for _ in range(many)]
    second = [column for line in table for column, many in enumerate(line) for _ in range(many)]
    found = cohen_kappa(first, second)
    assert (found.high - found.low) / 2 == pytest.approx(1.959964 * error, rel=1e-5)


def test_the_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    shares = np.array([[0.45, 0.1], [0.15, 0.3]])
    true, hits = _kappa(shares), 0
    for _ in range(600):
        pairs = rng.choice(4, size=120, p=shares.ravel())
        found = cohen_kappa(pairs // 2, pairs % 2)
        hits += found.low <= true <= found.high
    assert 0.92 <= hits / 600 <= 0.98


def test_agreeing_always_leaves_room_below() -> None:
    few, many = (cohen_kappa(["a", "b"] * n, ["a", "b"] * n) for n in (3, 300))
    assert (few.value, few.high, many.value) == (1.0, 1.0, 1.0)
    assert few.low < many.low < 1.0
    assert few.low < 0.3


def test_what_is_no_pair_of_vectors_is_refused() -> None:
    with pytest.raises(Invalid, match="shapes"):
        cohen_kappa(["a"], ["a", "b"])
    with pytest.raises(UndefinedStatistic, match="nothing was judged"):
        cohen_kappa([], [])
