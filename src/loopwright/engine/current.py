"""The run that is going on in this thread: what is called meanwhile is linked to it."""

from __future__ import annotations

import os
from contextvars import ContextVar
from typing import NamedTuple

__all__ = ["Current", "current", "enter", "leave", "run_at"]


class Current(NamedTuple):
    """A run and where it is recorded: a workspace or a client, by identity, in this process."""

    face: object
    run_id: str
    pid: int


_CURRENT: ContextVar[Current | None] = ContextVar("loopwright.current", default=None)


def enter(face: object, run_id: str) -> None:
    """From now on, in this thread, calls of this face are made under the run."""
    _CURRENT.set(Current(face, run_id, os.getpid()))


def leave() -> None:
    """From now on, in this thread, calls are made under no run."""
    _CURRENT.set(None)


def current() -> Current | None:
    """The run that goes on in this thread, and where it is recorded; a forked process inherits none."""
    held = _CURRENT.get()
    return held if held is not None and held.pid == os.getpid() else None


def run_at(face: object) -> str | None:
    """The run that calls of this face are made under; None for a run that is recorded elsewhere."""
    held = current()
    return held.run_id if held is not None and held.face is face else None
