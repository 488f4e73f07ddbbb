"""An MLflow database as tables to ask: opened to read alone, whichever of its schemas it has."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import (
    URL,
    Column,
    ColumnElement,
    Connection,
    Engine,
    MetaData,
    Select,
    Table,
    create_engine,
    event,
    inspect,
    make_url,
    select,
    true,
)
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from loopwright.core.errors import Corrupt, Invalid, Unavailable

__all__ = ["Source", "integer", "number", "text", "texts"]

_NEEDED = {"experiments", "runs", "metrics", "latest_metrics", "params", "tags"}
_WORKSPACE = "default"
_FETCH = 20_000
_DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
_LARGEST = 1 << 63


class Source:
    """The tables of a database that MLflow keeps. One thread uses it."""

    def __init__(self, url: str, *, writable: bool = False) -> None:
        self.engine, self.address = _engine(url, writable=writable)
        self._connection: Connection | None = None
        self._tables: dict[str, Table] = {}
        try:
            self._connection = self.engine.connect()
            names = set(inspect(self._connection).get_table_names())
        except SQLAlchemyError as error:
            self.close()
            raise self._failed(error) from error
        self.names = frozenset(names)
        if not names >= _NEEDED:
            self.close()
            raise Invalid(
                f"{self.address} is no database of MLflow",
                hint="name the one that `mlflow server --backend-store-uri` was started with",
            )

    def table(self, name: str) -> Table:
        """A table with the columns it has here."""
        if name not in self._tables:
            found = inspect(self.connection).get_columns(name)
            columns = [Column(each["name"], each["type"]) for each in found]
            self._tables[name] = Table(name, MetaData(), *columns)
        return self._tables[name]

    def here(self, table: Table) -> ColumnElement[bool]:
        """The rows of MLflow's default workspace, in schemas that have several."""
        return table.c.workspace == _WORKSPACE if "workspace" in table.c else true()

    def rows(self, question: Select[Any]) -> Iterator[Sequence[Any]]:
        """Rows as they are asked for, in flat memory; `Unavailable` when the database refuses."""
        try:
            with self.connection.execution_options(yield_per=_FETCH).execute(question) as found:
                yield from found
        except (SQLAlchemyError, OverflowError, ValueError) as error:
            raise self._failed(error) from error

    def all(self, question: Select[Any]) -> list[Sequence[Any]]:
        """All rows of a question about a page."""
        return list(self.rows(question))

    def schema_revision(self) -> str:
        """The revision of its schema, as MLflow's migrations name it."""
        if "alembic_version" not in self.names:
            return "unknown"
        rows = self.all(select(self.table("alembic_version").c.version_num))
        return text(rows[0][0]) if rows else "unknown"

    @property
    def connection(self) -> Connection:
        """The one connection."""
        if self._connection is None:
            raise Unavailable(f"{self.address} was closed", hint="open it again")
        return self._connection

    def _failed(self, error: Exception) -> Unavailable:
        said = str(getattr(error, "orig", None) or type(error).__name__)
        return Unavailable(
            f"{self.address} cannot be read: {said.splitlines()[0][:200] if said else 'no reason given'}",
            hint="look at the address, and whether the database lets you in",
        )

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self.engine.dispose()


def _engine(url: str, *, writable: bool) -> tuple[Engine, str]:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise Invalid("the address of the database cannot be read", hint="sqlite:///mlflow.db") from error
    kind = parsed.get_backend_name()
    if kind not in _DRIVERS:
        raise Invalid(
            f"databases of the kind {kind[:40]!r} are not read",
            hint="SQLite and PostgreSQL are; for others give the http:// address of the tracking server",
        )
    if kind == "sqlite":
        return _sqlite(parsed, "rw" if writable else "ro")
    server = parsed.set(drivername=_DRIVERS[kind])
    shown = f"postgresql://{server.host or 'localhost'}:{server.port or 5432}/{server.database or ''}"
    try:
        options = {"poolclass": NullPool, "connect_args": {"connect_timeout": 10}}
        made = create_engine(server, isolation_level="REPEATABLE READ", **options)
        return made.execution_options(postgresql_readonly=True), shown  # one snapshot, whoever writes
    except ImportError as error:
        raise Unavailable(
            "the PostgreSQL driver is not installed", hint='pip install "loopwright[postgres]"'
        ) from error


def _sqlite(url: URL, mode: str) -> tuple[Engine, str]:
    path = Path(os.path.realpath(url.database or ""))
    if not path.is_file():
        raise Invalid(f"there is no database {url.database or ''!r}", hint="name a file: sqlite:///mlflow.db")
    opened = f"sqlite:///file:{quote(str(path))}?mode={mode}&uri=true"
    level = "AUTOCOMMIT" if mode == "ro" else "SERIALIZABLE"
    engine = create_engine(opened, poolclass=NullPool, isolation_level=level)
    event.listen(engine, "connect", _lenient)
    return engine, f"sqlite:///{path}"


def _lenient(connection: Any, _record: Any) -> None:
    """Bytes that are no UTF-8 are told as such instead of ending everything; a wait for who writes."""
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    connection.execute("PRAGMA busy_timeout = 30000")
    connection.execute("PRAGMA trusted_schema = OFF")


def text(value: object) -> str:
    """A text of the database; nothing is an empty one."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


def integer(value: object) -> int:
    """A number of 64 bits; `Corrupt` for what is none, which SQLite lets anybody write."""
    found = int(value) if isinstance(value, int | float) and value == value // 1 else None
    if found is None or not -_LARGEST <= found < _LARGEST:
        raise Corrupt(f"the database holds {text(value)[:40]!r} where a number should be")
    return found


def number(value: object) -> float:
    """A number; `Corrupt` for what is none."""
    if not isinstance(value, int | float):
        raise Corrupt(f"the database holds {text(value)[:40]!r} where a number should be")
    return float(value)


def texts(rows: Iterable[Sequence[Any]]) -> dict[str, dict[str, str]]:
    """Rows of (owner, key, value) as texts by key, by owner."""
    found: dict[str, dict[str, str]] = {}
    for owner, key, value in rows:
        found.setdefault(text(owner), {})[text(key)] = text(value)
    return found
