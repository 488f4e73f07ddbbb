"""Statements of SQLAlchemy Core, compiled once for a store and run on the driver's cursor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import msgspec
from sqlalchemy import ClauseElement, Column, Table
from sqlalchemy.engine import Dialect

from loopwright.adapters.sql.arrays import arrays_of
from loopwright.adapters.sql.rows import Row
from loopwright.core.errors import Fault

__all__ = [
    "Compiled",
    "Compiler",
    "Cursor",
    "Session",
    "Statement",
    "Upsert",
    "insert_all",
    "insert_new",
    "upsert",
]


class Upsert:
    """An insert that gives way to a row that is there; each dialect has its own class for it."""

    def __init__(self, columns: Sequence[Column[Any]], build: Callable[[Any], ClauseElement]) -> None:
        self.columns = tuple(columns)
        """what a row gives values for, in the order of the parameters"""
        self.build = build


Statement = ClauseElement | Upsert


def insert_new(table: Table, columns: Iterable[str] | None = None) -> Upsert:
    """Insert a row unless its key is there; the count of changed rows tells."""
    names = [c.name for c in table.columns if c.computed is None] if columns is None else list(columns)

    def build(insert: Any) -> ClauseElement:
        found: ClauseElement = insert(table).values(dict.fromkeys(names)).on_conflict_do_nothing()
        return found

    return Upsert([table.c[name] for name in names], build)


def insert_all(table: Table) -> Upsert:
    """Insert a row; one whose key is there is an error."""
    names = [column.name for column in table.columns]
    return Upsert(list(table.columns), lambda insert: insert(table).values(dict.fromkeys(names)))


def upsert(table: Table, key: Sequence[str], *, when: Callable[[Any], Any] | None = None) -> Upsert:
    """Insert a row or replace all but its key; `when` gives a condition on the excluded (new) columns."""
    rest = [c.name for c in table.columns if c.name not in key]

    def build(insert: Any) -> ClauseElement:
        start = insert(table).values(dict.fromkeys(c.name for c in table.columns))
        new = start.excluded
        found: ClauseElement = start.on_conflict_do_update(
            index_elements=list(key),
            set_={name: new[name] for name in rest},
            where=None if when is None else when(new),
        )
        return found

    return Upsert(list(table.columns), build)


class Compiled(msgspec.Struct, frozen=True):
    """The text of a statement, the names of its parameters in their order, and those with a fixed value."""

    text: str
    names: tuple[str, ...]
    fixed: Mapping[str, Any]

    def arguments(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """The parameters in order."""
        if not self.fixed:
            return tuple([values[name] for name in self.names])
        return tuple([values[name] if name in values else self.fixed[name] for name in self.names])


class Compiler:
    """Compiles for one kind of store, whose dialect is loaded with the first compiler for it."""

    def __init__(self, dialect: Dialect, insert: Callable[..., Any]) -> None:
        self.dialect = dialect
        self.mark = "?" if dialect.paramstyle == "qmark" else "%s"
        """how a parameter is written"""
        self._insert = insert
        self._known: dict[Statement, Compiled] = {}
        self._many: dict[Upsert, Compiled] = {}

    @classmethod
    def for_sqlite(cls) -> Compiler:
        """Parameters are written `?`."""
        from sqlalchemy.dialects import sqlite

        return cls(sqlite.dialect(paramstyle="qmark"), sqlite.insert)

    @classmethod
    def for_postgres(cls) -> Compiler:
        """Parameters are written `%s`."""
        from sqlalchemy.dialects import postgresql

        dialect: Callable[..., Dialect] = postgresql.dialect
        return cls(dialect(paramstyle="format"), postgresql.insert)

    def known(self) -> tuple[Compiled, ...]:
        """Every statement that was compiled so far."""
        return tuple(self._known.values())

    def __call__(self, statement: Statement) -> Compiled:
        """The compiled form."""
        found = self._known.get(statement)
        if found is None:
            found = self._known[statement] = self._compile(statement)
        return found

    def many(self, statement: Upsert) -> Compiled:
        """The form that takes one array a column and inserts all their rows at once: of PostgreSQL."""
        found = self._many.get(statement)
        if found is None:
            found = self._many[statement] = self._with_arrays(statement)
        return found

    def _with_arrays(self, statement: Upsert) -> Compiled:
        one = self(statement)
        start, _, rest = one.text.partition(" VALUES (")
        kinds = [column.type.compile(self.dialect).partition(" COLLATE")[0] for column in statement.columns]
        arrays = ", ".join(f"{self.mark}::{kind}[]" for kind in kinds)
        return Compiled(
            text=f"{start} SELECT * FROM unnest({arrays}){rest.partition(')')[2]}",
            names=one.names,
            fixed=one.fixed,
        )

    def _compile(self, statement: Statement) -> Compiled:
        element = statement.build(self._insert) if isinstance(statement, Upsert) else statement
        done: Any = element.compile(dialect=self.dialect)
        names = tuple(done.positiontup or ())
        required = {bind.key for bind in done.binds.values() if bind.required}
        fixed = {name: value for name, value in done.params.items() if name not in required}
        return Compiled(text=str(done), names=names, fixed={k: v for k, v in fixed.items() if v is not None})


class Cursor(Protocol):
    """What both drivers' cursors have."""

    @property
    def rowcount(self) -> int:
        """How many rows the last statement changed."""

    def execute(self, text: Any, arguments: Any = ..., /) -> Any:
        """Run a statement."""

    def executemany(self, text: Any, arguments: Any, /) -> Any:
        """Run a statement once for each row of parameters."""

    def fetchall(self) -> Sequence[Any]:
        """All rows that are left."""

    def fetchone(self) -> Any:
        """The next row, or None."""


class Session:
    """Runs statements on one cursor of an open transaction. Used by one thread at a time."""

    def __init__(
        self,
        cursor: Cursor,
        compiler: Compiler,
        translated: AbstractContextManager[None],
        *,
        read_only: bool,
    ) -> None:
        self._cursor = cursor
        self._later: Callable[..., object] = getattr(cursor, "later", cursor.execute)
        self._compiler = compiler
        self._translated = translated
        self.read_only = read_only
        self.remembered: dict[tuple[str, str], int] = {}
        """numbers of names that were found, by space and name; whoever undoes a work clears it"""
        self.moment = 0
        """while it stays, nothing that was read in this session can have changed"""
        self.places: dict[str, tuple[int, str, int]] = {}
        """number, space and experiment's number of runs that were asked for since the session moved on"""

    def rows(self, statement: Statement, **values: Any) -> Sequence[Row]:
        """All rows of a query."""
        compiled = self._compiler(statement)
        with self._translated:
            self._cursor.execute(compiled.text, compiled.arguments(values))
            return self._cursor.fetchall()

    def row(self, statement: Statement, **values: Any) -> Row | None:
        """The first row of a query, or None."""
        compiled = self._compiler(statement)
        with self._translated:
            self._cursor.execute(compiled.text, compiled.arguments(values))
            found: Row | None = self._cursor.fetchone()
            return found

    def ask(self, statement: Statement, then: Callable[[Sequence[Row]], object], **values: Any) -> None:
        """Have `then` told the rows of a query with the answer to the next one: of PostgreSQL."""
        compiled = self._compiler(statement)
        with self._translated:
            self._later(compiled.text, compiled.arguments(values), then)

    def moves_on(self) -> None:
        """Others may have written, or something was taken away."""
        self.moment += 1
        self.places.clear()

    def undone(self) -> None:
        """Works were undone: what they found and made may not be there."""
        self.moves_on()
        self.remembered.clear()

    def add(self, statement: Statement, values: Mapping[str, Any]) -> Row | None:
        """Run an insert that returns something; None when the row was there."""
        self.writable()
        self.moment += 1
        rows = self.rows(statement, **values)  # all of them: what is not read to its end is not done
        return rows[0] if rows else None

    def change(self, statement: Statement, values: Mapping[str, Any]) -> int:
        """Run a statement that writes; how many rows it changed."""
        self.writable()
        self.moment += 1
        compiled = self._compiler(statement)
        with self._translated:
            self._cursor.execute(compiled.text, compiled.arguments(values))
            return self._cursor.rowcount

    def put(self, statement: Statement, values: Mapping[str, Any]) -> None:
        """As `change` where nobody asks how many: it may run no sooner than the next question, or the end."""
        self.writable()
        self.moment += 1
        compiled = self._compiler(statement)
        with self._translated:
            self._later(compiled.text, compiled.arguments(values))

    def put_tuples(self, statement: Upsert, tuples: Sequence[tuple[Any, ...]]) -> None:
        """As `insert_tuples`, in the way of `put`."""
        if self.is_sqlite or not tuples:
            self.insert_tuples(statement, tuples)
            return
        self.writable()
        self.moment += 1
        with self._translated:
            if len(tuples) == 1:
                self._later(self._compiler(statement).text, tuples[0])
            else:
                self._later(self._compiler.many(statement).text, arrays_of(tuples))

    def change_many(self, statement: Statement, values: Sequence[Mapping[str, Any]]) -> int:
        """Run a statement that writes once for each set of values; how many rows were changed in all."""
        self.writable()
        compiled = self._compiler(statement)
        return self.insert_tuples(statement, [compiled.arguments(each) for each in values])

    def insert_tuples(self, statement: Statement, tuples: Sequence[tuple[Any, ...]]) -> int:
        """As `change_many` for the hottest statements: values stand in the order of the columns already."""
        self.writable()
        if not tuples:
            return 0
        self.moment += 1
        with self._translated:
            if len(tuples) == 1:
                self._cursor.execute(self._compiler(statement).text, tuples[0])
            elif isinstance(statement, Upsert) and not self.is_sqlite:
                self._cursor.execute(self._compiler.many(statement).text, arrays_of(tuples))
            else:
                self._cursor.executemany(self._compiler(statement).text, tuples)
            return self._cursor.rowcount

    def fetch(self, text: str, arguments: Sequence[Any]) -> Sequence[Row]:
        """All rows of a query whose text was put together for this one question, parameters written `?`."""
        with self._translated:
            self._cursor.execute(self._marked(text), tuple(arguments))
            return self._cursor.fetchall()

    def put_text(self, text: str, arguments: Sequence[Any]) -> None:
        """As `put`, of a statement for one kind of store, parameters written `?`."""
        self.writable()
        self.moment += 1
        with self._translated:
            self._later(self._marked(text), tuple(arguments))

    def _marked(self, text: str) -> str:
        return text if self._compiler.mark == "?" else text.replace("%", "%%").replace("?", "%s")

    @property
    def is_sqlite(self) -> bool:
        """Whether the store is SQLite: texts put together here differ in few words."""
        return self._compiler.mark == "?"

    def writable(self) -> None:
        """Raise a `Fault` when this is a snapshot."""
        if self.read_only:
            raise Fault("a snapshot was written to", hint="write inside `Ledger.write`")
