"""The ledger on PostgreSQL: group commit by one writer thread of each process, readers beside it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar, cast

from sqlalchemy import text

from loopwright.adapters.sql.creating import check_revision, creation
from loopwright.adapters.sql.dumping import (
    clear_rows,
    count_rows,
    dangling,
    dump_rows,
    load_rows,
    texts_of_rows,
)
from loopwright.adapters.sql.feed import CommitFeed, Listener
from loopwright.adapters.sql.group import GroupWriter
from loopwright.adapters.sql.pool import Pool
from loopwright.adapters.sql.postgres_link import PostgresLink, Target, target_of
from loopwright.adapters.sql.postgres_writer import PostgresWriter
from loopwright.adapters.sql.schema import METADATA
from loopwright.adapters.sql.statements import Compiler
from loopwright.adapters.sql.transaction import SqlTransaction
from loopwright.core.errors import Invalid
from loopwright.ports.ledger import StoreCheck, Transaction

__all__ = ["PostgresLedger"]

T = TypeVar("T")

_KEPT = 8
_MOST = 32
_PATIENCE = "60s"
"""how long each table is waited for when all are written anew"""
_BEGIN_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


def _prepare(target: Target) -> str:
    """Make the tables when the schema is new, else look whether it is ours; the revision."""
    compiler = Compiler.for_postgres()
    link = PostgresLink(target, compiler)
    try:
        if not _is_made(link, target):
            _create(link, target, compiler)
        link.run("SELECT version_num FROM alembic_version")
        row = link.connection.execute("SELECT version_num FROM alembic_version").fetchone()
        revision = "" if row is None else str(row[0])
        check_revision(revision, target.where)
        return revision
    finally:
        link.close()


def _is_made(link: PostgresLink, target: Target) -> bool:
    with link.translated:
        found = link.connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = %s", (target.schema,)
        ).fetchall()
    names = {row[0] for row in found}
    if names and not {"alembic_version", "journal_head"} <= names:
        raise Invalid(
            f"the schema {target.schema} holds the tables of another program",
            where=target.where,
            hint="name another one: postgresql://host/database?schema=loopwright",
        )
    return bool(names)


def _create(link: PostgresLink, target: Target, compiler: Compiler) -> None:
    link.run("BEGIN")
    try:
        link.run(f"SELECT pg_advisory_xact_lock(hashtext('loopwright.{target.schema}'))")
        if not _is_made(link, target):
            link.run(f"CREATE SCHEMA IF NOT EXISTS {target.schema}")
            for statement in creation(compiler.dialect):
                link.run(statement)
        link.run("COMMIT")
    except BaseException:
        link.undo()
        raise


def _begin_reading(link: PostgresLink) -> None:
    link.run(_BEGIN_READING)


class PostgresLedger:
    """Fulfils `ports.ledger.Ledger` in one schema of a database. Any number of processes may open it."""

    def __init__(self, url: str) -> None:
        self.target = target_of(url)
        self._revision = _prepare(self.target)
        self._compiler = Compiler.for_postgres()
        self._feed = CommitFeed()
        self._store = PostgresWriter(self.target, self._compiler, self._feed)
        self._writer = GroupWriter(self._store, name="ledger-writer")
        self._pool: Pool[PostgresLink] = Pool(
            lambda: PostgresLink(self.target, self._compiler), kept=_KEPT, most=_MOST
        )

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` on the writer thread and return its value once that is durable."""
        if self._writer.is_here:
            return cast("T", self._store.run(work))
        return cast("T", self._writer.submit(work))

    def post(
        self, work: Callable[[Transaction], T], then: Callable[[T | None, BaseException | None], None]
    ) -> bool:
        """As `write`, without waiting: `then` is told by the writer thread once the work is durable."""
        self._writer.post(work, then)
        return True

    def read(self) -> AbstractContextManager[Transaction]:
        """A consistent snapshot, taken at the first query; inside a work, what the unit sees."""
        return self._snapshot()

    @contextmanager
    def _snapshot(self) -> Iterator[SqlTransaction]:
        if self._writer.is_here and self._store.snapshot is not None:
            yield self._store.snapshot
            return
        with self._pool.lend(_begin_reading) as link:
            try:
                yield link.snapshot
            finally:
                link.undo()

    def subscribe(self, listener: Listener, *, patient: tuple[str, ...] = ()) -> Callable[[], None]:
        """Call `listener` with the events of the commits of this process."""
        return self._feed.subscribe(listener, patient=patient)

    def dump(self) -> Iterator[bytes]:
        """The whole store at one snapshot, as lines of JSON."""
        with self._snapshot() as snapshot:
            yield from dump_rows(snapshot.session)

    def texts(self, *, without: Collection[str] = ()) -> Iterator[tuple[str, bytes]]:
        """Every row as the name of its table and as JSON, but those of tables that are left out."""
        with self._snapshot() as snapshot:
            yield from texts_of_rows(snapshot.session, without)

    def load(self, lines: Iterable[bytes]) -> int:
        """Fill an empty store with a dump in one unit of work; how many rows."""

        def work(unit: SqlTransaction) -> int:
            count = load_rows(unit.session, lines)
            for statement in _COUNT_ON:
                unit.session.rows(statement)
            return count

        return int(self._writer.submit(work))

    def empty(self) -> None:
        """Take every row away."""

        def work(unit: SqlTransaction) -> None:
            clear_rows(unit.session)
            for statement in _COUNT_ON:
                unit.session.rows(statement)

        self._writer.submit(work)

    def compact(self) -> int:
        """Write the tables anew, with what the server has counted of them; how many bytes that gave back.

        A plain `VACUUM` leaves the bytes of removed rows in the free part of their pages. Who wants a table
        meanwhile waits; `Unavailable` where others hold one for long.
        """
        link = PostgresLink(self.target, self._compiler, f"lock_timeout = '{_PATIENCE}'")
        try:
            before = self.check().size_bytes
            link.run(f"VACUUM (FULL, ANALYZE) {', '.join(table.name for table in METADATA.sorted_tables)}")
            link.run("VACUUM (FULL) pg_catalog.pg_statistic")  # who may not is told so by a notice
        finally:
            link.close()
        return max(0, before - self.check().size_bytes)

    def check(self) -> StoreCheck:
        """Look over all rows: revision, rows that name what is not there. The server checks its own pages."""
        with self._snapshot() as snapshot:
            faults = tuple(dangling(snapshot.session))
            rows = count_rows(snapshot.session)
            size = snapshot.session.row(_SIZE, schema=self.target.schema)
        return StoreCheck(
            kind="postgresql",
            revision=self._revision,
            faults=faults,
            rows=rows,
            size_bytes=0 if size is None else int(size[0]),
        )

    def revision(self) -> str:
        """The schema revision of the store."""
        return self._revision

    def close(self) -> None:
        """Finish open works, tell listeners of them, close the connections."""
        self._writer.close()
        self._feed.close()
        self._pool.close()


_SIZE = text(
    "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c"
    " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = :schema AND c.relkind = 'r'"
)
# Numbers given out by the database go on behind those that were loaded.
_COUNT_ON = tuple(
    text(f"SELECT setval(pg_get_serial_sequence('{t}', 'no'), coalesce(max(no), 0) + 1, false) FROM {t}")
    for t in (table.name for table in METADATA.sorted_tables if table.autoincrement_column is not None)
)
