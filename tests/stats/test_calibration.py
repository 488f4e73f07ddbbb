import numpy as np
import pytest
import scipy.stats as st
from scipy.optimize import minimize
from sklearn.calibration import calibration_curve

from loopwright.core.errors import Invalid
from loopwright.stats import calibration as cal
from loopwright.stats.samples import BoolArray, FloatArray, UndefinedStatistic


def _world(seed: int, n: int, bias: float = 0.0) -> tuple[BoolArray, FloatArray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=n) - 1.0
    truth = rng.random(n) < 1.0 / (1.0 + np.exp(-logits))
    return truth, 1.0 / (1.0 + np.exp(-logits - bias))


def test_reliability_is_scikit_learns_curve() -> None:
    truth, predicted = _world(1, 2000)
    observed, said = calibration_curve(truth, predicted, n_bins=10)
    table = cal.reliability(truth, predicted, cal.equal_width_edges(10))
    assert [row.observed.value for row in table] == pytest.approx(observed)
    assert [row.predicted for row in table] == pytest.approx(said)
    assert sum(row.n for row in table) == 2000


def test_errors_follow_from_the_table() -> None:
    truth, predicted = _world(2, 2000, bias=0.5)
    edges = cal.equal_count_edges(predicted, 7)
    table = cal.reliability(truth, predicted, edges)
    assert len(table) == 7
    assert max(row.n for row in table) - min(row.n for row in table) <= 2
    gaps = np.array([abs(row.predicted - row.observed.value) for row in table])
    counts = np.array([row.n for row in table])
    assert cal.expected_calibration_error(truth, predicted, edges) == pytest.approx(gaps @ counts / 2000)
    assert cal.maximum_calibration_error(truth, predicted, edges) == pytest.approx(gaps.max())


def test_probability_one_is_in_the_last_bin() -> None:
    table = cal.reliability([1, 0, 1], [1.0, 0.0, 0.95], cal.equal_width_edges(10))
    assert [(row.low, row.n) for row in table] == [(0.0, 1), (pytest.approx(0.9), 2)]


def test_tied_probabilities_share_a_bin() -> None:
    assert cal.equal_count_edges([0.2] * 10, 5).tolist() == [0.0, 0.2, 1.0]


def test_in_the_large_has_the_sign_of_the_promise() -> None:
    truth, predicted = _world(3, 3000, bias=0.4)
    found = cal.calibration_in_the_large(truth, predicted)
    assert found.value == pytest.approx(predicted.mean() - truth.mean())
    assert found.low > 0.0
    honest = cal.calibration_in_the_large(*_world(3, 3000))
    assert honest.low < 0.0 < honest.high


def test_line_is_the_maximum_of_the_likelihood() -> None:
    truth, predicted = _world(4, 800, bias=0.3)
    logits = np.log(predicted / (1 - predicted))

    def loss(beta: FloatArray) -> float:
        line = beta[0] + beta[1] * logits
        return float(np.logaddexp(0.0, np.where(truth, -line, line)).sum())

    best = minimize(loss, [0.0, 1.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12})
    found = cal.calibration_line(truth, predicted)
    assert (found.intercept.value, found.slope.value) == pytest.approx(best.x, abs=1e-6)
    assert found.p == pytest.approx(st.chi2.sf(2 * (loss(np.array([0.0, 1.0])) - best.fun), 2), rel=1e-6)
    assert found.intercept.low < -0.3 < found.intercept.high
    assert found.slope.low < 1.0 < found.slope.high


def test_tests_have_their_level_under_calibration() -> None:
    line, whole = 0, 0
    for seed in range(1000):
        truth, predicted = _world(seed, 200)
        line += cal.calibration_line(truth, predicted).p < 0.05
        whole += cal.spiegelhalter(truth, predicted).p < 0.05
    assert 0.03 <= line / 1000 <= 0.075
    assert 0.03 <= whole / 1000 <= 0.075


def test_spiegelhalter_is_its_formula() -> None:
    found = cal.spiegelhalter([1, 0, 1], [0.9, 0.2, 0.4])
    p, y = np.array([0.9, 0.2, 0.4]), np.array([1, 0, 1])
    brier, expected = ((y - p) ** 2).sum(), (p * (1 - p)).sum()
    assert found.z == pytest.approx((brier - expected) / np.sqrt(((1 - 2 * p) ** 2 * p * (1 - p)).sum()))
    assert found.p == pytest.approx(2 * st.norm.sf(abs(found.z)))


def test_no_value_comes_with_a_reason() -> None:
    with pytest.raises(UndefinedStatistic, match="0, 1/2 or 1"):
        cal.spiegelhalter([1, 0], [0.5, 0.0])
    with pytest.raises(UndefinedStatistic, match="logit"):
        cal.calibration_line([1, 0], [1.0, 0.5])
    with pytest.raises(UndefinedStatistic, match="slope"):
        cal.calibration_line([1, 0], [0.5, 0.5])
    with pytest.raises(UndefinedStatistic, match="separate"):
        cal.calibration_line([1, 1, 0, 0], [0.9, 0.8, 0.2, 0.1])
    with pytest.raises(UndefinedStatistic, match="none of"):
        cal.calibration_line([1, 1], [0.9, 0.8])


def test_bad_edges_are_refused() -> None:
    with pytest.raises(Invalid, match="edges"):
        cal.reliability([1, 0], [0.5, 0.2], [0.1, 1.0])
    with pytest.raises(Invalid, match="bins"):
        cal.equal_width_edges(0)
    with pytest.raises(Invalid, match="bins"):
        cal.equal_count_edges([], 3)
