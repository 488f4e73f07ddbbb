"""Where a join reads a view from: a table in memory, or Parquet files, a batch and a column at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from loopwright.core.errors import Invalid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

__all__ = ["Batch", "ParquetSource", "Source", "TableSource"]

_AT_ONCE = 1 << 20
_WORKERS = 2


class Batch(NamedTuple):
    """Some rows that follow each other: the place of the first, and what reads their columns."""

    first: int
    read: Callable[[], pa.Table]


class Source(Protocol):
    """Rows with a schema, in an order."""

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""

    def batches(self, columns: Sequence[str]) -> Iterator[Batch]:
        """All rows, in batches that any thread may read."""

    def take(self, column: str, rows: Ints) -> pa.ChunkedArray:
        """The values of a column at these places, which ascend."""


class TableSource:
    """A table in memory."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    @property
    def schema(self) -> pa.Schema:
        """Of the table."""
        return self._table.schema

    def batches(self, columns: Sequence[str]) -> Iterator[Batch]:
        """Slices of the table."""
        asked = self._table.select([name for name in columns if name in self._table.column_names])
        for first in range(0, len(asked), _AT_ONCE):
            part = asked.slice(first, _AT_ONCE)
            yield Batch(first, lambda part=part: part)  # type: ignore[misc]  # the slice of this turn

    def take(self, column: str, rows: Ints) -> pa.ChunkedArray:
        """From memory."""
        return self._table.column(column).take(pa.array(rows))


class _Group(NamedTuple):
    """A row group: of which file, which of its groups, and where its rows begin."""

    path: str
    number: int
    first: int
    rows: int


class ParquetSource:
    """The rows of Parquet files in their order; no more than a row group's columns are in memory at once."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._local = threading.local()
        self._metadata: dict[str, pq.FileMetaData] = {}
        self._groups: list[_Group] = []
        first = 0
        for path in paths:
            opened = _opened(path)
            schema = opened.schema_arrow.remove_metadata()
            if path == paths[0]:
                self._schema = schema
            elif schema != self._schema:
                raise Invalid(f"{path} has other columns than {paths[0]}", hint="write the files alike")
            self._metadata[path] = opened.metadata
            for number in range(opened.metadata.num_row_groups):
                rows = opened.metadata.row_group(number).num_rows
                self._groups.append(_Group(path, number, first, rows))
                first += rows

    @property
    def schema(self) -> pa.Schema:
        """Of the first file, which is that of all."""
        return self._schema

    def batches(self, columns: Sequence[str]) -> Iterator[Batch]:
        """The row groups."""
        asked = [name for name in columns if name in self._schema.names]
        for group in self._groups:
            yield Batch(group.first, lambda group=group: self._read(group, asked))  # type: ignore[misc]  # this turn's

    def take(self, column: str, rows: Ints) -> pa.ChunkedArray:
        """Read a row group at a time, by two threads; groups without a row that is asked for are not read."""
        firsts = np.array([group.first for group in self._groups] + [np.iinfo(np.int64).max])
        ends = np.searchsorted(rows, firsts)
        asked = [
            (group, rows[low:high] - group.first)
            for group, low, high in zip(self._groups, ends[:-1], ends[1:], strict=True)
            if low < high
        ]
        with ThreadPoolExecutor(_WORKERS) as pool:
            found = list(pool.map(lambda each: self._taken(column, *each), asked))
        chunks = [chunk for part in found for chunk in part.chunks]
        return pa.chunked_array(chunks, self._schema.field(column).type)

    def _taken(self, column: str, group: _Group, rows: Ints) -> pa.ChunkedArray:
        return self._read(group, [column]).column(0).take(pa.array(rows))

    def _read(self, group: _Group, columns: list[str]) -> pa.Table:
        files: dict[str, pq.ParquetFile] = self._local.__dict__.setdefault("files", {})
        if group.path not in files:
            files[group.path] = pq.ParquetFile(group.path, metadata=self._metadata[group.path])
        try:
            return files[group.path].read_row_group(group.number, columns=columns, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise _broken(group.path, error) from error


def _opened(path: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from error


def _broken(path: str, error: Exception) -> Invalid:
    return Invalid(
        f"{path} is not Parquet, or is cut off: {str(error)[:200]}", hint="write it again as a Parquet file"
    )
