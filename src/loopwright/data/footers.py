"""Reads what a Parquet file says of its columns and pages, for limits that hold before any row is read.

Arrow's own reader of it ends the process where sizes of a hostile file contradict one another, so that is
read here: Thrift's compact protocol (thrift.apache.org, doc/specs/thrift-compact-protocol.md) and the
structures of the Parquet format (parquet.thrift of apache/parquet-format). What the end of the file says of
sizes is not relied on: the heads of the pages are, by which Arrow unpacks them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
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
_WHOLE = frozenset({4, 5, 6})
_DICTIONARIES = frozenset({2, 8})
_PREFIXES = 7
_ROW_GROUPS, _COLUMNS, _META = 4, 1, 3
_ENCODINGS, _PATH, _VALUES, _PACKED, _PAGES, _DICTIONARY = 2, 3, 5, 7, 9, 11
_PAGE_UNPACKED, _PAGE_PACKED = 2, 3
_HEAD_BYTES = (1 << 12, 1 << 24)
"""how much of a page is read to find its head: that has the least and the greatest value in it"""


class ColumnPart(NamedTuple):
    """A column within one group of rows."""

    path: str
    size_bytes: int
    """of its pages, unpacked"""
    page_bytes: int
    """of the largest of them"""
    is_folded: bool
    """whether values are written once and pointed to: then few bytes may stand for many"""
    is_grown: bool
    """whether a text is written as what it has in common with the one before it, and the rest"""


class _Place(NamedTuple):
    path: str
    start: int
    end: int
    encodings: frozenset[int]


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
    try:
        places = list(islice(_places(footer), _MOST_PARTS + 1))
        if len(places) > _MOST_PARTS:
            raise TooLarge(
                f"the Parquet file has over {_MOST_PARTS:,} parts of columns",
                hint="write it with larger groups of rows",
            )
        return [_part(file, place, size) for place in places]
    except (IndexError, UnicodeDecodeError) as error:
        raise _damaged() from error
    finally:
        file.seek(0)


def _damaged() -> ValueError:
    return ValueError("it is cut off or damaged")


def _part(file: IO[bytes], place: _Place, size: int) -> ColumnPart:
    """A column's part by the heads of its pages."""
    pages = list(_page_sizes(file, place, size))
    return ColumnPart(
        place.path,
        sum(pages),
        max(pages, default=0),
        bool(_DICTIONARIES & place.encodings),
        _PREFIXES in place.encodings,
    )


def _page_sizes(file: IO[bytes], place: _Place, size: int) -> Iterator[int]:
    at = place.start
    if not 0 <= at <= place.end <= size:
        raise IndexError
    while at < place.end:
        length, unpacked, packed = _page_head(file, at)
        if unpacked < 0 or packed < 0:
            raise IndexError
        yield unpacked
        at += length + packed


def _page_head(file: IO[bytes], at: int) -> tuple[int, int, int]:
    """How long the head of a page is, and how many bytes the page has unpacked and packed."""
    for reach in _HEAD_BYTES:
        file.seek(at)
        head = _Compact(file.read(reach))
        try:
            told = head.numbers()
        except IndexError:
            continue
        return head.at, told[_PAGE_UNPACKED], told[_PAGE_PACKED]
    raise IndexError


def _places(footer: _Compact) -> Iterator[_Place]:
    for _ in footer.structures(_ROW_GROUPS):
        for _ in footer.structures(_COLUMNS):
            yield from _of_chunk(footer)


def _of_chunk(footer: _Compact) -> Iterator[_Place]:
    for field, kind in footer.fields():
        if field == _META and kind == _STRUCT:
            yield _of_column(footer)
        else:
            footer.skip(kind)


def _of_column(footer: _Compact) -> _Place:
    path, encodings, told = list[str](), list[int](), dict[int, int]()
    for field, kind in footer.fields():
        if field == _ENCODINGS and kind == _LIST:
            encodings = [footer.whole() for _ in footer.items(5)]
        elif field == _PATH and kind == _LIST:
            path = [footer.binary().decode() for _ in footer.items(_BINARY)]
        elif kind in _WHOLE:
            told[field] = footer.whole()
        else:
            footer.skip(kind)
    start = told.get(_PAGES, 0)
    if 0 < told.get(_DICTIONARY, 0) < start:
        start = told[_DICTIONARY]
    is_bare = not start and not told.get(_VALUES, 0)  # of no rows there are no pages, and Arrow says no place
    return _Place(".".join(path), start, start + (not is_bare) * told.get(_PACKED, 0), frozenset(encodings))


class _Compact:
    """Values of Thrift's compact protocol, one after another; `IndexError` past their end."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at, self._depth = data, 0, 0

    @property
    def at(self) -> int:
        """How many bytes are read."""
        return self._at

    def numbers(self) -> Mapping[int, int]:
        """The whole numbers among the fields of a page's head; `IndexError` where its sizes are none."""
        found = dict[int, int]()
        for field, kind in self.fields():
            if kind in _WHOLE:
                found[field] = self.whole()
            else:
                self.skip(kind)
        if not {_PAGE_UNPACKED, _PAGE_PACKED} <= found.keys():
            raise IndexError
        return found

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
        elif kind in _WHOLE:
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
