"""A ledger in memory that keeps the port's contract: for tests that need no files."""

from __future__ import annotations

import base64
import logging
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec

from loopwright.core.errors import Conflict, Corrupt, Unavailable
from loopwright.core.nouns import Event
from loopwright.ports.ledger import StoreCheck, Transaction
from loopwright.testing.ledger_tables import MemoryTransaction
from loopwright.testing.ledger_unit import TYPES, Rows, Unit

__all__ = ["MemoryLedger"]

T = TypeVar("T")
Listener = Callable[[tuple[Event, ...]], None]

log = logging.getLogger(__name__)


class MemoryLedger:
    """Fulfils `ports.ledger.Ledger` with plain dictionaries; nothing outlives the object.

    One work runs at a time. A unit copies the tables it changes, so a snapshot is a reference and a
    rollback is forgetting. The dump has a form of its own: only another `MemoryLedger` loads it.
    """

    def __init__(self) -> None:
        self._tables: dict[str, Rows] = {name: {} for name in TYPES}
        self._writing = threading.RLock()
        self._open = threading.local()
        self._listeners: tuple[Listener, ...] = ()
        self._closed = False

    def write(self, work: Callable[[Transaction], T]) -> T:
        """Run `work`; all it did is kept, or nothing. Inside a work it joins the open unit."""
        outer: MemoryTransaction | None = getattr(self._open, "unit", None)
        if outer is not None:
            return self._nested(outer, work)
        with self._writing:
            if self._closed:
                raise Unavailable("the ledger is closed", hint="open it again")
            transaction = MemoryTransaction(Unit(self._tables, read_only=False))
            self._open.unit = transaction
            try:
                value = work(transaction)
                lines = transaction.lines.chain()
            finally:
                self._open.unit = None
            self._tables = transaction.unit.all()
            self._tell(lines)
        return value

    def _nested(self, outer: MemoryTransaction, work: Callable[[Transaction], T]) -> T:
        """Run a work inside another; when it fails, the outer one is as it was."""
        inner = MemoryTransaction(Unit(outer.unit.all(), read_only=False))
        self._open.unit = inner
        try:
            value = work(inner)
        finally:
            self._open.unit = outer
        outer.unit.changed.update(inner.unit.changed)
        outer.unit.pending.extend(inner.unit.pending)
        return value

    def post(
        self, work: Callable[[Transaction], T], then: Callable[[T | None, BaseException | None], None]
    ) -> bool:
        """Nothing: it has no thread."""
        return False

    def _tell(self, lines: tuple[Event, ...]) -> None:
        for listener in self._listeners if lines else ():
            try:
                listener(lines)
            except Exception:  # last handler: what is committed stands, whatever a listener makes of it
                log.exception("a listener of the ledger failed", extra={"first_seq": lines[0].seq})

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A consistent snapshot; inside a work, what the unit sees."""
        outer: MemoryTransaction | None = getattr(self._open, "unit", None)
        if self._closed:
            raise Unavailable("the ledger is closed", hint="open it again")
        yield MemoryTransaction(Unit(self._tables if outer is None else outer.unit.all(), read_only=True))

    def subscribe(self, listener: Listener, *, patient: tuple[str, ...] = ()) -> Callable[[], None]:
        """Call `listener` with the events of each commit, in the thread that wrote."""
        self._listeners = (*self._listeners, listener)

        def unsubscribe() -> None:
            self._listeners = tuple(each for each in self._listeners if each is not listener)

        return unsubscribe

    def revision(self) -> str:
        """It has none but its own."""
        return "memory"

    def dump(self) -> Iterator[bytes]:
        """Every row of a snapshot."""
        tables = self._tables
        for table, rows in tables.items():
            for key, value in rows.items():
                yield base64.b64encode(msgspec.msgpack.encode((table, key, value)))
        yield b"end"

    def texts(self, *, without: Collection[str] = ()) -> Iterator[tuple[str, bytes]]:
        """Every row as the name of its table and as JSON."""
        for table, rows in self._tables.items():
            if table not in without:
                yield from ((table, msgspec.json.encode((key, value))) for key, value in rows.items())

    def load(self, lines: Iterable[bytes]) -> int:
        """Fill an empty ledger."""
        if any(self._tables.values()):
            raise Conflict("the ledger is not empty", hint="load into an empty one")
        tables: dict[str, Rows] = {name: {} for name in TYPES}
        ended, count = False, 0
        for line in lines:
            if ended or line == b"end":
                ended = True
                continue
            try:
                table, key, value = msgspec.msgpack.decode(base64.b64decode(line))
                tables[table][_key(key)] = msgspec.convert(value, TYPES[table])
            except (ValueError, KeyError, msgspec.DecodeError) as error:
                raise Corrupt(f"the dump is not whole: {error}", hint="take another one") from error
            count += 1
        if not ended:
            raise Corrupt("the dump is not whole: its end is missing", hint="take another one")
        self._tables = tables
        return count

    def compact(self) -> int:
        """Nothing: there is no file."""
        return 0

    def empty(self) -> None:
        """Forget every row."""
        with self._writing:
            self._tables = {name: {} for name in TYPES}

    def check(self) -> StoreCheck:
        """Memory does not rot."""
        rows = {name: len(held) for name, held in self._tables.items()}
        return StoreCheck(kind="memory", revision=self.revision(), faults=(), rows=rows, size_bytes=0)

    def close(self) -> None:
        """Refuse what comes from now on."""
        with self._writing:
            self._closed = True


def _key(key: Any) -> Any:
    return tuple(key) if isinstance(key, list) else key
