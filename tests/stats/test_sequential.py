import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as h

from loopwright.core.errors import Invalid
from loopwright.stats import sequential as s
from loopwright.stats.samples import UndefinedStatistic

steps = h.lists(
    h.tuples(h.integers(0, 4), h.integers(0, 4), h.integers(0, 4), h.integers(0, 4)), min_size=1, max_size=8
)


def test_an_equal_canary_is_seldom_accused_however_often_one_looks() -> None:
    rng = np.random.default_rng(31)
    accused = 0
    for _ in range(1000):
        n, nb = rng.integers(0, 12, 300), rng.integers(0, 60, 300)
        found = s.rate_above(rng.binomial(n, 0.05), n, rng.binomial(nb, 0.05), nb, alpha=0.05)
        accused += found.alarm_at is not None
    assert accused / 1000 <= 0.05


def test_a_better_canary_is_not_accused() -> None:
    rng = np.random.default_rng(32)
    n = np.full(300, 20)
    for _ in range(200):
        found = s.rate_above(rng.binomial(n, 0.02), n, rng.binomial(n, 0.06), n, alpha=0.05)
        assert found.alarm_at is None


def test_a_bad_canary_is_found() -> None:
    rng = np.random.default_rng(33)
    n, nb = np.full(300, 10), np.full(300, 190)
    found = [
        s.rate_above(rng.binomial(n, 0.1), n, rng.binomial(nb, 0.01), nb, alpha=0.01).alarm_at
        for _ in range(200)
    ]
    assert None not in found
    assert np.median([at for at in found if at is not None]) < 30


def test_a_step_is_a_fair_bet_under_every_null() -> None:
    # the mean wealth after a second step, over all its outcomes, for canary rates up to the baseline's
    for base, rate in ((0.3, 0.3), (0.3, 0.1), (0.6, 0.6), (0.05, 0.05)):
        for k, kb in ((3, 0), (4, 1), (1, 0)):
            total = 0.0
            for x in range(3):
                for y in range(6):
                    found = s.rate_above([k, x], [4, 2], [kb, y], [6, 5], alpha=0.05)
                    chance = math.comb(2, x) * rate**x * (1 - rate) ** (2 - x)
                    chance *= math.comb(5, y) * base**y * (1 - base) ** (5 - y)
                    total += chance * math.exp(found.log_wealth[1] - found.log_wealth[0])
            assert total <= 1.0 + 1e-12


@given(steps)
def test_wealth_depends_on_the_past_only(table: list[tuple[int, int, int, int]]) -> None:
    k, more, kb, more_b = np.array(table).T
    whole = s.rate_above(k, k + more, kb, kb + more_b, alpha=0.05).log_wealth
    cut = s.rate_above(k[:-1], (k + more)[:-1], kb[:-1], (kb + more_b)[:-1], alpha=0.05).log_wealth
    assert np.isfinite(whole).all()
    assert whole[:-1] == pytest.approx(cut)


def test_calibrated_streams_are_seldom_accused() -> None:
    rng = np.random.default_rng(34)
    accused = 0
    for _ in range(500):
        predicted = rng.beta(1, 4, 2000)
        accused += (
            s.calibration_drift(rng.random(2000) < predicted, predicted, alpha=0.05).alarm_at is not None
        )
    assert accused / 500 <= 0.05


def test_a_gap_within_tolerance_is_let_be_and_one_beyond_is_found() -> None:
    rng = np.random.default_rng(35)
    predicted = rng.beta(2, 6, 6000)
    found = []
    for gap in (0.03, -0.03, 0.12, -0.12):
        truth = rng.random(6000) < np.clip(predicted + gap, 0.0, 1.0)
        found.append(s.calibration_drift(truth, predicted, alpha=0.01, tolerance=0.04).alarm_at)
    assert found[:2] == [None, None]
    assert all(at is not None and at < 5000 for at in found[2:])


def test_wealth_is_the_mean_of_its_bets() -> None:
    truth, predicted, tolerance = [1.0, 0.0, 1.0], [0.2, 0.5, 0.4], 0.1
    wealth = np.zeros(3)
    for stake in (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8):
        for side in (1, -1):
            one = 1.0
            for i, (y, p) in enumerate(zip(truth, predicted, strict=True)):
                one *= 1 + stake / 1.1 * (side * (y - p) - tolerance)
                wealth[i] += one / 14
    found = s.calibration_drift(truth, predicted, alpha=0.05, tolerance=tolerance)
    assert np.exp(found.log_wealth) == pytest.approx(wealth, rel=1e-12)
    assert found.p == pytest.approx(min(1.0, 1.0 / wealth.max()))


def test_bounded_sequence_covers_at_all_times_at_once() -> None:
    rng = np.random.default_rng(36)
    missed = 0
    for _ in range(500):
        _, low, high = s.bounded_mean_sequence(rng.random(800) < 0.1, level=0.9)
        missed += not ((low <= 0.1) & (high >= 0.1)).all()
    assert missed / 500 <= 0.1
    assert (np.diff(low) >= 0.0).all()
    assert (np.diff(high) <= 0.0).all()
    assert high[-1] - low[-1] < 0.15


def test_large_sample_sequence_covers_at_all_times_at_once() -> None:
    rng = np.random.default_rng(37)
    missed = 0
    for _ in range(300):
        x = rng.exponential(size=1500)
        t = np.arange(1, 1501)
        means = np.cumsum(x) / t
        spread = np.cumsum(x * x) / t - means**2
        looks = range(100, 1500, 10)
        found = (
            s.mean_sequence(float(means[i]), float(spread[i]), i + 1, level=0.9, tuned_for=500) for i in looks
        )
        missed += any(not e.low <= 1.0 <= e.high for e in found)
    assert missed / 300 <= 0.1


def test_charts_are_their_recursions() -> None:
    x = np.random.default_rng(38).normal(size=400)
    state, slow = 0.0, []
    for value in x:
        state = max(0.0, state + value - 0.1 - 0.3)
        slow.append(state)
    found = s.cusum(x, target=0.1, slack=0.3, limit=2.0)
    assert found.path == pytest.approx(slow, abs=1e-9)
    assert found.alarm_at == next((i for i, v in enumerate(slow) if v > 2.0), None)
    total, lowest, slow = 0.0, 0.0, []
    for i, value in enumerate(x):
        total += value - x[: i + 1].mean() - 0.05
        lowest = min(lowest, total)
        slow.append(total - lowest)
    assert s.page_hinkley(x, slack=0.05, limit=9.0).path == pytest.approx(slow, abs=1e-9)


@pytest.mark.parametrize(
    ("limit", "slack", "shift", "published"),
    [(4.0, 0.5, 0.0, 336.0), (5.0, 0.5, 0.0, 930.0), (4.0, 0.5, 1.0, 8.34)],
)
def test_run_lengths_are_the_published_ones(
    limit: float, slack: float, shift: float, published: float
) -> None:
    # one-sided run lengths: twice the two-sided 168 and 465 of Montgomery's table; 8.38 two-sided at one sd
    assert s.cusum_run_length(limit, slack, shift=shift) == pytest.approx(published, rel=0.02)


def test_false_alarms_come_as_seldom_as_asked() -> None:
    limit = s.cusum_limit(200.0, 0.5)
    assert s.cusum_run_length(limit, 0.5) == pytest.approx(200.0)
    rng = np.random.default_rng(39)
    lengths = []
    for _ in range(1000):
        at = s.cusum(rng.normal(size=3000), target=0.0, slack=0.5, limit=limit).alarm_at
        lengths.append(3000 if at is None else at + 1)
    assert np.mean(lengths) == pytest.approx(200.0, rel=0.12)


def test_a_rise_is_found_by_both_charts() -> None:
    x = np.random.default_rng(40).normal(size=2000)
    x[1000:] += 0.7
    for found in (s.cusum(x, target=0.0, slack=0.35, limit=15.0), s.page_hinkley(x, slack=0.2, limit=30.0)):
        assert found.alarm_at is not None
        assert 1000 <= found.alarm_at < 1200


def test_nothing_is_no_alarm() -> None:
    empty: list[int] = []
    found = s.rate_above(
        np.array(empty, int), np.array(empty, int), np.array(empty, int), np.array(empty, int), alpha=0.1
    )
    assert (found.alarm_at, found.p) == (None, 1.0)
    assert s.cusum([], target=0.0, slack=0.5, limit=4.0).alarm_at is None
    assert s.calibration_drift([], [], alpha=0.1).p == 1.0


def test_nonsense_is_refused() -> None:
    with pytest.raises(Invalid, match="canary counts"):
        s.rate_above([3], [2], [0], [1], alpha=0.05)
    with pytest.raises(Invalid, match="steps"):
        s.rate_above([1, 1], [2, 2], [0], [1], alpha=0.05)
    with pytest.raises(Invalid, match="alpha"):
        s.rate_above([1], [2], [0], [1], alpha=5)
    with pytest.raises(Invalid, match="tolerance"):
        s.calibration_drift([1], [0.5], alpha=0.05, tolerance=1.0)
    with pytest.raises(Invalid, match="outside"):
        s.calibration_drift([1], [7.0], alpha=0.05)
    with pytest.raises(Invalid, match="predictions"):
        s.calibration_drift([1], [0.5, 0.5], alpha=0.05)
    with pytest.raises(Invalid, match="outside"):
        s.bounded_mean_sequence([2.0])
    with pytest.raises(Invalid, match="too short"):
        s.cusum_limit(1.0, 0.5)
    with pytest.raises(UndefinedStatistic, match="1 rows"):
        s.mean_sequence(0.0, 1.0, 1, level=0.95, tuned_for=10)
