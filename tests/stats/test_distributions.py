import math

import numpy as np
import pytest
import scipy.stats as st
from hypothesis import given
from hypothesis import strategies as h

from loopwright.core.errors import Invalid
from loopwright.stats import distributions as d


@given(h.floats(1e-12, 1.0 - 1e-12))
def test_normal_quantile_is_scipys(p: float) -> None:
    assert d.normal_quantile(p) == pytest.approx(st.norm.ppf(p), rel=1e-9, abs=1e-12)


@given(h.floats(-30.0, 8.0))
def test_normal_cdf_is_scipys_in_the_far_tail_too(z: float) -> None:
    assert d.normal_cdf(z) == pytest.approx(st.norm.cdf(z), rel=1e-10)
    assert d.normal_two_sided(z) == pytest.approx(2.0 * st.norm.sf(abs(z)), rel=1e-10)


@given(h.integers(1, 2000), h.floats(0.01, 4.0))
def test_chi2_tail_is_scipys(dof: int, ratio: float) -> None:
    expected = st.chi2.sf(dof * ratio, dof)
    assert d.chi2_sf(dof * ratio, dof) == pytest.approx(expected, rel=1e-10, abs=1e-280)


@given(h.integers(0, 5000), h.floats(0.0, 1.0), h.floats(0.0, 1.0))
def test_binomial_tail_is_scipys(trials: int, rate: float, part: float) -> None:
    count = round(part * trials)
    expected = st.binom.sf(count - 1, trials, rate)
    assert d.binomial_tail(count, trials, rate) == pytest.approx(expected, rel=1e-9, abs=1e-250)


@given(h.integers(0, 300), h.floats(0.0, 200.0))
def test_poisson_tail_is_scipys(count: int, mean: float) -> None:
    assert d.poisson_tail(count, mean) == pytest.approx(st.poisson.sf(count - 1, mean), rel=1e-9, abs=1e-280)


@given(h.floats(0.5, 1000.0), h.floats(0.5, 1000.0), h.floats(0.0, 1.0))
def test_beta_is_scipys(a: float, b: float, x: float) -> None:
    assert d.beta_cdf(x, a, b) == pytest.approx(st.beta.cdf(x, a, b), rel=1e-9, abs=1e-250)


@pytest.mark.parametrize("p", [1e-6, 0.025, 0.5, 0.975])
@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (2.5, 100.5), (1.0, 1.0), (300.0, 4.0)])
def test_beta_quantile_is_scipys(p: float, a: float, b: float) -> None:
    assert d.beta_quantile(p, a, b) == pytest.approx(st.beta.ppf(p, a, b), rel=1e-9)


@pytest.mark.parametrize("dof", [1, 2, 5, 29, 1000, 100_000])
def test_student_t_is_scipys(dof: int) -> None:
    for t in (0.0, 0.01, 0.5, 1.0, 2.0, 5.0, 20.0):
        assert d.student_t_two_sided(t, dof) == pytest.approx(2.0 * st.t.sf(t, dof), rel=1e-8, abs=1e-200)
    for p in (0.001, 0.025, 0.3, 0.5, 0.7, 0.975, 0.9999):
        assert d.student_t_quantile(p, dof) == pytest.approx(st.t.ppf(p, dof), rel=1e-9, abs=1e-15)


@given(h.floats(0.05, 8.0))
def test_kolmogorov_tail_is_scipys(x: float) -> None:
    assert d.kolmogorov_sf(x) == pytest.approx(st.kstwobign.sf(x), rel=1e-10, abs=1e-14)


def test_ends_are_exact() -> None:
    assert d.gamma_sf(2.0, 0.0) == 1.0
    assert d.gamma_sf(2.0, math.inf) == 0.0
    assert d.beta_cdf(0.0, 1.0, 1.0) == 0.0
    assert d.beta_cdf(1.0, 1.0, 1.0) == 1.0
    assert d.binomial_tail(6, 5, 0.5) == 0.0
    assert d.poisson_tail(1, 0.0) == 0.0
    assert d.kolmogorov_sf(0.0) == 1.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: d.normal_quantile(0.0),
        lambda: d.gamma_sf(0.0, 1.0),
        lambda: d.beta_cdf(np.nan, 1.0, 1.0),
        lambda: d.beta_quantile(1.0, 1.0, 1.0),
        lambda: d.binomial_tail(1, -1, 0.5),
        lambda: d.poisson_tail(1, -1.0),
        lambda: d.student_t_two_sided(1.0, 0.0),
    ],
)
def test_what_does_not_exist_is_refused(call: object) -> None:
    assert callable(call)
    with pytest.raises(Invalid):
        call()
