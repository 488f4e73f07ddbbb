"""Parquet files as a lazy frame that holds a few thousand rows of them: row groups may be of any size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

import polars as pl
import pyarrow as pa
from polars.io.plugins import register_io_source

from loopwright.adapters.tables.memory import opened_parquet, widths_of

__all__ = ["ParquetPieces"]

_GROUPS = 2
"""row groups that the engine's own reader has in memory for each of its threads, about"""
_SHARE = 3
"""and they may be that part of what is spare"""
_PACKED = 20
"""a file is that much larger in memory at the most, about"""
_MOST_ROWS = 1 << 17
_LEAST_ROWS = 1 << 10


class ParquetPieces(NamedTuple):
    """Files of one schema, and how many of their rows are read at once."""

    paths: tuple[str, ...]
    schema: pa.Schema
    rows: int

    @classmethod
    def of(cls, paths: list[str], spare: int) -> Self | None:
        """None where the engine's own reader does as well: row groups are small, or files differ."""
        groups = _GROUPS * pl.thread_pool_size()
        if max(Path(path).stat().st_size for path in paths) * _PACKED * groups <= spare // _SHARE:
            return None
        largest, schemas = 0, []
        for path in paths:
            with opened_parquet(path) as file:
                schemas.append(file.schema_arrow.remove_metadata())
                meta = file.metadata
                sizes = [meta.row_group(at).num_rows for at in range(meta.num_row_groups)]
                largest = max([largest, *sizes])
        width = sum(widths_of(paths[0]).values())
        if largest * width * groups <= spare // _SHARE or any(schema != schemas[0] for schema in schemas):
            return None
        rows = min(_MOST_ROWS, max(_LEAST_ROWS, int(spare / 16 / max(width, 1))))
        return cls(tuple(paths), schemas[0], rows)

    def frame(self) -> pl.LazyFrame:
        """All rows in order; columns that are not asked for are not read."""
        empty = pl.from_arrow(self.schema.empty_table())
        assert isinstance(empty, pl.DataFrame)
        return register_io_source(self._read, schema=empty.schema)

    def _read(
        self, columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, _: int | None
    ) -> Iterator[pl.DataFrame]:
        """As the engine asks: the first `rows` rows of these columns, of them those of the predicate."""
        left = rows
        for frame in self._frames(columns):
            taken = frame if left is None else frame.head(left)
            yield taken if predicate is None else taken.filter(predicate)
            left = None if left is None else left - taken.height
            if left == 0:
                return

    def _frames(self, columns: list[str] | None) -> Iterator[pl.DataFrame]:
        for path in self.paths:
            with opened_parquet(path) as file:
                for batch in file.iter_batches(batch_size=self.rows, columns=columns):
                    frame = pl.from_arrow(pa.Table.from_batches([batch]))
                    assert isinstance(frame, pl.DataFrame)
                    yield frame
