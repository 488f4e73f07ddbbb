"""The one connection by which a process writes to PostgreSQL: groups of works under a lock on the schema.

Whoever writes holds the lock from before its first question to its commit. So works of all processes come
one after the other, each sees what was committed before, and none has to be repeated because of another:
on this store as on SQLite. A group shares lock, commit and link of the journal's chain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any

from loopwright.adapters.sql.feed import CommitFeed
from loopwright.adapters.sql.group import MustRepeatError
from loopwright.adapters.sql.postgres_link import PostgresLink, Target
from loopwright.adapters.sql.schema import journal_head
from loopwright.adapters.sql.statements import Compiler
from loopwright.adapters.sql.transaction import SqlTransaction
from loopwright.core.chain import Head
from loopwright.core.errors import Fault, LoopwrightError
from loopwright.core.nouns import Event

__all__ = ["PostgresWriter"]

_SETTINGS = (
    "lock_timeout = '30s'",
    "idle_in_transaction_session_timeout = '60s'",
    "plan_cache_mode = force_generic_plan",
)
"""a stopped process lets go of the lock in the end; works ask by keys, for which any plan is as good"""


_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
_HEAD = f"SELECT count, hash FROM {journal_head.name} WHERE no = 1"
"""each statement sees what is committed when it begins, so this one what was committed before the lock"""


def _locking(schema: str) -> str:
    key = int.from_bytes(
        blake2b(f"loopwright.{schema}.writing".encode(), digest_size=8).digest(), signed=True
    )
    return f"SELECT pg_advisory_xact_lock({key})"


class _Frame:
    """A work that runs: which moment it began at, and whether it has a savepoint to go back to."""

    __slots__ = ("has_savepoint", "moment")

    def __init__(self, moment: int, *, has_savepoint: bool) -> None:
        self.moment = moment
        self.has_savepoint = has_savepoint


class PostgresWriter:
    """Fulfils `group.Store`. Works of a group have no savepoints but inside one another.

    A work that fails before it wrote anything has nothing to undo. One that fails later takes its group with
    it, and the others are repeated: that is rarer than a savepoint for each would be dear.
    """

    def __init__(self, target: Target, compiler: Compiler, feed: CommitFeed) -> None:
        self._target = target
        self._compiler = compiler
        self._feed = feed
        self._lock = _locking(target.schema)
        self._link: PostgresLink | None = None
        self._head: Head | None = None
        self._frames: list[_Frame] = []
        self._start = 0
        self._works = 0
        self._first = 0
        self._is_lost = False

    @property
    def snapshot(self) -> SqlTransaction | None:
        """What the open group sees, for reading alone."""
        return None if self._link is None else self._link.snapshot

    def begin(self) -> None:
        """Open the group's transaction: with its first question, which waits for other processes."""
        if self._link is None or not self._link.is_sound():
            self.close()
            self._link = PostgresLink(self._target, self._compiler, *_SETTINGS)
        self._works = 0
        self._begin_again(self._link)

    def _begin_again(self, link: PostgresLink) -> None:
        session = link.transaction.session
        session.moves_on()
        self._start, self._head = session.moment, None
        link.has_met = self._is_lost = False
        link.cursor.later(_BEGIN)
        link.cursor.later(self._lock)
        link.cursor.later(_HEAD, then=self._told_head)

    def _told_head(self, rows: Sequence[Any]) -> None:
        self._head = Head(count=rows[0][0], hash=rows[0][1]) if rows else None

    def run(self, function: Callable[[Any], Any]) -> Any:
        """Run a work; when it raises it has left nothing, or the group is lost."""
        link = self._opened()
        session, pending = link.transaction.session, link.transaction.lines.pending
        lines = len(pending)
        if not self._frames:
            self._works += 1
            self._first = link.cursor.number
        frame = _Frame(session.moment, has_savepoint=bool(self._frames) and self._has_written())
        if frame.has_savepoint:
            link.run("SAVEPOINT work")
        self._frames.append(frame)
        try:
            value = function(link.transaction)
            if link.failed():
                raise Fault("a work went on after a statement of it had failed")
            if frame.has_savepoint:
                link.run("RELEASE work")
        except BaseException as error:
            del pending[lines:]
            self._undo(link, frame)
            self._told(link, error)
            raise
        finally:
            self._frames.pop()
        self._told(link, None)
        return value

    def _has_written(self) -> bool:
        return self._opened().transaction.session.moment != self._frames[-1].moment

    def _undo(self, link: PostgresLink, frame: _Frame) -> None:
        """Back to where a work began, if it wrote: a savepoint, or the beginning of the group."""
        session = link.transaction.session
        if not link.failed() and session.moment == frame.moment and not frame.has_savepoint:
            return
        session.undone()
        if self._is_others(link):
            self._is_lost = True
        elif any(each.has_savepoint for each in self._frames):
            link.cursor.forget()
            link.run("ROLLBACK TO work")
            if frame.has_savepoint:
                link.run("RELEASE work")
        elif frame.moment == self._start:
            link.undo()
            self._begin_again(link)
        else:
            self._is_lost = True
        self._rebased(frame.moment, session.moment)

    def _is_others(self, link: PostgresLink) -> bool:
        """Whether what failed was not this work's own doing: met by others, or left by an earlier work."""
        failed_at = link.cursor.failed_at
        return link.connection.closed or link.has_met or (failed_at is not None and failed_at <= self._first)

    def _rebased(self, before: int, now: int) -> None:
        """What was undone is as if it had not been written."""
        for each in self._frames:
            if each.moment == before:
                each.moment = now
        if self._start == before:
            self._start = now

    def _told(self, link: PostgresLink, error: BaseException | None) -> None:
        """An outermost work is repeated when others, or a lost work inside it, were to blame.

        So it is when the connection died before anything of the group was answered.
        """
        if len(self._frames) > 1 or not self._is_lost:
            return
        if error is None or (self._is_others(link) and (self._head is None or not link.connection.closed)):
            raise MustRepeatError(
                "others wrote at the same time", where=self._target.where, hint="try again a little later"
            ) from error

    def is_open(self) -> bool:
        """Whether the group's transaction can go on."""
        return self._link is not None and not self._is_lost and not self._link.failed()

    def commit(self) -> tuple[Event, ...]:
        """Chain the group's lines and make all of it durable."""
        link = self._opened()
        try:
            if self._head is None:
                with link.translated:
                    link.cursor.flush()
            lines = link.transaction.lines.chain(self._head)
            link.run("COMMIT")
        except LoopwrightError as error:
            if self._works > 1 and not link.connection.closed:
                raise MustRepeatError("a work of the group could not be kept") from error
            raise
        link.transaction.lines.pending.clear()
        return lines

    def rollback(self) -> None:
        """Undo the group; a connection that cannot even do that is replaced by the next one."""
        if self._link is not None:
            self._link.transaction.lines.pending.clear()
            self._link.transaction.session.undone()
            self._link.undo()

    def released(self, committed: Any) -> None:
        """Tell the listeners."""
        self._feed.offer(committed)

    def close(self) -> None:
        """Let go of the connection."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _opened(self) -> PostgresLink:
        if self._link is None:
            raise Fault("a work was run outside a group")
        return self._link
