"""Hands journaled events to reactors: at least once, in order per subject.

Each reactor has a cursor in the journal. An event whose reaction fails is parked with its subject:
later events of that subject wait behind it while those of other subjects go on, and it is tried
again with growing pauses, at last given up with an event of its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta

import msgspec

from loopwright.core.errors import LoopwrightError
from loopwright.core.instants import from_micros, to_micros
from loopwright.core.nouns import Event, Json
from loopwright.engine.context import Context
from loopwright.engine.operation import Reactor
from loopwright.ports.ledger import Transaction

__all__ = ["Cursor", "Relay"]

log = logging.getLogger(__name__)

_COLLECTION = "relay"
_SPACE = "default"
_BATCH = 500
_MAX_ATTEMPTS = 8


class _Parked(msgspec.Struct):
    seq: int
    attempts: int
    retry_us: int


class Cursor(msgspec.Struct):
    """Where a reactor is: all lines up to `seq` are done, but for the parked ones, by subject."""

    seq: int = 0
    parked: dict[str, list[_Parked]] = {}


class Relay:
    """Runs all reactors over the journal; one relay at a time does so (`step` is called by one thread)."""

    def __init__(
        self, ctx: Context, reactors: Sequence[Reactor], *, context_for: Callable[[Event], Context]
    ) -> None:
        self._ctx = ctx
        self._reactors = tuple(reactors)
        self._context_for = context_for
        self._passed: dict[str, tuple[int, int]] = {}
        """by reactor: the line its cursor was kept at, and the line up to which nothing concerned it since"""

    def wants(self, event: Event) -> bool:
        """Whether a reactor asked for events of this kind."""
        return any(reactor.wants(event) for reactor in self._reactors)

    def step(self) -> int:
        """Hand over what is due; how many reactions were run."""
        lines: dict[int, Sequence[Event]] = {}
        return sum(self._advance(reactor, lines) for reactor in self._reactors)

    def _load(self, reactor: Reactor, tx: Transaction) -> Cursor:
        body = tx.documents.get(_SPACE, _COLLECTION, reactor.name)
        cursor = msgspec.convert(body, Cursor) if body is not None else Cursor()
        kept_at, passed = self._passed.get(reactor.name, (-1, 0))
        if kept_at == cursor.seq:  # else another process went on meanwhile
            cursor.seq = passed
        else:
            self._passed[reactor.name] = (cursor.seq, cursor.seq)
        return cursor

    def _keep(self, reactor: Reactor, cursor: Cursor, *, is_changed: bool) -> None:
        """Write the cursor down, but not for every few lines that concern nobody: those can be read again."""
        kept_at, _ = self._passed[reactor.name]
        if is_changed or cursor.seq - kept_at >= _BATCH:
            body: Json = msgspec.to_builtins(cursor)
            self._ctx.write(lambda tx: tx.documents.put(_SPACE, _COLLECTION, reactor.name, body))
            kept_at = cursor.seq
        self._passed[reactor.name] = (kept_at, cursor.seq)

    def _advance(self, reactor: Reactor, lines: dict[int, Sequence[Event]]) -> int:
        """Go on with one reactor; `lines` are those others of this step read, by where they began."""
        with self._ctx.read() as tx:
            cursor = self._load(reactor, tx)
            if cursor.seq not in lines:
                lines[cursor.seq] = tx.journal.read(cursor.seq, _BATCH)
            events = lines[cursor.seq]
        ran, waits = self._retry(reactor, cursor), 0
        for event in events:
            cursor.seq = event.seq
            if not reactor.wants(event):
                continue
            if event.subject in cursor.parked:
                cursor.parked[event.subject].append(_Parked(event.seq, 0, 0))
                waits += 1
                continue
            ran += 1
            if not self._react(reactor, event):
                cursor.parked[event.subject] = [self._later(_Parked(event.seq, 0, 0))]
        if events or ran:
            self._keep(reactor, cursor, is_changed=ran + waits > 0)
        return ran

    def _later(self, parked: _Parked) -> _Parked:
        pause = timedelta(seconds=min(60.0, 0.5 * 2**parked.attempts))
        return _Parked(parked.seq, parked.attempts + 1, to_micros(self._ctx.ports.clock.wall() + pause))

    def _retry(self, reactor: Reactor, cursor: Cursor) -> int:
        ran, now = 0, self._ctx.ports.clock.wall()
        for subject in list(cursor.parked):
            waiting = cursor.parked[subject]
            while waiting and from_micros(waiting[0].retry_us) <= now:
                ran += 1
                if not self._again(reactor, waiting[0]):
                    waiting[0] = self._later(waiting[0])
                    break
                waiting.pop(0)
            if not waiting:
                del cursor.parked[subject]
        return ran

    def _again(self, reactor: Reactor, parked: _Parked) -> bool:
        """Whether the parked event is behind us: reacted to, or given up."""
        with self._ctx.read() as tx:
            event = tx.journal.read(parked.seq - 1, 1)[0]
        if self._react(reactor, event):
            return True
        if parked.attempts < _MAX_ATTEMPTS:
            return False
        ctx = self._context_for(event)
        ctx.write(
            lambda tx: ctx.record(
                tx, "reaction.given_up", event.subject, {"reactor": reactor.name, "seq": event.seq}
            )
        )
        return True

    def _react(self, reactor: Reactor, event: Event) -> bool:
        try:
            reactor.function(self._context_for(event), event)
        except LoopwrightError as error:
            log.warning(
                "reaction refused", extra={"reactor": reactor.name, "seq": event.seq, "error": str(error)}
            )
            return False
        except Exception:  # the last handler of the relay: a reactor's fault must not stop the others
            log.exception("reaction failed", extra={"reactor": reactor.name, "seq": event.seq})
            return False
        return True
