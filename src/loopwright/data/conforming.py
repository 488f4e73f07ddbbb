"""Brings Arrow tables to the platform's column types, and to the columns a dataset has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from loopwright.core.errors import Invalid, TooLarge
from loopwright.core.schema import ColumnType, Schema

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["COLUMNS_LIMIT", "arrow_type", "check_sound", "conformed", "ordered"]

COLUMNS_LIMIT = 5_000
_NAME_LIMIT = 250
_SHOWN = 80
_TEXT_LIMIT = (1 << 31) - 1
_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999


def arrow_type(kind: ColumnType) -> pa.DataType:
    """The one Arrow type of a column type."""
    import pyarrow as pa

    return {
        ColumnType.BOOL: pa.bool_(),
        ColumnType.INT: pa.int64(),
        ColumnType.FLOAT: pa.float64(),
        ColumnType.STRING: pa.string(),
        ColumnType.INSTANT: pa.timestamp("us", "UTC"),
    }[kind]


def check_sound(name: str, values: pa.ChunkedArray) -> None:
    """`Invalid` for values that are not what their type says: texts of other bytes, places outside."""
    import pyarrow as pa

    try:
        values.validate(full=True)
    except pa.ArrowInvalid as error:
        told = str(error).splitlines()[0][:_SHOWN]
        raise Invalid(
            f"the column {name[:_SHOWN]!r} is damaged: {told}", hint="write it again, texts as UTF-8"
        ) from error


def conformed(table: pa.Table, wanted: Mapping[str, ColumnType]) -> pa.Table:
    """The table in the platform's types: 64-bit numbers, strings, instants in UTC microseconds.

    A column named in `wanted` is read as that type where nothing is lost by it (whole floats as
    integers, texts as numbers or instants); where it would be, it keeps its own type, which the
    contract then refuses. Dates are their midnight in UTC. Times without a zone are `Invalid`.
    """
    import pyarrow as pa

    names = table.column_names
    _check_names(names)
    columns = {name: _column(name, table.column(name), wanted.get(name)) for name in names}
    return pa.table(columns)


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise Invalid("the rows have no columns", hint="give at least one")
    if len(names) > COLUMNS_LIMIT:
        raise TooLarge(
            f"the rows have {len(names):,} columns, over {COLUMNS_LIMIT:,}",
            hint="keep values in rows (long form), or leave columns out",
        )
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise Invalid(f"the column {twice[:_SHOWN]!r} is there twice", hint="rename one of them")
    for name in names:
        if not name or len(name) > _NAME_LIMIT or not name.isprintable():
            raise Invalid(
                f"{name[:_SHOWN]!r} cannot name a column",
                hint=f"use 1 to {_NAME_LIMIT} characters that can be printed",
            )


def ordered(table: pa.Table, schema: Schema) -> pa.Table:
    """The table with exactly the schema's columns in its order; what it lacks is null."""
    import pyarrow as pa

    there = set(table.column_names)
    return pa.table(
        {
            column.name: table.column(column.name)
            if column.name in there
            else pa.nulls(table.num_rows, arrow_type(column.type))
            for column in schema.columns
        }
    )


def _column(name: str, values: pa.ChunkedArray, wanted: ColumnType | None) -> pa.ChunkedArray:
    import pyarrow as pa

    try:
        plain = _plain(name, values, wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise Invalid(
            f"the column {name!r} of type {str(values.type)[:_SHOWN]} does not fit the platform's types",
            hint="keep booleans, 64-bit integers, floats, strings and instants",
        ) from error
    if wanted is not None and plain.type != arrow_type(wanted):
        plain = _read_as(plain, wanted)
    _check_instants(name, plain)
    return plain


def _check_instants(name: str, values: pa.ChunkedArray) -> None:
    """Instants are those a calendar has: nothing that reads them could show others."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_timestamp(values.type):
        return
    ends = pc.min_max(values.cast(pa.int64()))
    if (ends["min"].as_py() or 0) < _FIRST_US or (ends["max"].as_py() or 0) > _LAST_US:
        raise Invalid(
            f"the column {name!r} has times before the year 1 or after the year 9999",
            hint="look at their unit (seconds, milliseconds); null where there is no time",
        )


def _plain(name: str, values: pa.ChunkedArray, wanted: ColumnType | None) -> pa.ChunkedArray:
    import pyarrow as pa

    if not pa.types.is_primitive(values.type):
        check_sound(name, values)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    kind = values.type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        _check_text(name, values)
    if pa.types.is_date(kind):
        return values.cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))
    if pa.types.is_timestamp(kind):
        if kind.tz is None and values.null_count < len(values):
            raise Invalid(
                f"the times of the column {name!r} have no zone",
                hint="state their zone, so that they become instants: --zone Europe/Berlin for what is "
                "ingested, a Z or an offset in a file, .dt.tz_localize in pandas",
            )
        return values.cast(pa.timestamp("us", "UTC"), safe=kind.unit != "ns")  # finer ones are cut
    if pa.types.is_null(kind):
        return values.cast(arrow_type(wanted or ColumnType.STRING))
    return values.cast(_target(name, kind))


def _check_text(name: str, values: pa.ChunkedArray) -> None:
    """`TooLarge` for more text at once than plain strings hold: Arrow's cast does not always say so."""
    import pyarrow as pa

    if max((chunk.nbytes for chunk in values.chunks), default=0) <= _TEXT_LIMIT:
        return
    written = values.cast(pa.large_string())  # a view of few texts may hold on to many
    size = max(chunk.nbytes for chunk in written.chunks)
    if size > _TEXT_LIMIT:
        raise TooLarge(
            f"the column {name!r} holds {size:,} bytes of text",
            hint="send fewer rows at a time, or keep long texts as files",
        )


def _target(name: str, kind: Any) -> pa.DataType:
    import pyarrow as pa

    if pa.types.is_boolean(kind):
        return pa.bool_()
    if pa.types.is_integer(kind):
        return pa.int64()
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return pa.float64()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    raise Invalid(
        f"the column {name!r} is of type {str(kind)[:_SHOWN]}, which no dataset keeps",
        hint="keep booleans, integers, floats, strings and instants; unnest or leave out the rest",
    )


def _read_as(values: pa.ChunkedArray, wanted: ColumnType) -> pa.ChunkedArray:
    import pyarrow as pa

    is_text = pa.types.is_string(values.type)
    is_number = pa.types.is_integer(values.type) or pa.types.is_floating(values.type)
    to_number = wanted in (ColumnType.INT, ColumnType.FLOAT)
    if not (is_text or (is_number and to_number)):
        return values
    try:
        return values.cast(arrow_type(wanted))
    except pa.ArrowInvalid:
        return values
