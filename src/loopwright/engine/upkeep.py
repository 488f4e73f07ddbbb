"""What keeps a workspace safe: backup, restore, and a look over the ledger."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import msgspec
from msgspec.structs import replace

from loopwright.core.errors import CheckFailed
from loopwright.engine.backups import (
    BackupReport,
    RestoreReport,
    has_ledger_file,
    inspect_backup,
    make_folder,
    place_backup,
    set_aside,
    write_backup,
)
from loopwright.engine.context import Context
from loopwright.engine.damage import versions_needing
from loopwright.engine.holders import MARKS_FILE
from loopwright.engine.operation import operation
from loopwright.engine.presence import IN_USE, alone
from loopwright.ports.ledger import StoreCheck

__all__ = ["Compacted", "backup", "check_store", "compact_store", "restore_backup"]


@operation("platform.backup", scope="platform:backup", local=True, workspace=True, command="backup")
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
            where=", ".join(islice(versions_needing(ctx, report.missing[0]), 3)),
            hint="what is there was kept; the versions that need them cannot be read, here as well as there",
        )
    return report


def restore_backup(
    ctx: Context, file: Path, *, force: bool = False, then: Callable[[], None] = lambda: None
) -> RestoreReport:
    """Put a backup into the context's workspace, which must be empty; the whole file is verified first.

    With `force` a workspace that is there is renamed first. `then` is what is to be done to the restored one
    while nobody else can open it. Where it fails the workspace stays, and its next opening does the same.
    """
    inspect_backup(file)
    folder = ctx.ports.folder
    aside = set_aside(folder, at=ctx.ports.clock.wall()) if force and has_ledger_file(folder) else None
    make_folder(folder)
    ports = ctx.ports
    with alone(folder, IN_USE):
        report = place_backup(
            file, ledger=ports.ledger, objects=ports.objects, folder=folder, keys=ports.keys
        )
        if aside is not None:
            _take_marks_along(aside, folder)
        then()
    if not report.journal.ok:
        raise CheckFailed(
            f"{file} was restored, but its journal is not whole: {report.journal.reason}",
            where=f"line {report.journal.first_bad}",
            hint="it was so when the backup was made: compare with an older backup",
        )
    return replace(report, set_aside=str(aside) if aside is not None else "")


def _take_marks_along(former: Path, now: Path) -> None:
    """Marks of erasures that the backup does not know yet, and the key that they were made with."""
    for key in (former / "keys").glob("*"):
        if key.is_file() and not (now / "keys" / key.name).exists():
            (now / "keys").mkdir(mode=0o700, exist_ok=True)
            shutil.copy2(key, now / "keys" / key.name)
    if (former / MARKS_FILE).exists():
        known = set((now / MARKS_FILE).read_bytes().splitlines()) if (now / MARKS_FILE).exists() else set()
        new = [line for line in (former / MARKS_FILE).read_bytes().splitlines() if line not in known]
        with (now / MARKS_FILE).open("ab") as file:
            file.writelines(line + b"\n" for line in new)
            file.flush()
            os.fsync(file.fileno())


@operation("db.check", scope="platform:check", local=True, workspace=True)
def check_store(ctx: Context) -> StoreCheck:
    """Look over the whole ledger: its own integrity, its revision, rows that name what is not there."""
    found = ctx.ports.ledger.check()
    if found.faults:
        raise CheckFailed(
            f"the ledger has {len(found.faults)} faults: {'; '.join(found.faults[:5])}",
            hint="restore a backup, or copy what is readable: loopwright backup FILE",
        )
    return found


class Compacted(msgspec.Struct, frozen=True, kw_only=True):
    """What a ledger gave back to the disk."""

    freed_bytes: int


@operation("db.compact", scope="platform:compact", local=True, workspace=True)
def compact_store(ctx: Context) -> Compacted:
    """Give back to the disk what removed rows left in the ledger's file; who writes waits meanwhile.

    It needs as much free space as the ledger has. PostgreSQL sees to that itself.
    """
    return Compacted(freed_bytes=ctx.ports.ledger.compact())
