"""Scans: whatever is asked of the rows of a table, found in one pass, and where the first bad rows are."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

import msgspec

from loopwright.core.expressions import Expr, Scalar
from loopwright.core.nouns import Json
from loopwright.core.schema import Schema
from loopwright.ports.tables import RowCheck

__all__ = [
    "Aggregate",
    "FailedGroups",
    "FailedRows",
    "FailingRow",
    "GroupCheck",
    "Held",
    "Histogram",
    "Levels",
    "Measure",
    "ReferenceCheck",
    "ScanPlan",
    "Scanned",
    "Scanner",
    "UniqueCheck",
]

Aggregate = Literal["rows", "count", "nulls", "sum", "mean", "std", "min", "max", "distinct"]
"""`rows` counts rows, `count` those with a value, NaN being one; all others leave NaN out.
`std` is that of a sample; `min`, `max`, `sum`, `mean` of instants are in microseconds."""


class UniqueCheck(msgspec.Struct, frozen=True, kw_only=True):
    """No two rows have equal values in all of the columns: each after the first of them fails.

    Rows with a null among them are not compared. NaN equals NaN, and 0.0 equals -0.0.
    """

    name: str
    columns: tuple[str, ...]


class ReferenceCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Each value of the column is one of `known` (an Arrow array); null may be."""

    name: str
    column: str
    known: Any


class GroupCheck(msgspec.Struct, frozen=True, kw_only=True):
    """An aggregate of each group of rows lies between `low` and `high`, both inclusive.

    Rows with equal values in `by` are a group, null being a value. An aggregate that is null (of a
    group without values) fails nothing.
    """

    name: str
    by: tuple[str, ...]
    op: Aggregate
    expr: Expr | None = None
    low: float | None = None
    high: float | None = None


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """An aggregate of a column over all rows; of no column only `rows`."""

    name: str
    op: Aggregate
    column: str = ""


class Histogram(msgspec.Struct, frozen=True, kw_only=True):
    """How many values lie below the first edge, in each bin, and above the last edge.

    Bins have their left edge, the last one its right edge too; neither null nor NaN is counted.
    Instants are counted by their microseconds.
    """

    name: str
    column: str
    edges: tuple[float, ...]


class Levels(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows have each of these values, and then how many have any other; null is not counted."""

    name: str
    column: str
    values: tuple[Scalar, ...]


class ScanPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What one scan is to find; each name is given once."""

    rows: tuple[RowCheck, ...] = ()
    unique: tuple[UniqueCheck, ...] = ()
    references: tuple[ReferenceCheck, ...] = ()
    groups: tuple[GroupCheck, ...] = ()
    measures: tuple[Measure, ...] = ()
    histograms: tuple[Histogram, ...] = ()
    levels: tuple[Levels, ...] = ()
    keys: tuple[str, ...] = ()
    """the columns that name a row; of what fails they are given"""
    first: int = 10
    """how many failing rows of each check are named"""


class FailingRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row that fails: its place from 0, and the values of the key columns."""

    row: int
    key: Json = {}


class FailedRows(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows fail a check, and the first of them in order."""

    failed: int
    first: tuple[FailingRow, ...] = ()


class FailedGroups(msgspec.Struct, frozen=True, kw_only=True):
    """How many groups there are and fail; the first that do by their key, the aggregate as `value`."""

    groups: int
    failed: int
    first: tuple[Json, ...] = ()


class Scanned(msgspec.Struct, frozen=True, kw_only=True):
    """What a scan found, by the names of what was asked."""

    rows: int
    checks: Mapping[str, FailedRows] = {}
    groups: Mapping[str, FailedGroups] = {}
    measures: Mapping[str, float | int | None] = {}
    """None where there is no finite value"""
    counts: Mapping[str, tuple[int, ...]] = {}


class Held(Protocol):
    """Rows that are there to be scanned, more than once."""

    @property
    def schema(self) -> Schema:
        """Column names and types as the platform has them; whether there are nulls is not known yet."""

    def scan(self, plan: ScanPlan) -> Scanned:
        """All of the plan in one pass; a second one only to name the first rows of what failed.

        `Invalid` when the plan names a column that is not there, or asks of its type what it has not.
        """


class Scanner(Protocol):
    """One engine of scans. Thread safe; memory grows with the rows no further than it is let."""

    def open(self, source: Any, *, memory_bytes: int | None = None) -> AbstractContextManager[Held]:
        """Make rows ready to be scanned: nothing is read yet that need not be.

        The process takes no more than `memory_bytes` of anonymous memory, in reason (the engine's own limit
        where it is not given): keys and groups that do not fit wait in temporary files.

        A source is an Arrow table, record batches or a reader of them (kept in a file meanwhile, as they
        come only once), a frame or lazy frame of Polars, a pandas frame, or Parquet, CSV or NDJSON files
        by their paths. `Invalid` for anything else.
        """
