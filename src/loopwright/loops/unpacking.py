"""The bytes of a file, and of what is packed in it: of archives their files, of tables their values."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, NamedTuple, cast

from loopwright.core.errors import LoopwrightError
from loopwright.data.portions import over_portions

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["is_within"]

_CHUNK = 1 << 20
_DEPTH = 4
"""an archive in an archive, and so on, is opened so often"""
_MOST = 8 << 30
"""bytes that are unpacked of one file: a small one can hold any number of them"""
_ZIP = b"PK\x03\x04"
_TABLES = ((b"PAR1", "parquet"), (b"ARROW1", "arrow"))
_BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError, ValueError)
"""what readers of archives say of damaged and locked ones; `NotImplementedError` is a `RuntimeError`"""


class _Search(NamedTuple):
    """What is looked for, how much of a piece is looked at again with the next, how much may be unpacked."""

    holds: Callable[[bytes], bool]
    reach: int
    left: list[int]


def is_within(file: IO[bytes], holds: Callable[[bytes], bool], reach: int) -> bool:
    """Whether some bytes of a seekable file, or of what is packed in it, are what `holds` looks for.

    That is at most `reach` bytes long. Zip, gzip, bzip2 and xz are opened, whatever a file's name, one in
    another too, Parquet and Arrow are read. What is damaged, locked by a password or unpacks to over 8 GiB
    is looked into as far as that goes.
    """
    return _found(file, _Search(holds, reach, [_MOST]), _DEPTH)


def _found(file: IO[bytes], search: _Search, depth: int) -> bool:
    head = file.read(6)
    if _in_bytes(file, search, head):
        return True
    if not depth:
        return False
    file.seek(0)
    try:
        return _in_packed(file, head, search, depth)
    except (*_BROKEN, LoopwrightError):
        return False


def _in_packed(file: IO[bytes], head: bytes, search: _Search, depth: int) -> bool:
    if head.startswith(_ZIP):
        with zipfile.ZipFile(file) as archive:
            return any(_in_member(archive, each, search, depth) for each in archive.infolist())
    if form := next((form for magic, form in _TABLES if head.startswith(magic)), ""):
        return _in_table(file, form, search)
    inner = _unpacked(file, head)
    if inner is None:
        return False
    with inner:
        return _found(inner, search, depth - 1)


def _unpacked(file: IO[bytes], head: bytes) -> IO[bytes] | None:
    """What a packed stream holds, None for another file."""
    found: gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile | None = None
    if head.startswith(b"\x1f\x8b"):
        found = gzip.GzipFile(fileobj=file, mode="rb")
    elif head.startswith(b"BZh"):
        found = bz2.BZ2File(file)
    elif head.startswith(b"\xfd7zXZ\x00"):
        found = lzma.LZMAFile(file)  # noqa: SIM115 - who asked closes it
    return cast("IO[bytes] | None", found)


def _in_bytes(file: IO[bytes], search: _Search, before: bytes) -> bool:
    """Whether it is in what is left of a file, of which some is read already."""
    if search.holds(before):
        return True
    while search.left[0] > 0 and (piece := file.read(_CHUNK)):
        if search.holds(before + piece):
            return True
        search.left[0] -= len(piece)
        before = (before + piece)[-search.reach :]
    return False


def _in_member(archive: zipfile.ZipFile, each: zipfile.ZipInfo, search: _Search, depth: int) -> bool:
    if search.holds(each.filename.encode("utf-8", "surrogateescape")):
        return True
    try:
        with archive.open(each) as inner:
            return _found(inner, search, depth - 1)
    except _BROKEN:  # the others may be sound
        return False


def _in_table(file: IO[bytes], form: str, search: _Search) -> bool:
    def found(portions: Iterator[pa.Table]) -> bool:
        return any(search.holds(_text_of(column)) for portion in portions for column in portion.columns)

    return over_portions(file, f"file.{form}", found)


def _text_of(column: pa.ChunkedArray) -> bytes:
    """The values, one a line."""
    import pyarrow as pa

    try:
        values = column.cast(pa.string()).to_pylist()
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        values = [None if value is None else str(value) for value in column.to_pylist()]
    return "\n".join(value for value in values if value is not None).encode("utf-8", "surrogateescape")
