"""How far sources were read, as a holder: a cursor on the subject's column keeps its value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta

import msgspec
from msgspec.structs import replace

from loopwright.core.instants import from_micros
from loopwright.core.nouns import Json
from loopwright.data.sourcing import Declared, Reading, all_sources, declared_of, note_reading, reading_of
from loopwright.engine.context import Context
from loopwright.engine.holders import Held, Subject
from loopwright.ports.ledger import PageRequest, Transaction

__all__ = ["CursorRows", "plain_state"]

_AT_ONCE = 1000
_VALUE, _TIES, _SEALED = "value", "ties", "sealed"


def plain_state(ctx: Context, declared: Declared, state: Json) -> Json:
    """How far a source was read, unsealed where an erasure sealed it."""
    if _SEALED not in state:
        return state
    found: Json = msgspec.json.decode(ctx.ports.safe.unseal(state[_SEALED], about=_about(declared)))
    return found


class CursorRows:
    """The greatest value of each source's cursor column.

    Reading has to go on behind it, so a whole number, a day or an instant gives way to the one after it, and
    the place of anything else is sealed with the workspace's key.
    """

    name = "sources"
    keeps: Mapping[str, str] = {"data/ingesting.py": "how far sources were read"}

    def find(self, ctx: Context, subject: Subject, keys: frozenset[str]) -> Held:
        """Sources whose cursor is the subject's only column and stands at its value."""
        found = len(list(_standing(ctx, subject)))
        return Held(rows=found, places=found)

    def erase(self, ctx: Context, subject: Subject, keys: frozenset[str]) -> Held:
        """Put the next value, or the sealed one, in its place."""
        found = list(_standing(ctx, subject))
        for declared, reading in found:
            after = replace(reading, state=_behind(ctx, declared, reading.state))

            def work(
                tx: Transaction,
                declared: Declared = declared,
                before: Reading = reading,
                after: Reading = after,
            ) -> None:
                note_reading(ctx, tx, declared, before, after)

            ctx.write(work)
        return Held(rows=len(found), places=len(found))

    def known(self, ctx: Context, columns: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        """The value of every cursor on this column."""
        for declared, reading in _readings(ctx):
            if columns == (declared.source.cursor,) and (text := _text(reading.state.get(_VALUE))):
                yield (text,)


def _readings(ctx: Context) -> Iterator[tuple[Declared, Reading]]:
    token = ""
    while True:
        names, token = all_sources(ctx, PageRequest(limit=_AT_ONCE, token=token))
        for name in names:
            declared = declared_of(ctx, name)
            with ctx.read() as tx:
                yield declared, reading_of(tx, ctx.space, declared)
        if not token:
            return


def _standing(ctx: Context, subject: Subject) -> Iterator[tuple[Declared, Reading]]:
    for declared, reading in _readings(ctx):
        text = _text(reading.state.get(_VALUE))
        if text is not None and (subject.columns, subject.values) == ((declared.source.cursor,), (text,)):
            yield declared, reading


def _text(kept: object) -> str | None:
    """A kept value as a subject names it; None for what tells nothing."""
    match kept:
        case {"instant": int(micros)}:
            return from_micros(micros).isoformat()
        case {"naive": str(text)} | {"date": str(text)} | {"decimal": str(text)}:
            return text
        case bool() | int() | float() | str():
            return str(kept)
    return None


def _behind(ctx: Context, declared: Declared, state: Json) -> Json:
    """The place behind all rows of the value, without telling it."""
    match state[_VALUE]:
        case {"instant": int(micros)}:
            after: object = {"instant": micros + 1}
        case {"naive": str(text)}:
            after = {"naive": (datetime.fromisoformat(text) + timedelta(microseconds=1)).isoformat()}
        case {"date": str(text)}:
            after = {"date": (date.fromisoformat(text) + timedelta(days=1)).isoformat()}
        case int(number):
            after = number + 1
        case _:
            told = msgspec.json.encode(state).decode()
            return {_SEALED: ctx.ports.safe.seal(told, about=_about(declared))}
    return {_VALUE: after, _TIES: []}


def _about(declared: Declared) -> str:
    return f"cursor/{declared.name}"
