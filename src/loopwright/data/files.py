"""Operations over folders of files: add, check out, list, read one, compare."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Annotated

import msgspec

from loopwright.core.addresses import AssetName, check_name, version_address
from loopwright.core.errors import NotFound
from loopwright.core.nouns import LinkRole, Version
from loopwright.data.checkouts import CheckedOut, checkout
from loopwright.data.folders import FolderAdded, add_folder, file_changes, page_digests, page_of
from loopwright.data.listing import FileChanges, FilePage, ListedFile
from loopwright.data.nouns import DATASET
from loopwright.data.placing import Way
from loopwright.engine.context import Context
from loopwright.engine.operation import Blob, operation
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.ports.ledger import Page

__all__ = ["FileView", "add", "changes", "check_out", "files", "read_file"]

Limit = Annotated[int, msgspec.Meta(ge=1, le=1000, description="how many on a page")]
Selected = Annotated[
    str, msgspec.Meta(max_length=600, description="which version: a number, an alias, an instant or #digest")
]


class FileView(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a version."""

    path: str
    size_bytes: int
    digest: str


@operation("data.add", scope="dataset:write", local=True, workspace=True)
def add(
    ctx: Context, folder: str, *, name: str = "", link: bool = False, expect: int | None = None
) -> FolderAdded:
    """Make what a folder of files holds the next version of a dataset, named as the folder by default.

    Files that have not changed since the last time are not read. With `link` large files are not copied
    where that can be had: they become read-only, and one with the store's. `expect` is the number the newest
    version must have.
    """
    return add_folder(
        ctx, check_name(name or Path(folder).absolute().name), Path(folder), link=link, expect=expect
    )


@operation("data.checkout", scope="dataset:read", local=True, workspace=True)
def check_out(
    ctx: Context, dataset: str, folder: str, *, way: Way = "auto", replace: bool = False, exact: bool = False
) -> CheckedOut:
    """Write the files of a version (`photos`, `photos@3`, `photos@<instant>`) into a folder.

    `replace` lets it write over files that are there, `exact` removes those that the version does not have.
    """
    return checkout(ctx, dataset, Path(folder), way=way, replace=replace, exact=exact)


@operation("data.files", scope="dataset:read", route="GET /datasets/{name}/files")
def files(
    ctx: Context,
    name: AssetName,
    *,
    version: Selected = "",
    under: str = "",
    limit: Limit = 100,
    token: str = "",
) -> Page[FileView]:
    """List the files of a version by path, `under` a folder or all of them."""
    number, _, after = token.partition("/")
    found = _version(ctx, name, number or version)
    prefix = f"{under.strip('/')}/" if under.strip("/") else ""
    matching = (
        file
        for page in _pages(ctx, found)
        for file in page.files
        if file.path > after and file.path.startswith(prefix)
    )
    taken = list(islice(matching, limit + 1))
    more = len(taken) > limit
    return Page(
        items=tuple(FileView(path=f.path, size_bytes=f.size_bytes, digest=f.digest) for f in taken[:limit]),
        next_token=f"{found.number}/{taken[limit - 1].path}" if more else "",
    )


@operation("data.read_file", scope="dataset:read", route="GET /datasets/{name}/content", command="data get")
def read_file(ctx: Context, name: AssetName, path: str, *, version: Selected = "") -> Blob:
    """Read one file of a folder's version."""
    found = _version(ctx, name, version)
    wanted = ((page, file) for page in _pages(ctx, found) for file in page.files if file.path == path)
    page, file = next(wanted, (None, None))
    if page is None or file is None:
        raise NotFound(f"{found.ref} has no file {path!r}", hint=f"loopwright data files {name} lists them")
    if ctx.run_id is not None:
        ctx.write(lambda tx: ctx.touch(tx, LinkRole.INPUT, found.ref))
    return _blob(ctx, page, file)


@operation("data.changes", scope="dataset:read", route="GET /datasets/{name}/changes")
def changes(ctx: Context, name: AssetName, *, before: Selected, after: Selected = "") -> FileChanges:
    """Say which files differ between two versions of a folder, by path."""
    return file_changes(ctx, _version(ctx, name, before), _version(ctx, name, after))


def _version(ctx: Context, name: str, selected: str) -> Version:
    return resolve(ctx, version_address(DATASET, name, selected))


def _pages(ctx: Context, version: Version) -> Iterator[FilePage]:
    return (page_of(ctx, digest) for digest in page_digests(manifest_of(ctx, version)))


def _blob(ctx: Context, page: FilePage, file: ListedFile) -> Blob:
    filename = PurePosixPath(file.path).name
    if file.offset is None or page.pack is None:
        return Blob(file=ctx.ports.objects.open(file.digest), size_bytes=file.size_bytes, filename=filename)
    data = ctx.ports.objects.get(page.pack)[file.offset : file.offset + file.size_bytes]
    return Blob(file=io.BytesIO(data), size_bytes=len(data), filename=filename)
