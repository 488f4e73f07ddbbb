"""Bit for bit comparison of two columns."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from loopwright.core.instants import from_micros
from loopwright.core.schema import Schema
from loopwright.monitoring.skew import column_skew, measure_skew
from loopwright.serving.log import Entry, PredictionLog, Sheet
from loopwright.serving.nouns import Variant
from tests.serving.worlds import COLUMNS, ENDPOINT, LEVELS, MODEL, SERVICE, row, world


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


def test_a_feature_that_was_served_otherwise_is_named() -> None:
    """Vectors by hand, of two requests with one month served as the one before it."""
    ctx, asked_us = world(), 1_372_680_000_000_000
    asked = [row(month=month, carrier=carrier) for month in (3, 7, 11) for carrier in LEVELS]
    right = [[LEVELS.index(str(each["carrier"])), 1005.0, 2.0 * int(str(each["month"]))] for each in asked]
    for request, wrong in (("right", False), ("wrong", True)):
        x = np.array(right, np.float64)
        x[4, 2] -= 2.0 if wrong else 0.0
        entry = Entry(
            sheet=Sheet(ENDPOINT, Schema(columns=COLUMNS), SERVICE.names),
            request_id=request,
            positions=range(len(asked)),
            at_us=asked_us,
            version=1,
            variant=Variant.LIVE,
            rows=asked,
            x=x,
            scores=np.zeros(len(asked)),
            latency_us=1,
        )
        log = PredictionLog(ctx)
        log.append(entry)
        log.flush()
    found = measure_skew(ctx, ENDPOINT, MODEL, from_micros(asked_us), from_micros(asked_us + 1))
    assert (found.rows, found.values, found.mismatches) == (18, 54, 1)
    (feature,) = found.features
    assert (feature.feature, feature.mismatches, feature.largest) == ("late_month", 1, 2.0)
    assert feature.first == ("wrong.4",)
