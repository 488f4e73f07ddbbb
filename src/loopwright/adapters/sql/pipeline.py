"""A cursor over libpq's pipeline: statements that nobody waits for travel with the next that somebody does.

One exchange with the server costs more than most statements do, so a unit of work that writes in the end
needs but one for each of its questions, and one to write and commit. Statements are prepared when they come
a second time.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import psycopg
    from psycopg.pq.abc import PGconn, PGresult

__all__ = ["PipelineCursor"]

_MOST_PREPARED = 1000
_SEEN = b""
"""instead of a name: came once, is prepared when it comes again"""


_Values = list[bytes | None]
"""parameters as they travel"""


class _Sent(NamedTuple):
    """A statement on its way: its number, and who is told its rows."""

    number: int
    then: Callable[[Sequence[Any]], None] | None
    prepares: str | None = None
    """the text that this one prepares"""


class PipelineCursor:
    """Fulfils `statements.Cursor`, and `later`. Used by one thread at a time, between others' statements."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        from psycopg import adapt, errors, pq

        self._failures = (pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.PIPELINE_ABORTED)
        self._error = errors.error_from_result
        self._pgconn: PGconn = connection.pgconn
        self._transformer = adapt.Transformer(connection)
        self._poll = select.poll()
        self._names: dict[str, bytes] = {}
        self._texts: dict[str, bytes] = {}
        self._waiting: list[tuple[str, Sequence[Any], Callable[[Sequence[Any]], None] | None]] = []
        self._rows: Sequence[Any] = ()
        self._read = 0
        self.number = 0
        """how many statements were taken so far"""
        self.failed_at: int | None = None
        """which one failed, until `forget`"""
        self.rowcount = -1

    def execute(self, text: str, arguments: Sequence[Any] = (), /) -> PipelineCursor:
        """Run a statement, after those that wait."""
        self.later(text, arguments)
        self.flush()
        return self

    def executemany(self, text: str, rows: Sequence[Sequence[Any]], /) -> PipelineCursor:
        """Run a statement once for each row of parameters, all in one exchange."""
        for row in rows:
            self.later(text, row)
        self.flush(counted=len(rows))
        return self

    def later(
        self,
        text: str,
        arguments: Sequence[Any] = (),
        then: Callable[[Sequence[Any]], None] | None = None,
    ) -> None:
        """Run a statement with the next one that is waited for; `then` is told its rows."""
        self.number += 1
        self._waiting.append((text, arguments, then))

    def fetchall(self) -> Sequence[Any]:
        """All rows of the last statement that are left."""
        found, self._read = self._rows[self._read :], len(self._rows)
        return found

    def fetchone(self) -> Any:
        """The next row of the last statement, or None."""
        if self._read >= len(self._rows):
            return None
        self._read += 1
        return self._rows[self._read - 1]

    def forget(self) -> bool:
        """Drop what waits, and that something failed; whether anything was dropped."""
        dropped, self._waiting, self.failed_at = bool(self._waiting), [], None
        return dropped

    def flush(self, *, counted: int = 1) -> None:
        """Run all that waits in one exchange; the first error is raised, and what came behind it did not run.

        `rowcount` is that of the last `counted` statements.
        """
        waiting, self._waiting = self._waiting, []
        self._rows, self._read, self.rowcount = (), 0, -1
        if not waiting:
            return
        written = [(text, *_written(arguments), then) for text, arguments, then in waiting]
        number = self.number - len(written)
        sent: list[_Sent] = []
        self._pgconn.enter_pipeline_mode()
        try:
            if len(self._texts) >= _MOST_PREPARED:
                self._empty(sent, number + 1)
            for text, values, formats, then in written:
                number += 1
                self._send(sent, number, text, values, formats)
                sent.append(_Sent(number, then))
            self._pgconn.pipeline_sync()
            failed = self._answered(sent, counted)
            self._pgconn.exit_pipeline_mode()
        except BaseException:  # answers that nobody took in would be taken for those to the next statements
            self._pgconn.finish()
            raise
        if failed is not None:
            raise self._error(failed)

    def _empty(self, sent: list[_Sent], number: int) -> None:
        """Have the server forget what is prepared."""
        self._texts.clear()
        self._names.clear()
        self._pgconn.send_query_params(b"DEALLOCATE ALL", None)
        sent.append(_Sent(number, None))

    def _send(
        self, sent: list[_Sent], number: int, text: str, values: _Values, formats: list[int] | None
    ) -> None:
        """Send a statement, and before it what prepares it where that is due."""
        name = self._names.get(text)
        if name is None:
            self._names[text] = _SEEN
            self._pgconn.send_query_params(self._numbered(text), values, param_formats=formats)
            return
        if name == _SEEN:
            name = self._names[text] = b"s%d" % number
            self._pgconn.send_prepare(name, self._numbered(text))
            sent.append(_Sent(number, None, prepares=text))
        self._pgconn.send_query_prepared(name, values, param_formats=formats)

    def _numbered(self, text: str) -> bytes:
        """The text as the server takes it: `$1` for the first parameter."""
        found = self._texts.get(text)
        if found is None:
            parts = text.replace("%%", "\0").split("%s")
            whole = "".join(f"{part}${at}" for at, part in enumerate(parts[:-1], start=1)) + parts[-1]
            found = self._texts[text] = whole.replace("\0", "%").encode()
        return found

    def _answered(self, sent: Sequence[_Sent], counted: int) -> PGresult | None:
        """Take in the answers up to the end of the exchange; the first failure."""
        failed: PGresult | None = None
        counts: list[int] = []
        self._push()
        for each in sent:
            result = self._result()
            if result.status in self._failures:
                self._names.pop(each.prepares or "", None)
                if failed is None:
                    failed, self.failed_at = result, each.number
            elif each.prepares is None:
                self._take(result, each)
                counts.append(result.command_tuples or 0)
        self._result()  # of the end itself
        self.rowcount = sum(counts[-counted:])
        return failed

    def _take(self, result: PGresult, sent: _Sent) -> None:
        rows: Sequence[Any] = ()
        if result.ntuples:
            self._transformer.set_pgresult(result)
            rows = self._transformer.load_rows(0, result.ntuples, tuple)
        self._rows = rows
        if sent.then is not None:
            sent.then(rows)

    def _push(self) -> None:
        """Send all that is written, taking in meanwhile what is answered: else both sides may wait."""
        while self._pgconn.flush():
            self._await(select.POLLIN | select.POLLOUT)

    def _result(self) -> PGresult:
        """The next answer; while it has not come other threads run."""
        pgconn = self._pgconn
        while True:
            while pgconn.is_busy():
                self._await(select.POLLIN)
            found = pgconn.get_result()
            if found is not None:  # None ends the answers to one statement
                return found

    def _await(self, what: int) -> None:
        self._poll.register(self._pgconn.socket, what)
        self._poll.poll()
        self._pgconn.consume_input()


def _written(arguments: Sequence[Any]) -> tuple[_Values, list[int] | None]:
    """Parameters in the server's own words, and which are in its binary form, as bytes are: None for none."""
    values: _Values = []
    has_bytes = False
    for value in arguments:
        if value is None:
            values.append(None)
        elif isinstance(value, bytes):
            has_bytes = True
            values.append(value)
        else:
            words = str(value)
            if "\0" in words:
                raise _zero()
            values.append(words.encode())
    return values, [int(isinstance(value, bytes)) for value in arguments] if has_bytes else None


def _zero() -> Exception:
    from psycopg import DataError

    return DataError("PostgreSQL text cannot contain NUL")
