from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats as st
from hypothesis import assume, given
from hypothesis import strategies as h

from loopwright.core.errors import Invalid
from loopwright.stats.drift import numeric
from loopwright.stats.drift.numeric import NumericReference
from loopwright.stats.samples import FloatArray, UndefinedStatistic

SHAPES: dict[str, Callable[[np.random.Generator, int], FloatArray]] = {
    "smooth": lambda rng, n: rng.normal(size=n),
    "far from zero": lambda rng, n: 1e6 + rng.normal(size=n),
    "few values": lambda rng, n: rng.integers(0, 7, n).astype(np.float64),
    "rounded and skewed": lambda rng, n: np.round(rng.lognormal(size=n), 2),
    "constant": lambda _, n: np.full(n, 3.5),
}
samples = h.lists(h.integers(-20, 20), min_size=1, max_size=40)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("n", "m"), [(4000, 300), (60, 3000), (500, 500), (1, 1)])
def test_distances_are_scipys(shape: str, n: int, m: int) -> None:
    rng = np.random.default_rng(n + m)
    reference, current = SHAPES[shape](rng, n), SHAPES[shape](rng, m) + 0.25
    pair = NumericReference.fit(reference).compare(current)
    distance = st.wasserstein_distance(reference, current)
    assert numeric.wasserstein(pair) == pytest.approx(distance, rel=1e-9)
    found = numeric.kolmogorov_smirnov(pair)
    assert found == pytest.approx(st.ks_2samp(reference, current).statistic, rel=1e-9)
    expected = st.kstwobign.sf(np.sqrt(n * m / (n + m)) * found)
    assert numeric.kolmogorov_smirnov_p(pair, found) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_chunk_of_the_reference_is_compared_with_its_rest(shape: str) -> None:
    rng = np.random.default_rng(8)
    whole = SHAPES[shape](rng, 900)
    chunk = rng.choice(900, 250, replace=False)
    rest = np.delete(whole, chunk)
    inside = NumericReference.fit(whole).compare(whole[chunk], inside=True)
    assert (inside.n_reference, inside.n_current) == (650, 250)
    distance = st.wasserstein_distance(rest, whole[chunk])
    assert numeric.wasserstein(inside) == pytest.approx(distance, rel=1e-9, abs=1e-14)
    expected = st.ks_2samp(rest, whole[chunk]).statistic
    assert numeric.kolmogorov_smirnov(inside) == pytest.approx(expected, rel=1e-9, abs=1e-14)
    apart = NumericReference.fit(rest, edges=inside.reference.edges).compare(whole[chunk])
    for measure in (numeric.population_stability, numeric.jensen_shannon, numeric.hellinger):
        assert measure(inside) == pytest.approx(measure(apart), rel=1e-9, abs=1e-14)
    if shape != "constant":
        shift = (whole[chunk].mean() - rest.mean()) / whole.std()
        assert numeric.mean_shift(inside) == pytest.approx(shift, rel=1e-6)


@given(samples, samples)
def test_distances_do_not_depend_on_the_side(left: list[int], right: list[int]) -> None:
    one = NumericReference.fit(left).compare(right)
    other = NumericReference.fit(right).compare(left)
    assert numeric.wasserstein(one) == pytest.approx(numeric.wasserstein(other), rel=1e-9, abs=1e-12)
    assert numeric.kolmogorov_smirnov(one) == pytest.approx(numeric.kolmogorov_smirnov(other), abs=1e-12)
    assert numeric.wasserstein(one) == pytest.approx(
        st.wasserstein_distance(left, right), rel=1e-9, abs=1e-12
    )


@given(samples)
def test_a_sample_is_at_no_distance_from_itself(values: list[int]) -> None:
    pair = NumericReference.fit(values).compare(values[::-1])
    assert numeric.kolmogorov_smirnov(pair) == 0.0
    assert numeric.wasserstein(pair) == pytest.approx(0.0, abs=1e-12)
    assert numeric.population_stability(pair) == 0.0
    assert numeric.jensen_shannon(pair) == 0.0
    assert numeric.hellinger(pair) == 0.0


@given(samples, samples, h.floats(0.1, 10.0), h.floats(-100.0, 100.0))
def test_units_do_not_matter_where_they_should_not(
    left: list[int], right: list[int], factor: float, shift: float
) -> None:
    assume(len(set(left)) > 1)
    a, b = np.array(left, dtype=np.float64), np.array(right, dtype=np.float64)
    one = NumericReference.fit(a).compare(b)
    other = NumericReference.fit(a * factor + shift).compare(b * factor + shift)
    for measure in (numeric.kolmogorov_smirnov, numeric.normed_wasserstein, numeric.mean_shift):
        assert measure(one) == pytest.approx(measure(other), rel=1e-6, abs=1e-9)


@given(samples, samples, h.lists(h.integers(-20, 20), min_size=1, max_size=5, unique=True))
def test_bins_count_what_numpy_counts(left: list[int], right: list[int], edges: list[int]) -> None:
    pair = NumericReference.fit(left, edges=sorted(edges)).compare(right)
    limits = np.concatenate([[-np.inf], sorted(edges), [np.inf]])
    assert pair.reference_bins.tolist() == np.histogram(left, limits)[0].tolist()
    assert pair.current_bins.tolist() == np.histogram(right, limits)[0].tolist()


@given(samples, samples, samples)
def test_a_merged_reference_is_that_of_all_rows(a: list[int], b: list[int], c: list[int]) -> None:
    merged = NumericReference.merge([NumericReference.fit(part) for part in (a, b, c)])
    whole = NumericReference.fit(a + b + c)
    assert merged.values.tolist() == whole.values.tolist()
    assert merged.edges.tolist() == whole.edges.tolist()
    assert merged.counts.tolist() == whole.counts.tolist()


def test_missing_values_are_counted_apart() -> None:
    mask = np.array([False, False, True, False, False])
    values = [1.0, np.nan, 5.0, np.inf, 2.0]
    reference = NumericReference.fit(values, missing=mask)
    assert (reference.n, reference.missing) == (2, 3)
    pair = reference.compare(values, missing=mask)
    assert (pair.n_current, pair.current_missing) == (2, 3)
    assert numeric.kolmogorov_smirnov(pair) == 0.0


def test_a_stuck_value_is_seen_though_the_reference_was_constant() -> None:
    pair = NumericReference.fit([2.0] * 50).compare([2.0] * 40 + [3.0] * 10)
    assert numeric.kolmogorov_smirnov(pair) == pytest.approx(0.2)
    assert numeric.wasserstein(pair) == pytest.approx(0.2)
    assert numeric.jensen_shannon(pair) > 0.2
    with pytest.raises(UndefinedStatistic, match="constant"):
        numeric.normed_wasserstein(pair)
    with pytest.raises(UndefinedStatistic, match="constant"):
        numeric.mean_shift(pair)


def test_no_value_comes_with_a_reason() -> None:
    reference = NumericReference.fit([1.0, 2.0])
    with pytest.raises(UndefinedStatistic, match="reference has no value, 2 missing"):
        NumericReference.fit([np.nan, np.nan])
    with pytest.raises(UndefinedStatistic, match="current sample has no value"):
        reference.compare([])
    with pytest.raises(UndefinedStatistic, match="whole reference"):
        reference.compare([1.0, 2.0], inside=True)


def test_nonsense_is_refused() -> None:
    with pytest.raises(Invalid, match="mask"):
        NumericReference.fit([1.0], missing=[0])
    with pytest.raises(Invalid, match="rise"):
        NumericReference.fit([1.0], edges=[2.0, 1.0])
    with pytest.raises(Invalid, match="bin"):
        NumericReference.fit([1.0], bin_count=1)
    with pytest.raises(Invalid, match="merge"):
        NumericReference.merge([])
