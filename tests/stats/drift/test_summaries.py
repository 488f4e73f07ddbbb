"""Drift by summaries against drift by all values: what is proven holds, whatever the values are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import ks_2samp

from loopwright.core.errors import Invalid
from loopwright.stats.drift import bins
from loopwright.stats.drift.summaries import MEASURES, bounded, counts_of, known_counts, kolmogorov_smirnov
from loopwright.stats.samples import UndefinedStatistic
from loopwright.stats.sketches import Sketch, merged, sketch_of

Floats = NDArray[np.float64]


def sketched(values: Floats, pieces: int) -> Sketch:
    found: Sketch | None = None
    for piece in np.array_split(values, pieces):
        part = sketch_of(np.sort(piece))
        found = part if found is None else merged(found, part)
    assert found is not None
    return found


def drawn(seed: int, n: int, kind: str) -> Floats:
    rng = np.random.default_rng(seed)
    values = {"normal": rng.normal(seed % 3, 1, n), "steep": rng.lognormal(0, 2, n)}.get(kind)
    return np.round(rng.normal(seed % 2, 1, n), 1) if values is None else values


KINDS = st.sampled_from(["normal", "steep", "tied"])
SIZES = st.integers(1, 6_000)


@given(st.integers(0, 9), st.integers(0, 9), KINDS, KINDS, SIZES, SIZES, st.integers(1, 8))
@settings(max_examples=30)
def test_every_measure_of_the_rows_lies_within_the_bounds(
    seed: int, other: int, kind: str, second: str, n: int, m: int, pieces: int
) -> None:
    left, right = drawn(seed, n, kind), drawn(other, m, second)
    sketches = sketched(left, pieces), sketched(right, 1)
    edges = np.unique(np.quantile(left, np.arange(1, 10) / 10))
    boxes = [counts_of(sketch, edges) for sketch in sketches]
    exact = [bins.count_sorted(np.sort(values), edges) for values in (left, right)]
    for box, counts in zip(boxes, exact, strict=True):
        assert (box.least <= counts).all()
        assert (counts <= box.most).all()
        assert box.n == pytest.approx(counts.sum())
    for name in MEASURES:
        found, wanted = bounded(name, boxes[0], boxes[1]), float(getattr(bins, name)(*exact))
        assert found.low - 1e-9 <= wanted <= found.high + 1e-9, name
        assert found.low <= found.value <= found.high
    distance = kolmogorov_smirnov(*sketches)
    assert distance.low - 1e-9 <= _furthest(left, right) <= distance.high + 1e-9


def _furthest(left: Floats, right: Floats) -> float:
    """The distance of the two distribution functions at every value there is."""
    every = np.union1d(left, right)
    first, second = (np.searchsorted(np.sort(x), every, "right") / len(x) for x in (left, right))
    return float(np.abs(first - second).max())


def test_the_bounds_are_near_and_exact_where_the_summary_is() -> None:
    left, right = drawn(1, 50_000, "normal"), drawn(2, 50_000, "normal")
    distance = kolmogorov_smirnov(sketched(left, 20), sketched(right, 20))
    assert distance.high - distance.low <= 0.04  # 1 % of the ranks to either side, of both
    few = kolmogorov_smirnov(sketched(left[:40], 1), sketched(right[:40], 1))
    assert few.value == pytest.approx(ks_2samp(left[:40], right[:40]).statistic)
    counts = [np.array([5, 6, 7]), np.array([1, 9, 4])]
    for name in MEASURES:
        found = bounded(name, known_counts(counts[0].tolist()), known_counts(counts[1].tolist()))
        assert found.low == pytest.approx(found.high) == pytest.approx(getattr(bins, name)(*counts))


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 9)), min_size=2, max_size=12))
def test_values_that_may_be_any_of_several_levels_are_bounded(told: list[tuple[int, int]]) -> None:
    """Of each level but the last, some values may be counted in the last one."""
    listed, hidden = [count for count, _ in told[:-1]], [more for _, more in told[:-1]]
    truth = [*(count + more for count, more in zip(listed, hidden, strict=True)), told[-1][0]]
    seen = [*listed, told[-1][0] + sum(hidden)]
    other = list(range(1, len(truth) + 1))
    if not sum(seen):
        return
    found = known_counts(seen, [*hidden, 0])
    assert (found.least <= truth).all()
    assert (np.array(truth) <= found.most).all()
    for name in MEASURES:
        box = bounded(name, known_counts(other), found)
        wanted = float(getattr(bins, name)(np.array(other), np.array(truth)))
        assert box.low - 1e-9 <= wanted <= box.high + 1e-9


def test_nothing_to_compare_and_an_unknown_measure_are_told() -> None:
    none, some = sketch_of(np.zeros(0)), sketch_of(np.ones(3))
    with pytest.raises(UndefinedStatistic):
        kolmogorov_smirnov(none, some)
    with pytest.raises(UndefinedStatistic):
        bounded("hellinger", known_counts([0, 0]), known_counts([1, 2]))
    with pytest.raises(Invalid, match="no measure is called"):
        bounded("sharpness", known_counts([1]), known_counts([1]))
