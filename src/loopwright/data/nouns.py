"""Words of the data slice: contracts and what they ask for, and what is told of a dataset."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from loopwright.core.expressions import Expr, Scalar
from loopwright.core.nouns import Json, Version
from loopwright.core.schema import ColumnType, Schema
from loopwright.ports.scans import Aggregate

__all__ = [
    "CONTRACT_PREFIX",
    "DATASET",
    "POLICY",
    "Appended",
    "ColumnRule",
    "Comparison",
    "Contract",
    "DatasetBody",
    "DatasetDetail",
    "DatasetView",
    "Distribution",
    "Freshness",
    "GroupRule",
    "QuarantinedRow",
    "Reference",
    "Release",
    "RowRule",
    "RuleResult",
    "Severity",
    "TableSeverity",
    "UniqueKey",
    "Volume",
]

DATASET = "dataset"
POLICY = "policy"
CONTRACT_PREFIX = "contract/"

Severity = Literal["block", "quarantine", "warn"]
TableSeverity = Literal["block", "warn"]
"""of rules that no single row breaks"""


class ColumnRule(msgspec.Struct, frozen=True, kw_only=True):
    """What one column must be like; a value that breaks it is dealt with by `severity`.

    A missing column or another type always blocks. NaN is outside every range. `min` and `max` are
    inclusive; for instants they are ISO 8601 texts.
    """

    name: str
    type: ColumnType
    nullable: bool = True
    min: int | float | str | None = None
    max: int | float | str | None = None
    allowed: tuple[Scalar, ...] = ()
    """the values there may be; empty: any"""
    pattern: str = ""
    """a regular expression the whole text must match"""
    severity: Severity = "quarantine"
    description: str = ""
    forbidden: tuple[Scalar, ...] = ()
    """values there may not be"""
    mostly: float = 1.0
    """the share of rows that has to hold each rule of the column: above it the others are let in"""
    tags: tuple[str, ...] = ()
    """what kind of data it is, such as `pii.email`: tags go along with what is made of the column"""


class RowRule(msgspec.Struct, frozen=True, kw_only=True):
    """An expression that must be true of every row; null counts as true unless `null_fails`."""

    name: str
    expr: Expr
    null_fails: bool = False
    severity: Severity = "quarantine"
    mostly: float = 1.0


class UniqueKey(msgspec.Struct, frozen=True, kw_only=True):
    """Columns whose values together name a row: of several equal rows the first one stands.

    `within` says whether rows of earlier versions count (which reads their key columns) or the
    batch alone. Rows with a null in the key are not compared; in a primary key none may be null, and
    failing rows are told by it.
    """

    columns: tuple[str, ...]
    within: Literal["dataset", "batch"] = "dataset"
    severity: Severity = "quarantine"
    primary: bool = False


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """A column whose values must occur in a column of the newest version of another dataset; null may."""

    column: str
    dataset: str
    to: str
    severity: Severity = "warn"
    mostly: float = 1.0


class GroupRule(msgspec.Struct, frozen=True, kw_only=True):
    """An aggregate of the rows of each group, between `min` and `max`, both inclusive.

    Rows with equal values in `by` are a group, null being a value. `rows` counts rows, `count` those where
    `expr` has a value; the others leave null and NaN out, and say nothing of a group without values.
    """

    name: str
    by: tuple[str, ...]
    of: Aggregate
    expr: Expr | None = None
    min: float | None = None
    max: float | None = None
    severity: TableSeverity = "warn"
    mostly: float = 1.0
    """the share of groups that has to hold it"""


class Freshness(msgspec.Struct, frozen=True, kw_only=True):
    """How old the newest instant of a column may be when the batch comes: `2h`, `1d`."""

    column: str
    within: str
    severity: TableSeverity = "warn"


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """How much a figure of the batch may differ from the last version's: of its last batch for `rows`.

    `at_most` is a share of what it was (0.1: a tenth), or a difference where it is not `relative`.
    """

    of: Literal["rows", "null_share", "distinct", "mean", "std", "min", "max"]
    at_most: float
    column: str = ""
    relative: bool = True
    severity: TableSeverity = "warn"


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """How far a column's values may be spread otherwise than in a baseline, by the baseline's profile.

    `baseline` is the address of a version (`flights@train`), without it the last one. Numbers and instants
    are counted in its bins, texts and booleans by its most frequent values and all others together. Fewer
    than `min_rows` values are not judged. `kolmogorov_smirnov`, of numbers and instants, is the greatest
    difference between the shares of values below 40 quantiles of the baseline's sketch.
    """

    column: str
    at_most: float
    measure: Literal[
        "population_stability", "jensen_shannon", "hellinger", "total_variation", "kolmogorov_smirnov"
    ] = "population_stability"
    baseline: str = ""
    min_rows: int = 200
    severity: TableSeverity = "warn"


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of rows in quarantine without a person: nothing, unless something is said here."""

    when_they_pass: bool = False
    """let in those that hold the contract of the day"""
    drop_after: str = ""
    """drop those that have been there for so long: `30d`"""


class Volume(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows a batch may have, and which share of them may go to quarantine before it is refused."""

    min_rows: int = 0
    max_rows: int | None = None
    max_quarantined: float = 0.5


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """What every batch of a dataset must be like; a policy, versioned as `policy:contract/<name>`."""

    name: str
    columns: tuple[ColumnRule, ...] = ()
    unique: tuple[UniqueKey, ...] = ()
    rows: tuple[RowRule, ...] = ()
    references: tuple[Reference, ...] = ()
    volume: Volume = Volume()
    other_columns: Literal["keep", "refuse"] = "keep"
    """what is done with columns the contract does not name"""
    groups: tuple[GroupRule, ...] = ()
    freshness: tuple[Freshness, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    distributions: tuple[Distribution, ...] = ()
    release: Release = Release()


class RuleResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one rule: whether it held, what was found, the first rows or groups that break it."""

    rule: str
    severity: Severity
    held: bool
    found: str
    limit: str = ""
    failed: int = 0
    """rows, or groups, that break it: with `mostly` there may be some although it held"""
    rows: int = 0
    """rows, or groups, that were looked at"""
    value: float | None = None
    """what was measured, of rules that measure; of a comparison of values, the change"""
    first: tuple[Json, ...] = ()
    """keys of the first that break it; of rows with their place from 0 as `row`"""
    how: str = ""
    """of a rule about other rows than the batch's: how it was found, by profiles or by reading which rows"""
    figures: str = ""
    """what a comparison compared, which may be values of the data: told in a report, never stored"""


class DatasetBody(msgspec.Struct, frozen=True, kw_only=True):
    """What a dataset version's manifest says beside its parts: which columns are times and keys."""

    event_time: str | None = None
    known_at: str | None = None
    keys: tuple[str, ...] = ()
    contract: str | None = None
    """address of the contract's version its newest part was held against"""
    facts: Json = {}
    """what the maker adds (a training set: the digest of its feature service)"""
    batches: tuple[str, ...] = ()
    """batches that were written and whose rows are in no part any more"""


class Appended(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a batch."""

    version: Version
    rows: int
    """rows this call put there; 0 when the batch was there already"""
    quarantined: int = 0
    reasons: dict[str, int] = {}
    """rows in quarantine by reason; a row may have several"""
    warnings: tuple[str, ...] = ()
    repeated: bool = False
    """whether a batch of this name was there already, so that nothing was done"""
    removed: int = 0
    """rows that went: deleted, overwritten or replaced"""
    unchanged: int = 0
    """rows of an upsert that were there already, just so"""
    rewritten: int = 0
    """parts that were written anew to take rows out of them"""


class DatasetView(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset in a list."""

    name: str
    version: int
    rows: int
    """of a table"""
    files: int = 0
    """of a folder"""
    size_bytes: int
    updated_at: datetime
    description: str = ""


class DatasetDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a dataset, as a page shows it."""

    version: Version
    columns: Schema
    rows: int
    parts: int
    files: int = 0
    """how many a folder has; a table has none"""
    body: Json
    """times, keys and contract; a training set: its feature service"""
    aliases: dict[str, int]
    quarantined: int
    """rows in the dataset's quarantine, over all of its versions"""


class QuarantinedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row that a contract kept out, and why."""

    reason: str
    quarantined_at: datetime
    values: Json
