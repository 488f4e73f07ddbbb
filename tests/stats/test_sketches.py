"""Sketches of quantiles against sorted values: the stated error holds for any values, by any merges."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from loopwright.stats.sketches import (
    ERROR,
    MOST_KEPT,
    Sketch,
    error_of,
    from_plain,
    merged,
    plain,
    quantiles,
    sketch_of,
    without,
)

SHARES = (0.0, 0.001, 0.01, 0.05, 0.1, 0.25, 0.4, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0)
NUMBERS = arrays(
    np.float64,
    st.integers(0, 150),
    elements=st.one_of(st.integers(-3, 3).map(float), st.floats(-1e300, 1e300, allow_nan=False)),
)


def of(values: NDArray[Any]) -> Sketch:
    return sketch_of(np.sort(values))


def worst(sketch: Sketch, values: NDArray[Any], error: float = ERROR) -> float:
    """By how many ranks beyond the error the sketch is wrong: at most 0 where it keeps its word."""
    rising, most = np.sort(values), -np.inf
    for share, told in zip(SHARES, quantiles(sketch, SHARES), strict=True):
        rank = np.floor(share * (rising.size - 1) + 0.5) + 1
        first, last = np.searchsorted(rising, told, "left") + 1, np.searchsorted(rising, told, "right")
        assert first <= last, "a sketch tells values that are there"
        off = max(first - rank, rank - last, 0)
        near = rank / rising.size
        allowed = 2 * error * rising.size * np.sqrt(near * (1 - near)) + 0.5
        most = max(most, off - allowed)
    return float(most)


@settings(max_examples=25)
@given(parts=st.lists(NUMBERS, min_size=1, max_size=6))
def test_any_parts_merge_to_the_whole_within_the_error(parts: list[NDArray[np.float64]]) -> None:
    whole = np.concatenate(parts)
    found = of(parts[0])
    for part in parts[1:]:
        found = merged(found, of(part))
    assert found.n == whole.size
    assert error_of(found) <= ERROR
    if whole.size:
        assert worst(found, whole) <= 0
        assert worst(of(whole), whole) <= 0
        assert quantiles(found, (0.0, 1.0)) == [whole.min(), whole.max()]


@pytest.mark.parametrize("kind", ["alike", "shifting", "rising", "narrowing", "repeated", "heavy"])
def test_hundreds_of_appends_stay_small_and_right(kind: str) -> None:
    drawn = np.random.default_rng(7)
    parts: list[NDArray[Any]] = []
    found, most = of(np.empty(0)), 0
    for turn in range(150):
        n = int(drawn.integers(1, 900))
        made: dict[str, Any] = {
            "alike": drawn.normal(size=n),
            "shifting": drawn.normal(turn, 1, n),
            "rising": np.arange(n) + 1000.0 * turn,
            "narrowing": drawn.normal(size=n) / (turn + 1) ** 2,
            "repeated": drawn.integers(0, 30, n) ** 2,
            "heavy": drawn.zipf(1.5, n) % 100_000,
        }
        parts.append(made[kind])
        found = merged(found, of(parts[-1]))
        most = max(most, found.values.size)
    assert most <= MOST_KEPT
    assert error_of(found) <= ERROR
    assert worst(found, np.concatenate(parts)) <= 0


def test_a_tree_of_merges_says_its_error() -> None:
    drawn = np.random.default_rng(3)
    parts = [drawn.gamma(0.3, size=500) for _ in range(64)]
    level = [of(part) for part in parts]
    while len(level) > 1:
        level = [merged(first, second) for first, second in zip(level[::2], level[1::2], strict=True)]
    assert level[0].values.size <= MOST_KEPT
    assert error_of(level[0]) <= 1.5 * ERROR
    assert worst(level[0], np.concatenate(parts), error_of(level[0])) <= 0


def test_few_values_and_few_different_ones_are_exact() -> None:
    assert quantiles(of(np.array([3.0, 1.0, 2.0])), (0.0, 0.5, 1.0)) == [1.0, 2.0, 3.0]
    levels = np.random.default_rng(0).integers(0, 9, 100_000)
    found = of(levels)
    assert error_of(found) < 1e-4
    rising = np.sort(levels)
    told = quantiles(found, SHARES)
    assert told == [int(rising[int(share * (rising.size - 1) + 0.5)]) for share in SHARES]


@settings(max_examples=25)
@given(values=NUMBERS, data=st.data())
def test_what_is_taken_out_is_not_told_any_more(values: NDArray[np.float64], data: st.DataObject) -> None:
    goes = np.array(data.draw(st.lists(st.booleans(), min_size=values.size, max_size=values.size)), bool)
    gone, stays = np.sort(values[goes]), np.sort(values[~goes])
    left = without(of(values), gone)
    if left is None:
        return
    assert left.n == stays.size
    assert set(left.values.tolist()) <= set(stays.tolist())
    rising = stays.tolist()
    for value, least, greatest in zip(left.values, left.least, left.greatest, strict=True):
        ranks = [at + 1 for at, each in enumerate(rising) if each == value]
        assert max(ranks) >= least
        assert min(ranks) <= greatest


def test_taking_a_few_out_of_many_keeps_the_error() -> None:
    values = np.random.default_rng(5).normal(size=200_000)
    found = without(merged(of(values[:90_000]), of(values[90_000:])), np.sort(values[:40]))
    assert found is not None
    assert error_of(found) <= ERROR * 200_000 / 199_900
    assert worst(found, values[40:]) <= 0


@settings(max_examples=25)
@given(parts=st.lists(NUMBERS, min_size=2, max_size=3))
def test_a_sketch_in_json_is_the_sketch(parts: list[NDArray[np.float64]]) -> None:
    found = merged(of(parts[0]), of(parts[1]))
    again = from_plain(json.loads(json.dumps(plain(found))))
    assert again.n == found.n
    for name in ("values", "least", "greatest"):
        assert np.array_equal(getattr(again, name), getattr(found, name))


def test_equal_parts_have_equal_sketches_whatever_ran_before() -> None:
    values = np.random.default_rng(1).normal(size=5000)
    made = [json.dumps(plain(merged(of(values[:2000]), of(values[2000:])))) for _ in range(2)]
    assert made[0] == made[1]
