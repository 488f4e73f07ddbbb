"""Whatever holds rows, as a lazy frame of the platform's types; what comes only once is kept in a file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from loopwright.adapters.tables.scan_pieces import ParquetPieces
from loopwright.core.errors import Invalid
from loopwright.core.schema import Column, ColumnType, Schema
from loopwright.engine.scratch import scratch

__all__ = ["INSTANT", "lazy_frame", "parquet_paths", "platform_schema"]

INSTANT = pl.Datetime("us", "UTC")
_LEVEL = 1
_SCANS = {".csv": pl.scan_csv, ".ndjson": pl.scan_ndjson, ".jsonl": pl.scan_ndjson}


@contextmanager
def lazy_frame(source: Any, spare: int | None = None) -> Iterator[pl.LazyFrame]:
    """The rows of a source in the platform's types; nothing is read until it is collected.

    Parquet files whose row groups are large beside the `spare` bytes of memory are read in smaller pieces.
    """
    with ExitStack() as stack:
        frame = _in_pieces(source, spare) if spare is not None else None
        yield _in_platform_types(frame if frame is not None else _lazy(source, stack))


def platform_schema(frame: pl.LazyFrame) -> Schema:
    """Columns of a frame; those of types the platform does not keep are `Invalid`."""
    found = frame.collect_schema()
    return Schema(columns=tuple(Column(name=name, type=_type_of(name, kind)) for name, kind in found.items()))


def _lazy(source: Any, stack: ExitStack) -> pl.LazyFrame:
    match source:
        case pl.LazyFrame():
            return source
        case pl.DataFrame():
            return source.lazy()
        case pa.Table():
            return _of_table(source)
        case pa.RecordBatch():
            return _of_table(pa.Table.from_batches([source]))
        case str() | os.PathLike():
            return _of_files([source])
        case pa.RecordBatchReader():
            return _spooled(source.schema, source, stack)
        case [*files] if files and all(isinstance(file, (str, os.PathLike)) for file in files):
            return _of_files(files)
        case _:
            return _of_others(source, stack)


def _of_others(source: Any, stack: ExitStack) -> pl.LazyFrame:
    if hasattr(source, "__arrow_c_stream__") or hasattr(source, "__dataframe__"):
        return _of_table(_converted(source))
    if isinstance(source, Iterable) and not isinstance(source, (bytes, dict)):
        return _of_batches(iter(source), stack)
    raise _no_rows(source)


def _no_rows(source: Any) -> Invalid:
    return Invalid(
        f"a {type(source).__name__} holds no rows that can be scanned",
        hint="give an Arrow table or batches, a frame of Polars or pandas, or paths of files",
    )


def _of_table(table: pa.Table) -> pl.LazyFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame.lazy()


def _converted(source: Any) -> pa.Table:
    try:
        if hasattr(source, "__arrow_c_stream__"):
            return pa.table(source)
        return pa.Table.from_pandas(source, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, AttributeError) as error:
        raise _no_rows(source) from error


def _of_files(files: list[Any]) -> pl.LazyFrame:
    paths = [Path(file) for file in files]
    if missing := [path for path in paths if not path.exists()]:
        raise Invalid(f"there is no file {missing[0]}", hint="give the paths of Parquet, CSV or NDJSON files")
    endings = {path.suffix.lower() for path in paths}
    if len(endings) > 1:
        raise Invalid("the files are of different kinds", hint="check those of one kind at a time")
    scan: Any = _SCANS.get(endings.pop(), pl.scan_parquet)
    try:
        frame: pl.LazyFrame = scan(paths)
        frame.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise Invalid(
            f"the file {paths[0]} is not what its name says, or is cut off", hint="write it again"
        ) from error
    return frame


def _in_pieces(source: Any, spare: int) -> pl.LazyFrame | None:
    """Parquet files by readers that hold a few thousand rows, None where whole row groups do no harm."""
    paths = parquet_paths(source)
    if paths is None or not all(Path(path).is_file() for path in paths):
        return None
    try:
        pieces = ParquetPieces.of(paths, spare)
    except Invalid:  # said better by the engine that reads it
        return None
    return None if pieces is None else pieces.frame()


def parquet_paths(source: Any) -> list[str] | None:
    """The paths of a source that is Parquet files by their names, None for any other."""
    files = [source] if isinstance(source, (str, os.PathLike)) else source
    if not isinstance(files, (list, tuple)) or not all(isinstance(f, (str, os.PathLike)) for f in files):
        return None
    paths = [str(file) for file in files]
    return paths if paths and not any(Path(path).suffix.lower() in _SCANS for path in paths) else None


def _of_batches(batches: Iterator[Any], stack: ExitStack) -> pl.LazyFrame:
    first = next(batches, None)
    if not isinstance(first, (pa.RecordBatch, pa.Table)):
        raise Invalid(
            "the stream is empty" if first is None else "the stream holds no record batches",
            hint="give Arrow batches or tables, at least one, so that its columns are known",
        )
    return _spooled(first.schema, _batches(first, batches), stack)


def _batches(first: Any, others: Iterator[Any]) -> Iterator[pa.RecordBatch]:
    part = first
    while part is not None:
        yield from part.to_batches() if isinstance(part, pa.Table) else [part]
        part = next(others, None)


def _spooled(schema: pa.Schema, batches: Iterable[pa.RecordBatch], stack: ExitStack) -> pl.LazyFrame:
    """Rows that come once, in a file that goes away when the scans are done."""
    path = stack.enter_context(scratch()) / "rows.parquet"
    try:
        with pq.ParquetWriter(path, schema, compression="zstd", compression_level=_LEVEL) as writer:
            for batch in batches:
                writer.write_batch(batch)
    except (pa.ArrowInvalid, ValueError) as error:
        raise Invalid(
            "a batch of the stream has other columns than the first", hint="send them apart"
        ) from error
    return pl.scan_parquet(path)


def _in_platform_types(frame: pl.LazyFrame) -> pl.LazyFrame:
    changed = [
        pl.col(name).cast(wanted)
        for name, kind in frame.collect_schema().items()
        if (wanted := _plain(name, kind)) is not None and wanted != kind
    ]
    return frame.with_columns(changed) if changed else frame


def _plain(name: str, kind: pl.DataType) -> pl.DataType | None:
    """The platform's type that a type is kept as, or None for one that it does not keep."""
    if kind == pl.Boolean:
        return pl.Boolean()
    if kind.is_integer():
        return pl.Int64()
    if kind.is_float() or kind.is_decimal():
        return pl.Float64()
    if kind in (pl.String, pl.Categorical, pl.Enum, pl.Null):
        return pl.String()
    if isinstance(kind, pl.Datetime) and kind.time_zone is None:
        raise Invalid(
            f"the times of the column {name!r} have no zone",
            hint="state their zone (in Polars: .dt.replace_time_zone), so that they become instants",
        )
    return INSTANT if isinstance(kind, (pl.Datetime, pl.Date)) else None


def _type_of(name: str, kind: pl.DataType) -> ColumnType:
    types = {
        pl.Boolean: ColumnType.BOOL,
        pl.Int64: ColumnType.INT,
        pl.Float64: ColumnType.FLOAT,
        pl.String: ColumnType.STRING,
        pl.Datetime: ColumnType.INSTANT,
    }
    found = types.get(kind.base_type())
    if found is None:
        raise Invalid(
            f"the column {name!r} is of type {kind}",
            hint="keep booleans, integers, floats, strings and instants; unnest or leave out the rest",
        )
    return found
