import numpy as np
import pytest
import scipy.stats as st
from hypothesis import given
from hypothesis import strategies as h

from loopwright.core.errors import Invalid
from loopwright.stats.drift import bins, categorical
from loopwright.stats.drift.categorical import CategoricalReference
from loopwright.stats.samples import UndefinedStatistic

words = h.lists(h.sampled_from(["AA", "B6", "DL", "UA", "VX"]), min_size=1, max_size=40)


@given(words, words)
def test_counts_are_those_of_the_columns(left: list[str], right: list[str]) -> None:
    pair = CategoricalReference.fit(left).compare(right)
    levels = [*pair.reference.levels.tolist(), *pair.new_levels.tolist()]
    assert sorted(levels) == sorted(set(left) | set(right))
    assert pair.reference_counts.tolist() == [left.count(level) for level in levels]
    assert pair.current.tolist() == [right.count(level) for level in levels]
    for name in (
        "jensen_shannon",
        "hellinger",
        "total_variation",
        "largest_change",
        "cramers_v",
        "chi_square",
    ):
        expected = getattr(bins, name)(pair.reference_counts, pair.current)
        assert getattr(categorical, name)(pair) == expected


@given(words, words, words)
def test_a_merged_reference_is_that_of_all_rows(a: list[str], b: list[str], c: list[str]) -> None:
    merged = CategoricalReference.merge([CategoricalReference.fit(part) for part in (a, b, c)])
    whole = CategoricalReference.fit(a + b + c)
    assert merged.levels.tolist() == whole.levels.tolist()
    assert merged.counts.tolist() == whole.counts.tolist()


@given(words)
def test_counted_elsewhere_is_counted_alike(column: list[str]) -> None:
    whole = CategoricalReference.fit(column)
    shuffled = np.argsort([hash(level) for level in whole.levels.tolist()])
    other = CategoricalReference.of_counts(whole.levels[shuffled], whole.counts[shuffled], missing=0)
    assert other.levels.tolist() == whole.levels.tolist()
    assert other.counts.tolist() == whole.counts.tolist()


def test_chi_square_p_is_scipys() -> None:
    rng = np.random.default_rng(3)
    left, right = rng.integers(0, 6, 500), rng.integers(0, 6, 300)
    pair = CategoricalReference.fit(left).compare(right)
    table = np.vstack([np.bincount(left), np.bincount(right)])
    expected = st.chi2_contingency(table, correction=False).pvalue
    assert categorical.chi_square_p(pair, categorical.chi_square(pair)) == pytest.approx(expected, rel=1e-9)


def test_one_level_cannot_drift() -> None:
    pair = CategoricalReference.fit(["a"] * 3).compare(["a"])
    assert categorical.chi_square_p(pair, categorical.chi_square(pair)) == 1.0


def test_a_chunk_of_the_reference_is_compared_with_its_rest() -> None:
    rng = np.random.default_rng(4)
    whole = rng.choice(np.array(["x", "y", "z"]), 600, p=[0.7, 0.25, 0.05])
    chunk = rng.choice(600, 200, replace=False)
    inside = CategoricalReference.fit(whole).compare(whole[chunk], inside=True)
    apart = CategoricalReference.fit(np.delete(whole, chunk)).compare(whole[chunk])
    assert inside.effective_size == apart.effective_size
    assert categorical.total_variation(inside) == pytest.approx(categorical.total_variation(apart), rel=1e-12)
    assert categorical.population_stability(inside) == pytest.approx(categorical.population_stability(apart))


def test_missing_is_not_a_level() -> None:
    reference = CategoricalReference.fit(np.array(["a", None, "b", np.nan, "b"], dtype=object))
    assert (reference.levels.tolist(), reference.counts.tolist(), reference.missing) == (
        ["a", "b"],
        [1, 2],
        2,
    )
    masked = CategoricalReference.fit(["a", "b", ""], missing=np.array([False, False, True]))
    assert (masked.levels.tolist(), masked.missing) == (["a", "b"], 1)
    assert CategoricalReference.fit([1.0, np.nan, 1.0]).missing == 1


def test_new_units_are_given_away_by_levels_never_seen() -> None:
    rng = np.random.default_rng(5)
    knots_seen = rng.integers(0, 37, 5000) * 1.15078
    reference = CategoricalReference.fit(knots_seen)
    same = categorical.unseen_levels(reference.compare(rng.integers(0, 37, 72) * 1.15078))
    other = categorical.unseen_levels(reference.compare(rng.integers(0, 37, 72) * 1.15078 * 0.868976))
    assert same.p == 1.0
    assert same.share.value == 0.0
    assert same.levels == ()
    assert other.p < 1e-30
    assert other.share.value > 0.9
    assert len(other.levels) == 10


def test_unseen_tail_is_scipys_binomial_at_the_references_own_pace() -> None:
    column = [*("ab" * 200), "c", "d", "e"]
    found = categorical.unseen_levels(CategoricalReference.fit(column).compare(["a"] * 97 + ["q", "q", "r"]))
    rate = st.beta.ppf(0.95, 3.5, 403 - 3 + 0.5)
    assert found.rate == pytest.approx(rate, rel=1e-9)
    assert found.p == pytest.approx(st.binom.sf(2, 100, rate), rel=1e-9)
    assert found.levels == ("q", "r")
    assert found.share.value == 0.03


def test_unseen_levels_keep_their_level_where_newcomers_are_normal() -> None:
    rng = np.random.default_rng(6)
    alarms = 0
    for _ in range(400):
        column = rng.geometric(0.02, 1200)
        found = categorical.unseen_levels(CategoricalReference.fit(column[:1000]).compare(column[1000:]))
        alarms += found.p < 0.05
    assert alarms / 400 <= 0.05


def test_newcomers_of_a_block_are_counted_by_brute_force() -> None:
    rng = np.random.default_rng(7)
    values, days = rng.integers(0, 60, 200), np.repeat(np.arange(10), 20)
    expected = sum(int((~np.isin(values[days == d], values[days != d])).sum()) for d in range(10))
    assert categorical.held_out_newcomers(values, days) == expected
    pair = CategoricalReference.fit(values).compare([1000])
    assert categorical.unseen_levels(pair, newcomers=expected).rate > expected / 200


def test_no_value_comes_with_a_reason() -> None:
    with pytest.raises(UndefinedStatistic, match="2 missing"):
        CategoricalReference.fit(np.array([None, None], dtype=object))
    with pytest.raises(UndefinedStatistic, match="current sample"):
        CategoricalReference.fit(["a"]).compare(np.array([], dtype=str))
    with pytest.raises(UndefinedStatistic, match="whole"):
        CategoricalReference.fit(["a"]).compare(["a"], inside=True)


def test_nonsense_is_refused() -> None:
    reference = CategoricalReference.fit(["a", "b", "c"])
    with pytest.raises(Invalid, match="mixes"):
        CategoricalReference.fit(np.array(["a", 1], dtype=object))
    with pytest.raises(Invalid, match="twice"):
        CategoricalReference.of_counts(["a", "a"], [1, 2], missing=0)
    with pytest.raises(Invalid, match="match"):
        CategoricalReference.of_counts(["a"], [-1], missing=0)
    with pytest.raises(Invalid, match="not in the reference"):
        reference.compare(["z"], inside=True)
    with pytest.raises(Invalid, match="current levels are"):
        reference.compare([1, 2])
    with pytest.raises(Invalid, match="newcomers"):
        categorical.unseen_levels(reference.compare(["a"]), newcomers=9)
    with pytest.raises(Invalid, match="merge"):
        CategoricalReference.merge([])
    with pytest.raises(Invalid, match="shape"):
        CategoricalReference.fit([["a"]])
    with pytest.raises(Invalid, match="mask"):
        CategoricalReference.fit(["a"], missing=[1])
