"""Compiled expressions mean what `evaluate` means, row by row."""

from __future__ import annotations

import math
from collections.abc import Mapping

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.adapters.tables.compile import Kind, compile_condition, compile_expression
from loopwright.core.errors import Invalid
from loopwright.core.expressions import (
    Binary,
    Col,
    Expr,
    IsIn,
    IsNull,
    Lit,
    Matches,
    Not,
    Scalar,
    When,
    col,
    evaluate,
    lit,
    when,
)

COLUMNS: Mapping[Kind, tuple[str, ...]] = {
    Kind.BOOL: ("b1", "b2"),
    Kind.INT: ("i1", "i2"),
    Kind.FLOAT: ("f1", "f2"),
    Kind.STRING: ("s1", "s2"),
}
TYPES = {Kind.BOOL: pa.bool_(), Kind.INT: pa.int64(), Kind.FLOAT: pa.float64(), Kind.STRING: pa.string()}
BOOLS = st.booleans()
INTS = st.integers(-40, 40)
SPECIAL = [0.0, -0.0, math.nan, math.inf, -math.inf, 1.0, 0.1, 3.0, 10.0]
FLOATS = st.one_of(st.sampled_from(SPECIAL), st.floats(-1e6, 1e6, width=32), st.integers(-9, 9).map(float))
STRINGS = st.sampled_from(["", "a", "b", "ab", "é", "Z", "a\n", "10"])
VALUES: Mapping[Kind, st.SearchStrategy[Scalar]] = {
    Kind.BOOL: BOOLS,
    Kind.INT: INTS,
    Kind.FLOAT: FLOATS,
    Kind.STRING: STRINGS,
}
PATTERNS = ["", "a", "a|ab", "[a-z]+", ".*", "a.", r"\d+", "(?i)z", "a$"]
NUMBERS = (Kind.BOOL, Kind.INT, Kind.FLOAT)


@st.composite
def expressions(draw: st.DrawFn, kind: Kind, depth: int) -> Expr:
    """A well-typed expression of a kind."""
    if depth == 0 or draw(st.integers(0, 4)) == 0:
        leaf = draw(st.integers(0, 9))
        if leaf == 0:
            return Lit(None)
        return Col(draw(st.sampled_from(COLUMNS[kind]))) if leaf < 7 else Lit(draw(VALUES[kind]))
    if draw(st.integers(0, 5)) == 0:
        parts = [draw(expressions(k, depth - 1)) for k in (Kind.BOOL, kind, kind)]
        return When(condition=parts[0], then=parts[1], otherwise=parts[2])
    if kind is Kind.BOOL:
        return draw(booleans(depth - 1))
    if kind is Kind.STRING:
        return Binary(
            op="+", left=draw(expressions(kind, depth - 1)), right=draw(expressions(kind, depth - 1))
        )
    operand = st.sampled_from([Kind.INT, Kind.BOOL] if kind is Kind.INT else NUMBERS)
    ops = ["+", "-", "*", "//", "%"] if kind is Kind.INT else ["+", "-", "*", "/", "//", "%"]
    kinds = [draw(operand), kind]
    left, right = (draw(expressions(k, depth - 1)) for k in draw(st.permutations(kinds)))
    return Binary(op=draw(st.sampled_from(ops)), left=left, right=right)


@st.composite
def booleans(draw: st.DrawFn, depth: int) -> Expr:
    """A condition."""
    form = draw(st.sampled_from(["order", "equal", "logic", "not", "null", "in", "matches"]))
    if form == "order":
        pair = draw(st.sampled_from([NUMBERS, (Kind.STRING,)]))
        sides = [draw(expressions(draw(st.sampled_from(pair)), depth)) for _ in range(2)]
        return Binary(op=draw(st.sampled_from(["<", "<=", ">", ">="])), left=sides[0], right=sides[1])
    if form == "equal":
        sides = [draw(expressions(draw(st.sampled_from(list(COLUMNS))), depth)) for _ in range(2)]
        return Binary(op=draw(st.sampled_from(["==", "!="])), left=sides[0], right=sides[1])
    if form == "logic":
        sides = [draw(expressions(Kind.BOOL, depth)) for _ in range(2)]
        return Binary(op=draw(st.sampled_from(["and", "or"])), left=sides[0], right=sides[1])
    if form == "not":
        return Not(expr=draw(expressions(Kind.BOOL, depth)))
    if form == "matches":
        return Matches(expr=draw(expressions(Kind.STRING, depth)), pattern=draw(st.sampled_from(PATTERNS)))
    kind = draw(st.sampled_from(list(COLUMNS)))
    inner = draw(expressions(kind, depth))
    if form == "null":
        return IsNull(expr=inner)
    several = st.lists(
        st.one_of(*VALUES.values(), st.none()).filter(lambda v: not (isinstance(v, float) and math.isnan(v))),
        max_size=4,
    )
    return IsIn(expr=inner, values=tuple(draw(several)))


@st.composite
def rows(draw: st.DrawFn) -> list[dict[str, Scalar]]:
    fields = {name: st.one_of(st.none(), VALUES[kind]) for kind, names in COLUMNS.items() for name in names}
    return draw(st.lists(st.fixed_dictionaries(fields), min_size=1, max_size=12))


def table_of(found: list[dict[str, Scalar]]) -> pa.Table:
    return pa.table(
        {
            name: pa.array([row[name] for row in found], TYPES[kind])
            for kind, names in COLUMNS.items()
            for name in names
        }
    )


def computed(expr: Expr, table: pa.Table) -> list[Scalar]:
    frame = pl.DataFrame(table)
    return frame.with_columns(x=compile_expression(expr, frame.schema))["x"].to_list()


def same(found: Scalar, wanted: Scalar) -> bool:
    if found is None or wanted is None:
        return found is wanted
    if isinstance(wanted, float) or isinstance(found, float):
        assert isinstance(found, (int, float))
        assert isinstance(wanted, (int, float))
        if math.isnan(wanted):
            return math.isnan(found)
        return found == wanted and math.copysign(1, found) == math.copysign(1, wanted)
    return found == wanted


@settings(max_examples=400, deadline=None)
@given(expr=st.sampled_from(list(COLUMNS)).flatmap(lambda kind: expressions(kind, 3)), found=rows())
def test_compiled_is_evaluated_row_by_row(expr: Expr, found: list[dict[str, Scalar]]) -> None:
    wanted = [evaluate(expr, row) for row in found]
    got = computed(expr, table_of(found))
    assert all(same(a, b) for a, b in zip(got, wanted, strict=True)), (got, wanted)


@settings(max_examples=150, deadline=None)
@given(expr=expressions(Kind.BOOL, 3), found=rows())
def test_a_condition_keeps_the_rows_it_is_true_of(expr: Expr, found: list[dict[str, Scalar]]) -> None:
    frame = pl.DataFrame(table_of(found)).with_row_index("at")
    kept = frame.filter(compile_condition(expr, frame.schema))["at"].to_list()
    assert kept == [at for at, row in enumerate(found) if evaluate(expr, row) is True]


def test_division_by_a_constant_is_exact_to_the_last_bit() -> None:
    values = [math.sin(i) * 1000 for i in range(5000)]
    frame = pl.DataFrame({"f": values})
    for divisor in (3.0, 7.0, 10.0, 0.1):
        found = frame.select(compile_expression(col("f") / divisor, frame.schema)).to_series()
        assert found.to_list() == [value / divisor for value in values]


@pytest.mark.parametrize(
    "expr",
    [
        col("s1") * 2,
        col("s1") % 2,
        col("s1") - "a",
        col("s1") < 3,
        col("i1") & col("b1"),
        ~col("f1"),
        when(col("b1"), 1, "a"),
        when(col("i1"), 1, 2),
        col("f1").matches("1"),
        col("s1").matches("("),
        col("s1").matches("(?=a)"),
        col("nothing") + 1,
        lit(1 << 64) + col("i1"),
    ],
)
def test_what_has_no_meaning_is_refused(expr: Expr) -> None:
    schema = pl.Schema({"s1": pl.String(), "i1": pl.Int64(), "b1": pl.Boolean(), "f1": pl.Float64()})
    with pytest.raises(Invalid) as caught:
        compile_expression(expr, schema)
    assert caught.value.hint


def test_a_column_of_lists_is_refused() -> None:
    with pytest.raises(Invalid, match="'l'"):
        compile_expression(col("l").is_null(), pl.Schema({"l": pl.List(pl.Int64())}))
