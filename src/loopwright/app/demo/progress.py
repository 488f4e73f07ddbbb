"""How far the story has come, kept in the ledger, so that a killed demo goes on where it was."""

from __future__ import annotations

from datetime import datetime

import msgspec

from loopwright.engine.context import Context

__all__ = ["Progress", "load_progress", "save_progress"]

_PLACE = ("default", "demo", "progress")


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """The stage that is done, the day of the replay that comes next, and its instant."""

    days: int
    prepared: bool = False
    day: int = 0
    instant: datetime | None = None
    seconds: float = 0.0
    """wall time spent so far, over all attempts"""


def load_progress(ctx: Context) -> Progress | None:
    """The progress of the story in this workspace, or None."""
    with ctx.read() as tx:
        body = tx.documents.get(*_PLACE)
    return None if body is None else msgspec.convert(body, Progress)


def save_progress(ctx: Context, progress: Progress) -> None:
    """Keep it durably."""
    ctx.write(lambda tx: tx.documents.put(*_PLACE, msgspec.to_builtins(progress)))
