"""The port `Queries` by DuckDB in a process of its own, which is killed when a query passes its time."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import IO, Any

import msgspec
import pyarrow as pa

from loopwright.adapters.tables import query_process
from loopwright.adapters.tables.query_process import LENGTH, Answer, Request
from loopwright.core.errors import Invalid, TooLarge, Unavailable
from loopwright.ports.queries import Looked, QueryLimits, QueryRows, QueryTable

__all__ = ["DuckDBQueries"]

_KEPT = ("LANG", "LC_ALL", "PATH", "PYTHONPATH", "SYSTEMROOT", "VIRTUAL_ENV")
"""of the environment: nothing that a query could give away"""
_START_S = 60.0
_AT_ONCE = 2
_WAIT_S = 30.0
_TEXT_LIMIT = 50_000


class DuckDBQueries:
    """A process for each session, which sees its tables and nothing else; two at a time. Thread safe."""

    def __init__(self) -> None:
        self._places = threading.BoundedSemaphore(_AT_ONCE)

    @contextmanager
    def session(self, limits: QueryLimits) -> Iterator[_Session]:
        """Start the process; it is killed at the end."""
        if find_spec("duckdb") is None:
            raise Unavailable(
                "queries need DuckDB, which is not installed", hint='pip install "loopwright[duckdb]"'
            )
        if not self._places.acquire(timeout=_WAIT_S):
            raise Unavailable("others are running queries", hint="try again in a moment")
        try:
            with (
                tempfile.TemporaryDirectory(prefix="loopwright-query-") as folder,
                _started(folder, limits) as process,
            ):
                try:
                    yield _Session(process, limits)
                finally:
                    process.kill()
        finally:
            self._places.release()


def _started(folder: str, limits: QueryLimits) -> subprocess.Popen[bytes]:
    given = [folder, str(limits.memory_bytes), str(limits.scratch_bytes), str(limits.seconds)]
    return subprocess.Popen(
        [sys.executable, "-P", query_process.__file__, *given],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env={name: os.environ[name] for name in _KEPT if name in os.environ},
    )


class _Session:
    """Speaks with the process."""

    def __init__(self, process: subprocess.Popen[bytes], limits: QueryLimits) -> None:
        self._process, self._limits = process, limits
        self._asked(Request(sql="SELECT 1"), _START_S)
        self._until = time.monotonic() + limits.session_seconds

    def look(self, sql: str) -> Looked:
        """What the query reads."""
        answer, _ = self._asked(Request(sql=_checked(sql)), self._left())
        return Looked(
            tables=answer.tables,
            names=answer.names,
            made=answer.made,
            outputs=answer.outputs,
            is_all=answer.is_all,
        )

    def run(self, sql: str, tables: Mapping[str, QueryTable]) -> QueryRows:
        """The rows of the query."""
        given = {
            name: (table.files, {column: kind.value for column, kind in table.columns.items()})
            for name, table in tables.items()
        }
        limits = self._limits
        asked = Request(sql=_checked(sql), tables=given, rows=limits.rows, result_bytes=limits.result_bytes)
        answer, data = self._asked(asked, self._left())
        with pa.ipc.open_stream(data) as reader:
            return QueryRows(table=reader.read_all(), is_cut=answer.is_cut)

    def _left(self) -> float:
        """How long the next query may take."""
        left = self._until - time.monotonic()
        if left <= 0:
            said = f"the queries together take longer than {self._limits.session_seconds:g} seconds"
            raise TooLarge(said, hint="ask for less in one document")
        return min(left, self._limits.seconds)

    def _asked(self, request: Request, seconds: float) -> tuple[Answer, bytes]:
        over = threading.Event()

        def end() -> None:
            over.set()
            self._process.kill()

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            answer, data = self._exchanged(request)
        except (EOFError, OSError) as error:
            raise self._ended(is_late=over.is_set()) from error
        finally:
            timer.cancel()
        if answer.error:
            if answer.is_too_large:
                raise TooLarge(answer.error, hint="ask for less: filter earlier, group before joining")
            raise Invalid(answer.error, hint="change the query")
        return answer, data

    def _exchanged(self, request: Request) -> tuple[Answer, bytes]:
        process, data = self._process, msgspec.json.encode(request)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(LENGTH.pack(len(data)) + data)
        process.stdin.flush()
        return msgspec.json.decode(_part(process.stdout), type=Answer), _part(process.stdout)

    def _ended(self, *, is_late: bool) -> Exception:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        if is_late:
            alone, together = self._limits.seconds, self._limits.session_seconds
            said = f"the query takes longer than {alone:g} seconds, or all of them together than {together:g}"
            return TooLarge(said, hint="ask for less: filter earlier, group before joining")
        return TooLarge("the query ended its process: it passed a limit", hint="ask for less, or more simply")


def _checked(sql: str) -> str:
    if len(sql) > _TEXT_LIMIT:
        raise TooLarge(f"a query of {len(sql):,} characters", hint=f"keep it under {_TEXT_LIMIT:,}")
    return sql


def _part(stream: IO[bytes]) -> Any:
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        raise EOFError
    data = stream.read(size := LENGTH.unpack(head)[0])
    if len(data) < size:
        raise EOFError
    return data
