"""Writes a version of a folder to a folder of this machine, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import msgspec

from loopwright.core.addresses import Address
from loopwright.core.errors import Conflict, Unavailable
from loopwright.core.nouns import LinkRole, Version
from loopwright.data.folders import page_digests, page_of
from loopwright.data.listing import FilePage
from loopwright.data.nouns import DATASET
from loopwright.data.placing import Placer, Way
from loopwright.data.remembering import remember, remembered
from loopwright.data.scanning import Remembered, mark_of, scan
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.engine.scratch import scratch

__all__ = ["CheckedOut", "checkout"]

_THREADS = 2


class CheckedOut(msgspec.Struct, frozen=True, kw_only=True):
    """What was written."""

    version: Version
    folder: str
    files: int
    size_bytes: int
    written: int
    """files that were not there as they are in the version"""
    cloned: int = 0
    """of these: those that share their blocks with the store's until one is written"""
    linked: int = 0
    """of these: read-only files that are one with the store's"""
    removed: int = 0


def checkout(
    ctx: Context,
    address: str | Address,
    folder: Path,
    *,
    way: Way = "auto",
    replace: bool = False,
    exact: bool = False,
) -> CheckedOut:
    """Write the files of a version of a folder (the newest, `@3`, `@alias`, `@<instant>`) below `folder`.

    Into a new or an empty folder all of it comes at once: it is written beside it first. Into one that has
    files only with `replace`: each file is replaced whole, those that are as they should be stay, and files
    that the version does not have stay too unless `exact`. `auto` clones where the file system can, else
    copies; `link` makes files one with the store's, read-only. Files under 64 KiB are always copied. The
    version becomes an input of the current run.
    """
    version = resolve(ctx, address, kind=DATASET)
    pages = [page_of(ctx, digest) for digest in page_digests(manifest_of(ctx, version))]
    root = folder.absolute()
    with _told(root):
        there = root.exists() and any(root.iterdir())
        if there and not replace:
            raise Conflict(f"{folder} is not empty", hint="choose another folder, or replace what is in it")
        if ctx.run_id is not None:
            ctx.write(lambda tx: ctx.touch(tx, LinkRole.INPUT, version.ref))
        removed = _clear(root, pages) if there and exact else 0
        ways = _update(ctx, pages, root, way) if there else _fill(ctx, pages, root, way)
        _remember(ctx, root, pages)
    files = [file for page in pages for file in page.files]
    return CheckedOut(
        version=version,
        folder=str(root),
        files=len(files),
        size_bytes=sum(file.size_bytes for file in files),
        written=len(ways),
        cloned=ways.count("clone"),
        linked=ways.count("link"),
        removed=removed,
    )


def _fill(ctx: Context, pages: Sequence[FilePage], root: Path, way: Way) -> list[Way]:
    """Write everything into a folder beside it, then let that be the folder.

    What a killed checkout left beside it goes with the next one.
    """
    root.parent.mkdir(parents=True, exist_ok=True)
    with scratch(root.parent) as held:
        beside = held / "files"
        beside.mkdir()
        ways = _place(Placer(ctx.ports.objects, beside, way, beside=False), pages, {})
        if root.exists():
            root.rmdir()
        beside.rename(root)
    return ways


def _update(ctx: Context, pages: Sequence[FilePage], root: Path, way: Way) -> list[Way]:
    """Replace the files that are not known to be as they should be."""
    marks = remembered(ctx, root)
    same = {
        each.path: found.digest
        for each in scan(root)
        if (found := marks.get(each.path)) is not None and found.mark == each.mark
    }
    return _place(Placer(ctx.ports.objects, root, way, beside=True), pages, same)


def _clear(root: Path, pages: Sequence[FilePage]) -> int:
    """Remove the files that the version does not have, and the folders that are empty then."""
    wanted = {file.path for page in pages for file in page.files}
    gone = [each.path for each in scan(root) if each.path not in wanted]
    for path in gone:
        (root / path).unlink(missing_ok=True)
    for folder, _, _ in os.walk(root, topdown=False):
        if folder != str(root) and not os.listdir(folder):
            os.rmdir(folder)
    return len(gone)


def _place(placer: Placer, pages: Sequence[FilePage], same: Mapping[str, str]) -> list[Way]:
    for folder in sorted({os.path.dirname(file.path) for page in pages for file in page.files}):
        placer.make_folder(folder)
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="loopwright-files")
    try:
        return list(chain.from_iterable(pool.map(lambda page: placer.place(page, same), pages)))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _remember(ctx: Context, root: Path, pages: Sequence[FilePage]) -> None:
    """The next add of this folder, or the next checkout into it, needs only look at it."""
    marks = {
        file.path: Remembered(mark_of(os.stat(f"{root}/{file.path}", follow_symlinks=False)), file.digest)
        for page in pages
        for file in page.files
    }
    remember(ctx, root, marks)


@contextmanager
def _told(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"{error.filename2 or error.filename or root} cannot be written: {error.strerror}",
            hint="choose another place, another way, or free some space",
        ) from error
