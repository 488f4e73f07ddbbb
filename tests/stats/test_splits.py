import numpy as np
import pytest
import scipy.stats as st
from hypothesis import given
from hypothesis import strategies as h

from loopwright.core.errors import Invalid
from loopwright.stats import splits

keys = h.integers(0, 2**64 - 1)


@given(keys, h.integers(0, 2**64 - 1))
def test_one_key_and_many_fall_alike(key: int, salt: int) -> None:
    assert splits.unit_positions(np.array([key], dtype=np.uint64), salt)[0] == splits.unit_position(key, salt)


@given(keys, h.integers(0, 1000), h.floats(0.0, 1.0), h.floats(0.0, 1.0))
def test_raising_a_share_only_adds(key: int, salt: int, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert splits.is_in_share(key, low, salt) <= splits.is_in_share(key, high, salt)


def test_finaliser_is_splitmix64s() -> None:
    # first outputs of SplitMix64 seeded with 1234567, as its authors publish them
    state, seen = 1234567, []
    for _ in range(3):
        seen.append(splits._mix(state))
        state += 0x9E3779B97F4A7C15
    assert seen == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("salt", [0, 1, 77])
@pytest.mark.parametrize("stride", [1, 2, 1000, 2**32])
def test_positions_are_uniform_whatever_the_keys(salt: int, stride: int) -> None:
    positions = splits.unit_positions(np.arange(50_000, dtype=np.int64) * stride, salt)
    assert st.kstest(positions, "uniform").pvalue > 1e-4
    assert positions.min() >= 0.0
    assert positions.max() < 1.0


def test_salts_are_unrelated() -> None:
    numbers = np.arange(50_000)
    first, second = splits.unit_positions(numbers, 1), splits.unit_positions(numbers, 2)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.02
    both = (splits.in_share(numbers, 0.1, 1) & splits.in_share(numbers, 0.1, 2)).mean()
    assert both == pytest.approx(0.01, abs=0.002)


def test_arms_get_their_weights() -> None:
    arms = splits.assign(np.arange(100_000), [1, 0, 3, 6, 0], 5)
    assert np.bincount(arms, minlength=5) / 100_000 == pytest.approx([0.1, 0.0, 0.3, 0.6, 0.0], abs=0.006)


def test_ends_are_exact() -> None:
    assert not splits.in_share(np.arange(1000), 0.0, 3).any()
    assert splits.in_share(np.arange(1000), 1.0, 3).all()


def test_negative_keys_wrap() -> None:
    assert splits.unit_position(-1, 9) == splits.unit_position(2**64 - 1, 9)
    assert splits.unit_positions(np.array([-1]), 9)[0] == splits.unit_position(-1, 9)


def test_nonsense_is_refused() -> None:
    with pytest.raises(Invalid, match="share is 5"):
        splits.is_in_share(1, 5, 0)
    with pytest.raises(Invalid, match="integers"):
        splits.unit_positions(np.array([0.5]), 0)
    with pytest.raises(Invalid, match="weights"):
        splits.assign([1], [0.0], 0)
