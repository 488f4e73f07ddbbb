"""The one closed algebra of expressions: frozen values that slices build and engines compile.

Row expressions (columns, literals, arithmetic, comparisons, conditions) have a value for each row.
A `Window` aggregates a row expression over the rows of one entity whose known-at lies in
`(T - over, T]`; it is legal only at the top of a feature.
Nulls follow SQL: arithmetic and comparisons with null are null, `and`/`or` are three-valued.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Literal, TypeAlias, Union

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.instants import duration, format_duration

__all__ = [
    "Binary",
    "BinaryOp",
    "Col",
    "Expr",
    "IsIn",
    "IsNull",
    "Lit",
    "Matches",
    "Not",
    "Scalar",
    "When",
    "Window",
    "WindowOp",
    "all_of",
    "col",
    "columns_of",
    "evaluate",
    "lit",
    "when",
]

Scalar: TypeAlias = bool | int | float | str | None
BinaryOp = Literal["+", "-", "*", "/", "//", "%", "==", "!=", "<", "<=", ">", ">=", "and", "or"]
WindowOp = Literal["sum", "mean", "count", "min", "max", "last", "distinct", "std"]


class _Operators:
    """Python's operators build expressions; `==` builds one too, so expressions compare by `same_as`."""

    __slots__ = ()

    def __add__(self, other: Operand) -> Binary:
        return Binary(op="+", left=_expr(self), right=_expr(other))

    def __radd__(self, other: Operand) -> Binary:
        return Binary(op="+", left=_expr(other), right=_expr(self))

    def __sub__(self, other: Operand) -> Binary:
        return Binary(op="-", left=_expr(self), right=_expr(other))

    def __rsub__(self, other: Operand) -> Binary:
        return Binary(op="-", left=_expr(other), right=_expr(self))

    def __mul__(self, other: Operand) -> Binary:
        return Binary(op="*", left=_expr(self), right=_expr(other))

    def __rmul__(self, other: Operand) -> Binary:
        return Binary(op="*", left=_expr(other), right=_expr(self))

    def __truediv__(self, other: Operand) -> Binary:
        return Binary(op="/", left=_expr(self), right=_expr(other))

    def __floordiv__(self, other: Operand) -> Binary:
        return Binary(op="//", left=_expr(self), right=_expr(other))

    def __mod__(self, other: Operand) -> Binary:
        return Binary(op="%", left=_expr(self), right=_expr(other))

    def __lt__(self, other: Operand) -> Binary:
        return Binary(op="<", left=_expr(self), right=_expr(other))

    def __le__(self, other: Operand) -> Binary:
        return Binary(op="<=", left=_expr(self), right=_expr(other))

    def __gt__(self, other: Operand) -> Binary:
        return Binary(op=">", left=_expr(self), right=_expr(other))

    def __ge__(self, other: Operand) -> Binary:
        return Binary(op=">=", left=_expr(self), right=_expr(other))

    def __and__(self, other: Operand) -> Binary:
        return Binary(op="and", left=_expr(self), right=_expr(other))

    def __or__(self, other: Operand) -> Binary:
        return Binary(op="or", left=_expr(self), right=_expr(other))

    def __invert__(self) -> Not:
        return Not(expr=_expr(self))

    def eq(self, other: Operand) -> Binary:
        """Equal, as an expression (Python's `==` compares the expressions themselves)."""
        return Binary(op="==", left=_expr(self), right=_expr(other))

    def ne(self, other: Operand) -> Binary:
        """Not equal, as an expression."""
        return Binary(op="!=", left=_expr(self), right=_expr(other))

    def between(self, low: Operand, high: Operand) -> Binary:
        """Both ends inclusive."""
        return (self >= low) & (self <= high)

    def is_null(self) -> IsNull:
        """True where there is no value."""
        return IsNull(expr=_expr(self))

    def is_in(self, values: tuple[Scalar, ...] | list[Scalar]) -> IsIn:
        """True where the value is one of these; null where it is null."""
        return IsIn(expr=_expr(self), values=tuple(values))

    def matches(self, pattern: str) -> Matches:
        """True where the whole string matches a regular expression."""
        return Matches(expr=_expr(self), pattern=pattern)

    def _window(self, op: WindowOp, over: str | timedelta) -> Window:
        return Window(op=op, expr=_expr(self), over=format_duration(duration(over)))

    def sum(self, over: str | timedelta) -> Window:
        """Sum of what is not null over the window; 0 for an empty one. Sums of integers are exact."""
        return self._window("sum", over)

    def mean(self, over: str | timedelta) -> Window:
        """Sum divided by the count of what is not null; null for an empty window."""
        return self._window("mean", over)

    def count(self, over: str | timedelta) -> Window:
        """How many are not null in the window."""
        return self._window("count", over)

    def min(self, over: str | timedelta) -> Window:
        """The least value in the window; null for an empty one."""
        return self._window("min", over)

    def max(self, over: str | timedelta) -> Window:
        """The greatest value in the window; null for an empty one."""
        return self._window("max", over)

    def last(self, over: str | timedelta) -> Window:
        """The value of the newest row in the window, null when that row's value is null."""
        return self._window("last", over)

    def distinct(self, over: str | timedelta) -> Window:
        """How many different values that are not null are in the window."""
        return self._window("distinct", over)

    def std(self, over: str | timedelta) -> Window:
        """Sample standard deviation (divided by n - 1) of what is not null; null for fewer than two."""
        return self._window("std", over)


class Col(_Operators, msgspec.Struct, frozen=True, tag="col"):
    """The value of a column."""

    name: str


class Lit(_Operators, msgspec.Struct, frozen=True, tag="lit"):
    """A constant."""

    value: Scalar


class Binary(_Operators, msgspec.Struct, frozen=True, kw_only=True, tag="binary"):
    """Two expressions and an operator; `/` is of floats, `//` and `%` floor as in Python."""

    op: BinaryOp
    left: Expr
    right: Expr


class Not(_Operators, msgspec.Struct, frozen=True, kw_only=True, tag="not"):
    """Logical not; null stays null."""

    expr: Expr


class IsNull(_Operators, msgspec.Struct, frozen=True, kw_only=True, tag="is_null"):
    """True where there is no value."""

    expr: Expr


class IsIn(_Operators, msgspec.Struct, frozen=True, kw_only=True, tag="is_in"):
    """Membership in a fixed set."""

    expr: Expr
    values: tuple[Scalar, ...]


class Matches(_Operators, msgspec.Struct, frozen=True, kw_only=True, tag="matches"):
    """The whole string matches a regular expression (the syntax all engines share)."""

    expr: Expr
    pattern: str


class When(_Operators, msgspec.Struct, frozen=True, kw_only=True, tag="when"):
    """`then` where the condition is true, `otherwise` where it is false or null."""

    condition: Expr
    then: Expr
    otherwise: Expr


class Window(msgspec.Struct, frozen=True, kw_only=True, tag="window"):
    """An aggregate over an entity's rows whose known-at is in `(T - over, T]`."""

    op: WindowOp
    expr: Expr
    over: str


Expr: TypeAlias = Col | Lit | Binary | Not | IsNull | IsIn | Matches | When
Operand: TypeAlias = Union["_Operators", Scalar]


def _expr(value: Operand) -> Expr:
    if isinstance(value, (Col, Lit, Binary, Not, IsNull, IsIn, Matches, When)):
        return value
    if value is None or isinstance(value, (bool, int, float, str)):
        return Lit(value)
    raise Invalid(
        f"{type(value).__name__} cannot be part of an expression",
        hint="use columns and constants",
    )


def col(name: str) -> Col:
    """The value of a column."""
    return Col(name)


def lit(value: Scalar) -> Lit:
    """A constant."""
    return Lit(value)


def when(condition: Expr, then: Operand, otherwise: Operand = None) -> When:
    """`then` where the condition is true, else `otherwise`."""
    return When(condition=condition, then=_expr(then), otherwise=_expr(otherwise))


def all_of(first: Expr, *others: Expr) -> Expr:
    """All of them hold."""
    found = first
    for other in others:
        found = Binary(op="and", left=found, right=other)
    return found


def _children(expr: Expr | Window) -> tuple[Expr, ...]:
    match expr:
        case Binary():
            return (expr.left, expr.right)
        case When():
            return (expr.condition, expr.then, expr.otherwise)
        case Not() | IsNull() | IsIn() | Matches() | Window():
            return (expr.expr,)
        case _:
            return ()


def columns_of(expr: Expr | Window) -> frozenset[str]:
    """The names of all columns an expression reads."""
    if isinstance(expr, Col):
        return frozenset({expr.name})
    return frozenset().union(*(columns_of(child) for child in _children(expr)))


_OPERATIONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


_NUMBERS_ALONE = frozenset({"-", "*", "/", "//", "%"})


def _logic(op: str, left: Scalar, right: Scalar) -> Scalar:
    decisive = op == "or"
    if left is decisive or right is decisive:
        return decisive
    if not (isinstance(left, bool | None) and isinstance(right, bool | None)):
        raise _unfit(op, left, right)
    if left is None or right is None:
        return None
    return not decisive


def _unfit(op: str, left: Scalar, right: Scalar) -> Invalid:
    return Invalid(
        f"{op} cannot be applied to {type(left).__name__} and {type(right).__name__}",
        hint="check the columns' types",
    )


def _binary(expr: Binary, row: Mapping[str, Scalar]) -> Scalar:
    left, right = evaluate(expr.left, row), evaluate(expr.right, row)
    if expr.op in ("and", "or"):
        return _logic(expr.op, left, right)
    if left is None or right is None:
        return None
    if expr.op in _NUMBERS_ALONE and (isinstance(left, str) or isinstance(right, str)):
        raise _unfit(expr.op, left, right)  # Python would repeat or format the text
    if expr.op in ("/", "//", "%") and right == 0:
        return None
    try:
        result: Scalar = _OPERATIONS[expr.op](left, right)
    except TypeError as error:
        raise _unfit(expr.op, left, right) from error
    return result


def evaluate(expr: Expr, row: Mapping[str, Scalar]) -> Scalar:
    """The value for one row, in plain Python: the reference meaning, and the back end of a single request.

    Division by zero is null.
    """
    match expr:
        case Col(name):
            if name not in row:
                raise Invalid(
                    f"the row has no column {name!r}",
                    hint=f"it has {', '.join(sorted(row))}",
                )
            return row[name]
        case Lit(value):
            return value
        case Binary():
            return _binary(expr, row)
        case When():
            return evaluate(
                expr.then if evaluate(expr.condition, row) is True else expr.otherwise,
                row,
            )
        case Not():
            value = evaluate(expr.expr, row)
            return None if value is None else not value
        case IsNull():
            return evaluate(expr.expr, row) is None
        case IsIn():
            value = evaluate(expr.expr, row)
            return None if value is None else value in expr.values
        case Matches():
            value = evaluate(expr.expr, row)
            return None if value is None else re.fullmatch(expr.pattern, str(value)) is not None
