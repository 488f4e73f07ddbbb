import numpy as np
import pytest
import scipy.stats as st
from hypothesis import assume, given
from hypothesis import strategies as h
from scipy.spatial.distance import jensenshannon

from loopwright.stats.drift import bins
from loopwright.stats.samples import UndefinedStatistic

tables = h.lists(h.tuples(h.integers(0, 50), h.integers(0, 50)), min_size=1, max_size=12)


@given(tables)
def test_measures_are_scipys_and_their_definitions(table: list[tuple[int, int]]) -> None:
    a, b = np.array(table).T
    assume(a.sum() > 0 and b.sum() > 0)
    p, q = a / a.sum(), b / b.sum()
    assert bins.jensen_shannon(a, b) == pytest.approx(np.nan_to_num(jensenshannon(p, q, base=2)), abs=2e-8)
    assert bins.total_variation(a, b) == pytest.approx(np.abs(p - q).sum() / 2, abs=1e-12)
    assert bins.largest_change(a, b) == pytest.approx(np.abs(p - q).max(), abs=1e-12)
    assert bins.hellinger(a, b) == pytest.approx(np.sqrt(max(0.0, 1 - np.sqrt(p * q).sum())), abs=1e-7)
    x, y = (a + 0.5) / (a.sum() + a.size / 2), (b + 0.5) / (b.sum() + b.size / 2)
    assert bins.population_stability(a, b) == pytest.approx(st.entropy(x, y) + st.entropy(y, x), abs=1e-12)


@given(tables)
def test_chi_square_is_scipys(table: list[tuple[int, int]]) -> None:
    a, b = np.array(table).T
    filled = (a + b) > 0
    assume(a.sum() > 0 and b.sum() > 0 and filled.sum() > 1)
    both = np.vstack([a, b])[:, filled]
    expected = st.chi2_contingency(both, correction=False)
    assert bins.chi_square(a, b) == pytest.approx(expected.statistic, rel=1e-9, abs=1e-12)
    assert bins.chi_square_dof(a, b) == expected.dof
    cramer = st.contingency.association(both * [[b.sum()], [a.sum()]], method="cramer")
    assert bins.cramers_v(a, b) == pytest.approx(cramer, rel=1e-9, abs=1e-9)


@given(tables)
def test_sides_do_not_matter_and_ranges_hold(table: list[tuple[int, int]]) -> None:
    a, b = np.array(table).T
    assume(a.sum() > 0 and b.sum() > 0)
    for measure in (
        bins.jensen_shannon,
        bins.hellinger,
        bins.total_variation,
        bins.largest_change,
        bins.cramers_v,
    ):
        assert measure(a, b) == pytest.approx(measure(b, a), abs=1e-12)
        assert 0.0 <= measure(a, b) <= 1.0
    assert bins.population_stability(a, b) >= 0.0


def test_apart_is_as_far_as_can_be() -> None:
    a, b = np.array([5, 0]), np.array([0, 9])
    for measure in (
        bins.jensen_shannon,
        bins.hellinger,
        bins.total_variation,
        bins.largest_change,
        bins.cramers_v,
    ):
        assert measure(a, b) == pytest.approx(1.0)


def test_no_rows_no_value() -> None:
    with pytest.raises(UndefinedStatistic, match="current sample"):
        bins.total_variation(np.array([1, 2]), np.array([0, 0]))
