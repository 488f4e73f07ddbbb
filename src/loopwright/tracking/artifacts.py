"""Files of runs and logged models: paths in the ledger, bytes in the object store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from io import BytesIO
from typing import BinaryIO

import msgspec

from loopwright.core.errors import Invalid, NotFound
from loopwright.engine.context import Context
from loopwright.engine.operation import Blob, Upload, operation
from loopwright.ports.ledger import Artifact, Page, Transaction
from loopwright.tracking.homes import Spot, in_run
from loopwright.tracking.paths import file_path, folder_path, name_of

__all__ = [
    "SMALL",
    "Entry",
    "Find",
    "download",
    "entries",
    "found",
    "list_files",
    "listed",
    "opened",
    "prepared",
    "remove",
    "store",
    "store_stream",
    "upload",
]

Find = Callable[[Transaction], Spot]
"""finds a spot; asked again wherever something is decided, since the owner may be gone by then"""

SMALL = 1 << 18
"""bytes of a file that is read whole"""
_REMOVED_AT_ONCE = 1000
_PAGE = 1000


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A file or a folder in a folder."""

    path: str
    """from the root of the owner's files"""
    is_folder: bool = False
    size_bytes: int = 0
    digest: str = ""
    """of a file's content; empty for a folder"""


def store(ctx: Context, find: Find, data: bytes) -> Artifact:
    """Make or replace a file; `Invalid` when its owner is deleted, or its path that of a folder."""
    return prepared(ctx, find, data)()


def prepared(ctx: Context, find: Find, data: bytes) -> Callable[[], Artifact]:
    """As `store`, but of the file only its bytes are kept: what it gives makes the file, and writes alone."""
    _check(ctx, find)
    return partial(_recorded, ctx, find, ctx.ports.objects.put(data), len(data))


def store_stream(ctx: Context, find: Find, chunks: Iterable[bytes]) -> Artifact:
    """As `store`, of pieces, in flat memory; nothing is asked of them when the file is refused."""
    _check(ctx, find)
    return _recorded(ctx, find, *ctx.ports.objects.put_stream(chunks))


def _check(ctx: Context, find: Find) -> None:
    with ctx.read() as tx:
        _writable(tx, find)


def _writable(tx: Transaction, find: Find) -> Spot:
    spot = find(tx)
    spot.check_file()
    spot.check_open()
    return spot


def _recorded(ctx: Context, find: Find, digest: str, size_bytes: int) -> Artifact:
    at = ctx.now()

    def work(tx: Transaction) -> Artifact:
        spot = _writable(tx, find)
        _check_tree(ctx, tx, spot)
        made = Artifact(
            space=ctx.space,
            owner=spot.home.owner,
            path=spot.path,
            digest=digest,
            size_bytes=size_bytes,
            at=at,
        )
        tx.artifacts.put(made)
        return made

    return ctx.write(work)


def _check_tree(ctx: Context, tx: Transaction, spot: Spot) -> None:
    """A file is no folder: who downloads both could not keep them."""
    owner = spot.home.owner
    folder = spot.path.rpartition("/")[0]
    while folder:
        if tx.artifacts.get(ctx.space, owner, folder) is not None:
            raise Invalid("a folder of the path is a file", hint="remove the file, or choose another folder")
        folder = folder.rpartition("/")[0]
    if next(iter(tx.artifacts.under(ctx.space, owner, spot.path)), None) is not None:
        raise Invalid("the path is that of a folder", hint="remove the folder, or choose another name")


def listed(ctx: Context, find: Find) -> tuple[Spot, list[Entry]]:
    """What is in a folder, by path; nothing in a file, or in what is not there."""
    with ctx.read() as tx:
        spot = find(tx)
        return spot, entries(tx.artifacts.under(ctx.space, spot.home.owner, spot.path), spot.path)


def entries(files: Iterable[Artifact], folder: str) -> list[Entry]:
    """The files right in a folder, and the folders in it, by path, given all the files below it."""
    skip = len(folder) + 1 if folder else 0
    seen: dict[str, Entry] = {}
    for file in files:
        name, deeper, _ = file.path[skip:].partition("/")
        path = file.path[: skip + len(name)]
        if deeper:
            seen[path] = Entry(path=path, is_folder=True)
        else:
            seen[path] = Entry(path=path, size_bytes=file.size_bytes, digest=file.digest)
    return [seen[path] for path in sorted(seen)]


def found(ctx: Context, find: Find) -> Artifact:
    """The file at a spot; `NotFound`, or `Invalid` for a folder."""
    with ctx.read() as tx:
        spot = find(tx)
        spot.check_file()
        file = tx.artifacts.get(ctx.space, spot.home.owner, spot.path)
        if file is not None:
            return file
        if next(iter(tx.artifacts.under(ctx.space, spot.home.owner, spot.path)), None) is None:
            raise NotFound("No such artifact", hint="list the folder to see what is there")
    raise Invalid("Artifact path refers to a directory, not a file", hint="list it, and ask for its files")


def opened(ctx: Context, file: Artifact) -> BinaryIO:
    """The content of a file, to be read and closed.

    It is verified: a small one at every call, a great one on a local disk once a process.
    """
    objects = ctx.ports.objects
    if file.size_bytes <= SMALL:
        return BytesIO(objects.get(file.digest))
    return objects.open(file.digest)


def remove(ctx: Context, find: Find) -> int:
    """Take away a file, or all below a folder; how many there were: none is no error. Never the root."""
    with ctx.read() as tx:
        spot = _writable(tx, find)
        paths = [file.path for file in tx.artifacts.under(ctx.space, spot.home.owner, spot.path)]
    paths.append(spot.path)
    groups = (paths[at : at + _REMOVED_AT_ONCE] for at in range(0, len(paths), _REMOVED_AT_ONCE))
    return sum(ctx.write(partial(_removed, ctx, find, group)) for group in groups)


def _removed(ctx: Context, find: Find, paths: Sequence[str], tx: Transaction) -> int:
    owner = _writable(tx, find).home.owner
    there = [path for path in paths if tx.artifacts.get(ctx.space, owner, path) is not None]
    for path in there:
        tx.artifacts.remove(ctx.space, owner, path)
    return len(there)


@operation("runs.artifacts", scope="run:read", route="GET /runs/{run_id}/artifacts")
def list_files(
    ctx: Context, run_id: str, *, path: str = "", limit: int = 100, token: str = ""
) -> Page[Entry]:
    """List the files and folders in a folder of a run, by path."""
    if not 1 <= limit <= _PAGE:
        raise Invalid(f"limit {limit} is out of range", hint=f"ask for 1 to {_PAGE} files")
    folder = folder_path(path)
    _, items = listed(ctx, lambda tx: in_run(tx, ctx.space, run_id, folder))
    return _page(items, limit, token)


def _page(items: Sequence[Entry], limit: int, token: str) -> Page[Entry]:
    """The entries behind a path, which is what a token is."""
    rest = [entry for entry in items if entry.path > token]
    more = len(rest) > limit
    return Page(items=tuple(rest[:limit]), next_token=rest[limit - 1].path if more else "")


@operation("runs.download", scope="run:read", route="GET /runs/{run_id}/artifacts/content")
def download(ctx: Context, run_id: str, path: str) -> Blob:
    """Download a file of a run."""
    asked = file_path(path)
    file = found(ctx, lambda tx: in_run(tx, ctx.space, run_id, asked))
    return Blob(file=opened(ctx, file), size_bytes=file.size_bytes, filename=name_of(file.path))


@operation("runs.upload", scope="run:write", route="POST /runs/{run_id}/artifacts/content")
def upload(ctx: Context, run_id: str, path: str, upload: Upload) -> Entry:
    """Make or replace a file of a run."""
    asked = file_path(path)
    file = store_stream(ctx, lambda tx: in_run(tx, ctx.space, run_id, asked), upload.chunks)
    return Entry(path=file.path, size_bytes=file.size_bytes, digest=file.digest)
