import numpy as np
import pytest
import scipy.stats as st
from hypothesis import given
from hypothesis import strategies as h

from loopwright.core.errors import Invalid
from loopwright.stats import multiple

p_lists = h.lists(h.floats(0.0, 1.0), min_size=1, max_size=30)


@given(p_lists)
def test_benjamini_hochberg_is_scipys(p: list[float]) -> None:
    assert multiple.benjamini_hochberg(p) == pytest.approx(st.false_discovery_control(p), abs=1e-15)


@given(p_lists, h.floats(0.01, 0.5))
def test_holm_is_its_step_down_rule(p: list[float], alpha: float) -> None:
    ordered = sorted(p)
    rejected = 0
    while rejected < len(p) and ordered[rejected] * (len(p) - rejected) <= alpha:
        rejected += 1
    assert int((multiple.holm(p) <= alpha).sum()) == rejected


@given(p_lists)
def test_one_is_kinder_than_the_other(p: list[float]) -> None:
    raw, bh, holm, bonferroni = (
        np.asarray(p), multiple.benjamini_hochberg(p), multiple.holm(p), multiple.bonferroni(p),
    )  # fmt: skip
    slack = 1e-12
    assert (raw <= bh + slack).all()
    assert (bh <= holm + slack).all()
    assert (holm <= bonferroni + slack).all()
    assert bonferroni.max() <= 1.0


def test_false_discoveries_stay_at_their_rate() -> None:
    rng = np.random.default_rng(21)
    false_share, e_share = [], []
    for _ in range(2000):
        z = rng.normal(size=30)
        z[:6] += 3.0
        p = 2 * st.norm.sf(np.abs(z))
        found = multiple.benjamini_hochberg(p) <= 0.1
        false_share.append(found[6:].sum() / max(1, found.sum()))
        picked = multiple.e_benjamini_hochberg([multiple.e_value_of_p(float(x)) for x in p], 0.1)
        e_share.append(picked[6:].sum() / max(1, picked.sum()))
    assert 0.065 <= np.mean(false_share) <= 0.09  # its level is 0.1 * 24/30
    assert np.mean(e_share) <= 0.08


def test_an_e_value_of_a_p_is_fair() -> None:
    p = (np.arange(1_000_000) + 0.5) / 1_000_000
    assert np.mean([0.5 / np.sqrt(p)]) == pytest.approx(1.0, abs=1e-3)
    assert multiple.e_value_of_p(0.0) == np.inf
    assert multiple.e_value_of_p(0.25) == 1.0
    assert multiple.p_value_of_e(20.0) == 0.05
    assert multiple.p_value_of_e(0.0) == 1.0


def test_a_lifetime_of_days_spends_the_budget() -> None:
    spent = sum(multiple.alpha_on_day(day, 0.05) for day in range(1, 100_001))
    assert 0.0499 < spent < 0.05


def test_nothing_in_nothing_out() -> None:
    for adjust in (multiple.benjamini_hochberg, multiple.holm, multiple.bonferroni):
        assert adjust([]).size == 0
    assert multiple.e_benjamini_hochberg([], 0.1).size == 0


def test_nonsense_is_refused() -> None:
    with pytest.raises(Invalid, match="outside"):
        multiple.holm([1.2])
    with pytest.raises(Invalid, match="nan"):
        multiple.holm([float("nan")])
    with pytest.raises(Invalid, match="day 0"):
        multiple.alpha_on_day(0, 0.05)
    with pytest.raises(Invalid, match="e-value"):
        multiple.e_benjamini_hochberg([-1.0], 0.1)
    with pytest.raises(Invalid, match="p is"):
        multiple.e_value_of_p(2.0)
