"""Bit for bit comparison of two columns."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from loopwright.monitoring.skew import column_skew


@given(arrays.arrays(np.float64, st.integers(0, 30), elements=st.floats(width=64)))
def test_a_column_is_itself(values: object) -> None:
    assert isinstance(values, np.ndarray)
    assert column_skew("x", values, values.copy(), [str(at) for at in range(len(values))]) is None


def test_the_last_bit_counts() -> None:
    logged = np.array([0.1, 0.2, 0.3, 1.0])
    offline = np.array([0.1, np.nextafter(0.2, 1.0), 0.3, 1.0])
    found = column_skew("x", logged, offline, ["a", "b", "c", "d"])

    assert found is not None
    assert (found.mismatches, found.first) == (1, ("b",))
    assert found.largest == np.nextafter(0.2, 1.0) - 0.2


def test_nothing_and_a_number_differ_and_nothing_and_nothing_do_not() -> None:
    negative = np.array([-np.nan, np.nan, 0.0])
    found = column_skew("x", negative, np.array([np.nan, 1.0, -0.0]), ["a", "b", "c"])

    assert found is not None
    assert (found.mismatches, found.first, found.largest) == (2, ("b", "c"), 0.0)
