"""Reads what the end of a Parquet file says of its columns, for limits that hold before any row is read.

Arrow's own reader of it ends the process where sizes of a hostile file contradict one another, so that is
read here: Thrift's compact protocol (thrift.apache.org, doc/specs/thrift-compact-protocol.md) and the
structures of the Parquet format (parquet.thrift of apache/parquet-format).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from typing import IO, NamedTuple

from loopwright.core.errors import TooLarge

__all__ = ["ColumnPart", "column_parts"]

_MAGIC = b"PAR1"
_MOST_BYTES = 64 << 20
_MOST_PARTS = 2_000_000
_DEPTH = 32
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT, _UUID = 1, 2, 3, 7, 8, 9, 10, 11, 12, 13
_LONG_LIST = 15
_DICTIONARIES = frozenset({2, 8})
_ROW_GROUPS, _COLUMNS, _META = 4, 1, 3
_ENCODINGS, _PATH, _UNPACKED = 2, 3, 6


class ColumnPart(NamedTuple):
    """A column within one group of rows."""

    path: str
    size_bytes: int
    """unpacked, as the file says"""
    is_folded: bool
    """whether values are written once and pointed to: then few bytes may stand for many"""


def column_parts(file: IO[bytes]) -> list[ColumnPart]:
    """The columns of every group of rows, by the file's last bytes; `ValueError` where these tell none."""
    size = file.seek(0, os.SEEK_END)
    if size < 12:
        raise _damaged()
    file.seek(size - 8)
    told = file.read(8)
    length = int.from_bytes(told[:4], "little")
    if told[4:] != _MAGIC or length > size - 12:
        raise _damaged()
    if length > _MOST_BYTES:
        raise TooLarge(
            f"the Parquet file says {length:,} bytes of itself", hint="write it with fewer groups or columns"
        )
    file.seek(size - 8 - length)
    footer = _Compact(file.read(length))
    file.seek(0)
    try:
        found = list(islice(_parts(footer), _MOST_PARTS + 1))
    except (IndexError, UnicodeDecodeError) as error:
        raise _damaged() from error
    if len(found) > _MOST_PARTS:
        raise TooLarge(
            f"the Parquet file has over {_MOST_PARTS:,} parts of columns",
            hint="write it with larger groups of rows",
        )
    return found


def _damaged() -> ValueError:
    return ValueError("it is cut off, or damaged at its end")


def _parts(footer: _Compact) -> Iterator[ColumnPart]:
    for _ in footer.structures(_ROW_GROUPS):
        for _ in footer.structures(_COLUMNS):
            yield from _of_chunk(footer)


def _of_chunk(footer: _Compact) -> Iterator[ColumnPart]:
    for field, kind in footer.fields():
        if field == _META and kind == _STRUCT:
            yield _of_column(footer)
        else:
            footer.skip(kind)


def _of_column(footer: _Compact) -> ColumnPart:
    path, size, encodings = list[str](), 0, list[int]()
    for field, kind in footer.fields():
        if field == _ENCODINGS and kind == _LIST:
            encodings = [footer.whole() for _ in footer.items(5)]
        elif field == _PATH and kind == _LIST:
            path = [footer.binary().decode() for _ in footer.items(_BINARY)]
        elif field == _UNPACKED and kind == 6:
            size = footer.whole()
        else:
            footer.skip(kind)
    return ColumnPart(".".join(path), size, bool(_DICTIONARIES.intersection(encodings)))


class _Compact:
    """Values of Thrift's compact protocol, one after another; `IndexError` past their end."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at, self._depth = data, 0, 0

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _varint(self) -> int:
        found = shift = 0
        while True:
            byte = self._byte()
            found |= (byte & 0x7F) << shift
            if byte < 0x80:
                return found
            shift += 7
            if shift > 63:
                raise IndexError

    def whole(self) -> int:
        """A whole number."""
        found = self._varint()
        return (found >> 1) ^ -(found & 1)

    def binary(self) -> bytes:
        """Bytes with their length before them."""
        length = self._varint()
        self._pass(length)
        return self._data[self._at - length : self._at]

    def _pass(self, count: int) -> None:
        if count > len(self._data) - self._at:
            raise IndexError
        self._at += count

    def fields(self) -> Iterator[tuple[int, int]]:
        """The fields of a structure, each with its type; who gets one reads or skips it."""
        field = 0
        while head := self._byte():
            field = field + (head >> 4) if head >> 4 else self.whole()
            yield field, head & 0x0F

    def _listed(self) -> tuple[int, int]:
        head = self._byte()
        count = head >> 4
        if count == _LONG_LIST:
            count = self._varint()
        if count > len(self._data) - self._at:
            raise IndexError
        return count, head & 0x0F

    def items(self, wanted: int) -> Iterator[int]:
        """The places of a list of this type; who gets one reads it."""
        count, kind = self._listed()
        if kind != wanted:
            raise IndexError
        yield from range(count)

    def structures(self, wanted: int) -> Iterator[int]:
        """The structures in one field of the structure that is read now; its other fields are passed over."""
        for field, kind in self.fields():
            if field == wanted and kind == _LIST:
                yield from self.items(_STRUCT)
            else:
                self.skip(kind)

    def skip(self, kind: int) -> None:
        """Pass over a value."""
        self._depth += 1
        if self._depth > _DEPTH:
            raise IndexError
        if kind in {_TRUE, _FALSE}:
            pass  # the value of a field is its type
        elif kind == _BYTE:
            self._pass(1)
        elif kind in {4, 5, 6}:
            self._varint()
        elif kind in {_DOUBLE, _UUID}:
            self._pass(8 if kind == _DOUBLE else 16)
        elif kind == _BINARY:
            self._pass(self._varint())
        else:
            self._skip_many(kind)
        self._depth -= 1

    def _skip_many(self, kind: int) -> None:
        if kind == _STRUCT:
            for _, inner in self.fields():
                self.skip(inner)
        elif kind in {_LIST, _SET}:
            count, inner = self._listed()
            for _ in range(count):
                self._pass(1) if inner in {_TRUE, _FALSE} else self.skip(inner)
        elif kind == _MAP:
            self._skip_map()
        else:
            raise IndexError

    def _skip_map(self) -> None:
        count = self._varint()
        if count > len(self._data) - self._at:
            raise IndexError
        kinds = self._byte() if count else 0
        for _ in range(count):
            self.skip(kinds >> 4)
            self.skip(kinds & 0x0F)
