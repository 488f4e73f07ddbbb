"""Compiles expressions to DuckDB's SQL with exactly the meaning of `core.expressions.evaluate`.

As in `compile`: types are worked out first, so that what a row would refuse is refused for the table; NaN
equals nothing and no ordering with it holds (in SQL it equals itself and is greatest); division floors, by
zero it is null. Integers that leave 64 bits are an error here and not wrapped.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from loopwright.adapters.tables.compile import Kind
from loopwright.core.errors import Invalid
from loopwright.core.expressions import Binary, Col, Expr, IsIn, IsNull, Lit, Matches, Not, Scalar, When
from loopwright.core.schema import ColumnType

__all__ = ["Term", "condition_sql", "expression_sql", "name_sql", "text_sql"]

_KINDS = {
    ColumnType.BOOL: Kind.BOOL,
    ColumnType.INT: Kind.INT,
    ColumnType.INSTANT: Kind.INT,
    ColumnType.FLOAT: Kind.FLOAT,
    ColumnType.STRING: Kind.STRING,
}
_SQL_TYPES = {Kind.BOOL: "BOOLEAN", Kind.INT: "BIGINT", Kind.FLOAT: "DOUBLE", Kind.STRING: "VARCHAR"}
_SQL_OPS = {"==": "=", "!=": "<>"}
_ORDER = ("<", "<=", ">", ">=")
_INT_LIMIT = 1 << 63


class Term(NamedTuple):
    """A piece of SQL, the kind of its value, and whether that may be NaN."""

    sql: str
    kind: Kind
    may_be_nan: bool = False

    def as_(self, kind: Kind) -> str:
        """The value as another kind."""
        if kind is self.kind or self.kind is Kind.NULL:
            return f"CAST(NULL AS {_SQL_TYPES[kind]})" if self.kind is Kind.NULL else self.sql
        return f"CAST({self.sql} AS {_SQL_TYPES[kind]})"


def name_sql(name: str) -> str:
    """A quoted name."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def text_sql(text: str) -> str:
    """A quoted text."""
    if "\0" in text:
        raise Invalid("a text holds the character 0", hint="SQL has no such texts; leave it out")
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


def expression_sql(expr: Expr, types: Mapping[str, ColumnType]) -> Term:
    """The expression for a table of these columns; columns of instants hold microseconds."""
    match expr:
        case Col(name):
            return _column(name, types)
        case Lit(value):
            return _literal(value)
        case Binary():
            return _binary(expr, types)
        case When():
            return _when(expr, types)
        case Not():
            return Term(f"(NOT {condition_sql(expr.expr, types)})", Kind.BOOL)
        case IsNull():
            return Term(f"({expression_sql(expr.expr, types).sql} IS NULL)", Kind.BOOL)
        case IsIn():
            return _is_in(expr, types)
        case Matches():
            return _matches(expr, types)


def condition_sql(expr: Expr, types: Mapping[str, ColumnType]) -> str:
    """As `expression_sql`, for what must be a boolean."""
    term = expression_sql(expr, types)
    if term.kind is Kind.NULL:
        return "CAST(NULL AS BOOLEAN)"
    if term.kind is not Kind.BOOL:
        raise Invalid(f"a condition needs a boolean, not a {term.kind}", hint="compare it with something")
    return term.sql


def _column(name: str, types: Mapping[str, ColumnType]) -> Term:
    if name not in types:
        raise Invalid(f"there is no column {name!r}", hint=f"the columns are {', '.join(types)}")
    kind = _KINDS[types[name]]
    return Term(name_sql(name), kind, kind is Kind.FLOAT)


def _literal(value: Scalar) -> Term:
    if value is None:
        return Term("NULL", Kind.NULL)
    if isinstance(value, bool):
        return Term("TRUE" if value else "FALSE", Kind.BOOL)
    if isinstance(value, int):
        if not -_INT_LIMIT <= value < _INT_LIMIT:
            raise Invalid(f"the number {value} is over 64 bits", hint="write it as a float")
        return Term(f"CAST({value} AS BIGINT)", Kind.INT)
    if isinstance(value, float):
        return Term(f"CAST('{value!r}' AS DOUBLE)", Kind.FLOAT, math.isnan(value))
    return Term(text_sql(value), Kind.STRING)


def _unfit(op: str, left: Term, right: Term) -> Invalid:
    return Invalid(f"{op} cannot be applied to {left.kind} and {right.kind}", hint="check the columns' types")


def _binary(expr: Binary, types: Mapping[str, ColumnType]) -> Term:
    if expr.op in ("and", "or"):
        sides = condition_sql(expr.left, types), condition_sql(expr.right, types)
        return Term(f"({sides[0]} {expr.op.upper()} {sides[1]})", Kind.BOOL)
    left, right = expression_sql(expr.left, types), expression_sql(expr.right, types)
    if expr.op in ("==", "!=") or expr.op in _ORDER:
        return Term(_compared(expr.op, left, right), Kind.BOOL)
    return _arithmetic(expr.op, left, right)


def _compared(op: str, left: Term, right: Term) -> str:
    kinds = (left.kind, right.kind)
    if Kind.NULL in kinds:
        return "CAST(NULL AS BOOLEAN)"
    if (left.kind is Kind.STRING) != (right.kind is Kind.STRING):
        if op in _ORDER:
            raise _unfit(op, left, right)
        answer = "TRUE" if op == "!=" else "FALSE"
        return f"(CASE WHEN {left.sql} IS NOT NULL AND {right.sql} IS NOT NULL THEN {answer} END)"
    kind = Kind.STRING if left.kind is Kind.STRING else _wider(left.kind, right.kind)
    a, b = left.as_(kind), right.as_(kind)
    held = f"({a} {_SQL_OPS.get(op, op)} {b})"
    doubtful = [f"isnan({side.as_(kind)})" for side in (left, right) if side.may_be_nan]
    if not doubtful:
        return held
    answer = "TRUE" if op == "!=" else "FALSE"
    return (
        f"(CASE WHEN {a} IS NULL OR {b} IS NULL THEN NULL WHEN {' OR '.join(doubtful)} "
        f"THEN {answer} ELSE {held} END)"
    )


def _wider(left: Kind, right: Kind) -> Kind:
    return Kind.FLOAT if Kind.FLOAT in (left, right) else Kind.INT


def _arithmetic(op: str, left: Term, right: Term) -> Term:
    kinds = {left.kind, right.kind}
    if kinds == {Kind.STRING} and op == "+":
        return Term(f"({left.sql} || {right.sql})", Kind.STRING)
    if Kind.NULL in kinds:
        return Term("NULL", Kind.NULL)
    if Kind.STRING in kinds:
        raise _unfit(op, left, right)
    kind = Kind.FLOAT if Kind.FLOAT in kinds or op == "/" else Kind.INT
    return Term(_number(op, left.as_(kind), right.as_(kind), kind), kind, kind is Kind.FLOAT)


def _number(op: str, a: str, b: str, kind: Kind) -> str:
    if op in ("+", "-", "*"):
        return f"({a} {op} {b})"
    if op == "/":
        return f"(CASE WHEN {b} <> 0 THEN {a} / {b} END)"
    rest = (
        f"(({a} % {b}) + CASE WHEN ({a} % {b}) <> 0 AND (({a} % {b}) < 0) <> ({b} < 0) THEN {b} ELSE 0 END)"
    )
    if kind is Kind.FLOAT:
        return _floored(op, a, b, rest)
    return f"(CASE WHEN {b} <> 0 THEN {rest if op == '%' else f'({a} - {rest}) // {b}'} END)"


def _floored(op: str, a: str, b: str, rest: str) -> str:
    """As Python divides floats: a zero has the sign of the divisor or of the quotient; by an infinity too."""
    if op == "%":
        zero = f"(CASE WHEN {b} < 0 THEN CAST('-0.0' AS DOUBLE) ELSE CAST(0 AS DOUBLE) END)"
        return f"(CASE WHEN {b} <> 0 THEN CASE WHEN {a} % {b} = 0 THEN {zero} ELSE {rest} END END)"
    is_below = f"({a} % {b}) <> 0 AND (({a} % {b}) < 0) <> ({b} < 0)"
    whole = f"(round(({a} - ({a} % {b})) / {b}) - CASE WHEN {is_below} THEN 1 ELSE 0 END)"
    zero = f"({a} / {b}) * CAST(0 AS DOUBLE)"
    return f"(CASE WHEN {b} <> 0 THEN CASE WHEN {whole} = 0 THEN {zero} ELSE {whole} END END)"


def _when(expr: When, types: Mapping[str, ColumnType]) -> Term:
    condition = condition_sql(expr.condition, types)
    then, otherwise = expression_sql(expr.then, types), expression_sql(expr.otherwise, types)
    kind = _branch_kind(then.kind, otherwise.kind)
    if kind is Kind.NULL:
        return Term("NULL", Kind.NULL)
    sql = f"(CASE WHEN {condition} THEN {then.as_(kind)} ELSE {otherwise.as_(kind)} END)"
    return Term(sql, kind, then.may_be_nan or otherwise.may_be_nan)


def _branch_kind(then: Kind, otherwise: Kind) -> Kind:
    if then is otherwise or otherwise is Kind.NULL:
        return then
    if then is Kind.NULL:
        return otherwise
    if Kind.STRING in (then, otherwise):
        raise Invalid(f"the branches are of types {then} and {otherwise}", hint="give both branches one type")
    return _wider(then, otherwise)


def _is_in(expr: IsIn, types: Mapping[str, ColumnType]) -> Term:
    term = expression_sql(expr.expr, types)
    if term.kind is Kind.NULL:
        return Term("CAST(NULL AS BOOLEAN)", Kind.BOOL)
    if term.kind is Kind.STRING:
        texts = [value for value in expr.values if isinstance(value, str)]
        return Term(_among(term.sql, [text_sql(text) for text in texts]), Kind.BOOL)
    numbers = [value for value in expr.values if isinstance(value, (int, float)) and not math.isnan(value)]
    if term.kind is Kind.FLOAT or any(isinstance(value, float) for value in numbers):
        listed = [_literal(float(value)).sql for value in numbers]
        return Term(_among(term.as_(Kind.FLOAT), listed), Kind.BOOL)
    whole = [int(value) for value in numbers if -_INT_LIMIT <= value < _INT_LIMIT]
    return Term(_among(term.as_(Kind.INT), [_literal(value).sql for value in whole]), Kind.BOOL)


def _among(value: str, listed: list[str]) -> str:
    if not listed:
        return f"(CASE WHEN {value} IS NOT NULL THEN FALSE END)"
    return f"({value} IN ({', '.join(listed)}))"


def _matches(expr: Matches, types: Mapping[str, ColumnType]) -> Term:
    term = expression_sql(expr.expr, types)
    try:
        re.compile(expr.pattern)
    except re.error as error:
        raise Invalid(
            f"{expr.pattern[:80]!r} is not a pattern",
            hint="write a regular expression without look-around and back-references",
        ) from error
    if term.kind is Kind.NULL:
        return Term("CAST(NULL AS BOOLEAN)", Kind.BOOL)
    if term.kind not in (Kind.STRING, Kind.INT):
        raise Invalid(f"a {term.kind} cannot match a pattern", hint="a pattern is for strings")
    return Term(f"regexp_full_match({term.as_(Kind.STRING)}, {text_sql(expr.pattern)})", Kind.BOOL)
