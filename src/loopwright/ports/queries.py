"""Queries that people write in SQL: what a slice may ask of an engine that runs them shut off."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import msgspec

from loopwright.core.schema import ColumnType

__all__ = ["Looked", "Queries", "QueryLimits", "QueryRows", "QuerySession", "QueryTable"]


class QueryLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one query may take; past it the query is ended."""

    seconds: float = 20.0
    session_seconds: float = 60.0
    """for all queries of a session together"""
    memory_bytes: int = 1 << 30
    scratch_bytes: int = 4 << 30
    """on disk, of what does not fit in memory"""
    rows: int = 5_000
    """rows that are given back; of more the first"""
    result_bytes: int = 4 << 20


class QueryTable(msgspec.Struct, frozen=True, kw_only=True):
    """A table a query may read: files of Parquet on this machine, and of them these columns alone."""

    files: tuple[str, ...]
    columns: Mapping[str, ColumnType]
    """a column that a file lacks is null there; instants are `TIMESTAMP WITH TIME ZONE` in UTC"""


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """What a query reads, as its text says."""

    tables: tuple[str, ...]
    """every name that may be of a table: those of `made` too"""
    names: tuple[str, ...]
    """every name that may be of a column"""
    made: tuple[str, ...] = ()
    """names the query gives: to queries within it, and to what it computes"""
    outputs: Mapping[str, tuple[tuple[str, ...], ...]] | None = None
    """by column of the result, in lower case, the names it is computed of, each in parts (`people.email`);
    what a `*` gives and what is not certain is left out; None where the query is more than a plain SELECT"""
    is_all: bool
    """whether it may read every column: it has a `*`, or a join by common names"""


class QueryRows(msgspec.Struct, frozen=True, kw_only=True):
    """What a query gave back."""

    table: Any
    """an Arrow table of the platform's types; what else SQL has is text"""
    is_cut: bool = False
    """whether there were more rows than the limits let through"""


class QuerySession(Protocol):
    """Runs queries one after the other."""

    def look(self, sql: str) -> Looked:
        """What the query reads. `Invalid` for what is not one SELECT, or calls what gives other tables."""

    def run(self, sql: str, tables: Mapping[str, QueryTable]) -> QueryRows:
        """The rows of the query. `Invalid` says what is wrong with it, `TooLarge` which limit it passed."""


class Queries(Protocol):
    """An engine whose queries see the tables they are given and nothing else: no file, network or setting.

    The same query over the same tables gives the same rows in the same order, as far as its text says.
    """

    def session(self, limits: QueryLimits) -> AbstractContextManager[QuerySession]:
        """A place to run queries in; it is gone at the end, whatever became of them."""
