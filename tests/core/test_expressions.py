"""The algebra: its meaning for one row, and its form as JSON."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import Invalid
from loopwright.core.expressions import Expr, Window, col, columns_of, evaluate, lit, when

ROW = {"a": 7, "b": 2, "z": 0, "n": None, "s": "ab12", "t": True, "f": False}


@pytest.mark.parametrize(
    ("expr", "value"),
    [
        (col("a") + 1, 8),
        (1 - col("a"), -6),
        (col("a") / col("b"), 3.5),
        (col("a") // col("b"), 3),
        (lit(-7) // 2, -4),
        (lit(-7) % 3, 2),
        (col("a") / col("z"), None),
        (col("a") % col("z"), None),
        (col("a") + col("n"), None),
        (col("a") > col("n"), None),
        (col("t") | col("n"), True),
        (col("f") & col("n"), False),
        (col("t") & col("n"), None),
        (col("f") | col("n"), None),
        (~col("n"), None),
        (~col("t"), False),
        (col("n").is_null(), True),
        (col("a").between(7, 9), True),
        (col("s").is_in(["ab12", "x"]), True),
        (col("n").is_in(["x"]), None),
        (col("s").matches("[a-z]+[0-9]+"), True),
        (col("s").matches("[a-z]+"), False),
        (when(col("a") > 5, "big", "small"), "big"),
        (when(col("n") > 5, "big", "small"), "small"),
        (when(col("a") > 5, col("b")), 2),
    ],
)
def test_meaning_for_a_row(expr: Expr, value: object) -> None:
    found = evaluate(expr, ROW)
    assert found == value
    assert type(found) is type(value)


def test_unknown_columns_and_wrong_types_are_named() -> None:
    with pytest.raises(Invalid, match="no column 'q'"):
        evaluate(col("q"), ROW)
    for expr in (
        col("a") + col("s"),
        col("s") * 3,
        col("s") % col("a"),
        col("a") & col("t"),
        col("f") | col("b"),
    ):
        with pytest.raises(Invalid, match="cannot be applied"):
            evaluate(expr, ROW)


_leaves = st.one_of(
    st.sampled_from(["a", "b", "c"]).map(col), st.one_of(st.integers(), st.booleans(), st.none()).map(lit)
)
_trees = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda p: p[0] + p[1]),
        st.tuples(inner, inner).map(lambda p: p[0] < p[1]),
        inner.map(lambda e: e.is_null()),
        st.tuples(inner, inner, inner).map(lambda p: when(*p)),
    ),
    max_leaves=12,
)


@given(_trees)
def test_expressions_survive_json(expr: Expr) -> None:
    decoded: Expr = msgspec.json.decode(msgspec.json.encode(expr), type=Expr)
    assert decoded == expr
    assert columns_of(decoded) <= {"a", "b", "c"}


def test_windows_keep_what_they_aggregate() -> None:
    window = (col("a") * col("b")).mean("1d12h")
    assert isinstance(window, Window)
    assert (window.op, window.over) == ("mean", "1d12h")
    assert columns_of(window) == {"a", "b"}
