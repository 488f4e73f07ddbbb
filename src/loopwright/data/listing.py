"""What a folder of files is kept as: pages of files in the order of their paths, small ones packed together.

A page's border depends on the paths and sizes alone, so that equal folders have equal pages whoever adds
them, and a change of one file makes one page and one pack anew. Pure.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from loopwright.core.digests import canonical
from loopwright.core.errors import Corrupt, Invalid

__all__ = [
    "PACKED_BYTES",
    "FileChanges",
    "FilePage",
    "ListedFile",
    "changes",
    "check_relative",
    "decode_page",
    "encode_page",
    "paged",
    "parts_of_page",
]

PACKED_BYTES = 65_536
"""files smaller than this share an object"""
_PATH_BYTES = 4096
_BORDER = 512
_FEWEST, _MOST = 64, 2048
_MOST_PACKED = 16 << 20


class ListedFile(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One file of a folder: its bytes are an object of their own, or lie in the page's pack at `offset`."""

    path: str
    """relative, with `/` between its parts, none of them empty, `.` or `..`"""
    size_bytes: int
    digest: str
    """BLAKE3 of the file's own bytes"""
    offset: int | None = None


class FilePage(msgspec.Struct, frozen=True, kw_only=True):
    """Some hundreds of files that follow one another, and the object that holds the small ones."""

    pack: str | None = None
    files: tuple[ListedFile, ...] = ()


class FileChanges(msgspec.Struct, frozen=True, kw_only=True):
    """Which files differ between two versions of a folder, by path."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


_DECODER = msgspec.json.Decoder(FilePage)


def encode_page(page: FilePage) -> bytes:
    """The page's canonical bytes, which are kept as an object."""
    return canonical(page)


def decode_page(data: bytes) -> FilePage:
    """Read a page back; `Corrupt` for what is none or names a file that may not be."""
    try:
        page = _DECODER.decode(data)
        for file in page.files:
            check_relative(file.path)
    except (msgspec.MsgspecError, UnicodeDecodeError, Invalid) as error:
        raise Corrupt("a list of files is damaged", hint="restore it from a backup") from error
    return page


def check_relative(path: str) -> str:
    """The path itself when it names a file inside a folder, on any system; else `Invalid`."""
    parts = path.split("/")
    wrong = (
        "\\" in path
        or "\0" in path
        or any(part in {"", ".", ".."} for part in parts)
        or (len(parts[0]) == 2 and parts[0][1] == ":")
    )
    try:
        long = len(path.encode()) > _PATH_BYTES
    except UnicodeEncodeError as error:
        raise Invalid(f"the file name {path!r} is no UTF-8", hint="rename the file") from error
    if wrong or long:
        raise Invalid(
            f"the file name {path[:200]!r} cannot be kept", hint="names are relative, without .. or \\"
        )
    return path


def paged(sizes: Iterable[tuple[str, int]]) -> Iterator[tuple[int, int]]:
    """Where the pages of files begin and end, from paths in order with their sizes."""
    start = place = packed = 0
    for place, (path, size) in enumerate(sizes, start=1):
        packed += size if size < PACKED_BYTES else 0
        count = place - start
        border = count >= _FEWEST and zlib.crc32(path.encode()) % _BORDER == 0
        if border or count >= _MOST or packed >= _MOST_PACKED:
            yield start, place
            start, packed = place, 0
    if place > start:
        yield start, place


def changes(before: Sequence[str], after: Sequence[str], page: Callable[[str], FilePage]) -> FileChanges:
    """Compare two lists of pages by digest; pages that both have are not read."""
    same = set(before) & set(after)
    old = _by_path(page(digest) for digest in before if digest not in same)
    new = _by_path(page(digest) for digest in after if digest not in same)
    return FileChanges(
        added=tuple(sorted(new.keys() - old.keys())),
        removed=tuple(sorted(old.keys() - new.keys())),
        changed=tuple(sorted(path for path in old.keys() & new.keys() if old[path] != new[path])),
    )


def _by_path(pages: Iterable[FilePage]) -> Mapping[str, str]:
    return {file.path: file.digest for page in pages for file in page.files}


def parts_of_page(page: FilePage) -> frozenset[str]:
    """The objects that a page names."""
    return frozenset([*filter(None, [page.pack]), *(f.digest for f in page.files if f.offset is None)])
