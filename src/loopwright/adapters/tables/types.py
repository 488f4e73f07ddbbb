"""Which Arrow types the platform's column types are."""

from __future__ import annotations

import pyarrow as pa

from loopwright.core.errors import Invalid
from loopwright.core.schema import Column, ColumnType, Schema

__all__ = ["schema_of"]


def schema_of(table: pa.Table) -> Schema:
    """Column names and types; a column with a null is nullable."""
    return Schema(
        columns=tuple(
            Column(name=field.name, type=_type_of(field), nullable=table.column(i).null_count > 0)
            for i, field in enumerate(table.schema)
        )
    )


def _type_of(field: pa.Field) -> ColumnType:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if pa.types.is_boolean(kind):
        return ColumnType.BOOL
    if pa.types.is_integer(kind):
        return ColumnType.INT
    if pa.types.is_floating(kind):
        return ColumnType.FLOAT
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
        return ColumnType.STRING
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return ColumnType.INSTANT
    raise _unfit(field)


def _unfit(field: pa.Field) -> Invalid:
    if pa.types.is_timestamp(field.type):
        hint = "times need a zone: state it, so that they become instants in UTC"
    else:
        hint = "keep booleans, integers, floats, strings and instants"
    return Invalid(f"the column {field.name!r} is of type {field.type}", hint=hint)
