import numpy as np
import pytest
import scipy.stats as st

from loopwright.core.errors import Invalid
from loopwright.stats import intervals
from loopwright.stats.samples import IntArray, UndefinedStatistic


@pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 10), (3, 10), (10, 10), (5, 1000), (499, 1000)])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.999])
def test_wilson_is_scipys(k: int, n: int, level: float) -> None:
    expected = st.binomtest(k, n).proportion_ci(level, method="wilson")
    found = intervals.wilson(k, n, level=level)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert found.value == k / n
    assert found.n == n


def test_wilson_covers_as_promised() -> None:
    rng = np.random.default_rng(11)
    for rate in (0.01, 0.2, 0.5):
        found = [intervals.wilson(int(k), 200) for k in rng.binomial(200, rate, 2000)]
        covered = np.mean([e.low <= rate <= e.high for e in found])
        assert 0.925 <= covered <= 0.98


def test_newcombe_is_the_published_example() -> None:
    # Newcombe 1998, table II, method 10: 56/70 - 48/80 and 9/10 - 3/10
    first = intervals.newcombe(56, 70, 48, 80)
    assert (first.value, first.low, first.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    second = intervals.newcombe(9, 10, 3, 10)
    assert (second.low, second.high) == pytest.approx((0.1705, 0.8090), abs=5e-5)


def test_mean_is_students() -> None:
    sample = np.random.default_rng(1).normal(size=17)
    expected = st.ttest_1samp(sample, 0.0).confidence_interval(0.9)
    found = intervals.mean(sample, level=0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_paired_difference_is_the_mean_of_gaps() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=50), rng.normal(size=50)
    found = intervals.paired_mean_difference(a, b)
    assert found.value == pytest.approx((a - b).mean())
    assert found.se == pytest.approx(st.sem(a - b))
    assert found.p == pytest.approx(2 * st.norm.sf(abs(found.z)))


def test_clusters_of_one_row_change_nothing() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=50), rng.normal(size=50)
    plain = intervals.paired_mean_difference(a, b)
    clustered = intervals.paired_mean_difference(a, b, clusters=np.arange(50))
    assert clustered.se == pytest.approx(plain.se, rel=1e-12)


def test_copies_of_a_row_do_not_make_it_surer() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=50), rng.normal(size=50)
    plain = intervals.paired_mean_difference(a, b)
    copied = intervals.paired_mean_difference(
        np.repeat(a, 9), np.repeat(b, 9), clusters=np.repeat(np.arange(50), 9)
    )
    assert copied.se == pytest.approx(plain.se, rel=1e-12)


def test_equal_sides_do_not_differ() -> None:
    same = np.arange(5.0)
    found = intervals.paired_mean_difference(same, same)
    assert (found.value, found.z, found.p) == (0.0, 0.0, 1.0)


def test_bootstrap_of_a_mean_is_near_students_and_repeats_with_its_seed() -> None:
    sample = np.random.default_rng(5).normal(size=300)

    def statistic(rows: IntArray) -> float:
        return float(sample[rows].mean())

    found = intervals.bootstrap(statistic, 300, np.random.default_rng(6), draws=2000)
    again = intervals.bootstrap(statistic, 300, np.random.default_rng(6), draws=2000)
    known = intervals.mean(sample)
    assert found == again
    assert found.value == pytest.approx(known.value)
    assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=0.02)


def test_bootstrap_by_cluster_is_wider_when_rows_of_a_cluster_agree() -> None:
    rng = np.random.default_rng(7)
    days = np.repeat(np.arange(40), 25)
    sample = rng.normal(size=40)[days] + 0.1 * rng.normal(size=1000)

    def statistic(rows: IntArray) -> float:
        return float(sample[rows].mean())

    plain = intervals.bootstrap(statistic, 1000, rng, draws=300)
    blocked = intervals.bootstrap(statistic, 1000, rng, draws=300, clusters=days)
    assert blocked.high - blocked.low > 3 * (plain.high - plain.low)


def test_jeffreys_upper_is_scipys() -> None:
    assert intervals.jeffreys_upper(2, 40, level=0.95) == pytest.approx(
        st.beta.ppf(0.95, 2.5, 38.5), rel=1e-9
    )
    assert intervals.jeffreys_upper(3, 3, level=0.95) == 1.0


def test_no_number_without_rows() -> None:
    with pytest.raises(UndefinedStatistic, match="no rows"):
        intervals.wilson(0, 0)
    with pytest.raises(UndefinedStatistic, match="spread"):
        intervals.mean([1.0])
    with pytest.raises(UndefinedStatistic, match="cluster"):
        intervals.paired_mean_difference([1.0, 2.0], [0.0, 0.0], clusters=[1, 1])
    with pytest.raises(UndefinedStatistic, match="no spread"):
        intervals.paired_mean_difference([1.0, 1.0], [0.0, 0.0])
    with pytest.raises(UndefinedStatistic, match="resamples"):
        intervals.bootstrap(_only_once(), 10, np.random.default_rng(0), draws=20)


def test_nonsense_is_refused() -> None:
    with pytest.raises(Invalid, match="share"):
        intervals.wilson(3, 2)
    with pytest.raises(Invalid, match="level"):
        intervals.wilson(1, 2, level=95)
    with pytest.raises(Invalid, match="second"):
        intervals.paired_mean_difference([1.0, 2.0], [1.0])
    with pytest.raises(Invalid, match="clusters"):
        intervals.paired_mean_difference([1.0, 2.0], [1.0, 3.0], clusters=[1])


def _only_once() -> intervals.ResampledStatistic:
    calls: list[int] = []

    def statistic(rows: IntArray) -> float:
        calls.append(rows.size)
        if len(calls) > 1:
            raise UndefinedStatistic("none")
        return 0.0

    return statistic
