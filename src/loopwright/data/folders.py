"""Keeps folders of files as versions: what has not changed since the last time costs a look at it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import msgspec

from loopwright.core.addresses import Address, check_name
from loopwright.core.digests import digest_bytes
from loopwright.core.errors import Conflict, Invalid, NotFound, Unavailable
from loopwright.core.manifests import FOLDER, LAYOUT, Manifest, ManifestEntry
from loopwright.core.nouns import Json, Version
from loopwright.data.below import opened_below
from loopwright.data.listing import (
    PACKED_BYTES,
    FileChanges,
    FilePage,
    ListedFile,
    changes,
    decode_page,
    encode_page,
    paged,
    parts_of_page,
)
from loopwright.data.nouns import DATASET
from loopwright.data.remembering import remember, remembered
from loopwright.data.scanning import Mark, Remembered, Seen, forget_fresh, mark_of, scan
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, prepare, publish, resolve, taken_back
from loopwright.ports.objects import Objects

__all__ = ["FolderAdded", "add_folder", "file_changes", "page_digests", "page_of"]

_THREADS = 2
_PIECE = 1 << 20


class FolderAdded(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a folder."""

    version: Version
    files: int
    size_bytes: int
    read: int
    """how many files were read; the others were known to be as they were"""
    unchanged: bool
    """whether the newest version had this content already"""
    added: int
    """files that the version before did not have"""
    removed: int
    changed: int


class _Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A page to be: its files, the digests known of them, and the page of before that it may be."""

    files: Sequence[Seen]
    known: Mapping[str, str]
    before: str | None = None


class _Made(msgspec.Struct, frozen=True, kw_only=True):
    """A page that is kept."""

    digest: str
    size_bytes: int
    files: Sequence[ListedFile]
    marks: Mapping[str, Remembered]
    read: int


def page_digests(manifest: Manifest) -> tuple[str, ...]:
    """The pages of a folder's version; `Invalid` when it is a table."""
    if not manifest.is_folder:
        raise Invalid("the dataset is a table, not a folder of files", hint="read its rows instead")
    return manifest.pages


def page_of(ctx: Context, digest: str) -> FilePage:
    """One page of a folder's files, verified."""
    return decode_page(ctx.ports.objects.get(digest))


def file_changes(ctx: Context, before: Version, after: Version) -> FileChanges:
    """Which files differ between two versions of a folder; what both share is not read."""
    pages = [page_digests(manifest_of(ctx, version)) for version in (before, after)]
    return changes(pages[0], pages[1], lambda digest: page_of(ctx, digest))


def add_folder(
    ctx: Context,
    name: str,
    folder: Path,
    *,
    link: bool = False,
    expect: int | None = None,
    facts: Json | None = None,
) -> FolderAdded:
    """Make what a folder of this machine holds the next version of a dataset; equal content makes none.

    A file whose size, times and inode are those of the last time is not read again. With `link` files of
    64 KiB and more are not copied where that can be had: the folder's file and the store's become one, and
    read-only. `expect` is the number the newest version must have (0: none), else `Conflict`. A file that is
    written meanwhile is a `Conflict`, a link or a device `Invalid`; nothing is published then.
    """
    root = folder.absolute()
    started = time.time_ns()
    seen = scan(root)
    base = _base(ctx, check_name(name))
    before = () if base is None else page_digests(manifest_of(ctx, base))
    made = _kept(ctx, root, _plans(ctx, seen, remembered(ctx, root), before), link=link)
    marks = {path: each for page in made for path, each in page.marks.items()}
    remember(ctx, root, forget_fresh(marks, started))
    pages = tuple(page.digest for page in made)
    draft = prepare(
        ctx,
        name,
        _manifest(made, facts or {}),
        facts={"files": len(seen)},
        parent=None if base is None else base.number,
        expect=expect,
        builds_on=None if base is None else base.digest,
        by_program=True,
    )
    files = (part for page in made for part in _parts(ctx, page.digest))
    with taken_back(ctx, chain(files, draft.objects)):
        version = ctx.write(lambda tx: publish(ctx, tx, draft))
    found = changes(before, pages, lambda digest: page_of(ctx, digest))
    return FolderAdded(
        version=version,
        files=len(seen),
        size_bytes=sum(each.mark.size_bytes for each in seen),
        read=sum(page.read for page in made),
        unchanged=base is not None and base.number == version.number,
        added=len(found.added),
        removed=len(found.removed),
        changed=len(found.changed),
    )


def _parts(ctx: Context, page: str) -> frozenset[str]:
    """The objects that a page names; none where an erasure took it, which took these with it."""
    try:
        return parts_of_page(page_of(ctx, page))
    except NotFound:
        return frozenset()


def _base(ctx: Context, name: str) -> Version | None:
    try:
        return resolve(ctx, Address(kind=DATASET, name=name))
    except NotFound:
        return None


def _manifest(made: Sequence[_Made], facts: Json) -> Manifest:
    entries = tuple(
        ManifestEntry(
            path=f"page-{place:05d}",
            digest=page.digest,
            size_bytes=page.size_bytes,
            facts={"files": len(page.files)},
        )
        for place, page in enumerate(made, start=1)
    )
    return Manifest(kind=DATASET, entries=entries, body={LAYOUT: FOLDER, "facts": facts})


def _plans(
    ctx: Context, seen: Sequence[Seen], marks: Mapping[str, Remembered], before: Sequence[str]
) -> list[_Plan]:
    """The pages of the folder as it is, each with the page of before that begins with the same file."""
    known = {
        each.path: found.digest
        for each in seen
        if (found := marks.get(each.path)) is not None and found.mark == each.mark
    }
    old: dict[str, tuple[str, FilePage]] = {}
    for digest in before if known else ():
        page = page_of(ctx, digest)
        old[page.files[0].path] = (digest, page)
    held = {file.digest for _, page in old.values() for file in page.files}
    known = {path: digest for path, digest in known.items() if digest in held}  # others may be collected
    plans = []
    for start, end in paged((each.path, each.mark.size_bytes) for each in seen):
        files = seen[start:end]
        digest, page = old.get(files[0].path, ("", FilePage()))
        same = len(page.files) == len(files) and all(
            listed.path == each.path and known.get(each.path) == listed.digest
            for listed, each in zip(page.files, files, strict=True)
        )
        plans.append(_Plan(files=files, known=known, before=digest if same else None))
    return plans


def _kept(ctx: Context, root: Path, plans: Sequence[_Plan], *, link: bool) -> list[_Made]:
    """Every page's files as objects; a failure stops the others."""
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="loopwright-files")
    try:
        return list(pool.map(lambda plan: _keep_page(ctx, root, plan, link=link), plans))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _keep_page(ctx: Context, root: Path, plan: _Plan, *, link: bool) -> _Made:
    if plan.before is not None:
        page = page_of(ctx, plan.before)
        marks = {each.path: Remembered(each.mark, plan.known[each.path]) for each in plan.files}
        return _made(plan.before, page, marks, 0)
    writer = _PageWriter(ctx.ports.objects, root, link=link)
    for each in plan.files:
        writer.add(each, plan.known.get(each.path))
    return writer.close()


def _made(digest: str, page: FilePage, marks: Mapping[str, Remembered], read: int) -> _Made:
    size = sum(file.size_bytes for file in page.files)
    return _Made(digest=digest, size_bytes=size, files=page.files, marks=marks, read=read)


class _PageWriter:
    """Puts the files of one page into the store."""

    def __init__(self, objects: Objects, root: Path, *, link: bool) -> None:
        self._objects = objects
        self._root = root
        self._link = link
        self._files: list[ListedFile] = []
        self._marks: dict[str, Remembered] = {}
        self._pack = bytearray()
        self._read = 0

    def add(self, each: Seen, known: str | None) -> None:
        """Keep a file; one whose bytes are known to be an object already is not read."""
        size = each.mark.size_bytes
        if size < PACKED_BYTES:
            offset: int | None = len(self._pack)
            data = self._bytes_of(each)
            digest = digest_bytes(data)
            self._pack += data
        else:
            offset = None
            digest = self._object_of(each) if known is None or not self._has(known, size) else known
        self._files.append(ListedFile(each.path, size, digest, offset))
        self._marks.setdefault(each.path, Remembered(each.mark, digest))

    def close(self) -> _Made:
        """The page, kept; the pack before the page that names it."""
        pack = self._objects.put(bytes(self._pack)) if self._pack else None
        page = FilePage(pack=pack, files=tuple(self._files))
        return _made(self._objects.put(encode_page(page)), page, self._marks, self._read)

    def _has(self, digest: str, size: int) -> bool:
        found = self._objects.stat(digest)
        return found is not None and found.size_bytes == size

    def _bytes_of(self, each: Seen) -> bytes:
        self._read += 1
        with _Opened(self._root, each) as handle:
            data = os.read(handle.fileno, each.mark.size_bytes + 1)
            handle.check()
        return data

    def _object_of(self, each: Seen) -> str:
        self._read += 1
        with _Opened(self._root, each) as handle:
            digest, size = self._put(each, handle.fileno)
            after = handle.check(linked=self._link)
        if size != each.mark.size_bytes:
            raise _written(each)
        self._marks[each.path] = Remembered(after, digest)
        return digest

    def _put(self, each: Seen, opened: int) -> tuple[str, int]:
        """The bytes of the opened file, or the file itself where it is to be one with the store's."""
        if self._link:
            return self._objects.put_file(self._root / each.path, link=True)
        return self._objects.put_stream(iter(lambda: os.read(opened, _PIECE), b""))


class _Opened:
    """An open file of the folder that says whether it was written since it was seen."""

    def __init__(self, root: Path, each: Seen) -> None:
        self._each = each
        self.fileno = _open(root, each)

    def __enter__(self) -> _Opened:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fileno)

    def check(self, *, linked: bool = False) -> Mark:
        """The mark it has now, else `Conflict`; linking alone changes the time of the inode."""
        now, seen = mark_of(os.fstat(self.fileno)), self._each.mark
        wanted = msgspec.structs.replace(seen, changed_ns=now.changed_ns) if linked else seen
        if now != wanted:
            raise _written(self._each)
        return now


def _open(root: Path, each: Seen) -> int:
    try:
        return opened_below(str(root), each.path)
    except FileNotFoundError as error:
        raise _written(each) from error
    except OSError as error:
        raise Unavailable(
            f"{each.path!r} cannot be read: {error.strerror}", hint="see to its permissions"
        ) from error


def _written(each: Seen) -> Conflict:
    return Conflict(
        f"the file {each.path!r} was written while it was read", hint="try again when nobody writes"
    )
