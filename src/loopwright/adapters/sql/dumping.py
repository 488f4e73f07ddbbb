"""Carries a whole store as lines of JSON: one form for every kind of store, and a look over its rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import Column, Float, Select, Table, bindparam, delete, func, select, text, tuple_

from loopwright.adapters.sql import schema
from loopwright.adapters.sql.listing import limit_param
from loopwright.adapters.sql.rows import Row
from loopwright.adapters.sql.statements import Session, Statement, insert_new
from loopwright.core.chain import GENESIS
from loopwright.core.errors import Conflict, Corrupt, Unavailable

__all__ = ["clear_rows", "count_rows", "dangling", "dump_rows", "load_rows", "texts_of_rows"]

_FORMAT = 1
_BATCH = 2_000
_TABLES = tuple(t for t in schema.METADATA.sorted_tables if t is not schema.revision_table)
_ENCODE = msgspec.json.Encoder().encode
_DECODE = msgspec.json.Decoder().decode


class _Start(msgspec.Struct, frozen=True, kw_only=True, tag="ledger", tag_field="line"):
    format: int
    revision: str


class _Rows(msgspec.Struct, frozen=True, kw_only=True, tag="table", tag_field="line"):
    table: str
    columns: tuple[str, ...]


class _End(msgspec.Struct, frozen=True, kw_only=True, tag="end", tag_field="line"):
    rows: int


_DECODE_MARK = msgspec.json.Decoder(_Start | _Rows | _End).decode


def _kept(table: Table) -> list[Column[Any]]:
    """The columns of a dump: what the store works out of others is not among them."""
    return [column for column in table.columns if column.computed is None]


@lru_cache(maxsize=64)
def _part(table: Table, after: bool) -> Select[Any]:
    key = list(table.primary_key.columns)
    found = select(*_kept(table))
    if after:
        found = found.where(tuple_(*key) > tuple_(*(bindparam(f"after_{c.name}", type_=c.type) for c in key)))
    return found.order_by(*key).limit(limit_param())


def _rows_of(session: Session, table: Table) -> Iterator[Row]:
    places = {column.name: place for place, column in enumerate(_kept(table))}
    key = [column.name for column in table.primary_key.columns]
    after: dict[str, Any] = {}
    while True:
        rows = session.rows(_part(table, bool(after)), **after, limit=_BATCH)
        yield from rows
        if len(rows) < _BATCH:
            return
        after = {f"after_{name}": rows[-1][places[name]] for name in key}


def _names(table: Table) -> tuple[str, ...]:
    return tuple(str(column.name) for column in _kept(table))


def dump_rows(session: Session) -> Iterator[bytes]:
    """The lines of a dump, read in one snapshot and in flat memory."""
    total = 0
    yield _ENCODE(_Start(format=_FORMAT, revision=schema.REVISION))
    for table in _TABLES:
        yield _ENCODE(_Rows(table=str(table.name), columns=_names(table)))
        reals = [place for place, column in enumerate(_kept(table)) if isinstance(column.type, Float)]
        for row in _rows_of(session, table):
            total += 1
            yield _ENCODE(_portable(row, reals))
    yield _ENCODE(_End(rows=total))


def texts_of_rows(session: Session, without: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Every row with the name of its table, as JSON, read in one snapshot and in flat memory."""
    for table in _TABLES:
        name = str(table.name)
        if name not in without:
            reals = [place for place, column in enumerate(_kept(table)) if isinstance(column.type, Float)]
            yield from ((name, _ENCODE(_portable(row, reals))) for row in _rows_of(session, table))


def _portable(row: Row, reals: Sequence[int]) -> list[Any]:
    """The row as JSON can hold it: an infinite number is written as text."""
    values = list(row)
    for place in reals:
        value = values[place]
        if value is not None and math.isinf(value):
            values[place] = "inf" if value > 0 else "-inf"
    return values


def load_rows(session: Session, lines: Iterable[bytes]) -> int:
    """Fill an empty store; the caller's unit of work makes it all or nothing."""
    _must_be_empty(session)
    session.change(delete(schema.journal_head), {})
    loader = _Loader(session)
    for line in lines:
        loader.take(line)
    return loader.finish()


def clear_rows(session: Session) -> None:
    """Take every row away and begin the journal anew; the caller's unit of work makes it all or nothing."""
    for table in reversed(_TABLES):
        session.change(delete(table), {})
    session.change(_FIRST_HEAD, {})
    session.remembered.clear()


_FIRST_HEAD = text(f"INSERT INTO {schema.journal_head.name} (no, count, hash) VALUES (1, 0, '{GENESIS}')")


def _must_be_empty(session: Session) -> None:
    held = {name: count for name, count in count_rows(session).items() if count}
    held.pop(schema.journal_head.name, None)
    if held:
        raise Conflict(
            f"the ledger is not empty: it has {sum(held.values())} rows",
            hint="restore into an empty workspace, or give --force to set the present one aside",
        )


class _Loader:
    """Takes the lines of a dump one by one and inserts rows in batches."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._tables = {table.name: table for table in _TABLES}
        self._insert: Statement | None = None
        self._reals: tuple[int, ...] = ()
        self._width = 0
        self._batch: list[tuple[Any, ...]] = []
        self._count = 0
        self._started = False
        self._ended = False

    def take(self, line: bytes) -> None:
        """One line."""
        if self._ended:
            raise _not_whole("it goes on behind its end")
        if line[:1] == b"[":
            self._row(line)
            return
        try:
            mark = _DECODE_MARK(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _not_whole(f"a line cannot be read: {error}") from error
        self._flush()
        match mark:
            case _Start():
                self._start(mark)
            case _Rows():
                self._open(mark)
            case _End():
                self._end(mark)

    def finish(self) -> int:
        """The number of rows, once the end was seen."""
        if not self._ended:
            raise _not_whole("its end is missing")
        return self._count

    def _start(self, mark: _Start) -> None:
        if mark.format != _FORMAT or mark.revision != schema.REVISION:
            raise Unavailable(
                f"the dump is of revision {mark.revision}, this release keeps {schema.REVISION}",
                hint="restore it with the release that wrote it, then run: loopwright db upgrade",
            )
        self._started = True

    def _open(self, mark: _Rows) -> None:
        table = self._tables.pop(mark.table, None)
        if table is None or not self._started or mark.columns != _names(table):
            raise _not_whole(f"it has no right table {mark.table!r}")
        self._insert = insert_new(table)
        self._width = len(mark.columns)
        self._reals = tuple(i for i, column in enumerate(_kept(table)) if isinstance(column.type, Float))

    def _end(self, mark: _End) -> None:
        if mark.rows != self._count or self._tables:
            raise _not_whole(f"it should have {mark.rows} rows and has {self._count}")
        self._ended = True

    def _row(self, line: bytes) -> None:
        try:
            values = _DECODE(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _not_whole(f"a row cannot be read: {error}") from error
        if self._insert is None or len(values) != self._width:
            raise _not_whole("a row does not fit its table")
        for place in self._reals:
            if values[place] is not None:
                values[place] = float(values[place])
        self._batch.append(tuple(values))
        self._count += 1
        if len(self._batch) >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        if self._insert is not None and self._batch:
            if self._session.insert_tuples(self._insert, self._batch) != len(self._batch):
                raise _not_whole("it has the same row twice")
            self._batch = []


def _not_whole(reason: str) -> Corrupt:
    return Corrupt(f"the dump of the ledger is not whole: {reason}", hint="take another backup file")


def count_rows(session: Session) -> dict[str, int]:
    """How many rows each table has."""
    return {str(t.name): _one(session.row(_COUNTS[t.name])) for t in _TABLES}


_COUNTS = {table.name: select(func.count()).select_from(table) for table in _TABLES}


def _one(row: Row | None) -> int:
    return 0 if row is None else int(row[0])


def _without(child: Any, parent: Any, what: str) -> tuple[str, Select[Any]]:
    there = select(parent).where(parent == child).correlate(child.table).exists()
    return what, select(func.count()).select_from(child.table).where(child.is_not(None), ~there)


_DANGLING: tuple[Callable[[], tuple[str, Select[Any]]], ...] = (
    lambda: _without(schema.versions.c.asset_id, schema.assets.c.id, "versions of no asset"),
    lambda: _without(schema.aliases.c.asset_id, schema.assets.c.id, "aliases of no asset"),
    lambda: _without(schema.asset_measures.c.asset_id, schema.assets.c.id, "measures of no asset"),
    lambda: _without(schema.links.c.run_id, schema.runs.c.id, "edges of no run"),
    lambda: _without(schema.metric_points.c.run_no, schema.runs.c.no, "points of no run"),
    lambda: _without(schema.metric_points.c.key_no, schema.metric_keys.c.no, "points of no metric"),
    lambda: _without(schema.metric_latest.c.run_no, schema.runs.c.no, "latest points of no run"),
)


def dangling(session: Session) -> Iterator[str]:
    """What is wrong with rows that name others, in words."""
    for build in _DANGLING:
        what, statement = build()
        count = _one(session.row(statement))
        if count:
            yield f"{count} {what}"
