"""Files that hold records (CSV, TSV, NDJSON, JSON lists, Parquet, packed or not): a subject's are left out.

What stays of a file of text is as it was, byte for byte; of a JSON list and of Parquet as it is written anew.
A file whose name says one of these and that cannot be read so is told apart from one that has none.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import product
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

import msgspec

from loopwright.core.errors import TooLarge
from loopwright.core.nouns import Json
from loopwright.data.footers import column_parts
from loopwright.engine.holders import Subject, values_named

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Left", "holds_records", "left_of", "record_values"]

Opened = Callable[[], BinaryIO]
"""opens the file from its begin, as often as it is asked"""

Unpacked = Callable[[], AbstractContextManager[BinaryIO]]

_LINES, _OBJECTS, _LIST, _TABLE = "lines", "objects", "list", "table"
_KINDS = {
    ".csv": _LINES,
    ".tsv": _LINES,
    ".ndjson": _OBJECTS,
    ".jsonl": _OBJECTS,
    ".json": _LIST,
    ".parquet": _TABLE,
}
_DELIMITERS = ",;\t|"
_MOST_LIST = 256 << 20
"""bytes of a JSON list: it is read whole"""
_MOST_COLUMN = 2 << 30
_UNREADABLE = (
    csv.Error,
    msgspec.DecodeError,
    UnicodeDecodeError,
    RecursionError,
    EOFError,
    gzip.BadGzipFile,
    zlib.error,
)


class Left(NamedTuple):
    """What stays of a file, in pieces, and how many of its records were the subject's."""

    pieces: Iterable[bytes]
    removed: int


class _Record(NamedTuple):
    raw: str
    """its text with the end of its line"""
    fields: Json | None
    """None for a heading, and for what is no object"""


def holds_records(path: str) -> bool:
    """Whether a file's name says that it holds records."""
    return _kind(path)[0] is not None


def left_of(path: str, opened: Opened, subject: Subject) -> Left | None:
    """What stays of a file without the subject's records; None where it has none, or cannot be read."""
    kind, is_packed = _kind(path)
    try:
        if kind == _TABLE:
            return _left_of_table(opened, subject)
        if kind == _LIST:
            return _left_of_list(_unpacked(opened, is_packed=is_packed), subject, is_packed=is_packed)
        if kind is None:
            return None
        again = _unpacked(opened, is_packed=is_packed)
        removed = sum(_is_of(each, subject) for each in _records(kind, again, subject.columns))
        stays = (each.raw for each in _records(kind, again, subject.columns) if not _is_of(each, subject))
        return Left(_written(stays, is_packed=is_packed), removed) if removed else None
    except _UNREADABLE:
        return None


def record_values(path: str, opened: Opened, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Every combination of values, as text, that a record of the file has of these columns."""
    kind, is_packed = _kind(path)
    try:
        if kind == _TABLE:
            yield from _values_of_table(opened, columns)
        elif kind is not None:
            again = _unpacked(opened, is_packed=is_packed)
            for said in _said(kind, again, columns):
                yield from product(*(values_named([said], column) for column in columns))
    except _UNREADABLE:
        return


def _said(kind: str, opened: Unpacked, columns: Sequence[str]) -> Iterable[Any]:
    """What each record says."""
    return _listed(opened) if kind == _LIST else (each.fields for each in _records(kind, opened, columns))


def _kind(path: str) -> tuple[str | None, bool]:
    """What a file holds by its name, and whether gzip has packed it."""
    name = PurePosixPath(path.lower())
    is_packed = name.suffix == ".gz"
    kind = _KINDS.get(PurePosixPath(name.stem).suffix if is_packed else name.suffix)
    return (None, False) if kind == _TABLE and is_packed else (kind, is_packed)


def _unpacked(opened: Opened, *, is_packed: bool) -> Unpacked:
    """What opens a file of text, and closes what it is unpacked from too."""

    @contextmanager
    def text() -> Iterator[BinaryIO]:
        with opened() as file:
            if is_packed:
                with gzip.GzipFile(fileobj=file, mode="rb") as packed:
                    yield cast("BinaryIO", packed)
            else:
                yield file

    return text


def _is_of(record: _Record, subject: Subject) -> bool:
    return record.fields is not None and _is_subject(record.fields, subject)


def _is_subject(fields: Any, subject: Subject) -> bool:
    wanted = zip(subject.columns, subject.values, strict=True)
    return all(value in values_named([fields], column) for column, value in wanted)


# ------------------------------------------------------------------------------------------ lines of text


def _records(kind: str, opened: Unpacked, columns: Sequence[str]) -> Iterator[_Record]:
    with (
        opened() as file,
        io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="") as text,
    ):
        yield from _rows(text, columns) if kind == _LINES else _objects(text)


def _objects(text: Iterable[str]) -> Iterator[_Record]:
    for line in text:
        try:
            yield _Record(line, msgspec.json.decode(line.encode("utf-8", "surrogateescape")))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            yield _Record(line, None)


def _rows(text: Iterable[str], columns: Sequence[str]) -> Iterator[_Record]:
    """Rows of a table as text; the first one names the columns."""
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in text:
            taken.append(line)
            yield line

    source = lines()
    first = next(source, "")
    names = _heading(first, columns)
    yield _Record(first, None)
    if names is None:
        yield from (_Record(line, None) for line in source)
        return
    taken.clear()
    for row in csv.reader(source, delimiter=names.delimiter):
        raw = "".join(taken)
        taken.clear()
        yield _Record(raw, dict(zip(names.columns, row, strict=False)))


class _Heading(NamedTuple):
    columns: list[str]
    delimiter: str


def _heading(line: str, columns: Sequence[str]) -> _Heading | None:
    """The names of the columns, parted by whatever makes these be among them."""
    for delimiter in _DELIMITERS:
        names = next(csv.reader([line.removeprefix("\ufeff")], delimiter=delimiter), [])
        if set(columns) <= set(names):
            return _Heading(names, delimiter)
    return None


def _written(texts: Iterable[str], *, is_packed: bool) -> Iterator[bytes]:
    pieces = (text.encode("utf-8", "surrogateescape") for text in texts)
    return _packed(pieces) if is_packed else pieces


def _packed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """As gzip packs them, with no time in it, so that equal files are equal objects."""
    packer = zlib.compressobj(wbits=31)
    for piece in pieces:
        yield packer.compress(piece)
    yield packer.flush()


# ---------------------------------------------------------------------------------------------- JSON lists


def _listed(opened: Unpacked) -> list[Any]:
    """The items of a list; none of a file that is another thing, or too large to be read whole."""
    with opened() as file:
        data = file.read(_MOST_LIST + 1)
    found = None if len(data) > _MOST_LIST else msgspec.json.decode(data)
    return found if isinstance(found, list) else []


def _left_of_list(opened: Unpacked, subject: Subject, *, is_packed: bool) -> Left | None:
    items = _listed(opened)
    stays = [item for item in items if not _is_subject(item, subject)]
    if len(stays) == len(items):
        return None
    data = msgspec.json.encode(stays)
    return Left(_packed([data]) if is_packed else [data], len(items) - len(stays))


# ------------------------------------------------------------------------------------------------- Parquet


def _left_of_table(opened: Opened, subject: Subject) -> Left | None:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = _table(opened, None, needed=subject.columns)
    if table is None:
        return None
    told = zip(*(_texts(table, column) for column in subject.columns), strict=True)
    goes = [values == subject.values for values in told]
    removed = sum(goes)
    if not removed:
        return None
    sink = pa.BufferOutputStream()
    pq.write_table(table.filter(pc.invert(pa.array(goes))), sink, compression="zstd")
    return Left([sink.getvalue().to_pybytes()], removed)


def _values_of_table(opened: Opened, columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    table = _table(opened, columns)
    if table is not None:
        told = zip(*(_texts(table, name) for name in columns), strict=True)
        yield from (cast("tuple[str, ...]", each) for each in told if None not in each)


def _table(
    opened: Opened, columns: Sequence[str] | None, *, needed: Sequence[str] | None = None
) -> pa.Table | None:
    """Columns (None: all) of a Parquet file; None for what is none, hostile, or lacks one that is needed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with opened() as file:
        try:
            if any(part.size_bytes > _MOST_COLUMN for part in column_parts(file)):
                return None
            file.seek(0)
            written = pq.ParquetFile(file)
            if not set(needed or columns or ()) <= set(written.schema_arrow.names):
                return None
            return written.read(columns=None if columns is None else list(columns))
        except (pa.ArrowException, TooLarge, ValueError, OSError):
            return None


def _texts(table: pa.Table, column: str) -> list[str | None]:
    """Values as text; of a column that has no texts (a list, a struct) none."""
    import pyarrow as pa

    try:
        found: list[str | None] = table.column(column).cast(pa.string()).to_pylist()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return [None] * table.num_rows
    return found
