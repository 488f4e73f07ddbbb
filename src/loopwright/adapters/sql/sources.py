"""Rows of any database that SQLAlchemy speaks to, asked for in flat memory and read alone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Select,
    bindparam,
    column,
    create_engine,
    literal_column,
    make_url,
    quoted_name,
    select,
    table,
    text,
)
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from loopwright.core.errors import Invalid, NotFound, Unavailable
from loopwright.ports.sources import Origin

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SqlRows"]

_SELECT = re.compile(r"\s*(select|with|values)\b", re.IGNORECASE)
_DRIVERS = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
_ALIAS = "loopwright_rows"
_QUIET = 10


class SqlRows:
    """Fulfils `ports.sources.RowSource` by one question over one connection."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._engine, self._shown = _opened(origin.address)
        self._cursor = origin.cursor

    def batches(self, since: object, rows: int) -> Iterator[pa.Table]:
        """Rows in batches, as Arrow tables with the names of the question's columns."""
        bound = {} if since is None else {"since": since}
        with self._translated(), self._engine.connect() as connection:
            streamed = connection.execution_options(stream_results=True, yield_per=rows)
            found = streamed.execute(self._question(connection, since is not None), bound)
            names = list(found.keys())
            _check_names(names, self._cursor)
            for part in found.partitions():
                yield _table(names, part)

    def close(self) -> None:
        """Let go of the connection."""
        self._engine.dispose()

    def _question(self, connection: Connection, has_since: bool) -> Select[Any]:
        asked: Select[Any] = select(literal_column("*")).select_from(_from(connection, self._origin.query))
        if not self._cursor:
            return asked
        grows: ColumnElement[Any] = column(self._cursor)
        asked = asked.where(grows.is_not(None)).order_by(grows)
        return asked.where(grows >= bindparam("since")) if has_since else asked

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """What drivers say of a question is its author's to read."""
        try:
            yield
        except OperationalError as error:
            if _is_of_the_question(error):
                raise self._refused(error) from None
            raise Unavailable(
                f"{self._shown} did not answer: {_said(error)}",
                hint="look at the address, the question, and whether the database lets you in",
            ) from None
        except (SQLAlchemyError, OverflowError, ValueError) as error:
            raise self._refused(error) from None

    def _refused(self, error: Exception) -> Invalid:
        return Invalid(
            f"{self._shown} refused the question: {_said(error)}", hint="try it in the database's own client"
        )


def _from(connection: Connection, query: str) -> Any:
    if _SELECT.match(query):
        return text(f"({query.strip().rstrip(';')}) AS {_ALIAS}")
    schema, _, name = query.rpartition(".")
    if not query or not name:
        raise Invalid("a database needs a question", hint="--query 'SELECT ...', or the name of a table")
    return table(quoted_name(name, quote=True), schema=quoted_name(schema, quote=True) if schema else None)


def _check_names(names: Sequence[str], cursor: str) -> None:
    if cursor and cursor not in names:
        raise Invalid(
            f"the question has no column {cursor!r}", hint=f"its columns are {', '.join(names)}"[:300]
        )


def _table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> pa.Table:
    import pyarrow as pa

    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    try:
        arrays = [_array(name, list(values)) for name, values in zip(names, columns, strict=True)]
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise Invalid(
            f"the database's rows are no table: {error}"[:300], hint="cast them in the question"
        ) from error
    return pa.Table.from_arrays(arrays, names=list(names))


def _array(name: str, values: list[Any]) -> pa.Array:
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        kinds = sorted({type(value).__name__ for value in values if value is not None})
        raise Invalid(
            f"the column {name!r} holds values of several kinds: {', '.join(kinds)[:100]}",
            hint="cast them to one in the question",
        ) from error


def _is_of_the_question(error: OperationalError) -> bool:
    """SQLite says of its questions what others say of their connections."""
    said = _said(error)
    return any(words in said for words in ("syntax error", "no such", "readonly", "read-only"))


def _said(error: Exception) -> str:
    said = str(getattr(error, "orig", None) or type(error).__name__)
    return said.splitlines()[0][:200] if said else type(error).__name__


def _opened(address: str) -> tuple[Engine, str]:
    """The engine, and its address without what is secret."""
    try:
        url = make_url(address)
        backend = url.get_backend_name()
    except (ArgumentError, ValueError) as error:
        raise Invalid(
            "the address of the database cannot be read", hint="postgresql://user@host/database"
        ) from error
    if backend == "sqlite":
        return _sqlite(url.database or "")
    url = url.set(drivername=_DRIVERS.get(url.drivername, url.drivername))
    shown = f"{backend}://{url.host or ''}/{url.database or ''}"
    try:
        engine = create_engine(url, poolclass=NullPool)
    except (ImportError, NoSuchModuleError) as error:
        hint = (
            'pip install "loopwright[postgres]"' if backend.startswith("postgres") else "install its driver"
        )
        raise Unavailable(f"the driver of {backend} databases is not installed", hint=hint) from error
    if backend.startswith("postgres"):
        return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True), shown
    return engine, shown


def _sqlite(path: str) -> tuple[Engine, str]:
    place = Path(os.path.realpath(path))
    if not path or not place.is_file():
        raise NotFound(f"there is no database {path!r}", hint="name a file: sqlite:///sales.db")
    url = f"sqlite:///file:{quote(str(place))}?mode=ro&uri=true"
    return create_engine(url, poolclass=NullPool, connect_args={"timeout": _QUIET}), f"sqlite:///{place}"
