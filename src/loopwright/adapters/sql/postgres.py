"""The ledger on PostgreSQL: serializable units of work, repeated when they met others."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

from sqlalchemy import text

from loopwright.adapters.sql.creating import check_revision, creation
from loopwright.adapters.sql.dumping import clear_rows, count_rows, dangling, dump_rows, load_rows
from loopwright.adapters.sql.feed import CommitFeed, Listener
from loopwright.adapters.sql.pool import Pool
from loopwright.adapters.sql.schema import METADATA
from loopwright.adapters.sql.statements import Compiler, Session
from loopwright.adapters.sql.transaction import SqlTransaction
from loopwright.core.errors import Conflict, Corrupt, Fault, Invalid, LoopwrightError, NotFound, Unavailable
from loopwright.ports.ledger import StoreCheck, Transaction

if TYPE_CHECKING:
    import psycopg

__all__ = ["PostgresLedger", "Target", "connect_server", "target_of"]

T = TypeVar("T")

_ATTEMPTS = 12
_KEPT = 8
_MOST = 32
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}\Z")
_LIMITS = "SET LOCAL lock_timeout = '30s'; SET LOCAL idle_in_transaction_session_timeout = '60s'"
_BEGIN = f"BEGIN ISOLATION LEVEL SERIALIZABLE; {_LIMITS}"
# The snapshot is taken by the first query, so a unit that waited here sees the head it waited for.
_BEGIN_LOCKED = f"{_BEGIN}; LOCK TABLE journal_head IN EXCLUSIVE MODE"
_BEGIN_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_LOCK_AT_ONCE = "LOCK TABLE journal_head IN ROW SHARE MODE NOWAIT"

_REPEAT = {"40001", "40P01", "55P03", "23505"}
_BUSY = "others wrote at the same time"


class Target:
    """Which server, database and schema a URL names; never shows its password."""

    def __init__(self, conninfo: str, schema: str, where: str) -> None:
        self.conninfo = conninfo
        self.schema = schema
        self.where = where

    def __repr__(self) -> str:
        return f"Target({self.where})"


def target_of(url: str) -> Target:
    """Read a `postgresql://` URL; `?schema=` names the schema of its tables (`loopwright`)."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    schema = options.pop("schema", "loopwright")
    if not _SCHEMA.match(schema):
        raise Invalid(f"{schema[:80]!r} is no name of a schema", hint="lower-case letters, digits and _")
    settings = (f"search_path={schema}", "synchronous_commit=on", "enable_seqscan=off", "timezone=UTC")
    options["options"] = " ".join([options.get("options", ""), *(f"-c {each}" for each in settings)]).strip()
    options.setdefault("connect_timeout", "10")
    options.setdefault("application_name", "loopwright")
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in options.items())
    conninfo = urlunsplit(("postgresql", parts.netloc, parts.path, query, ""))
    host = parts.hostname or options.get("host", "local socket")
    return Target(conninfo, schema, f"{host}{parts.path} schema {schema}")


def connect_server(target: Target) -> psycopg.Connection[Any]:
    """A connection in autocommit mode; `Unavailable` when the driver or the server is not there."""
    try:
        import psycopg
    except ImportError as error:
        raise Unavailable(
            "the PostgreSQL driver is not installed", hint='pip install "loopwright[postgres]"'
        ) from error
    try:
        return psycopg.connect(target.conninfo, autocommit=True)
    except psycopg.Error as error:
        raise Unavailable(
            f"PostgreSQL cannot be reached: {error}",
            where=target.where,
            hint="look at the URL, and whether the server runs and lets you in",
        ) from error


class _Link:
    """A connection with its repositories: for writing, and a view of the same unit that only reads."""

    def __init__(self, target: Target, compiler: Compiler) -> None:
        self.connection = connect_server(target)
        self.must_repeat = False
        self.translated = _Translated(self, target.where)
        self._cursor = self.connection.cursor()
        self.transaction = SqlTransaction(self._session(compiler, read_only=False))
        self.snapshot = SqlTransaction(self._session(compiler, read_only=True))

    def _session(self, compiler: Compiler, *, read_only: bool) -> Session:
        return Session(self._cursor, compiler, self.translated, read_only=read_only)

    def run(self, statement: str) -> None:
        """Run a statement without parameters."""
        with self.translated:
            self._cursor.execute(statement.encode())

    def begin(self, statement: str) -> None:
        """Open a unit of work."""
        self.must_repeat = False
        self.transaction.lines.pending.clear()
        self.run(statement)

    def undo(self) -> None:
        """Roll back; a connection that cannot even do that is closed."""
        try:
            if not self.connection.closed:
                self.connection.execute("ROLLBACK")
        except _driver_error():
            self.connection.close()

    def failed(self) -> bool:
        """Whether a statement of the open unit failed, so that it can only be rolled back."""
        return self.connection.info.transaction_status.name == "INERROR"

    def is_sound(self) -> bool:
        """Whether the connection can be used again."""
        return not self.connection.closed and self.connection.info.transaction_status.name == "IDLE"

    def close(self) -> None:
        """Let go of the connection."""
        self.connection.close()


def _driver_error() -> type[Exception]:
    import psycopg

    return psycopg.Error


class _Translated:
    """Turns the driver's errors into ours, and notes that the unit should be repeated."""

    def __init__(self, link: _Link, where: str) -> None:
        self._link = link
        self._where = where

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        if isinstance(error, UnicodeEncodeError):
            raise Invalid(f"a value cannot be kept: {error}", hint="give valid text") from error
        if isinstance(error, _driver_error()):
            state = getattr(error, "sqlstate", None) or ""
            if state in _REPEAT:
                self._link.must_repeat = True
            raise _ours(error, state, self._where) from error


def _ours(error: Exception, state: str, where: str) -> LoopwrightError:
    if state in _REPEAT:
        return Unavailable(_BUSY, where=where, hint="try again")
    match state[:2]:
        case "22":
            return Invalid(f"a value cannot be kept: {error}", hint="give 64-bit numbers and valid text")
        case "23":
            known = state == "23503"
            return (
                NotFound("a row names what is not there")
                if known
                else Conflict(f"a row does not fit: {error}")
            )
        case "53":
            return Unavailable(f"the server lacks room: {error}", where=where, hint="free some space there")
        case "XX" | "58":
            return Corrupt(f"the database reports damage: {error}", where=where, hint="restore a backup")
        case "42" | "25":
            return Fault(f"a statement failed: {error}", where=where)
    if "NUL" in str(error):
        return Invalid("a text has a NUL character", hint="remove it")
    return Unavailable(f"PostgreSQL failed: {error}", where=where, hint="look at the server, then try again")


def _prepare(target: Target) -> str:
    """Make the tables when the schema is new, else look whether it is ours; the revision."""
    compiler = Compiler.for_postgres()
    link = _Link(target, compiler)
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


def _is_made(link: _Link, target: Target) -> bool:
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


def _create(link: _Link, target: Target, compiler: Compiler) -> None:
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


class _MetOthersError(Exception):
    """A unit met another one and left nothing: it is to be repeated."""


def _begin_at_once(link: _Link) -> None:
    link.begin(_BEGIN)


def _begin_behind_others(link: _Link) -> None:
    link.begin(_BEGIN_LOCKED)


def _begin_reading(link: _Link) -> None:
    link.begin(_BEGIN_READING)


class PostgresLedger:
    """Fulfils `ports.ledger.Ledger` in one schema of a database. Any number of processes may open it.

    A unit is first tried without waiting for anybody; when it met another one it is repeated behind the
    lock of the journal's head, which orders those that are repeated.
    """

    def __init__(self, url: str) -> None:
        self.target = target_of(url)
        self._revision = _prepare(self.target)
        self._compiler = Compiler.for_postgres()
        self._feed = CommitFeed()
        self._tail = threading.Lock()
        self._open = threading.local()
        self._pool: Pool[_Link] = Pool(lambda: _Link(self.target, self._compiler), kept=_KEPT, most=_MOST)

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in a serializable unit and return its value once that is durable."""
        outer: _Link | None = getattr(self._open, "link", None)
        if outer is not None:
            return _nested(outer, work)
        return self._repeated(work, attempts=_ATTEMPTS)

    def post(
        self, work: Callable[[Transaction], T], then: Callable[[T | None, BaseException | None], None]
    ) -> bool:
        """Nothing: a unit waits for the database, so it wants a thread of its caller's."""
        return False

    def _repeated(self, work: Callable[[SqlTransaction], T], *, attempts: int) -> T:
        for attempt in range(attempts):
            if attempt:
                time.sleep(random.uniform(0, min(0.25, 0.001 * 2**attempt)))
            begin = _begin_behind_others if attempt else _begin_at_once
            with suppress(_MetOthersError), self._pool.lend(begin) as link:
                return self._tried(link, work, at_once=not attempt)
        raise Unavailable(
            f"{_BUSY}, {attempts} times in a row", where=self.target.where, hint="try again a little later"
        )

    def _tried(self, link: _Link, work: Callable[[SqlTransaction], T], *, at_once: bool) -> T:
        try:
            return self._carry_out(link, work, at_once=at_once)
        except BaseException as error:
            link.undo()
            link.transaction.session.remembered.clear()
            if link.must_repeat:
                raise _MetOthersError from error
            raise

    def _carry_out(self, link: _Link, work: Callable[[SqlTransaction], T], *, at_once: bool) -> T:
        self._open.link = link
        try:
            value = work(link.transaction)
        finally:
            self._open.link = None
        if link.failed() or link.must_repeat:
            raise Fault("a work went on after a statement of it had failed")
        if link.transaction.lines.pending:
            self._commit_lines(link, at_once=at_once)
        else:
            link.run("COMMIT")
        return value

    def _commit_lines(self, link: _Link, *, at_once: bool) -> None:
        """Chain the lines behind the locked head and commit; listeners hear in the order of the journal."""
        with self._tail:
            if at_once:
                link.run(_LOCK_AT_ONCE)
            lines = link.transaction.lines.chain()
            link.run("COMMIT")
            self._feed.offer(lines)

    def read(self) -> AbstractContextManager[Transaction]:
        """A consistent snapshot, taken at the first query; inside a work, what the unit sees."""
        return self._snapshot()

    @contextmanager
    def _snapshot(self) -> Iterator[SqlTransaction]:
        outer: _Link | None = getattr(self._open, "link", None)
        if outer is not None:
            yield outer.snapshot
            return
        with self._pool.lend(_begin_reading) as link:
            try:
                yield link.snapshot
            finally:
                link.undo()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with the events of each commit of this process."""
        return self._feed.subscribe(listener)

    def dump(self) -> Iterator[bytes]:
        """The whole store at one snapshot, as lines of JSON."""
        with self._snapshot() as snapshot:
            yield from dump_rows(snapshot.session)

    def load(self, lines: Iterable[bytes]) -> int:
        """Fill an empty store with a dump in one unit of work; how many rows."""

        def work(unit: SqlTransaction) -> int:
            count = load_rows(unit.session, lines)
            for statement in _COUNT_ON:
                unit.session.rows(statement)
            return count

        return self._repeated(work, attempts=1)

    def empty(self) -> None:
        """Take every row away; other connections, which remember numbers of names, are closed."""

        def work(unit: SqlTransaction) -> None:
            clear_rows(unit.session)
            for statement in _COUNT_ON:
                unit.session.rows(statement)

        self._repeated(work, attempts=1)
        self._pool.drop()

    def compact(self) -> int:
        """Nothing: the server sees to that itself."""
        return 0

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
        """Tell listeners of what is committed and close the connections."""
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


def _nested(link: _Link, work: Callable[[Transaction], T]) -> T:
    """Run a work inside another, in a savepoint."""
    lines = link.transaction.lines.pending
    before = len(lines)
    link.run("SAVEPOINT work")
    try:
        value = work(link.transaction)
    except BaseException:
        del lines[before:]
        link.transaction.session.remembered.clear()
        if not link.must_repeat:
            link.run("ROLLBACK TO work; RELEASE work")
        raise
    link.run("RELEASE work")
    return value
