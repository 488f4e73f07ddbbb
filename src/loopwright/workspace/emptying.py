"""A workspace for other people's test suites: marked as one, and emptied without taking it down."""

from __future__ import annotations

from pathlib import Path

from loopwright.core.errors import Conflict, Unavailable
from loopwright.engine.journal import HEADS_FILE
from loopwright.engine.presence import IN_USE, alone
from loopwright.workspace.catalogue import ONLINE_FILE, Assembly
from loopwright.workspace.root import Workspace
from loopwright.workspace.settings import Settings

__all__ = ["TESTING_MARK", "empty_workspace", "open_for_testing"]

TESTING_MARK = "testing"
"""name of the file that says: whatever is in this workspace may be thrown away"""


def open_for_testing(settings: Settings) -> Workspace:
    """The workspace, marked as one for tests; `Conflict` when it holds something and has no mark."""
    mark = settings.folder / TESTING_MARK
    workspace = Workspace(settings)
    try:
        if not mark.exists():
            _refuse_used(workspace)
            _make(mark)
    except BaseException:
        workspace.close()
        raise
    return workspace


def _refuse_used(workspace: Workspace) -> None:
    with workspace.ports.ledger.read() as tx:
        lines = tx.journal.head().count
    if lines or next(iter(workspace.ports.objects.list()), None) is not None:
        raise Conflict(
            f"the workspace {workspace.settings.folder} holds something, and --testing may throw it all away",
            hint="give an empty folder: --workspace DIR",
        )


def _make(mark: Path) -> None:
    try:
        mark.touch(mode=0o600)
    except OSError as error:
        raise Unavailable(f"{mark} cannot be written: {error.strerror}", hint="free some space") from error


def empty_workspace(settings: Settings) -> None:
    """Throw away all that a closed workspace holds: ledger of every space, objects, online features, anchors.

    Keys and mark stay. `Conflict` when another process has the workspace open, or it is not marked.
    """
    if not (settings.folder / TESTING_MARK).exists():
        raise Conflict(f"the workspace {settings.folder} is not for tests", hint="start it with --testing")
    with alone(settings.folder, IN_USE):
        ports = Assembly(settings)
        try:
            ports.ledger.empty()
            for each in ports.objects.list():
                ports.objects.remove(each.digest)
        finally:
            ports.close()
        for path in (settings.folder / HEADS_FILE, *settings.folder.glob(f"{ONLINE_FILE}*")):
            path.unlink(missing_ok=True)
