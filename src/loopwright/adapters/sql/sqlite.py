"""The ledger in one SQLite file: group commit by one writer thread, readers beside it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast

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
from loopwright.adapters.sql.locking import FileLock
from loopwright.adapters.sql.pool import Pool
from loopwright.adapters.sql.schema import APPLICATION_ID
from loopwright.adapters.sql.statements import Compiled, Compiler, Session
from loopwright.adapters.sql.transaction import SqlTransaction
from loopwright.core.errors import Conflict, Corrupt, Fault, Invalid, LoopwrightError, NotFound, Unavailable
from loopwright.core.nouns import Event
from loopwright.core.patterns import finder
from loopwright.ports.ledger import StoreCheck, Transaction

__all__ = ["SqliteLedger", "connect_file", "translated"]

T = TypeVar("T")

BUSY_MS = 30_000
"""how long a writer waits for another process"""
_READERS_KEPT = 8
_READERS_MOST = 64
_ROOM = 64 << 10
"""less than this free and the disk is full: SQLite maps its index in pieces of 32 KiB"""
_INTEGRITY = text("PRAGMA integrity_check")


class _Translated:
    """Turns the driver's errors into ours; one object serves all statements of a file."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            ours = _ours(error, self._where)
            if ours is not None:
                raise ours from error


def translated(path: Path) -> _Translated:
    """A block in which the driver's errors become ours."""
    return _Translated(str(path))


_RESTORE = "restore a backup: loopwright restore FILE --force (the present workspace is set aside)"
_BY_CODE: dict[int, tuple[type[LoopwrightError], str, str]] = {
    sqlite3.SQLITE_FULL: (Unavailable, "the disk is full", "free some space; what was acknowledged is safe"),
    sqlite3.SQLITE_IOERR: (Unavailable, "the disk reports an error", "look at the disk, then try again"),
    sqlite3.SQLITE_READONLY: (Unavailable, "the ledger cannot be written", "make file and folder writable"),
    sqlite3.SQLITE_CANTOPEN: (
        Unavailable,
        "the ledger cannot be opened",
        "look at the folder and its rights",
    ),
    sqlite3.SQLITE_PERM: (Unavailable, "the ledger cannot be opened", "look at the folder and its rights"),
    sqlite3.SQLITE_BUSY: (Unavailable, "another process holds the ledger", "try again, or end that process"),
    sqlite3.SQLITE_LOCKED: (
        Unavailable,
        "another process holds the ledger",
        "try again, or end that process",
    ),
    sqlite3.SQLITE_NOMEM: (Unavailable, "there is not enough memory", "free some memory and try again"),
    sqlite3.SQLITE_CORRUPT: (Corrupt, "the ledger is damaged", _RESTORE),
    sqlite3.SQLITE_NOTADB: (Corrupt, "the file is not a ledger", _RESTORE),
    sqlite3.SQLITE_CONSTRAINT: (
        Conflict,
        "a row does not fit the rows that are there",
        "read again and repeat",
    ),
    sqlite3.SQLITE_TOOBIG: (Invalid, "a value is too large for the ledger", "keep large values as objects"),
}


def _ours(error: BaseException, where: str) -> LoopwrightError | None:
    if isinstance(error, OverflowError | UnicodeEncodeError):
        return Invalid(f"a value cannot be kept: {error}", hint="give 64-bit numbers and valid text")
    if not isinstance(error, sqlite3.Error):
        return None
    extended = getattr(error, "sqlite_errorcode", 0)
    if extended == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
        return NotFound("a row names what is not there", where=where, hint="make that first")
    code = extended & 0xFF
    if code == sqlite3.SQLITE_IOERR and _is_full(Path(where).parent):
        code = sqlite3.SQLITE_FULL  # SQLite tells so only of the file itself, not of what it maps beside it
    if code in _BY_CODE:
        kind, message, hint = _BY_CODE[code]
        detail = f" ({error})" if kind is not Corrupt else ""
        return kind(f"{message}{detail}", where=where, hint=hint)
    if isinstance(error, sqlite3.DatabaseError) and "file is not a database" in str(error):
        return Corrupt("the file is not a ledger", where=where, hint=_RESTORE)
    return Fault(f"a statement failed: {error}", where=where)


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _ROOM
    except OSError:
        return False


def connect_file(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """A connection in autocommit mode, set up for durable writes or for reading alone."""
    with translated(path):
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=BUSY_MS / 1000, cached_statements=512
        )
        try:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(
                "PRAGMA fullfsync=ON"
            )  # on macOS a plain fsync leaves data in the drive's cache
            connection.execute("PRAGMA checkpoint_fullfsync=ON")
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA temp_store=MEMORY")
            connection.create_function("re2", 2, _is_found, deterministic=True)
            if read_only:
                connection.execute("PRAGMA query_only=ON")
            else:
                connection.execute("PRAGMA journal_size_limit=67108864")
        except BaseException:
            connection.close()
            raise
    return connection


def _is_found(text: str | None, pattern: str) -> bool | None:
    """SQLite's `re2(text, pattern)`: whether a regular expression is found; null of nothing."""
    return None if text is None else finder(pattern)(text)


def _prepare(path: Path) -> str:
    """Make the tables when the file is new, else look whether it is ours; the revision."""
    if os.path.isdir(path):
        raise Invalid(
            f"{path} is a folder, not a ledger", hint="move it away, or name a file with --database"
        )
    connection = connect_file(path, read_only=False)
    try:
        with translated(path):
            if _is_empty(connection, path):
                _switch_to_wal(connection, path)
                _create(connection, path)
            revision = _revision(connection)
            check_revision(revision, str(path))
            _switch_to_wal(connection, path)
            return revision
    finally:
        connection.close()


def _is_empty(connection: sqlite3.Connection, path: Path) -> bool:
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    mark = connection.execute("PRAGMA application_id").fetchone()[0]
    if tables and mark != APPLICATION_ID:
        raise Invalid(
            f"{path} is the database of another program",
            hint="choose another file with --database, or move that one away",
        )
    return not tables


def _create(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _is_empty(connection, path):
            for statement in creation(Compiler.for_sqlite().dialect):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _switch_to_wal(connection: sqlite3.Connection, path: Path) -> None:
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    if mode != "wal":
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    if mode != "wal":
        raise Unavailable(
            f"{path} cannot keep a write-ahead log",
            hint="put the workspace on a local disk, or use PostgreSQL",
        )


def _revision(connection: sqlite3.Connection) -> str:
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return "" if row is None else str(row[0])


class _Writer:
    """The one connection that writes; fulfils `group.Store`."""

    def __init__(self, path: Path, compiler: Compiler, feed: CommitFeed) -> None:
        self._path = path
        self._compiler = compiler
        self._feed = feed
        self._translated = translated(path)
        self._lock = FileLock(path.with_name(f"{path.name}-lock"), wait_s=BUSY_MS / 1000)
        self._connection: sqlite3.Connection | None = None
        self._transaction: SqlTransaction | None = None
        self._marks: list[int] = []
        self.snapshot: SqlTransaction | None = None

    def begin(self) -> None:
        """Open the group's transaction, waiting for other processes."""
        if self._connection is None:
            self._connection = connect_file(self._path, read_only=False)
            self._transaction = self._over(self._connection, read_only=False)
            self.snapshot = self._over(self._connection, read_only=True)
        self._lock.acquire()
        with self._translated:
            self._connection.execute("BEGIN IMMEDIATE")
        self._marks = [self._connection.total_changes]
        if self._transaction is not None:
            self._transaction.session.moves_on()

    def _over(self, connection: sqlite3.Connection, *, read_only: bool) -> SqlTransaction:
        return SqlTransaction(
            Session(connection.cursor(), self._compiler, self._translated, read_only=read_only)
        )

    def run(self, function: Callable[[Any], Any]) -> Any:
        """Run a work in a savepoint; when it raises, it has left nothing.

        Where nothing was written since the savepoint around it, or since the group began, that one serves.
        """
        connection, transaction = self._opened()
        lines = len(transaction.lines.pending)
        needs_own = connection.total_changes != self._marks[-1]
        if needs_own:
            self._marks.append(connection.total_changes)
            with self._translated:
                connection.execute("SAVEPOINT work")
        try:
            value = function(transaction)
            if needs_own:
                with self._translated:
                    connection.execute("RELEASE work")
        except BaseException:
            del transaction.lines.pending[lines:]
            transaction.session.undone()
            if connection.in_transaction:
                self._undo(connection, ends=needs_own)
            raise
        finally:
            if needs_own:
                self._marks.pop()
        return value

    def _undo(self, connection: sqlite3.Connection, *, ends: bool) -> None:
        """Back to the last mark: a savepoint, or the beginning of the group, in which nothing came before."""
        with self._translated:
            if connection.total_changes != self._marks[-1]:
                if len(self._marks) > 1:
                    connection.execute("ROLLBACK TO work")
                else:
                    connection.execute("ROLLBACK")
                    connection.execute("BEGIN IMMEDIATE")
            if ends:
                connection.execute("RELEASE work")
        self._marks[-1] = connection.total_changes

    def is_open(self) -> bool:
        """Whether the group's transaction is still there."""
        return self._connection is not None and self._connection.in_transaction

    def commit(self) -> tuple[Event, ...]:
        """Chain the group's lines and make all of it durable."""
        connection, transaction = self._opened()
        lines = transaction.lines.chain()
        with self._translated:
            connection.execute("COMMIT")
        self._lock.release()  # COMMIT has also folded the log into the file, where it had grown long
        transaction.lines.pending.clear()
        return lines

    def rollback(self) -> None:
        """Undo the group. A connection that cannot even do that is given up: the next group opens another."""
        if self._transaction is not None:
            self._transaction.lines.pending.clear()
            self._transaction.session.undone()
        try:
            if self._connection is not None and self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            self.close()
        self._lock.release()

    def released(self, committed: Any) -> None:
        """Tell the listeners."""
        self._feed.offer(committed)

    def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        self._transaction = self.snapshot = None
        if connection is not None:
            connection.close()
        self._lock.close()

    def _opened(self) -> tuple[sqlite3.Connection, SqlTransaction]:
        if self._connection is None or self._transaction is None:
            raise Fault("a work was run outside a group")
        return self._connection, self._transaction


class _Reader:
    """A connection that only reads, with its repositories."""

    def __init__(self, path: Path, compiler: Compiler) -> None:
        self._connection = connect_file(path, read_only=True)
        self._translated = translated(path)
        session = Session(self._connection.cursor(), compiler, self._translated, read_only=True)
        self.transaction = SqlTransaction(session)
        self._is_sound = True

    def begin(self) -> None:
        """Open a snapshot."""
        with self._translated:
            self._connection.execute("BEGIN")

    def end(self) -> None:
        """Let go of the snapshot."""
        try:
            self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._is_sound = False

    def is_sound(self) -> bool:
        """Whether the connection can be used again."""
        return self._is_sound

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()


class SqliteLedger:
    """Fulfils `ports.ledger.Ledger` with one file. Several processes may open it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._revision = _prepare(path)
        self._compiler = Compiler.for_sqlite()
        self._feed = CommitFeed()
        self._store = _Writer(path, self._compiler, self._feed)
        self._writer = GroupWriter(self._store, name="ledger-writer")
        self._readers: Pool[_Reader] = Pool(
            lambda: _Reader(path, self._compiler), kept=_READERS_KEPT, most=_READERS_MOST
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
        with self._readers.lend(_Reader.begin) as reader:
            try:
                yield reader.transaction
            finally:
                reader.end()

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
        return int(self._writer.submit(lambda unit: load_rows(unit.session, lines)))

    def empty(self) -> None:
        """Take every row away."""
        self._writer.submit(lambda unit: clear_rows(unit.session))

    def compact(self) -> int:
        """Write the file anew without its empty pages; how many bytes that gave back."""
        before = self._size()
        with contextlib.closing(connect_file(self.path, read_only=False)) as own, translated(self.path):
            own.execute("VACUUM")
            own.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return max(0, before - self._size())

    def _size(self) -> int:
        """Bytes of the file and of the log beside it."""
        log = self.path.with_name(f"{self.path.name}-wal")
        return self.path.stat().st_size + (log.stat().st_size if log.exists() else 0)

    def check(self) -> StoreCheck:
        """Look over the whole file: SQLite's own check, revision, rows that name what is not there."""
        with self._snapshot() as snapshot:
            faults = self._damage(snapshot.session)
            rows: dict[str, int] = {}
            if not faults:  # damaged pages can neither be counted nor joined
                faults = list(dangling(snapshot.session))
                rows = count_rows(snapshot.session)
        return StoreCheck(
            kind="sqlite",
            revision=self._revision,
            faults=tuple(faults),
            rows=rows,
            size_bytes=self.path.stat().st_size,
        )

    @staticmethod
    def _damage(session: Session) -> list[str]:
        try:
            found = [str(row[0]) for row in session.rows(_INTEGRITY)]
        except Corrupt as error:
            return [error.message]
        return [] if found == ["ok"] else found

    def compiled(self) -> tuple[Compiled, ...]:
        """Every statement that was run so far, to ask the store for its plan."""
        return self._compiler.known()

    def revision(self) -> str:
        """The schema revision of the file."""
        return self._revision

    def close(self) -> None:
        """Finish open works, tell listeners of them, close the file."""
        self._writer.close()
        self._feed.close()
        self._readers.close()
