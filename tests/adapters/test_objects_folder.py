"""The folder store: the suite, and what only a file system can do to it."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from loopwright.adapters.objects import FolderObjects
from loopwright.core.digests import digest_bytes
from loopwright.core.errors import Corrupt, Unavailable
from loopwright.ports.objects import Objects
from loopwright.testing.objects import ObjectsSuite


def spoil(path: Path) -> None:
    path.chmod(0o644)
    data = path.read_bytes()
    path.write_bytes(b"?" + data[1:])


def drafts(root: Path) -> list[str]:
    return sorted(os.listdir(root / "drafts"))


class TestFolderObjects(ObjectsSuite):
    @pytest.fixture
    def objects(self, tmp_path: Path) -> Objects:
        return FolderObjects(tmp_path / "objects")

    def damage(self, objects: Objects, digest: str) -> None:
        path = objects.local_path(digest)
        assert path is not None
        spoil(path)


def test_objects_are_read_only_files_named_by_their_digest(tmp_path: Path) -> None:
    digest = FolderObjects(tmp_path).put(b"content")
    path = tmp_path / digest[:2] / digest
    assert path.read_bytes() == b"content"
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert drafts(tmp_path) == []


def test_putting_the_same_content_again_mends_a_damaged_object(tmp_path: Path) -> None:
    digest = FolderObjects(tmp_path).put(b"content")
    spoil(tmp_path / digest[:2] / digest)
    objects = FolderObjects(tmp_path)
    with pytest.raises(Corrupt):
        objects.get(digest)
    assert objects.put(b"content") == digest
    assert objects.get(digest) == b"content"


def test_a_change_after_the_first_look_is_seen(tmp_path: Path) -> None:
    objects = FolderObjects(tmp_path)
    digest = objects.put(b"content")
    path = objects.local_path(digest)
    draft = tmp_path / "other"
    draft.write_bytes(b"comtent")
    os.utime(draft, ns=(path.stat().st_mtime_ns, path.stat().st_mtime_ns))
    draft.replace(path)
    with pytest.raises(Corrupt):
        objects.local_path(digest)


def test_a_put_of_what_is_there_renews_its_time(tmp_path: Path) -> None:
    objects = FolderObjects(tmp_path)
    digest = objects.put(b"content")
    path = objects.local_path(digest)
    os.utime(path, (1_000_000_000, 1_000_000_000))
    objects.put(b"content")
    assert path.stat().st_mtime > 1_700_000_000


def test_drafts_of_dead_processes_are_swept_and_those_of_live_ones_kept(tmp_path: Path) -> None:
    FolderObjects(tmp_path).put(b"first")
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], stdout=-1, check=True)
    host = os.uname().nodename.replace(".", "-")
    mine = (f"{host}.{int(dead.stdout)}.aa", f"{host}.{os.getppid()}.bb")
    for name in (*mine, "elsewhere.1.cc", "elsewhere.1.dd"):
        (tmp_path / "drafts" / name).write_bytes(b"half")
    os.utime(tmp_path / "drafts" / "elsewhere.1.cc", (1_000_000_000, 1_000_000_000))
    FolderObjects(tmp_path).put(b"second")
    assert drafts(tmp_path) == sorted([f"{host}.{os.getppid()}.bb", "elsewhere.1.dd"])


def test_a_killed_put_leaves_no_object_and_no_draft(tmp_path: Path) -> None:
    program = (
        "import os, sys, signal\nfrom pathlib import Path\n"
        "from loopwright.adapters.objects import FolderObjects\n"
        "def chunks():\n    yield b'half'\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "FolderObjects(Path(sys.argv[1])).put_stream(chunks())\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert ended.returncode == -9
    assert len(drafts(tmp_path)) == 1
    objects = FolderObjects(tmp_path)
    assert list(objects.list()) == []
    objects.put(b"next")
    assert drafts(tmp_path) == []


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = FolderObjects(tmp_path)

    def full(handle: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        for put in (lambda: objects.put(b"x" * 100), lambda: objects.put_stream([b"x" * 100])):
            with pytest.raises(Unavailable, match="No space left"):
                put()
    assert drafts(tmp_path) == []
    assert list(objects.list()) == []
    assert objects.get(objects.put(b"x" * 100)) == b"x" * 100


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable) as caught:
        FolderObjects(tmp_path / "file" / "objects").put(b"x")
    assert caught.value.hint


def test_other_files_in_the_folder_are_passed_over(tmp_path: Path) -> None:
    objects = FolderObjects(tmp_path)
    digest = objects.put(b"content")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / digest[:2] / "notes.txt").write_text("mine")
    (tmp_path / "ab").mkdir(exist_ok=True)
    (tmp_path / "ab" / digest_bytes(b"linked")).symlink_to(tmp_path / "notes.txt")
    assert [found.digest for found in objects.list()] == [digest]
