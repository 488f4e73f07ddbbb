"""Restores a backup and erases again what came back with it, before anybody can read it."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from loopwright.engine.backups import RestoreReport
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.engine.upkeep import restore_backup
from loopwright.loops.erasing import erase_again, forgotten

__all__ = ["restore"]


@operation("platform.restore", scope="workspace:restore", local=True, command="restore")
def restore(ctx: Context, file: str, force: bool = False) -> RestoreReport:
    """Put a backup into this workspace, which must be empty; the whole file is verified first.

    With `force` a workspace that is there is renamed to `<folder>.before-restore-<time>`, not overwritten;
    no other process may have it open. A ledger on a server is never emptied: name an empty schema instead.
    What was erased since the backup was made, as far as the workspace set aside knows, is erased again before
    the command returns: `erased` says of how many entities there was something again.
    """
    erased = list[int]()
    report = restore_backup(ctx, Path(file), force=force, then=lambda: erased.append(_erased_again(ctx)))
    return replace(report, erased=sum(erased))


def _erased_again(ctx: Context) -> int:
    """How many erasures, in all spaces, the restored ledger knew nothing of, and had rows for."""
    spaces = (Context(ctx.ports, principal=ctx.principal, space=space) for space in sorted(forgotten(ctx)))
    return sum(len(erase_again(inside).again) for inside in spaces)
