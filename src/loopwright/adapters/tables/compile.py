"""Compiles expressions to Polars with exactly the meaning of `core.expressions.evaluate`.

What that takes, beyond a translation word by word:

- *Types* are worked out first, so what `evaluate` would refuse for a row is refused for the table
  (`Invalid`): strings in arithmetic, `<` between a number and a string, `and` of numbers, branches
  of different types. Booleans count as 0 and 1, instants as their microseconds since 1970.
- *NaN* is a value and no null: it equals nothing, not even itself, and no ordering with it holds
  (Polars alone holds NaN equal to NaN and greater than all), so a range check fails on it.
- *Arithmetic of floats* goes through NumPy, which follows IEEE 754 and Python to the last bit.
  Polars divides by a constant by multiplying with its reciprocal, which is off by one unit in the
  last place for a third of all values, floors a rounded quotient, and leaves -0.0 + 0.0 negative.
- Integers are of 64 bits and wrap; mixed with floats they are exact up to 2^53.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, TypeGuard

import numpy as np
import polars as pl

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
)

__all__ = ["Kind", "compile_condition", "compile_expression", "kind_of"]

_INT_LIMIT = 1 << 63
_UFUNCS: Mapping[str, np.ufunc] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "//": np.floor_divide,
    "%": np.remainder,
}
_DIVISIONS = ("/", "//", "%")
_ORDER = ("<", "<=", ">", ">=")
_INSTANT = pl.Datetime("us", "UTC")
_FIRST_INSTANT, _LAST_INSTANT = -62_135_596_800_000_000, 253_402_300_799_999_999


class Kind(StrEnum):
    """The type of an expression's value."""

    BOOL = "boolean"
    INT = "integer"
    FLOAT = "float"
    STRING = "string"
    NULL = "null"


_NUMBERS = (Kind.BOOL, Kind.INT, Kind.FLOAT)
_DTYPES: Mapping[Kind, type[pl.DataType]] = {
    Kind.BOOL: pl.Boolean,
    Kind.INT: pl.Int64,
    Kind.FLOAT: pl.Float64,
    Kind.STRING: pl.String,
    Kind.NULL: pl.Null,
}


class _Term(NamedTuple):
    """A compiled expression, its kind, and what it was compiled from."""

    value: pl.Expr
    kind: Kind
    source: Expr
    instant: pl.Expr | None = None
    """the column itself where it holds instants"""

    @property
    def may_be_nan(self) -> bool:
        return self.kind is Kind.FLOAT and not isinstance(self.source, Lit)

    def as_(self, kind: Kind) -> pl.Expr:
        return self.value if kind is self.kind else self.value.cast(_DTYPES[kind])


def kind_of(dtype: pl.DataType | type[pl.DataType], name: str) -> Kind:
    """The kind of a column's values, else `Invalid` that names the column."""
    if dtype == pl.Boolean:
        return Kind.BOOL
    if dtype.is_integer() or dtype == pl.Datetime:
        return Kind.INT
    if dtype.is_float():
        return Kind.FLOAT
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return Kind.STRING
    if dtype == pl.Null:
        return Kind.NULL
    raise Invalid(
        f"the column {name!r} is of type {dtype}, which no expression takes",
        hint="an expression takes booleans, integers, floats, strings and instants",
    )


def compile_expression(expr: Expr, schema: Mapping[str, pl.DataType]) -> pl.Expr:
    """The expression for a frame of these columns; a value for each row."""
    return _compile(expr, schema).value


def compile_condition(expr: Expr, schema: Mapping[str, pl.DataType]) -> pl.Expr:
    """As `compile_expression`, for what must be a boolean."""
    return _boolean(_compile(expr, schema), "a condition")


def _compile(expr: Expr, schema: Mapping[str, pl.DataType]) -> _Term:
    match expr:
        case Col(name):
            return _column(expr, name, schema)
        case Lit(value):
            return _literal(expr, value)
        case Binary():
            return _binary(expr, schema)
        case When():
            return _when(expr, schema)
        case Not():
            inner = _boolean(_compile(expr.expr, schema), "not")
            return _Term(~inner, Kind.BOOL, expr)
        case IsNull():
            return _Term(_compile(expr.expr, schema).value.is_null(), Kind.BOOL, expr)
        case IsIn():
            return _Term(_is_in(_compile(expr.expr, schema), expr.values), Kind.BOOL, expr)
        case Matches():
            return _Term(_matches(_compile(expr.expr, schema), expr.pattern), Kind.BOOL, expr)


def _column(expr: Expr, name: str, schema: Mapping[str, pl.DataType]) -> _Term:
    if name not in schema:
        raise Invalid(f"there is no column {name!r}", hint=f"the columns are {', '.join(schema)}")
    dtype = schema[name]
    kind = kind_of(dtype, name)
    column = pl.col(name)
    if dtype == pl.Datetime:
        return _Term(column.dt.epoch("us"), kind, expr, column if dtype == _INSTANT else None)
    if dtype != _DTYPES[kind]:
        column = column.cast(_DTYPES[kind])
    return _Term(column, kind, expr)


def _literal(expr: Expr, value: Scalar) -> _Term:
    if value is None:
        return _Term(pl.lit(None), Kind.NULL, expr)
    if isinstance(value, bool):
        return _Term(pl.lit(value), Kind.BOOL, expr)
    if isinstance(value, int):
        if not -_INT_LIMIT <= value < _INT_LIMIT:
            raise Invalid(f"the number {value} is over 64 bits", hint="write it as a float")
        return _Term(pl.lit(value, dtype=pl.Int64), Kind.INT, expr)
    if isinstance(value, float):
        return _Term(pl.lit(value, dtype=pl.Float64), Kind.FLOAT, expr)
    return _Term(pl.lit(value, dtype=pl.String), Kind.STRING, expr)


def _boolean(term: _Term, place: str) -> pl.Expr:
    if term.kind is Kind.NULL:
        return term.value.cast(pl.Boolean)
    if term.kind is not Kind.BOOL:
        raise Invalid(f"{place} needs a boolean, not a {term.kind}", hint="compare it with something")
    return term.value


def _binary(expr: Binary, schema: Mapping[str, pl.DataType]) -> _Term:
    left, right = _compile(expr.left, schema), _compile(expr.right, schema)
    if expr.op in ("and", "or"):
        sides = _boolean(left, expr.op), _boolean(right, expr.op)
        return _Term(sides[0] & sides[1] if expr.op == "and" else sides[0] | sides[1], Kind.BOOL, expr)
    if expr.op in ("==", "!=") or expr.op in _ORDER:
        return _Term(_compared(expr.op, left, right), Kind.BOOL, expr)
    return _arithmetic(expr, left, right)


def _arithmetic(expr: Binary, left: _Term, right: _Term) -> _Term:
    kinds = {left.kind, right.kind}
    if kinds == {Kind.STRING} and expr.op == "+":
        return _Term(left.value + right.value, Kind.STRING, expr)
    if Kind.NULL in kinds:
        return _Term(pl.lit(None), Kind.NULL, expr)
    if Kind.STRING in kinds:
        raise _unfit(expr.op, left, right)
    kind = Kind.FLOAT if Kind.FLOAT in kinds or expr.op == "/" else Kind.INT
    value = _number(expr.op, left.as_(kind), right.as_(kind), kind)
    return _Term(value, kind, expr)


def _unfit(op: str, left: _Term, right: _Term) -> Invalid:
    return Invalid(f"{op} cannot be applied to {left.kind} and {right.kind}", hint="check the columns' types")


def _number(op: str, left: pl.Expr, right: pl.Expr, kind: Kind) -> pl.Expr:
    if kind is Kind.FLOAT:
        value = pl.map_batches(
            [left, right], _elementwise(_UFUNCS[op]), return_dtype=pl.Float64, is_elementwise=True
        )
        there = left.is_not_null() & right.is_not_null()
        return pl.when(there & (right != 0) if op in _DIVISIONS else there).then(value)
    match op:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case _:
            return pl.when(right != 0).then(left // right if op == "//" else left % right)


def _elementwise(
    ufunc: np.ufunc,
) -> Callable[[Sequence[pl.Series]], pl.Series]:
    def apply(series: Sequence[pl.Series]) -> pl.Series:
        with np.errstate(all="ignore"):
            found = ufunc(series[0].to_numpy(), series[1].to_numpy())
        return pl.Series(found, dtype=pl.Float64)

    return apply


def _compared(op: str, left: _Term, right: _Term) -> pl.Expr:
    if Kind.NULL in (left.kind, right.kind):
        return pl.lit(None, dtype=pl.Boolean)
    if (left.kind is Kind.STRING) != (right.kind is Kind.STRING):
        if op in _ORDER:
            raise _unfit(op, left, right)
        either_null = left.value.is_null() | right.value.is_null()
        return pl.when(~either_null).then(pl.lit(op == "!="))
    instant = _instant_compared(op, left, right)
    if instant is not None:
        return instant
    kind = Kind.STRING if left.kind is Kind.STRING else _wider(left.kind, right.kind)
    return _guarded(op, left, right, _holds(op, left.as_(kind), right.as_(kind)))


def _wider(left: Kind, right: Kind) -> Kind:
    return Kind.FLOAT if Kind.FLOAT in (left, right) else Kind.INT


def _holds(op: str, left: pl.Expr, right: pl.Expr) -> pl.Expr:
    match op:
        case "==":
            return left == right
        case "!=":
            return left != right
        case "<":
            return left < right
        case "<=":
            return left <= right
        case ">":
            return left > right
        case _:
            return left >= right


def _guarded(op: str, left: _Term, right: _Term, held: pl.Expr) -> pl.Expr:
    """What Polars says, put right where a side is NaN; null where a side is null."""
    if _is_nan(left) or _is_nan(right):
        there = left.value.is_not_null() & right.value.is_not_null()
        return pl.when(there).then(pl.lit(op == "!="))
    both = left.may_be_nan and right.may_be_nan
    if op == "!=":
        return held | (left.value.is_nan() & right.value.is_nan()) if both else held
    if (op in (">", ">=") and left.may_be_nan) or (op == "==" and both):
        return held & _not_nan(left, right)
    if op in ("<", "<=") and right.may_be_nan:
        return held & _not_nan(right, left)
    return held


def _not_nan(term: _Term, other: _Term) -> pl.Expr:
    """True where the term is a number, and where the other side is null, so that null stays null."""
    number = term.value.is_not_nan()
    return number if isinstance(other.source, Lit) else number | other.value.is_null()


def _is_nan(term: _Term) -> bool:
    value = term.source.value if isinstance(term.source, Lit) else None
    return isinstance(value, float) and math.isnan(value)


def _instant_compared(op: str, left: _Term, right: _Term) -> pl.Expr | None:
    """A column of instants against a constant, in the column's type: so it reaches the files' statistics."""
    if left.instant is None or not isinstance(right.source, Lit) or right.kind is not Kind.INT:
        return None
    micros = right.source.value
    if not isinstance(micros, int) or not _FIRST_INSTANT <= micros <= _LAST_INSTANT:
        return None
    instant = pl.lit(micros, dtype=pl.Int64).cast(_INSTANT)  # folded; of a datetime it takes 60 times as long
    return _holds(op, left.instant, instant)


def _when(expr: When, schema: Mapping[str, pl.DataType]) -> _Term:
    condition = _boolean(_compile(expr.condition, schema), "a condition")
    then, otherwise = _compile(expr.then, schema), _compile(expr.otherwise, schema)
    kind = _branch_kind(then.kind, otherwise.kind)
    return _Term(pl.when(condition).then(then.as_(kind)).otherwise(otherwise.as_(kind)), kind, expr)


def _branch_kind(then: Kind, otherwise: Kind) -> Kind:
    if then is otherwise or otherwise is Kind.NULL:
        return then
    if then is Kind.NULL:
        return otherwise
    if then in _NUMBERS and otherwise in _NUMBERS:
        return _wider(then, otherwise)
    raise Invalid(f"the branches are of types {then} and {otherwise}", hint="give both branches one type")


def _is_in(term: _Term, values: Sequence[Scalar]) -> pl.Expr:
    if term.kind is Kind.NULL:
        return pl.lit(None, dtype=pl.Boolean)
    if term.kind is Kind.STRING:
        return term.value.is_in([value for value in values if isinstance(value, str)])
    numbers = [value for value in values if _is_number(value)]
    if term.kind is Kind.FLOAT or any(isinstance(value, float) for value in numbers):
        return term.as_(Kind.FLOAT).is_in([float(value) for value in numbers])
    whole = [int(value) for value in numbers if -_INT_LIMIT <= value < _INT_LIMIT]
    return term.as_(Kind.INT).is_in(whole)


def _is_number(value: Scalar) -> TypeGuard[int | float]:
    return isinstance(value, (int, float)) and not math.isnan(value)


def _matches(term: _Term, pattern: str) -> pl.Expr:
    whole = rf"\A(?:{pattern})\z"
    try:
        re.compile(pattern)
        pl.Series([""]).str.contains(whole)
    except (re.error, pl.exceptions.ComputeError) as error:
        raise Invalid(
            f"{pattern[:80]!r} is not a pattern",
            hint="write a regular expression without look-around and back-references",
        ) from error
    if term.kind is Kind.NULL:
        return pl.lit(None, dtype=pl.Boolean)
    if term.kind not in (Kind.STRING, Kind.INT):
        raise Invalid(f"a {term.kind} cannot match a pattern", hint="a pattern is for strings")
    return term.as_(Kind.STRING).str.contains(whole)
