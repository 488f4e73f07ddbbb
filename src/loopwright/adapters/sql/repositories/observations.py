"""Signals and decisions: what was measured and what was decided on it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Select, bindparam, select

from loopwright.adapters.sql import schema
from loopwright.adapters.sql.listing import Order, fetch_page, limit_param
from loopwright.adapters.sql.rows import Shape
from loopwright.adapters.sql.statements import Session, insert_new
from loopwright.core.errors import Conflict, Invalid, NotFound
from loopwright.core.instants import to_micros
from loopwright.core.nouns import Decision, Signal
from loopwright.ports.ledger import Page, PageRequest

__all__ = ["SqlDecisions", "SqlSignals"]

_SIGNAL = Shape(Signal, schema.signals)
_DECISION = Shape(Decision, schema.decisions)
_s, _d = schema.signals.c, schema.decisions.c
_NEWEST = Order(columns=("at", "id"))

_ADD_SIGNAL = insert_new(schema.signals)
_GET_SIGNAL = select(*_SIGNAL.columns).where(_s.id == bindparam("id"))
_ADD_DECISION = insert_new(schema.decisions)
_GET_DECISION = select(*_DECISION.columns).where(_d.id == bindparam("id"))


@lru_cache(maxsize=4)
def _window(by_name: bool, from_start: bool) -> Select[Any]:
    found = select(*_SIGNAL.columns).where(_s.space == bindparam("space"), _s.subject == bindparam("subject"))
    if by_name:
        found = found.where(_s.name == bindparam("name"))
    if from_start:
        found = found.where(_s.at >= bindparam("start"))
    return found.order_by(_s.at.desc(), _s.id.desc()).limit(limit_param())


class SqlSignals:
    """Fulfils `ports.ledger.Signals`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, signals: Iterable[Signal]) -> None:
        """Keep signals; `Invalid` for a number that is not finite, `Conflict` for an id that is there."""
        rows = [_SIGNAL.write(_finite(signal)) for signal in signals]
        if self._session.change_many(_ADD_SIGNAL, rows) < len(rows):
            raise Conflict(
                "a signal of that id is already there", hint="a signal never changes: give a new id"
            )

    def get(self, signal_id: str) -> Signal:
        """The signal, else `NotFound`."""
        row = self._session.row(_GET_SIGNAL, id=signal_id)
        if row is None:
            raise NotFound(f"there is no signal:{signal_id}", hint="loopwright signals list")
        return _SIGNAL.read(row)

    def window(
        self,
        space: str,
        subject: str,
        *,
        name: str | None = None,
        start: datetime | None = None,
        limit: int = 10_000,
    ) -> Sequence[Signal]:
        """Signals of a subject in order of time, from `start` on (inclusive), the newest `limit` of them."""
        values: dict[str, Any] = {"space": space, "subject": subject, "limit": limit}
        if name is not None:
            values["name"] = name
        if start is not None:
            values["start"] = to_micros(start)
        rows = self._session.rows(_window(name is not None, start is not None), **values)
        return tuple(map(_SIGNAL.read, reversed(rows)))

    def latest(self, space: str, subject: str, name: str) -> Signal | None:
        """The newest signal of that name, or None."""
        found = self.window(space, subject, name=name, limit=1)
        return found[0] if found else None


def _finite(signal: Signal) -> Signal:
    for number in (signal.value, signal.low, signal.high):
        if number is not None and not math.isfinite(number):
            raise Invalid(
                f"the signal {signal.name} of {signal.subject} is {number}",
                hint="a measurement that has no value is left out, with its reason in another signal's facts",
            )
    return signal


class SqlDecisions:
    """Fulfils `ports.ledger.Decisions`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, decision: Decision) -> None:
        """Keep a decision."""
        if not self._session.change(_ADD_DECISION, _DECISION.write(decision)):
            raise Conflict(f"decision:{decision.id} is already there", hint="a decision never changes")

    def get(self, decision_id: str) -> Decision:
        """The decision, else `NotFound`."""
        row = self._session.row(_GET_DECISION, id=decision_id)
        if row is None:
            raise NotFound(f"there is no decision:{decision_id}", hint="loopwright decisions list")
        return _DECISION.read(row)

    def page(
        self,
        space: str,
        request: PageRequest,
        *,
        subject: str | None = None,
        action: str | None = None,
    ) -> Page[Decision]:
        """Decisions, newest first."""
        equal = {"space": space, "subject": subject, "action": action}
        return fetch_page(self._session, _DECISION, request, _NEWEST, equal)
