"""Parquet files a piece at a time: read in batches, written in row groups, asked for their footers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from loopwright.adapters.tables.parquet import ROW_GROUP, plain_table, ways_of
from loopwright.core.errors import Invalid
from loopwright.core.expressions import Scalar
from loopwright.core.instants import to_micros
from loopwright.ports.tables import ColumnRange

__all__ = ["batches_of", "ranges_of", "written"]


def batches_of(file: BinaryIO | str, columns: Sequence[str] | None, rows: int) -> Iterator[pa.Table]:
    """The rows of one file in order, at most `rows` at a time; memory does not grow with the file."""
    try:
        with pq.ParquetFile(file, pre_buffer=False) as opened:
            there = set(opened.schema_arrow.names)
            wanted = None if columns is None else [name for name in columns if name in there]
            for batch in opened.iter_batches(batch_size=rows, columns=wanted, use_threads=False):
                yield plain_table(pa.Table.from_batches([batch]))
    except pa.ArrowInvalid as error:
        raise Invalid("the file is not Parquet, or is cut off", hint="write it again") from error


class _Sink:
    """A file that keeps what was written until it is taken."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._at = 0

    def write(self, data: bytes | memoryview) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._at += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        self.closed = True

    def taken(self) -> bytes:
        found, self._pieces = b"".join(self._pieces), []
        return found


def written(tables: Iterable[pa.Table]) -> Iterator[bytes]:
    """The pieces of one file: a row group at a time, so that memory holds one of them."""
    sink = _Sink()
    groups = _grouped(tables)
    first = next(groups)
    with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), first.schema, **ways_of(first)) as writer:
        writer.write_table(first, row_group_size=ROW_GROUP)
        yield sink.taken()
        for group in groups:
            writer.write_table(group, row_group_size=ROW_GROUP)
            yield sink.taken()
    yield sink.taken()


def _grouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of a row group each; an empty one when there are no rows."""
    waiting, count, schema = list[pa.Table](), 0, None
    for table in tables:
        plain = plain_table(table).replace_schema_metadata(None)
        schema = plain.schema
        waiting.append(plain)
        count += plain.num_rows
        while count >= ROW_GROUP:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, ROW_GROUP).combine_chunks()
            waiting, count = [whole.slice(ROW_GROUP)], count - ROW_GROUP
            schema = None
    if count or schema is not None:
        yield pa.concat_tables(waiting).combine_chunks()


def ranges_of(file: BinaryIO | str) -> Mapping[str, ColumnRange]:
    """The least and greatest value of each column over all row groups, where every one says so."""
    with pq.ParquetFile(file) as opened:
        meta = opened.metadata
        found = [_of_column(meta, place) for place in range(meta.num_columns)]
        names = [meta.schema.column(place).path for place in range(meta.num_columns)]
    return {name: each for name, each in zip(names, found, strict=True) if each is not None}


def _of_column(meta: pq.FileMetaData, place: int) -> ColumnRange | None:
    lows, highs, nulls = list[Any](), list[Any](), 0
    for group in range(meta.num_row_groups):
        chunk = meta.row_group(group).column(place)
        stats = chunk.statistics
        if stats is None or not stats.has_null_count:
            return None
        nulls += stats.null_count
        if stats.has_min_max:
            lows.append(_plain(stats.min))
            highs.append(_plain(stats.max))
        elif stats.null_count < chunk.num_values:
            return None
    return ColumnRange(min(lows), max(highs), nulls) if lows else None


def _plain(value: Any) -> Scalar:
    found: Scalar = to_micros(value) if isinstance(value, datetime) else value
    return found
