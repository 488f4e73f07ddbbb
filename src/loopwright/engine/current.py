"""The run that is going on in this thread: what is called meanwhile is linked to it."""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import NamedTuple

__all__ = ["Current", "current", "enter", "leave", "run_at"]


class Current(NamedTuple):
    """A run and where it is recorded: a workspace or a client, by identity."""

    face: object
    run_id: str


_CURRENT: ContextVar[Current | None] = ContextVar("loopwright.current", default=None)


def enter(face: object, run_id: str) -> Token[Current | None]:
    """From now on, in this thread, calls of this face are made under the run."""
    return _CURRENT.set(Current(face, run_id))


def leave(token: Token[Current | None]) -> None:
    """Go back to what was before."""
    _CURRENT.reset(token)


def current() -> Current | None:
    """The run that goes on in this thread, and where it is recorded."""
    return _CURRENT.get()


def run_at(face: object) -> str | None:
    """The run that calls of this face are made under; None for a run that is recorded elsewhere."""
    held = _CURRENT.get()
    return held.run_id if held is not None and held.face is face else None
