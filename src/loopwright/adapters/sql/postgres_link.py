"""Connections to PostgreSQL: where a URL leads, statements run there, and its errors in our words."""

from __future__ import annotations

import re
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

from loopwright.adapters.sql.pipeline import PipelineCursor
from loopwright.adapters.sql.statements import Compiler, Session
from loopwright.adapters.sql.transaction import SqlTransaction
from loopwright.core.errors import Conflict, Corrupt, Fault, Invalid, LoopwrightError, NotFound, Unavailable

if TYPE_CHECKING:
    import psycopg

__all__ = ["PostgresLink", "Target", "connect_server", "target_of"]

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}\Z")
_SETTINGS = (
    "synchronous_commit=on",
    "enable_seqscan=off",
    "enable_bitmapscan=off",
    "random_page_cost=1.1",
    "jit=off",
    "timezone=UTC",
)
"""every question is put so that an index answers it in its order; a planner that knows no counts yet would
read all and sort, and compile that first, or merge with all runs where some are asked for by their numbers"""
_IDLE = 0
"""libpq's word for a connection without a transaction, `PQTRANS_IDLE`"""
_MET = {"40001", "40P01"}
_BUSY = {*_MET, "55P03"}


_OTHER: tuple[type[LoopwrightError], str, str] = (
    Unavailable,
    "PostgreSQL failed",
    "look at the server, then try again",
)
_BY_CLASS: dict[str, tuple[type[LoopwrightError], str, str]] = {
    "22": (Invalid, "a value cannot be kept", "give 64-bit numbers and valid text"),
    "23": (Conflict, "a row does not fit the rows that are there", "read again and repeat"),
    "53": (Unavailable, "the server lacks room", "free some space there"),
    "XX": (Corrupt, "the database reports damage", "restore a backup"),
    "58": (Corrupt, "the database reports damage", "restore a backup"),
    "42": (Fault, "a statement failed", ""),
    "25": (Fault, "a statement failed", ""),
}


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
    settings = (f"search_path={schema}", *_SETTINGS)
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


class PostgresLink:
    """A connection with its repositories: for writing, and a view of the same unit that only reads."""

    def __init__(self, target: Target, compiler: Compiler, *settings: str) -> None:
        self.connection = connect_server(target)
        self.has_met = False
        """whether a statement failed because of others, so that the unit can be repeated"""
        self.translated = _Translated(self, target.where)
        self.cursor = PipelineCursor(self.connection)
        self.transaction = SqlTransaction(self._session(compiler, read_only=False))
        self.snapshot = SqlTransaction(self._session(compiler, read_only=True))
        for setting in settings:
            self.run(f"SET {setting}")

    def _session(self, compiler: Compiler, *, read_only: bool) -> Session:
        return Session(self.cursor, compiler, self.translated, read_only=read_only)

    def run(self, statement: str) -> None:
        """Run a statement without parameters."""
        with self.translated:
            self.cursor.execute(statement)

    def undo(self) -> None:
        """Roll back; a connection that cannot even do that is closed."""
        try:
            self.cursor.forget()
            if not self.connection.closed:
                self.cursor.execute("ROLLBACK")
        except _driver_error():
            self.connection.close()

    def failed(self) -> bool:
        """Whether a statement of the open unit failed, so that it can only be rolled back."""
        return self.connection.closed or self.cursor.failed_at is not None

    def is_sound(self) -> bool:
        """Whether the connection can be used again."""
        return not self.connection.closed and self.connection.pgconn.transaction_status == _IDLE

    def close(self) -> None:
        """Let go of the connection."""
        self.connection.close()


def _driver_error() -> type[Exception]:
    import psycopg

    return psycopg.Error


class _Translated:
    """Turns the driver's errors into ours, and notes when others were to blame."""

    def __init__(self, link: PostgresLink, where: str) -> None:
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
            self._link.has_met |= state in _MET
            raise _ours(error, state, self._where) from error


def _ours(error: Exception, state: str, where: str) -> LoopwrightError:
    if state in _BUSY:
        return Unavailable("others wrote at the same time", where=where, hint="try again a little later")
    if state == "23503":
        return NotFound("a row names what is not there", where=where, hint="make that first")
    if not state and "NUL" in str(error):
        return Invalid("a text has a NUL character", hint="remove it")
    kind, message, hint = _BY_CLASS.get(state[:2], _OTHER)
    return kind(f"{message}: {error}", where=where, hint=hint)
