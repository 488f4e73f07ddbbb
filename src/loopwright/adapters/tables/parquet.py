"""Parquet files: deterministic bytes out, rows in."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, BinaryIO

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from loopwright.adapters.tables.compile import compile_condition
from loopwright.core.errors import Invalid
from loopwright.core.expressions import Expr, columns_of

__all__ = ["ROW_GROUP", "arrow_of", "plain_table", "read_parquet", "ways_of", "write_parquet"]

ROW_GROUP = 131_072
_LOOKED_AT = 1024
_OFTEN = 0.5
"""share of different values above which a dictionary costs numbers twice the time, and makes them larger"""
_FEW_ROWS = 4096
_TEXT_BYTES = (1 << 31) - 1
"""of a chunk of plain strings"""


def write_parquet(table: pa.Table) -> bytes:
    """The table as one file: zstd, row groups of 131,072 rows, no time and no metadata."""
    plain = plain_table(table).replace_schema_metadata(None).combine_chunks()
    out = io.BytesIO()
    pq.write_table(plain, out, row_group_size=ROW_GROUP, **ways_of(plain))
    return out.getvalue()


def ways_of(table: pa.Table) -> Mapping[str, Any]:
    """How a file that begins with these rows is written, at once or in pieces.

    Numbers that seldom repeat among the first rows are written as they are, all else by a dictionary.
    """
    first = table.slice(0, _LOOKED_AT)
    by_dictionary = [name for name in first.column_names if not _is_mostly_different(first.column(name))]
    return {"compression": "zstd", "compression_level": 1, "use_dictionary": by_dictionary or False}


def _is_mostly_different(values: pa.ChunkedArray) -> bool:
    kind = values.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_timestamp(kind)):
        return False
    return bool(pc.count_distinct(values).as_py() > _OFTEN * len(values))


def read_parquet(
    files: Sequence[BinaryIO | str], columns: Sequence[str] | None, where: Expr | None
) -> pa.Table:
    """The rows of the files in order that the condition is true of; a column a file lacks is null there.

    Columns and row groups that cannot matter are not read.
    """
    if not files:
        return pa.table({name: pa.nulls(0) for name in columns or ()})
    try:
        found = _scan(_one_kind(files), columns, where, alone=len(files) == 1)
        if found is None:
            found = _scan(_united(files), columns, where, alone=True)
    except pl.exceptions.ComputeError as error:
        raise Invalid("the file is not Parquet, or is cut off", hint="write it again") from error
    assert found is not None
    return arrow_of(found)


def arrow_of(frame: pl.DataFrame) -> pa.Table:
    """A frame as an Arrow table of plain types (`string`, not `large_string` or views)."""
    if frame.n_chunks() * _FEW_ROWS > frame.height:
        frame = frame.rechunk()  # each chunk is handed over by itself: 190 of them 10.3 ms, one 0.1
    return plain_table(frame.to_arrow(compat_level=pl.CompatLevel.oldest()))


def _one_kind(files: Sequence[BinaryIO | str]) -> pl.LazyFrame:
    """Files of the same columns; Polars takes paths or open files, never both."""
    paths = [file for file in files if isinstance(file, str)]
    opened: list[IO[bytes]] = [file for file in files if not isinstance(file, str)]
    if paths and opened:
        return _united(files)
    return pl.scan_parquet(paths) if paths else pl.scan_parquet(opened)


def _united(files: Sequence[BinaryIO | str]) -> pl.LazyFrame:
    for file in files:
        if not isinstance(file, str):
            file.seek(0)
    return pl.concat([pl.scan_parquet(file) for file in files], how="diagonal_relaxed")


def _scan(
    frame: pl.LazyFrame, columns: Sequence[str] | None, where: Expr | None, *, alone: bool
) -> pl.DataFrame | None:
    """The rows, or None when the files turn out to have different columns."""
    schema = frame.collect_schema()
    wanted = {*(columns or ()), *(columns_of(where) if where is not None else ())}
    if missing := sorted(wanted - set(schema)):
        if alone:
            raise Invalid(f"there is no column {missing[0]!r}", hint=f"the columns are {', '.join(schema)}")
        return None
    if where is not None:
        frame = frame.filter(compile_condition(where, schema))
    try:
        return (frame if columns is None else frame.select(columns)).collect()
    except (pl.exceptions.SchemaError, pl.exceptions.ColumnNotFoundError):
        if alone:
            raise
        return None


def plain_table(table: pa.Table) -> pa.Table:
    """The table with plain strings in place of large ones."""
    for at, field in enumerate(table.schema):
        if pa.types.is_large_string(field.type):
            plain = pa.chunked_array(_plain_chunks(table.column(at)), pa.string())
            table = table.set_column(at, field.with_type(pa.string()), plain)
    return table


def _plain_chunks(values: pa.ChunkedArray) -> Iterator[pa.Array]:
    """The chunks, in as many more as plain strings need: their places within a chunk have 32 bits."""
    for chunk in values.chunks:
        if chunk.nbytes <= _TEXT_BYTES or len(chunk) == 1:
            yield _plain_chunk(chunk)
            continue
        middle = len(chunk) // 2
        yield from _plain_chunks(pa.chunked_array([chunk.slice(0, middle), chunk.slice(middle)]))


def _plain_chunk(chunk: pa.Array) -> pa.Array:
    try:
        return chunk.cast(pa.string())
    except pa.ArrowInvalid:
        # the cast looks at a slice's places in the whole: with nothing behind it, it is written anew
        return pa.concat_arrays([chunk, chunk.slice(0, 0)]).cast(pa.string())
