"""Folders of files without a subject's records: pages written anew where a file of them has some."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import BinaryIO

from msgspec.structs import replace

from loopwright.core.digests import digest_bytes
from loopwright.core.errors import Corrupt, NotFound
from loopwright.core.manifests import ManifestEntry
from loopwright.data.folders import page_of
from loopwright.data.listing import FilePage, ListedFile, decode_page, encode_page, parts_of_page
from loopwright.data.record_files import Left, holds_records, left_of, record_values
from loopwright.engine.context import Context
from loopwright.engine.holders import Subject

__all__ = ["PageRows", "page_in", "parts_of_page", "values_of_page"]


class _Page:
    """A page of files that can be opened."""

    def __init__(self, ctx: Context, page: FilePage) -> None:
        self._ctx = ctx
        self.page = page

    @cached_property
    def _pack(self) -> bytes:
        return b"" if self.page.pack is None else self._ctx.ports.objects.get(self.page.pack)

    def bytes_of(self, file: ListedFile) -> bytes:
        """What a file that lies in the pack holds."""
        assert file.offset is not None
        return self._pack[file.offset : file.offset + file.size_bytes]

    def opened(self, file: ListedFile) -> BinaryIO:
        """A file from its begin."""
        if file.offset is None:
            return self._ctx.ports.objects.open(file.digest)
        return io.BytesIO(self.bytes_of(file))


class PageRows:
    """What stays of pages; each is looked at once, whatever versions share it."""

    def __init__(self, ctx: Context, subject: Subject) -> None:
        self._ctx, self._subject = ctx, subject
        self._known: dict[str, tuple[ManifestEntry, int]] = {}
        self._counted: dict[str, int] = {}
        self.objects: set[str] = set()
        """former pages, packs and files"""

    def count(self, entry: ManifestEntry) -> int:
        """How many of the subject's records are in a page."""
        if entry.digest not in self._counted:
            found = _found(self._ctx, _page_at(self._ctx, entry.digest), self._subject)
            self._counted[entry.digest] = sum(left.removed for left in found.values())
        return self._counted[entry.digest]

    def left(self, entry: ManifestEntry) -> tuple[ManifestEntry, int]:
        """The entry of the page without them, kept as an object, and how many they were."""
        known = self._known.get(entry.digest)
        if known is None:
            known = self._known[entry.digest] = self._left(entry)
        return replace(entry, digest=known[0].digest, size_bytes=known[0].size_bytes), known[1]

    def _left(self, entry: ManifestEntry) -> tuple[ManifestEntry, int]:
        page = _page_at(self._ctx, entry.digest)
        found = _found(self._ctx, page, self._subject)
        if not found:
            return entry, 0
        made = _written(self._ctx, page, found)
        self.objects |= {entry.digest, *filter(None, [page.pack])}
        self.objects |= {file.digest for file in page.files if file.path in found and file.offset is None}
        digest = self._ctx.ports.objects.put(encode_page(made))
        size = sum(file.size_bytes for file in made.files)
        removed = sum(left.removed for left in found.values())
        return replace(entry, digest=digest, size_bytes=size), removed


def _page_at(ctx: Context, digest: str) -> FilePage:
    try:
        return page_of(ctx, digest)
    except NotFound:  # retention let it go
        return FilePage()


def _found(ctx: Context, page: FilePage, subject: Subject) -> dict[str, Left]:
    """What stays of the files that have records of the subject, by path."""
    files = _Page(ctx, page)
    found = dict[str, Left]()
    for file in page.files:
        if not holds_records(file.path):
            continue
        try:
            left = left_of(file.path, lambda file=file: files.opened(file), subject)  # type: ignore[misc]  # mypy infers no default
        except NotFound:
            continue
        if left is not None:
            found[file.path] = left
    return found


def _written(ctx: Context, page: FilePage, found: dict[str, Left]) -> FilePage:
    """The page with what stays of these files; the pack and larger files are kept as objects."""
    before, pack = _Page(ctx, page), bytearray()
    files = list[ListedFile]()
    for file in page.files:
        left = found.get(file.path)
        if file.offset is not None:
            data = before.bytes_of(file) if left is None else b"".join(left.pieces)
            files.append(ListedFile(file.path, len(data), digest_bytes(data), len(pack)))
            pack += data
        elif left is None:
            files.append(file)
        else:
            digest, size = ctx.ports.objects.put_stream(left.pieces)
            files.append(ListedFile(file.path, size, digest))
    return FilePage(pack=ctx.ports.objects.put(bytes(pack)) if pack else None, files=tuple(files))


def values_of_page(ctx: Context, digest: str, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Every combination of values that a record in a file of a page has of these columns."""
    page = page_in(ctx, digest)
    if page is None:
        return
    files = _Page(ctx, page)
    for file in page.files:
        if holds_records(file.path):
            try:
                yield from record_values(file.path, lambda file=file: files.opened(file), columns)  # type: ignore[misc]  # as above
            except NotFound:
                continue


def page_in(ctx: Context, digest: str) -> FilePage | None:
    """The page that an object is, None for another thing."""
    try:
        page = decode_page(ctx.ports.objects.get(digest))
    except (NotFound, Corrupt):
        return None
    return page if page.files else None
