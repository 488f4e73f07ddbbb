import math

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import assume, given
from hypothesis import strategies as h

from loopwright.core.errors import Invalid
from loopwright.stats import classification as c
from loopwright.stats.samples import BoolArray, FloatArray, IntArray, UndefinedStatistic

rows = h.lists(h.tuples(h.booleans(), h.integers(-5, 5)), min_size=2, max_size=60)


def _world(seed: int, n: int, ties: bool) -> tuple[BoolArray, FloatArray]:
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.3
    predicted = 1.0 / (1.0 + np.exp(-rng.normal(size=n) - truth))
    return truth, np.round(predicted, 1) if ties else predicted


@pytest.mark.parametrize("ties", [False, True])
def test_scores_are_scikit_learns(ties: bool) -> None:
    truth, predicted = _world(1, 3000, ties)
    assert c.roc_auc(truth, predicted) == pytest.approx(sk.roc_auc_score(truth, predicted), rel=1e-12)
    assert c.average_precision(truth, predicted) == pytest.approx(
        sk.average_precision_score(truth, predicted), rel=1e-12
    )
    assert c.brier(truth, predicted) == pytest.approx(sk.brier_score_loss(truth, predicted), rel=1e-12)
    assert c.log_loss(truth, predicted) == pytest.approx(sk.log_loss(truth, predicted), rel=1e-9)


@given(rows)
def test_auc_counts_pairs(table: list[tuple[bool, int]]) -> None:
    truth, scores = np.array([t for t, _ in table]), np.array([float(s) for _, s in table])
    assume(0 < truth.sum() < truth.size)
    gaps = np.sign(scores[truth][:, None] - scores[~truth][None, :])
    assert c.roc_auc(truth, scores) == pytest.approx((0.5 + 0.5 * gaps).mean(), abs=1e-15)


@given(rows, h.floats(0.1, 10.0), h.floats(-5.0, 5.0))
def test_auc_sees_only_the_order(table: list[tuple[bool, int]], factor: float, shift: float) -> None:
    truth, scores = np.array([t for t, _ in table]), np.array([float(s) for _, s in table])
    assume(0 < truth.sum() < truth.size)
    auc = c.roc_auc(truth, scores)
    assert c.roc_auc(truth, np.arctan(scores * factor + shift)) == auc
    assert c.roc_auc(truth, -scores) == pytest.approx(1.0 - auc, abs=1e-15)
    assert c.roc_auc(~truth, scores) == pytest.approx(1.0 - auc, abs=1e-15)


@given(rows)
def test_delong_is_its_definition(table: list[tuple[bool, int]]) -> None:
    truth, scores = np.array([t for t, _ in table]), np.array([float(s) for _, s in table])
    assume(1 < truth.sum() < truth.size - 1)
    other = np.roll(scores, 1)
    wins = [0.5 + 0.5 * np.sign(s[truth][:, None] - s[~truth][None, :]) for s in (scores, other)]
    m, n = wins[0].shape
    expected = np.cov([w.mean(axis=1) for w in wins]) / m + np.cov([w.mean(axis=0) for w in wins]) / n
    found = c.auc_covariance(truth, scores, other)
    assert found.covariance == pytest.approx(expected, abs=1e-14)
    assert found.aucs == pytest.approx([w.mean() for w in wins])


def test_paired_interval_covers_and_its_test_has_its_level() -> None:
    rng = np.random.default_rng(12)
    covered, rejected, single = 0, 0, 0
    # score = normal + shift * truth: AUC = Phi(shift / sqrt 2) for both, so the true difference is 0
    auc = 0.5 * math.erfc(-1.0 / 2.0)
    for _ in range(2000):
        truth = np.arange(150) < 50
        both = rng.normal(size=150)
        first, second = (math.sqrt(0.5) * (both + rng.normal(size=150)) + truth for _ in range(2))
        found = c.auc_difference(truth, first, second)
        covered += found.low <= 0.0 <= found.high
        rejected += found.p < 0.05
        alone = c.auc_interval(truth, first)
        single += alone.low <= auc <= alone.high
    assert 0.935 <= covered / 2000 <= 0.965
    assert 0.035 <= rejected / 2000 <= 0.065
    assert 0.935 <= single / 2000 <= 0.965


def _stormy(rng: np.random.Generator, days: int) -> tuple[IntArray, BoolArray, FloatArray, FloatArray]:
    """Ten rows a day whose outcomes and scores share the day's weather."""
    day = np.repeat(np.arange(days), 10)
    weather = rng.normal(size=days)[day]
    truth = rng.normal(size=day.size) + weather > 0.8
    first = rng.normal(size=day.size) + 0.7 * weather + 0.5 * truth
    second = rng.normal(size=day.size) - 0.7 * weather + 0.5 * truth
    return day, truth, first, second


def test_clustered_interval_covers_where_rows_of_a_day_hang_together() -> None:
    rng = np.random.default_rng(13)
    _, truth, first, second = _stormy(rng, 60_000)
    true_gap = c.roc_auc(truth, first) - c.roc_auc(truth, second)
    plain, clustered = 0, 0
    for _ in range(500):
        day, truth, first, second = _stormy(rng, 60)
        found = c.auc_difference(truth, first, second)
        plain += found.low <= true_gap <= found.high
        found = c.auc_difference(truth, first, second, clusters=day)
        clustered += found.low <= true_gap <= found.high
    assert plain / 500 < 0.85
    assert 0.91 <= clustered / 500 <= 0.98


def test_clusters_of_one_row_are_nearly_delong() -> None:
    truth, predicted = _world(3, 2000, ties=True)
    plain = c.auc_interval(truth, predicted)
    clustered = c.auc_interval(truth, predicted, clusters=np.arange(2000))
    assert (clustered.low, clustered.high) == pytest.approx((plain.low, plain.high), abs=1e-5)


def test_a_perfect_ranking_has_an_interval_too() -> None:
    found = c.auc_interval([0, 0, 0, 1, 1, 1, 1], [1, 2, 3, 4, 5, 6, 7])
    assert found.value == found.high == 1.0
    assert 0.3 < found.low < 1.0
    worst = c.auc_interval([1, 1, 1, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6, 7])
    assert (worst.low, worst.high) == pytest.approx((0.0, 1.0 - found.low))


def test_equal_scores_do_not_differ() -> None:
    truth, predicted = _world(4, 200, ties=False)
    found = c.auc_difference(truth, predicted, predicted)
    assert (found.value, found.se, found.p) == (0.0, 0.0, 1.0)


def test_brier_and_log_loss_differences_are_paired() -> None:
    truth, first = _world(5, 500, ties=False)
    second = np.clip(first + 0.05, 0.0, 1.0)
    found = c.brier_difference(truth, first, second)
    assert found.value == pytest.approx(c.brier(truth, first) - c.brier(truth, second))
    assert found.value < 0.0 < -found.high
    losses = c.log_loss_difference(truth, first, second, clusters=np.arange(500) // 5)
    assert losses.value == pytest.approx(c.log_loss(truth, first) - c.log_loss(truth, second))
    interval = c.brier_interval(truth, first)
    assert interval.value == pytest.approx(c.brier(truth, first))
    assert interval.low < interval.value < interval.high


def test_a_certain_mistake_is_dear_but_finite() -> None:
    assert c.log_loss([1], [0.0]) == pytest.approx(-math.log(2.0**-52))


@pytest.mark.parametrize("labels", [[], [0, 0], [1, 1]])
def test_auc_says_why_it_has_no_value(labels: list[int]) -> None:
    with pytest.raises(UndefinedStatistic, match=r"no rows|none of"):
        c.roc_auc(labels, [0.5] * len(labels))


def test_errors_need_two_of_each_class() -> None:
    with pytest.raises(UndefinedStatistic, match="1 positive and 2 negative"):
        c.auc_interval([1, 0, 0], [0.3, 0.2, 0.5])
    with pytest.raises(UndefinedStatistic, match="positive"):
        c.average_precision([0, 0], [0.3, 0.2])


def test_bad_input_is_refused_with_its_place() -> None:
    with pytest.raises(Invalid, match="2 labels but 1"):
        c.roc_auc([0, 1], [0.5])
    with pytest.raises(Invalid, match=r"scores\[1\] is nan"):
        c.roc_auc([0, 1], [0.5, math.nan])
    with pytest.raises(Invalid, match="other than 0 and 1"):
        c.roc_auc([0, 2], [0.5, 0.6])
    with pytest.raises(Invalid, match=r"not in \[0, 1\]"):
        c.brier([0, 1], [0.5, 1.6])
    with pytest.raises(Invalid, match="no scores"):
        c.auc_covariance([0, 1])
    with pytest.raises(Invalid, match="shape"):
        c.roc_auc([[0, 1]], [0.5])
    with pytest.raises(Invalid, match="not numbers"):
        c.roc_auc([0, 1], ["a", "b"])
