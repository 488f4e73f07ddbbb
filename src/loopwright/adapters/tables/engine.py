"""The port `Tables` by Polars, with Parquet files written by Arrow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import BinaryIO

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from loopwright.adapters.tables.checks import check_rows
from loopwright.adapters.tables.compile import compile_condition, compile_expression
from loopwright.adapters.tables.filejoins import join_files
from loopwright.adapters.tables.joins import join_as_of
from loopwright.adapters.tables.memory import budget_of, spare_of
from loopwright.adapters.tables.parquet import arrow_of, read_parquet, write_parquet
from loopwright.adapters.tables.pieces import batches_of, ranges_of, written
from loopwright.adapters.tables.profile import profile_of
from loopwright.adapters.tables.types import schema_of
from loopwright.adapters.tables.windows import join_windows
from loopwright.core.expressions import Expr
from loopwright.core.nouns import Json
from loopwright.core.schema import Schema
from loopwright.ports.tables import AsOfJoin, ColumnRange, FilesJoined, RowCheck, RowCheckResult, WindowJoin

__all__ = ["PolarsTables"]


class PolarsTables:
    """Tables by Polars. Thread safe; equal input gives equal output.

    `memory_bytes` is what the process may take where a call is not told; half of the machine's by default.
    """

    def __init__(self, memory_bytes: int | None = None) -> None:
        self._memory_bytes = memory_bytes

    @property
    def spare_bytes(self) -> int:
        """What is left of the memory for rows, an eighth of it at the least."""
        return spare_of(budget_of(self._memory_bytes))

    def write(self, table: pa.Table) -> bytes:
        """The table as one Parquet file (zstd); equal tables give equal bytes."""
        return write_parquet(table)

    def read(
        self,
        files: Sequence[BinaryIO | str],
        *,
        columns: Sequence[str] | None = None,
        where: Expr | None = None,
    ) -> pa.Table:
        """The rows of Parquet files, in order, that the condition is true of."""
        return read_parquet(files, columns, where)

    def batches(
        self, file: BinaryIO | str, *, columns: Sequence[str] | None = None, rows: int = 65_536
    ) -> Iterator[pa.Table]:
        """The rows of one file in order, a piece at a time."""
        return batches_of(file, columns, rows)

    def write_batches(self, tables: Iterable[pa.Table]) -> Iterator[bytes]:
        """The pieces of one Parquet file, as `write` gives it for all the rows together."""
        return written(tables)

    def ranges(self, file: BinaryIO | str) -> Mapping[str, ColumnRange]:
        """Between which values the columns of a file lie, from its footer."""
        return ranges_of(file)

    def buckets(self, table: pa.Table, columns: Sequence[str], count: int) -> NDArray[np.int64]:
        """`(n,)`: a bucket for each row; equal values fall into one."""
        hashes = _frame(table.select(list(columns))).hash_rows(seed=0).to_numpy()
        found: NDArray[np.int64] = (hashes % np.uint64(count)).astype(np.int64)
        return found

    def fingerprints(self, table: pa.Table) -> NDArray[np.uint64]:
        """`(n, 2)`: 128 bits for each row, the same for equal ones."""
        frame = _frame(table)
        return np.column_stack([frame.hash_rows(seed=seed).to_numpy() for seed in (1, 2)])

    def schema_of(self, table: pa.Table) -> Schema:
        """Column names and types; `Invalid` names the first column of a type the platform does not keep."""
        return schema_of(table)

    def check(self, table: pa.Table, checks: Sequence[RowCheck]) -> tuple[RowCheckResult, ...]:
        """All checks in one scan, with the first ten positions of what failed."""
        return check_rows(_frame(table), checks)

    def compute(self, table: pa.Table, expressions: Mapping[str, Expr]) -> pa.Table:
        """The value of each expression for each row, under the given names."""
        frame = _frame(table)
        asked = [compile_expression(expr, frame.schema).alias(name) for name, expr in expressions.items()]
        if not asked or not frame.width:
            return pa.table({name: pa.nulls(0) for name in expressions})
        return arrow_of(frame.lazy().with_columns(asked).select(list(expressions)).collect())

    def select(self, table: pa.Table, where: Expr) -> pa.Table:
        """The rows that the condition is true of, in order."""
        frame = _frame(table)
        return arrow_of(frame.lazy().filter(compile_condition(where, frame.schema)).collect())

    def join_as_of(self, spine: pa.Table, view: pa.Table, join: AsOfJoin) -> pa.Table:
        """One row per spine row: the newest row of its key that was known at its instant."""
        return join_as_of(spine, view, join)

    def join_files(
        self, spine: str, view: str, out: str, join: AsOfJoin, *, memory_bytes: int | None = None
    ) -> FilesJoined:
        """The same from files to a file, in parts where memory does not hold it in one piece."""
        return join_files(spine, view, out, join, memory_bytes=memory_bytes or self._memory_bytes)

    def join_windows(self, spine: pa.Table, view: pa.Table, join: WindowJoin) -> pa.Table:
        """One row per spine row: aggregates of its key's rows known in the windows before its instant."""
        return join_windows(spine, view, join)

    def profile(self, table: pa.Table, *, like: Json | None = None) -> Json:
        """Per column: counts, least and greatest, moments, quantiles, histogram, most frequent values."""
        return profile_of(table, like)


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame
