"""Pure rules of the data slice, against their meaning row by row."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.expressions import Binary, BinaryOp, Expr, Scalar, col, evaluate, lit
from loopwright.data.profiles import merged_profile
from loopwright.data.rules import needs_part
from loopwright.testing.builders import memory_ports

OPS: tuple[BinaryOp, ...] = ("==", "!=", "<", "<=", ">", ">=")
ENDS = st.integers(-5, 15) | st.floats(-5, 15, allow_nan=False)


@st.composite
def conditions(draw: st.DrawFn, depth: int = 3) -> Expr:
    if depth and draw(st.booleans()):
        op: BinaryOp = draw(st.sampled_from(("and", "or")))
        return Binary(op=op, left=draw(conditions(depth - 1)), right=draw(conditions(depth - 1)))
    if draw(st.integers(0, 5)) == 0:
        return ~draw(conditions(0))
    column, limit = col(draw(st.sampled_from("ab"))), lit(draw(ENDS))
    op = draw(st.sampled_from(OPS))
    if draw(st.booleans()):
        return Binary(op=op, left=column, right=limit)
    return Binary(op=op, left=limit, right=column)


@given(
    where=conditions(),
    rows=st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)), min_size=1, max_size=8),
)
def test_a_part_that_is_left_out_has_no_row_that_is_asked_for(
    where: Expr, rows: list[tuple[int, int]]
) -> None:
    a, b = zip(*rows, strict=True)
    spans = {"a": (min(a), max(a)), "b": (min(b), max(b))}
    found: list[dict[str, Scalar]] = [{"a": x, "b": y} for x, y in rows]
    if not needs_part(where, spans):
        assert all(evaluate(where, row) is not True for row in found)


def test_parts_outside_a_span_are_left_out() -> None:
    spans = {"at": (100, 200)}
    assert needs_part(None, spans)
    assert not needs_part(col("at") > 200, spans)
    assert needs_part(col("at") >= 200, spans)
    assert not needs_part((col("at") <= 99) & (col("x") > 1), spans)
    assert needs_part((col("at") <= 99) | (col("x") > 1), spans)
    assert not needs_part(Binary(op="<", left=lit(200), right=col("at")), spans)
    assert needs_part(col("at") > 500, {})


@given(
    parts=st.lists(
        st.lists(st.none() | st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=1, max_size=30),
        min_size=2,
        max_size=5,
    )
)
def test_merged_profiles_count_and_average_exactly(parts: list[list[float | None]]) -> None:
    tables = memory_ports().tables
    frames = [pa.table({"x": pa.array(part, pa.float64(), from_pandas=False)}) for part in parts]
    merged = tables.profile(frames[0])
    for frame in frames[1:]:
        merged = merged_profile(merged, tables.profile(frame, like=merged))
    found, whole = merged["columns"]["x"], tables.profile(pa.concat_tables(frames))["columns"]["x"]
    for key in ("count", "nulls", "nan", "min", "max"):
        assert found.get(key) == whole.get(key)
    assert found["distinct"] <= whole["distinct"]
    for key in ("mean", "std"):
        if whole.get(key) is None:
            assert found.get(key) is None
        else:
            assert found[key] == pytest.approx(whole[key], rel=1e-6, abs=1e-6)
