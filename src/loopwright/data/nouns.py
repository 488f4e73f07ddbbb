"""Words of the data slice: contracts and what they ask for, and what is told of a dataset."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from loopwright.core.expressions import Expr, Scalar
from loopwright.core.nouns import Json, Version
from loopwright.core.schema import ColumnType, Schema

__all__ = [
    "CONTRACT_PREFIX",
    "DATASET",
    "POLICY",
    "Appended",
    "ColumnRule",
    "Contract",
    "DatasetBody",
    "DatasetDetail",
    "DatasetView",
    "QuarantinedRow",
    "Reference",
    "RowRule",
    "Severity",
    "UniqueKey",
    "Volume",
]

DATASET = "dataset"
POLICY = "policy"
CONTRACT_PREFIX = "contract/"

Severity = Literal["block", "quarantine", "warn"]


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


class RowRule(msgspec.Struct, frozen=True, kw_only=True):
    """An expression that must be true of every row; null counts as true unless `null_fails`."""

    name: str
    expr: Expr
    null_fails: bool = False
    severity: Severity = "quarantine"


class UniqueKey(msgspec.Struct, frozen=True, kw_only=True):
    """Columns whose values together name a row: of several equal rows the first one stands.

    `within` says whether rows of earlier versions count (which reads their key columns) or the
    batch alone. Rows with a null in the key are not compared.
    """

    columns: tuple[str, ...]
    within: Literal["dataset", "batch"] = "dataset"
    severity: Severity = "quarantine"


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """A column whose values must occur in a column of the newest version of another dataset; null may."""

    column: str
    dataset: str
    to: str
    severity: Severity = "warn"


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


class DatasetBody(msgspec.Struct, frozen=True, kw_only=True):
    """What a dataset version's manifest says beside its parts: which columns are times and keys."""

    event_time: str | None = None
    known_at: str | None = None
    keys: tuple[str, ...] = ()
    contract: str | None = None
    """address of the contract's version its newest part was held against"""
    facts: Json = {}
    """what the maker adds (a training set: the digest of its feature service)"""


class Appended(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a batch."""

    version: Version
    rows: int
    """rows published by this call; 0 when the batch was there already"""
    quarantined: int = 0
    reasons: dict[str, int] = {}
    """rows in quarantine by reason; a row may have several"""
    warnings: tuple[str, ...] = ()
    repeated: bool = False
    """whether a batch of this name was there already, so that nothing was done"""


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
