"""Tables: what a slice may ask of an engine of columns. Frames cross the rooms as Arrow tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol

import msgspec

from loopwright.core.expressions import Expr, Scalar, Window
from loopwright.core.nouns import Json
from loopwright.core.schema import Schema

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["AsOfJoin", "ColumnRange", "PartFiles", "RowCheck", "RowCheckResult", "Tables", "WindowJoin"]


class RowCheck(msgspec.Struct, frozen=True, kw_only=True):
    """An expression that must be true of every row (null counts as true unless `null_fails`)."""

    name: str
    expr: Expr
    null_fails: bool = False


class RowCheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows failed a check, and the positions of the first of them."""

    name: str
    failed: int
    rows: int
    first: tuple[int, ...] = ()


class AsOfJoin(msgspec.Struct, frozen=True, kw_only=True):
    """Join of the newest row known at an instant; the contract is that of the capability `features join`.

    Exactly one output row per spine row, in order. Candidates: equal keys with no null part, event
    time not null, `event <= T`, `event >= T - ttl` (ttl 0: no limit), and in mode `known` known-at
    `<= T` (null: the event time). The winner: greatest event time, then known-at, then order.
    """

    keys: tuple[str, ...]
    time: str
    event_time: str
    known_at: str | None = None
    order: str | None = None
    ttl: timedelta = timedelta(0)
    mode: Literal["known", "event"] = "known"
    columns: tuple[str, ...] = ()
    prefix: str = ""
    zone: str = ""
    """of times that are written without one; empty: they are refused"""


class FilesJoined(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows a join of files gave, and the columns it added."""

    rows: int
    columns: tuple[str, ...]


class WindowJoin(msgspec.Struct, frozen=True, kw_only=True):
    """Windowed aggregates of the rows of the spine row's entity with known-at in `(T - over, T]`.

    A null known-at counts as the event time where that is named; a row without either is in no
    window. A key with a null part is an entity without rows; a null T gives nulls. `last` is the
    value of the row with the greatest event time, then known-at, then order, then place.
    """

    keys: tuple[str, ...]
    time: str
    known_at: str
    windows: Mapping[str, Window]
    """output column by its aggregate"""
    event_time: str | None = None
    order: str | None = None


class ColumnRange(msgspec.Struct, frozen=True):
    """Between which values a column lies: both inclusive, instants in microseconds, NaN left out."""

    low: Scalar
    high: Scalar
    nulls: int | None = None
    """how many there are, where the file says so"""


class PartFiles(Protocol):
    """Parquet files a piece at a time, in flat memory: what rewriting and comparing versions works with."""

    def batches(
        self, file: BinaryIO | str, *, columns: Sequence[str] | None = None, rows: int = 65_536
    ) -> Iterator[pa.Table]:
        """The rows of one file in order, at most `rows` at a time; columns the file lacks are left out."""

    def write_batches(self, tables: Iterable[pa.Table]) -> Iterator[bytes]:
        """The pieces of one Parquet file: byte for byte that of `write` for all the rows together.

        There must be at least one table; all have the columns of the first.
        """

    def ranges(self, file: BinaryIO | str) -> Mapping[str, ColumnRange]:
        """Between which values the columns of a file lie; what its footer does not say is absent."""

    def buckets(self, table: pa.Table, columns: Sequence[str], count: int) -> NDArray[np.int64]:
        """`(n,)` in `[0, count)`: rows of equal values (null, NaN too) fall into one bucket of a process."""

    def fingerprints(self, table: pa.Table) -> NDArray[np.uint64]:
        """`(n, 2)`: 128 bits that rows of equal values (null, NaN too) share, and others in a process do not.

        By chance two rows of a thousand million have the same with a probability under 1e-20; who chooses
        the values may do better.
        """


class Tables(PartFiles, Protocol):
    """One engine of columns; instants are `timestamp[us, UTC]`. Thread safe, deterministic in its output."""

    @property
    def spare_bytes(self) -> int:
        """How much memory is free for rows now; whoever holds more of them does it in parts."""

    def write(self, table: pa.Table) -> bytes:
        """The table as one Parquet file (zstd); equal tables give equal bytes by one version of an engine."""

    def read(
        self,
        files: Sequence[BinaryIO | str],
        *,
        columns: Sequence[str] | None = None,
        where: Expr | None = None,
    ) -> pa.Table:
        """The rows of Parquet files, in order, that the condition is true of."""

    def schema_of(self, table: pa.Table) -> Schema:
        """Column names and types."""

    def check(self, table: pa.Table, checks: Sequence[RowCheck]) -> tuple[RowCheckResult, ...]:
        """All checks in one scan."""

    def compute(self, table: pa.Table, expressions: Mapping[str, Expr]) -> pa.Table:
        """The value of each expression for each row, under the given names."""

    def select(self, table: pa.Table, where: Expr) -> pa.Table:
        """The rows that the condition is true of, in order."""

    def join_as_of(self, spine: pa.Table, view: pa.Table, join: AsOfJoin) -> pa.Table:
        """The spine's columns in order, then the view's (but for keys, event time, known-at and order)."""

    def join_files(
        self, spine: str, view: str, out: str, join: AsOfJoin, *, memory_bytes: int | None = None
    ) -> FilesJoined:
        """As `join_as_of`, from Parquet files to a new one; columns keep their types.

        The process takes no more than `memory_bytes` of anonymous memory, in reason (the engine's own limit
        where it is not given): what does not fit waits in a folder beside `out`, which goes at the end.
        """

    def join_windows(self, spine: pa.Table, view: pa.Table, join: WindowJoin) -> pa.Table:
        """The spine's columns in order, then one column per window."""

    def profile(self, table: pa.Table, *, like: Json | None = None) -> Json:
        """Per column: count, nulls, distinct, extremes, mean, deviation, quantiles, top values, histogram.

        A histogram has the edges that `like`, an earlier profile, has for the column; then both can be added.
        """
