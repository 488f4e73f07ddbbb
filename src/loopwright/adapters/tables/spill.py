"""Rows on disk in numbered buckets: written as they come, read back a bucket at a time, in that order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import pyarrow as pa

from loopwright.adapters.tables.sources import Batch
from loopwright.core.errors import Unavailable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Buckets = NDArray[np.integer[Any]]

__all__ = ["Bucket", "Spill", "in_order"]

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)


def in_order(numbers: Ints, buckets: int) -> tuple[Ints, Buckets]:
    """Places of rows in the order of their buckets, then as they came; and the buckets in that order."""
    short: Buckets = numbers.astype(np.uint16) if buckets <= 1 << 16 else numbers
    order = np.argsort(short, kind="stable")
    return order, short[order]


class _Piece(NamedTuple):
    """Rows of one bucket that were written together: where they stand in the file."""

    at: int
    size: int
    rows: int


class Spill:
    """One file of rows in numbered buckets; memory holds `buffer_bytes`, thrice while they are written.

    Within a bucket rows keep the order in which they were added.
    """

    def __init__(self, path: Path, schema: pa.Schema, buckets: int, *, buffer_bytes: int) -> None:
        self._path = path
        self._schema = schema
        self._buffer_bytes = buffer_bytes
        self._pieces: list[list[_Piece]] = [[] for _ in range(buckets)]
        self._waiting: list[tuple[pa.Table, Ints]] = []
        self._bytes = 0
        self._at = 0
        self._file = path.open("w+b", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove what was written."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    @property
    def schema(self) -> pa.Schema:
        """Of the rows."""
        return self._schema

    @property
    def buckets(self) -> int:
        """How many there are."""
        return len(self._pieces)

    def rows(self, bucket: int) -> int:
        """How many rows a bucket holds, of those that were written."""
        return sum(piece.rows for piece in self._pieces[bucket])

    def add(self, table: pa.Table, numbers: Ints) -> None:
        """Rows and the bucket of each. `finish` writes the last of them."""
        if not table.num_rows:
            return
        self._waiting.append((table, numbers))
        self._bytes += table.nbytes + 3 * numbers.nbytes  # numbers, joined and in order
        if self._bytes >= self._buffer_bytes:
            self.finish()

    def finish(self) -> None:
        """Write what waits."""
        if not self._waiting:
            return
        numbers = np.concatenate([each for _, each in self._waiting])
        table = pa.concat_tables([each for each, _ in self._waiting]).combine_chunks()
        self._waiting, self._bytes = [], 0
        order, ordered = in_order(numbers, len(self._pieces))
        self.add_sorted(table.take(pa.array(order)), ordered)

    def add_sorted(self, table: pa.Table, numbers: Buckets) -> None:
        """Write rows that stand in the order of their buckets; nothing may wait from `add`."""
        ends = np.searchsorted(numbers, np.arange(len(self._pieces) + 1))
        for bucket in np.flatnonzero(np.diff(ends)).tolist():
            self._write(bucket, table.slice(ends[bucket], ends[bucket + 1] - ends[bucket]))

    def _write(self, bucket: int, rows: pa.Table) -> None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self._schema, options=_OPTIONS) as writer:
            writer.write_table(rows)
        data = memoryview(sink.getvalue())
        self._pieces[bucket].append(_Piece(self._at, len(data), rows.num_rows))
        try:
            while data:
                written = self._file.write(data)
                self._at += written
                data = data[written:]
        except OSError as error:
            raise Unavailable(
                f"what waits for memory cannot be written to {self._path.parent.parent}: {error.strerror}",
                hint="free some space there, or give more memory",
            ) from error

    def pieces(self, bucket: int, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The rows of a bucket in order, as they were written."""
        for piece in self._pieces[bucket]:
            yield self._read(piece, columns)

    def tables(self, bucket: int, rows: int) -> Iterator[pa.Table]:
        """The rows of a bucket in order, `rows` at a time (the last time fewer)."""
        waiting: list[pa.Table] = []
        count = 0
        for piece in self.pieces(bucket):
            waiting.append(piece)
            count += piece.num_rows
            while count >= rows:
                whole = pa.concat_tables(waiting)
                yield whole.slice(0, rows)
                waiting, count = [whole.slice(rows)], count - rows
        if count:
            yield pa.concat_tables(waiting)

    def table(self, bucket: int) -> pa.Table:
        """All rows of a bucket."""
        return pa.concat_tables([self._schema.empty_table(), *self.pieces(bucket)])

    def _read(self, piece: _Piece, columns: Sequence[str] | None) -> pa.Table:
        with pa.OSFile(str(self._path)) as file:
            file.seek(piece.at)
            data = file.read_buffer(piece.size)
        wanted = None if columns is None else [self._schema.get_field_index(name) for name in columns]
        options = pa.ipc.IpcReadOptions(included_fields=wanted, use_threads=False)
        table = pa.ipc.open_stream(data, options=options).read_all()
        return table if columns is None else table.select(list(columns))


class Bucket:
    """The rows of one bucket as a source of a join, numbered from 0."""

    def __init__(self, spill: Spill, bucket: int) -> None:
        self._spill = spill
        self._pieces = spill._pieces[bucket]
        self._firsts = np.cumsum([0, *(piece.rows for piece in self._pieces)])

    @property
    def schema(self) -> pa.Schema:
        """Of the rows."""
        return self._spill.schema

    def batches(self, columns: Sequence[str]) -> Iterator[Batch]:
        """As they were written."""
        for piece, first in zip(self._pieces, self._firsts.tolist(), strict=False):
            yield Batch(first, lambda piece=piece: self._spill._read(piece, columns))  # type: ignore[misc]  # this turn's

    def take(self, column: str, rows: Ints) -> pa.ChunkedArray:
        """The values of a column at these places, which ascend; pieces without one are not read."""
        ends = np.searchsorted(rows, self._firsts)
        found = []
        for at, piece in enumerate(self._pieces):
            asked = rows[ends[at] : ends[at + 1]]
            if len(asked):
                part = self._spill._read(piece, [column]).column(0)
                found += part.take(pa.array(asked - self._firsts[at])).chunks
        return pa.chunked_array(found, self.schema.field(column).type)
