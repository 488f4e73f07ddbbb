"""What removed runs and models leave behind: points and files, taken away some at a time.

A removal notes its owner in the same unit of work; a sweep goes on wherever the last one was ended.
"""

from __future__ import annotations

from loopwright.core.nouns import Json
from loopwright.engine.context import Context
from loopwright.ports.ledger import Transaction

__all__ = ["STEP", "has_swept", "note", "sweep"]

STEP = 5_000
"""most rows one unit of work takes away"""
_NOTED = "sweeping"
_RUN = "run:"


def note(tx: Transaction, space: str, owner: str, *, documents: str = "", prefix: str = "") -> None:
    """Let what belongs to an owner be swept: its files, a run's points, documents whose keys begin so."""
    body: Json = {"documents": documents, "prefix": prefix} if documents else {}
    tx.documents.put(space, _NOTED, owner, body)


def has_swept(ctx: Context) -> bool:
    """Whether nothing is left to be swept."""
    with ctx.read() as tx:
        return not tx.documents.all(ctx.space, _NOTED)


def sweep(ctx: Context) -> int:
    """Take away all that was noted, in many small units of work; how many rows."""
    with ctx.read() as tx:
        noted = tx.documents.all(ctx.space, _NOTED)
    return sum(_swept(ctx, owner, body) for owner, body in noted.items())


def _swept(ctx: Context, owner: str, body: Json) -> int:
    def step(tx: Transaction) -> int:
        count = _some(ctx, tx, owner, body)
        if not count:
            tx.documents.remove(ctx.space, _NOTED, owner)
        return count

    total = 0
    while count := ctx.write(step):
        total += count
    return total


def _some(ctx: Context, tx: Transaction, owner: str, body: Json) -> int:
    if owner.startswith(_RUN) and (count := tx.trash.sweep_run(owner.removeprefix(_RUN), STEP)):
        return count
    if body and (count := _documents(ctx, tx, body["documents"], body["prefix"])):
        return count
    return tx.trash.clear_files(ctx.space, owner, STEP)


def _documents(ctx: Context, tx: Transaction, collection: str, prefix: str) -> int:
    found = list(tx.documents.all(ctx.space, collection, start=prefix, end=f"{prefix}\U0010ffff"))[:STEP]
    for key in found:
        tx.documents.remove(ctx.space, collection, key)
    return len(found)
