"""Folders that are swapped for links while something is read or written below them: nothing leads out.

The swapping goes on in a thread of its own the whole time, so that it falls into every step.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from loopwright.adapters.histories import Root, Roots
from loopwright.adapters.objects import FolderObjects
from loopwright.core.errors import LoopwrightError
from loopwright.data.checkouts import checkout
from loopwright.data.folders import add_folder
from loopwright.workspace import Workspace, load_settings

SECRET = b"told to nobody"
ROUNDS = 60


@contextmanager
def swapped(folder: Path, target: Path) -> Iterator[threading.Event]:
    """The folder is itself, then a link to the target, then itself again, as fast as it goes."""
    over, aside = threading.Event(), folder.with_name(f"{folder.name}.aside")

    def swap() -> None:
        while not over.is_set():
            with suppress(OSError):
                os.rename(folder, aside)
                os.symlink(target, folder)
            with suppress(OSError):
                os.unlink(folder)
            with suppress(OSError):
                os.rename(aside, folder)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield over
    finally:
        over.set()
        thread.join()
        if folder.is_symlink():
            folder.unlink()
        if aside.exists() and not folder.exists():
            aside.rename(folder)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    found = tmp_path / "outside"
    found.mkdir()
    (found / "secret.txt").write_bytes(SECRET)
    return found


def contents(found: Path) -> dict[str, bytes]:
    return {str(each.relative_to(found)): each.read_bytes() for each in found.rglob("*") if each.is_file()}


@pytest.mark.parametrize("name", ["drafts", "shard"])
def test_an_upload_is_never_written_out_of_the_store(tmp_path: Path, outside: Path, name: str) -> None:
    objects = FolderObjects(tmp_path / "objects", durable=False)
    digest = objects.put(b"first")
    folder = tmp_path / "objects" / ("drafts" if name == "drafts" else digest[:2])
    watched: set[str] = set()
    with swapped(folder, outside):
        for at in range(ROUNDS):
            with suppress(LoopwrightError):
                objects.put(b"%d" % at)
            with suppress(LoopwrightError):
                objects.remove(digest)
                objects.put(b"first")
            with suppress(LoopwrightError):
                objects.put_stream([b"a" * 1000, b"%d" % at])
            watched |= set(os.listdir(outside))
    assert watched == {"secret.txt"}
    assert contents(outside) == {"secret.txt": SECRET}


def test_a_shard_that_is_a_link_takes_nothing(tmp_path: Path, outside: Path) -> None:
    """As the race above would leave it, for good."""
    objects = FolderObjects(tmp_path / "objects", durable=False)
    digest = objects.put(b"first")
    objects.remove(digest)
    shard = tmp_path / "objects" / digest[:2]
    shard.rmdir()
    shard.symlink_to(outside)
    with pytest.raises(LoopwrightError):
        objects.put(b"first")
    assert contents(outside) == {"secret.txt": SECRET}


def test_a_download_is_what_was_kept_or_nothing(tmp_path: Path, outside: Path) -> None:
    objects = FolderObjects(tmp_path / "objects", durable=False)
    content = b"kept" * 100_000
    digest = objects.put(content)
    (outside / digest).write_bytes(b"x" * len(content))
    with swapped(tmp_path / "objects" / digest[:2], outside):
        for _ in range(ROUNDS):
            with suppress(LoopwrightError), objects.open(digest) as file:
                assert file.read() == content
            with suppress(LoopwrightError):
                assert objects.get(digest) == content


def test_a_file_that_becomes_a_link_is_not_linked_into_the_store(tmp_path: Path, outside: Path) -> None:
    objects = FolderObjects(tmp_path / "objects", durable=False)
    link = tmp_path / "link"
    link.symlink_to(outside / "secret.txt")
    before = (outside / "secret.txt").stat().st_mode
    with pytest.raises(LoopwrightError):
        objects.put_file(link, link=True)
    assert (outside / "secret.txt").stat().st_mode == before
    assert list(objects.list()) == []


def test_a_history_is_never_read_out_of_its_root(tmp_path: Path, outside: Path) -> None:
    home = tmp_path / "root" / "run" / "artifacts"
    home.mkdir(parents=True)
    (home / "secret.txt").write_bytes(b"mine")
    roots = Roots([Root(prefix=str(tmp_path / "root"), folder=tmp_path / "root")])
    found: set[bytes] = set()
    with swapped(home, outside):
        for _ in range(ROUNDS * 4):
            with suppress(LoopwrightError):
                found.add(b"".join(roots.read(str(tmp_path / "root" / "run"), "artifacts/secret.txt")))
    assert found <= {b"mine"}


@contextmanager
def opened(folder: Path) -> Iterator[Workspace]:
    found = load_settings({"workspace": str(folder / ".loopwright")}, environment={})
    with Workspace.open(settings=found) as workspace:
        yield workspace


def test_a_folder_is_never_added_from_outside(tmp_path: Path, outside: Path) -> None:
    inner = tmp_path / "data" / "inner"
    inner.mkdir(parents=True)
    (inner / "secret.txt").write_bytes(b"x" * len(SECRET))
    great = b"y" * 100_000
    (outside / "great.bin").write_bytes(b"z" * len(great))
    (inner / "great.bin").write_bytes(great)
    with opened(tmp_path) as workspace:
        ctx = workspace.context()
        with swapped(inner, outside):
            for _ in range(ROUNDS // 8):
                with suppress(LoopwrightError):
                    add_folder(ctx, "data", tmp_path / "data")
        kept = b"".join(ctx.ports.objects.get(each.digest) for each in ctx.ports.objects.list())
    assert SECRET not in kept
    assert b"z" * 1000 not in kept


def test_a_checkout_is_never_written_outside(tmp_path: Path, outside: Path) -> None:
    inner = tmp_path / "data" / "inner"
    inner.mkdir(parents=True)
    (inner / "small.txt").write_bytes(b"small")
    (inner / "great.bin").write_bytes(b"y" * 100_000)
    with opened(tmp_path) as workspace:
        ctx = workspace.context()
        add_folder(ctx, "data", tmp_path / "data")
        out = tmp_path / "out"
        checkout(ctx, "data", out)
        seen: set[str] = set()
        with swapped(out / "inner", outside):
            for _ in range(ROUNDS // 8):
                with suppress(LoopwrightError):
                    checkout(ctx, "data", out, replace=True)
                seen |= set(os.listdir(outside))
    assert seen == {"secret.txt"}
    assert contents(outside) == {"secret.txt": SECRET}
