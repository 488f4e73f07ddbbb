"""Expressions of Polars for what is asked of columns and groups, shared by scans in one pass and in parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from loopwright.adapters.tables.compile import Kind, compile_expression, kind_of
from loopwright.adapters.tables.scan_frames import INSTANT
from loopwright.core.errors import Invalid
from loopwright.core.expressions import Expr
from loopwright.ports.scans import Aggregate, GroupCheck, Measure

__all__ = [
    "GROUP_VALUE",
    "ROW",
    "aggregated",
    "failing_groups",
    "group_value",
    "hash_of",
    "measured",
    "number_of",
    "repeated",
    "surplus",
]

if TYPE_CHECKING:
    from numpy.typing import NDArray

GROUP_VALUE = "__loopwright_value"
ROW = "__loopwright_row"
_OF_ANY_KIND = ("rows", "count", "nulls", "distinct")
_MIX = 0x9E3779B97F4A7C15


def number_of(columns: Sequence[str], types: Mapping[str, pl.DataType]) -> pl.Expr:
    """A 64-bit number of a row's key, null where a part is: equal keys have equal ones."""
    if len(columns) == 1 and types[columns[0]] in (pl.Int64, INSTANT):
        return pl.col(columns[0]).to_physical()
    return pl.when(pl.all_horizontal(pl.col(columns).is_not_null())).then(hash_of(columns))


def hash_of(columns: Sequence[str]) -> pl.Expr:
    """A 64-bit number of the values of a row, nulls among them."""
    hashed = [pl.col(name).hash(seed=place) for place, name in enumerate(columns)]
    return reduce(lambda left, right: (left ^ right) * pl.lit(_MIX, dtype=pl.UInt64), hashed)


def measured(measure: Measure, types: Mapping[str, pl.DataType]) -> pl.Expr:
    """The measure of all rows."""
    if measure.op == "rows":
        return pl.len()
    if not measure.column:
        raise Invalid(f"{measure.op} is measured of no column", hint="name one")
    kind = kind_of(types[measure.column], measure.column)
    column = pl.col(measure.column)
    number = column.dt.epoch("us") if types[measure.column] == INSTANT else column
    return aggregated(measure.op, number, kind, measure.column)


def aggregated(op: Aggregate, value: pl.Expr, kind: Kind, what: str) -> pl.Expr:
    """The aggregate of values of a kind; what a string has not is `Invalid`."""
    if kind is Kind.STRING and op not in _OF_ANY_KIND:
        raise Invalid(f"{op} of {what!r} is asked, which is a string", hint="ask it of numbers or instants")
    if op == "rows":
        return pl.len()
    if op == "count":
        return value.count()
    if op == "nulls":
        return value.null_count()
    number = value.cast(pl.Int64) if kind is Kind.BOOL else value
    number = number.fill_nan(None) if kind is Kind.FLOAT else number
    if op == "distinct":
        return number.drop_nulls().n_unique()
    return number.std(ddof=1) if op == "std" else getattr(number, op)()


def failing_groups(frame: pl.LazyFrame, check: GroupCheck, value: pl.Expr) -> pl.LazyFrame:
    """One row a group: its key, the aggregate, and whether it fails."""
    failing = [pl.lit(value=False)]
    if check.low is not None:
        failing.append(pl.col(GROUP_VALUE) < check.low)
    if check.high is not None:
        failing.append(pl.col(GROUP_VALUE) > check.high)
    grouped = frame.group_by(list(check.by)).agg(value.cast(pl.Float64).fill_nan(None).alias(GROUP_VALUE))
    return grouped.with_columns(pl.any_horizontal(failing).fill_null(value=False).alias("failed"))


def group_value(check: GroupCheck, types: Mapping[str, pl.DataType]) -> pl.Expr:
    """The aggregate that a group is held against."""
    if check.op == "rows":
        return pl.len()
    if check.expr is None:
        raise Invalid(f"the group check {check.name!r} has no expression", hint="say what is aggregated")
    value = compile_expression(check.expr, types)
    kind = kind_of(_dtype(check.expr, types), check.name)
    return aggregated(check.op, value, kind, check.name)


def _dtype(expr: Expr, types: Mapping[str, pl.DataType]) -> pl.DataType:
    empty = pl.LazyFrame(schema=dict(types))
    return empty.select(compile_expression(expr, types).alias(GROUP_VALUE)).collect_schema()[GROUP_VALUE]


def repeated(numbers: pl.Series) -> NDArray[Any]:
    """The numbers that occur more than once."""
    values = numbers.to_numpy()
    if values.size < 2 or bool(np.all(values[1:] > values[:-1])):
        return values[:0]
    ordered = np.sort(values)
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


def surplus(candidates: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """The rows, in order, that have a row of the same key before them."""
    ordered = candidates.sort(ROW)
    return ordered.filter(pl.int_range(pl.len()).over(list(columns)) > 0)
