"""Shares of values in bins against NumPy's own histogram, and how an expression is told."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.expressions import Expr, Window, col, lit, when
from loopwright.monitoring.usage import InputShares, counted, edges_of
from loopwright.surfaces.ui.features import drawn, told

VALUES = st.lists(st.floats(allow_nan=True, allow_infinity=False, width=32), max_size=60)


@given(VALUES, VALUES)
def test_shares_are_those_of_a_histogram_with_open_ends(trained: list[float], served: list[float]) -> None:
    edges = edges_of(np.array(trained, dtype=np.float64))
    for values in (trained, served):
        found = counted(np.array(values, dtype=np.float64), edges)
        there = [value for value in values if not math.isnan(value)]
        bounds = np.concatenate([[-np.inf], edges, [np.inf]])
        told_by_numpy = np.histogram(there, bins=bounds)[0] if len(edges) else np.array([len(there)])
        # the last of NumPy's bins alone is closed, and no number lies at infinity: both count half-open bins
        assert np.allclose(np.array(found.bins) * max(len(there), 1), told_by_numpy)
        assert found.n == len(values)
        assert found.missing == pytest.approx(1 - len(there) / len(values) if values else 0.0)


def test_how_far_apart_two_shapes_are() -> None:
    edges = np.array([0.0])
    left, right = np.array([-1.0, -1.0, 1.0, 1.0]), np.array([1.0, 1.0, 1.0, 1.0])
    shares = InputShares(name="x", edges=(0.0,), training=counted(left, edges), served=counted(right, edges))
    found = drawn(shares)
    assert found.apart == pytest.approx(0.5)
    assert found.training.startswith("M0 ")
    assert (
        drawn(
            InputShares(
                name="x", edges=(0.0,), training=counted(left, edges), served=counted(right[:0], edges)
            )
        ).served
        == ""
    )


@pytest.mark.parametrize(
    ("expr", "text"),
    [
        (col("delay") > 15, "(delay > 15)"),
        (when(col("a").is_null(), 0, col("a") / 2), "when(a is null, 0, (a / 2))"),
        (~col("s").is_in(["x", "y"]), "not s in {'x', 'y'}"),
        (col("s").matches("a+"), "s matches 'a+'"),
        (lit(None), "null"),
        (col("delay").mean("6h"), "mean(delay) over 6h"),
    ],
)
def test_an_expression_is_told(expr: Expr | Window, text: str) -> None:
    assert told(expr) == text
