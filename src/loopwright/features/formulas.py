"""Computes what features are made by: expressions in the engine, free functions row by row in here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from loopwright.core.errors import Invalid
from loopwright.core.expressions import Expr, Scalar
from loopwright.core.schema import ColumnType
from loopwright.data.conforming import arrow_type
from loopwright.features.nouns import Formula, FreeFunction
from loopwright.ports.functions import Functions
from loopwright.ports.tables import Tables

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["calling", "check_computable", "computed", "plain_values"]


def computed(
    tables: Tables, functions: Functions, table: pa.Table, formulas: Mapping[str, Formula]
) -> dict[str, pa.ChunkedArray]:
    """The value of each formula for each row, by name.

    `Invalid` where a formula is a function that this process was not given; without rows none is needed.
    """
    expressions: dict[str, Expr] = {
        name: formula for name, formula in formulas.items() if not isinstance(formula, FreeFunction)
    }
    engine = tables.compute(table, expressions) if expressions else None
    found: dict[str, pa.ChunkedArray] = {}
    for name, formula in formulas.items():
        if isinstance(formula, FreeFunction):
            found[name] = _called(functions, formula, table)
        else:
            assert engine is not None
            found[name] = engine.column(name)
    return found


def calling(functions: Functions, free: FreeFunction) -> Callable[[Sequence[Scalar]], Scalar]:
    """What gives the function's value for what it reads, checked to be of its type.

    `Invalid` where this process was not given that function, or one whose source is another.
    """
    held = functions.find(free.name)
    if held is None:
        raise Invalid(
            f"the Python function {free.name} is not portable, and this process was not given it",
            hint="compute it where the program that defines it runs, or write it as an expression",
        )
    digest, function = held
    if digest != free.digest:
        raise Invalid(
            f"the Python function {free.name} of this process has another source than the feature's",
            hint="publish the feature again, or run the program as it was",
        )
    return lambda values: _checked(free, _value(function, free, values))


def check_computable(functions: Functions, formulas: Iterable[Formula]) -> None:
    """`Invalid` where one of them is a function that this process was not given."""
    for formula in formulas:
        if isinstance(formula, FreeFunction):
            calling(functions, formula)


def _value(function: Callable[..., object], free: FreeFunction, values: Sequence[Scalar]) -> object:
    try:
        return function(*values)
    except Exception as error:  # code of the user's own may raise anything, and is told as theirs
        raise Invalid(
            f"the Python function {free.name} failed: {type(error).__name__}",
            hint=f"it is given {', '.join(free.reads)}, each of which may be None",
        ) from error


def _checked(free: FreeFunction, value: object) -> Scalar:
    kind = free.gives
    if value is None or (isinstance(value, bool) and kind is ColumnType.BOOL):
        return value
    if not isinstance(value, bool):
        if isinstance(value, str) and kind is ColumnType.STRING:
            return value
        if isinstance(value, Integral) and kind is ColumnType.INT:
            return int(value)
        if isinstance(value, Real) and kind is ColumnType.FLOAT:
            return float(value)
    raise Invalid(
        f"the Python function {free.name} gave {type(value).__name__}, not {kind}",
        hint="give what its annotation says, or None",
    )


def _called(functions: Functions, free: FreeFunction, table: pa.Table) -> pa.ChunkedArray:
    import pyarrow as pa

    kind = arrow_type(free.gives)
    if not table.num_rows:
        return pa.chunked_array([], kind)
    call = calling(functions, free)
    columns = [plain_values(table.column(name)) for name in free.reads]
    return pa.chunked_array([pa.array(map(call, zip(*columns, strict=True)), kind)])


def plain_values(column: pa.ChunkedArray) -> list[Any]:
    """A column in plain values; instants are microseconds."""
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.int64())
    if not column.null_count and (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        column = column.to_numpy()  # which knows a quicker way
        return list(column.tolist())
    found: list[Any] = column.to_pylist()
    return found
