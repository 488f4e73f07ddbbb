import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as h

from loopwright.core.errors import Invalid
from loopwright.stats.drift.numeric import NumericReference, kolmogorov_smirnov, wasserstein
from loopwright.stats.null_draws import NullDraws, draw_chunks, null_draws
from loopwright.stats.samples import IntArray, UndefinedStatistic


@given(h.integers(2, 60), h.data())
def test_chunks_are_distinct_rows(rows: int, data: h.DataObject) -> None:
    chunk_rows = data.draw(h.integers(1, rows - 1))
    blocked = data.draw(h.booleans())
    blocks = np.arange(rows) * 3 // rows if blocked and rows > 2 else None
    for chunk in draw_chunks(rows, chunk_rows, np.random.default_rng(0), draws=5, blocks=blocks):
        assert chunk.size == chunk_rows == np.unique(chunk).size
        assert 0 <= chunk.min() <= chunk.max() < rows


def test_block_chunks_are_whole_days_and_runs_of_the_last() -> None:
    days = np.repeat(np.arange(12), 10)
    for chunk in draw_chunks(120, 24, np.random.default_rng(1), draws=30, blocks=days):
        counts = np.bincount(days[chunk], minlength=12)
        assert sorted(counts[counts > 0].tolist()) == [4, 10, 10]
        partial = np.sort(chunk[days[chunk] == int(np.flatnonzero(counts == 4)[0])])
        assert np.diff(partial).tolist() == [1, 1, 1]


def test_p_values_are_uniform_when_nothing_changed() -> None:
    rng = np.random.default_rng(2)
    column = rng.normal(size=4000)
    reference = NumericReference.fit(column)

    def distance(chunk: IntArray) -> float:
        return wasserstein(reference.compare(column[chunk], inside=True))

    null = null_draws(distance, 4000, 200, rng, draws=400)
    hits, rare = 0, 0
    for _ in range(1500):
        pair = reference.compare(rng.normal(size=100))
        p = null.p_value(wasserstein(pair), effective_size=pair.effective_size)
        hits, rare = hits + (p <= 0.1), rare + (p <= 0.005)
    assert 0.06 <= hits / 1500 <= 0.14
    assert rare / 1500 <= 0.012


def test_day_blocks_put_the_days_own_noise_into_the_null() -> None:
    rng = np.random.default_rng(3)
    days = np.repeat(np.arange(120), 30)
    column = rng.normal(size=120)[days] + rng.normal(size=3600)
    reference = NumericReference.fit(column)

    def distance(chunk: IntArray) -> float:
        return kolmogorov_smirnov(reference.compare(column[chunk], inside=True))

    shuffled = null_draws(distance, 3600, 30, rng, draws=150)
    blocked = null_draws(distance, 3600, 30, rng, draws=150, blocks=days)
    alarms = np.zeros(2)
    for _ in range(300):
        pair = reference.compare(rng.normal() + rng.normal(size=30))
        alarms += [n.p_value(kolmogorov_smirnov(pair)) <= 0.05 for n in (shuffled, blocked)]
    assert alarms[0] / 300 > 0.25
    assert alarms[1] / 300 < 0.1


@given(h.lists(h.floats(0.0, 10.0), min_size=20, max_size=80), h.floats(1e-6, 0.9))
def test_a_threshold_is_where_p_reaches_its_level(values: list[float], p: float) -> None:
    null = NullDraws.of_values(values, effective_size=10.0)
    limit = null.threshold(p)
    if np.isfinite(limit):
        assert null.p_value(limit) <= p * (1 + 1e-9)


@given(h.lists(h.floats(0.0, 10.0), min_size=20, max_size=80), h.floats(0.0, 12.0), h.floats(0.0, 12.0))
def test_further_is_never_likelier(values: list[float], one: float, other: float) -> None:
    null = NullDraws.of_values(values, effective_size=10.0)
    low, high = sorted((one, other))
    assert null.p_value(high) <= null.p_value(low)


def test_counting_part_is_the_permutation_p() -> None:
    null = NullDraws.of_values(np.arange(99.0), effective_size=10.0)
    assert null.p_value(50.0) == pytest.approx((1 + 49) / 100)
    assert null.p_value(0.0) == 1.0


def test_tail_of_exponential_draws_is_exponential() -> None:
    quantiles = -np.log1p(-(np.arange(2000) + 0.5) / 2000)
    null = NullDraws.of_values(quantiles, effective_size=10.0)
    assert np.log(null.p_value(12.0)) == pytest.approx(-12.0, abs=0.3)
    assert null.threshold(np.exp(-12.0)) == pytest.approx(12.0, abs=0.3)


def test_draws_all_alike_claim_no_more_than_their_number_allows() -> None:
    null = NullDraws.of_values(np.zeros(99), effective_size=10.0)
    assert null.p_value(0.0) == 1.0
    assert null.p_value(1e-9) == 0.01
    assert null.threshold(0.001) == np.inf


def test_the_same_seed_gives_the_same_draws() -> None:
    first, second = (
        null_draws(lambda at: float(at.mean()), 50, 7, np.random.default_rng(4), draws=30) for _ in range(2)
    )
    assert first.values.tolist() == second.values.tolist()


def test_too_little_is_refused() -> None:
    with pytest.raises(UndefinedStatistic, match="3 draws"):
        NullDraws.of_values([1.0, 2.0, 3.0], effective_size=1.0)
    with pytest.raises(Invalid, match="chunk of 5 of 5"):
        next(draw_chunks(5, 5, np.random.default_rng(0), draws=1))
    with pytest.raises(Invalid, match="effective size"):
        NullDraws.of_values(np.arange(20.0), effective_size=0.0)
