"""A disk without room: refused with what and what next, nothing half-written, whole again with room."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from loopwright.adapters.online import SqliteOnline
from loopwright.core.errors import Unavailable
from loopwright.engine.operation import Upload
from loopwright.workspace import Workspace
from tests.adapters.test_online_sqlite import START, VIEW
from tests.adapters.test_online_sqlite import row as online_row


class Disk:
    """A file system of 4 MB and how to fill it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self, *, but_bytes: int = 0) -> None:
        """Leave no more than so many bytes."""
        found = os.statvfs(self.folder)
        size = found.f_bavail * found.f_frsize - but_bytes
        with suppress(OSError), self._filler.open("ab", buffering=0) as file:  # somebody else was quicker
            file.write(b"0" * max(size, 0))

    def empty(self) -> None:
        """Give the room back."""
        self._filler.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted by this user")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def uploaded(workspace: Workspace, name: str, rows: int, start: int = 0) -> None:
    lines = "\n".join(f"{start + i},{(start + i) * 0.37 % 1!r}" for i in range(rows))
    upload = Upload(chunks=iter([b"id,v\n", lines.encode()]), media_type="text/csv")
    workspace.call("data.upload", name=name, upload=upload)


def rows_of(workspace: Workspace, name: str) -> int:
    return int(workspace.call("assets.show", kind="dataset", name=name).newest.facts["rows"])


def renamed_until_full(workspace: Workspace, name: str) -> str:
    """Rename a dataset until that is refused; the last name that was acknowledged."""
    refused, number = "", 0
    while not refused:
        number += 1
        try:
            workspace.call("assets.rename", kind="dataset", name=name, to=f"d{number}")
            name = f"d{number}"
        except Unavailable as error:
            refused = error.message
    assert "disk is full" in refused
    return name


def test_ledger_and_objects_are_whole_again_with_room(disk: Disk) -> None:
    folder = disk.folder / ".loopwright"
    with Workspace.open(folder) as workspace:
        uploaded(workspace, "d", 10)
        disk.fill(but_bytes=40_000)
        with pytest.raises(Unavailable, match=r"No space left|disk is full") as told:
            uploaded(workspace, "d", 20_000, start=10)
        assert "free some space" in told.value.hint
        disk.fill()
        acknowledged = renamed_until_full(workspace, "d")
        assert rows_of(workspace, acknowledged) == 10
        assert workspace.call("journal.verify").ok
        disk.empty()
        uploaded(workspace, acknowledged, 20_000, start=10)
    with Workspace.open(folder) as again:
        assert rows_of(again, acknowledged) == 20_010
        assert again.call("journal.verify").ok
        assert again.call("db.check").faults == ()
        assert list((folder / "objects" / "drafts").iterdir()) == []


def test_opening_without_room_is_told_and_later_works(disk: Disk) -> None:
    folder = disk.folder / ".loopwright"
    for room in (0, 8_000, 100_000):
        disk.fill(but_bytes=room)
        with pytest.raises(Unavailable, match=r"disk is full|No space left"):
            Workspace.open(folder)
        disk.empty()
    with Workspace.open(folder) as workspace:
        uploaded(workspace, "d", 10)
    disk.fill()
    with pytest.raises(Unavailable, match="disk is full"):
        Workspace.open(folder)
    disk.empty()
    with Workspace.open(folder) as workspace:
        assert rows_of(workspace, "d") == 10


def test_stopping_without_room_lets_go_of_everything(disk: Disk) -> None:
    folder = disk.folder / ".loopwright"
    workspace = Workspace.open(folder)
    workspace.start()
    uploaded(workspace, "d", 10)
    disk.fill()
    renamed_until_full(workspace, "d")
    with pytest.raises(Unavailable, match="disk is full"):
        workspace.close()
    disk.empty()
    with Workspace.open(folder) as again, again.replaying():
        assert again.call("journal.verify").ok


def test_no_backup_is_half_written(disk: Disk, tmp_path: Path) -> None:
    with Workspace.open(tmp_path / ".loopwright") as workspace:
        uploaded(workspace, "d", 100_000)
        workspace.call("platform.backup", file=str(tmp_path / "whole.tar"))
        disk.fill(but_bytes=(tmp_path / "whole.tar").stat().st_size // 2)
        with pytest.raises(Unavailable, match="No space left"):
            workspace.call("platform.backup", file=str(disk.folder / "b.tar"))
        assert [path.name for path in disk.folder.iterdir()] == ["filler"]
        disk.empty()
        workspace.call("platform.backup", file=str(disk.folder / "b.tar"))


def test_the_online_store_goes_on_with_room(disk: Disk) -> None:
    path = disk.folder / "online.db"
    store = SqliteOnline(path)
    store.define(VIEW)
    store.push("v@1", [online_row(1)])
    store.flush(START + 1)
    disk.fill(but_bytes=30_000)
    reached, hint = 1, ""
    while not hint:
        reached += 1
        store.push("v@1", [online_row(reached), online_row(reached, f"key {reached}" * 30)])
        try:
            store.flush(START + reached)
        except Unavailable as error:
            hint = error.hint
    assert "free some space" in hint
    assert store.watermark("v@1") == START + reached - 1
    with pytest.raises(Unavailable, match="full"):
        store.flush(START + reached)
    disk.empty()
    store.flush(START + reached)
    expected = store.read("v@1", [("a",)], START + reached)
    store.close()
    again = SqliteOnline(path)
    assert again.watermark("v@1") == START + reached
    assert again.read("v@1", [("a",)], START + reached) == expected
    again.close()
