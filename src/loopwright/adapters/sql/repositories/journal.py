"""The hash-chained journal: lines wait in the unit of work and are chained when it commits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Select, Update, bindparam, select, update

from loopwright.adapters.sql import schema
from loopwright.adapters.sql.listing import checked_limit, limit_param, page_of, read_token
from loopwright.adapters.sql.rows import Shape, from_json, to_json
from loopwright.adapters.sql.schema import TEXT
from loopwright.adapters.sql.statements import Session, insert_all
from loopwright.core.chain import Head, link
from loopwright.core.errors import Corrupt
from loopwright.core.nouns import Event
from loopwright.ports.ledger import Page, PageRequest

__all__ = ["SqlJournal"]

_EVENT = Shape(Event, schema.journal)
_j, _h = schema.journal.c, schema.journal_head.c

_COLUMNS = tuple(column.name for column in schema.journal.columns)
_ADD = insert_all(schema.journal)
_FIND = select(*_EVENT.columns).where(_j.id == bindparam("id"))
_HEAD = select(_h.count, _h.hash).where(_h.no == 1)
_MOVE_HEAD: Update = (
    update(schema.journal_head).where(_h.no == 1).values(count=bindparam("b_count"), hash=bindparam("b_hash"))
)


@lru_cache(maxsize=32)
def _lines(*, space: bool, subject: bool, kind: str, newest_first: bool) -> Select[Any]:
    found = select(*_EVENT.columns)
    if space:
        found = found.where(_j.space == bindparam("space"))
    if subject:
        found = found.where(_j.subject == bindparam("subject"))
    if kind == "equal":
        found = found.where(_j.kind == bindparam("kind"))
    elif kind == "prefix":
        found = found.where(_j.kind >= bindparam("low", type_=TEXT), _j.kind < bindparam("high", type_=TEXT))
    if newest_first:
        return found.where(_j.seq < bindparam("place")).order_by(_j.seq.desc()).limit(limit_param())
    return found.where(_j.seq > bindparam("place")).order_by(_j.seq).limit(limit_param())


class SqlJournal:
    """Fulfils `ports.ledger.Journal`; `pending` are the lines of the open units of work."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.pending: list[Event] = []

    def append(self, event: Event) -> None:
        """Add a line in this unit of work; it gets its number and hash at commit."""
        self._session.writable()
        self.pending.append(replace(event, payload=from_json(to_json(event.payload))))

    def chain(self, head: Head | None = None) -> tuple[Event, ...]:
        """Write the pending lines behind the head, read where it is not known: last before the commit.

        Nobody else may write meanwhile.
        """
        if not self.pending:
            return ()
        head = head or self.head()
        lines = []
        for event in self.pending:
            line = link(event, head)
            head = Head(count=line.seq, hash=line.hash)
            lines.append(line)
        written = map(_EVENT.write, lines)
        self._session.put_tuples(_ADD, [tuple([line[name] for name in _COLUMNS]) for line in written])
        self._session.put(_MOVE_HEAD, {"b_count": head.count, "b_hash": head.hash})
        return tuple(lines)

    def read(
        self,
        after: int,
        limit: int,
        *,
        space: str | None = None,
        subject: str | None = None,
    ) -> Sequence[Event]:
        """Committed lines with `seq > after`, in order."""
        statement = _lines(space=space is not None, subject=subject is not None, kind="", newest_first=False)
        values = {"place": after, "limit": limit, "space": space, "subject": subject}
        return tuple(map(_EVENT.read, self._session.rows(statement, **values)))

    def page(
        self,
        space: str,
        request: PageRequest,
        *,
        subject: str | None = None,
        kind: str | None = None,
    ) -> Page[Event]:
        """Lines, newest first; `kind` may end in `.` to mean all that start so."""
        place = read_token(request.token, [int])[0] if request.token else 2**62
        form = "" if kind is None else "prefix" if kind.endswith(".") else "equal"
        statement = _lines(space=True, subject=subject is not None, kind=form, newest_first=True)
        values = {
            "space": space,
            "subject": subject,
            "kind": kind,
            "low": kind,
            "high": (kind or "")[:-1] + "/",
        }
        limit = checked_limit(request) + 1
        rows = self._session.rows(statement, **values, place=place, limit=limit)
        seq = _EVENT.type.__struct_fields__.index("seq")
        return page_of(rows, request, _EVENT.read, lambda row: [row[seq]])

    def find(self, event_id: str) -> Event | None:
        """The line of that id, or None."""
        row = self._session.row(_FIND, id=event_id)
        return None if row is None else _EVENT.read(row)

    def head(self) -> Head:
        """Length and last hash of the committed chain."""
        row = self._session.row(_HEAD)
        if row is None:
            raise Corrupt(
                "the journal has lost its head", hint="loopwright journal verify, then restore a backup"
            )
        return Head(count=row[0], hash=row[1])
