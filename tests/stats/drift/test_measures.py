from collections import defaultdict

import numpy as np
import pytest
import scipy.stats as st

from loopwright.core.errors import Invalid
from loopwright.stats.drift.categorical import CategoricalReference
from loopwright.stats.drift.measures import (
    CATEGORICAL_MEASURES,
    NUMERIC_MEASURES,
    categorical_readings,
    numeric_readings,
)
from loopwright.stats.drift.missing import missing_change, missing_rate_change
from loopwright.stats.drift.numeric import NumericReference
from loopwright.stats.samples import UndefinedStatistic


def test_every_measure_reads_within_its_range() -> None:
    rng = np.random.default_rng(1)
    pair = NumericReference.fit(rng.normal(size=500)).compare(rng.normal(size=90) + 2.0)
    words = CategoricalReference.fit(rng.integers(0, 5, 500)).compare(rng.integers(2, 7, 90))
    found = {r.measure: r for r in numeric_readings(pair)}
    assert set(found) == set(NUMERIC_MEASURES)
    for name, row in NUMERIC_MEASURES.items():
        value = found[name].value
        assert value is not None
        assert row.low <= value <= row.high
        assert row.source
    levels = {r.measure: r for r in categorical_readings(words)}
    assert set(levels) == set(CATEGORICAL_MEASURES)
    assert all(r.value is not None and r.value > 0.0 for r in levels.values())
    assert levels["chi_square"].p == pytest.approx(0.0, abs=1e-6)


def test_noise_shrinks_as_the_table_says() -> None:
    rng = np.random.default_rng(2)
    whole = rng.normal(size=40_000)
    numbers, levels = NumericReference.fit(whole), CategoricalReference.fit(np.digitize(whole, [-1, 0, 1]))

    def typical(m: int) -> dict[str, float]:
        totals: dict[str, float] = defaultdict(float)
        for _ in range(60):
            sample = rng.normal(size=m)
            pair = numbers.compare(sample)
            for number in NUMERIC_MEASURES.values():
                totals[number.name] += abs(number.of(pair)) * pair.effective_size**number.noise_power
            words = levels.compare(np.digitize(sample, [-1, 0, 1]))
            for word in CATEGORICAL_MEASURES.values():
                totals[f"{word.name} of levels"] += word.of(words) * words.effective_size**word.noise_power
        return totals

    small, large = typical(300), typical(3000)
    for name in small:
        assert 0.7 <= small[name] / large[name] <= 1.45, name


def test_a_reading_without_value_says_why() -> None:
    pair = NumericReference.fit([1.0, 1.0]).compare([1.0])
    (reading,) = numeric_readings(pair, ["normed_wasserstein"])
    assert reading.value is None
    assert "constant" in reading.undefined


def test_an_unknown_measure_names_those_there_are() -> None:
    pair = NumericReference.fit([1.0, 2.0]).compare([1.0])
    with pytest.raises(Invalid, match=r"no measure is called kl.*kolmogorov_smirnov"):
        numeric_readings(pair, ["kl"])


def test_missing_rate_test_is_the_pooled_z() -> None:
    found = missing_rate_change(30, 1000, 25, 300)
    table = [[30, 970], [25, 275]]
    assert found.p == pytest.approx(st.chi2_contingency(table, correction=False).pvalue, rel=1e-9)
    assert found.z > 0.0
    assert found.change.value == pytest.approx(25 / 300 - 0.03)
    assert found.change.low > 0.0


def test_missing_of_a_comparison_leaves_out_the_chunk_itself() -> None:
    values = np.array([1.0, np.nan, 2.0, 3.0, np.nan, 4.0])
    pair = NumericReference.fit(values).compare(values[:3], inside=True)
    found = missing_change(pair)
    assert found.reference_rate == pytest.approx(1 / 3)
    assert found.current_rate == pytest.approx(1 / 3)
    assert found.p == 1.0


def test_nothing_missing_anywhere_is_no_change() -> None:
    found = missing_rate_change(0, 10, 0, 10)
    assert (found.z, found.p) == (0.0, 1.0)
    with pytest.raises(UndefinedStatistic, match="no rows"):
        missing_rate_change(0, 10, 0, 0)
    with pytest.raises(Invalid, match="more rows"):
        missing_rate_change(11, 10, 0, 1)
