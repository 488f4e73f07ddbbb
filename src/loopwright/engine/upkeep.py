"""What keeps a workspace safe, as commands: backup, restore, and a look over the ledger."""

from __future__ import annotations

from pathlib import Path

from loopwright.core.errors import CheckFailed
from loopwright.engine.backups import BackupReport, RestoreReport, restore_backup, write_backup
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.ports.ledger import StoreCheck

__all__ = ["backup", "check_store", "restore"]


@operation("platform.backup", scope="platform:backup", local=True, command="backup")
def backup(ctx: Context, file: str) -> BackupReport:
    """Write ledger, objects, keys and online features into one file, while the platform goes on working.

    The file holds the workspace's signing key: it is made with mode 600 and is to be kept like a password.
    """
    report = write_backup(
        Path(file),
        ledger=ctx.ports.ledger,
        objects=ctx.ports.objects,
        folder=ctx.ports.folder,
        made_at=ctx.ports.clock.wall(),
    )
    if report.missing:
        raise CheckFailed(
            f"{file} was written, but {len(report.missing)} objects are missing: {report.missing[0]}, ...",
            hint="what is there was kept; the versions that need them cannot be read, here as well as there",
        )
    return report


@operation("platform.restore", scope="platform:restore", local=True, command="restore")
def restore(ctx: Context, file: str) -> RestoreReport:
    """Put a backup into this workspace, which must be empty; the whole file is verified first."""
    report = restore_backup(
        Path(file),
        ledger=ctx.ports.ledger,
        objects=ctx.ports.objects,
        folder=ctx.ports.folder,
        keys=ctx.ports.keys,
    )
    if not report.journal.ok:
        raise CheckFailed(
            f"{file} was restored, but its journal is not whole: {report.journal.reason}",
            where=f"line {report.journal.first_bad}",
            hint="it was so when the backup was made: compare with an older backup",
        )
    return report


@operation("db.check", scope="platform:check", local=True)
def check_store(ctx: Context) -> StoreCheck:
    """Look over the whole ledger: its own integrity, its revision, rows that name what is not there."""
    found = ctx.ports.ledger.check()
    if found.faults:
        raise CheckFailed(
            f"the ledger has {len(found.faults)} faults: {'; '.join(found.faults[:5])}",
            hint="restore a backup, or copy what is readable: loopwright backup FILE",
        )
    return found
