"""Reads a file of any size a portion at a time: at most so many rows, and so many bytes, are in memory.

A CSV file says no types: they are those of its first rows until a later one does not fit; then the column
gets a wider type and the file is read again from its beginning. Lines of JSON are looked through first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, TypeVar

from loopwright.core.errors import Invalid, TooLarge
from loopwright.data.footers import ColumnPart, column_parts
from loopwright.data.json_lines import check_lines
from loopwright.data.nested_sizes import nested_bytes
from loopwright.data.plain_files import check_encoding, delimiter_of, lined, not_utf8
from loopwright.data.uploads import (
    GROWN_LIMIT,
    SPREAD_LIMIT,
    Check,
    check_shape,
    format_of,
    is_text,
    read_table,
    sniffed,
    spread_bytes,
    translated,
    unpacked_file,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = ["PORTION_BYTES", "PORTION_ROWS", "over_portions"]

PORTION_ROWS = 131_072
PORTION_BYTES = 64 << 20
"""of rows that are in memory at once, as Arrow holds them"""
_WHOLE_BYTES = 16 << 20
"""a file of texts up to this size is read at once"""
_TEXT_LIMIT = 512 << 20
_FEWEST_AT_ONCE = 1024
_PACKED = ".gz"
_MISFIT = re.compile(r"In CSV column #(\d+): (?:Row #\d+: )?CSV conversion error to ([a-z0-9]+)")
_LINE_LIMIT = 64 << 20

T = TypeVar("T")


class _Retyped(Exception):
    """Rows that came later do not fit the types that were read off the first."""

    def __init__(self, types: Mapping[str, str]) -> None:
        super().__init__()
        self.types = types


def over_portions(
    file: IO[bytes],
    path: str,
    work: Callable[[Iterator[pa.Table]], T],
    *,
    media_type: str = "",
    check: Check = check_shape,
) -> T:
    """What `work` makes of the portions of an open, seekable file, in order; at least one, of equal columns.

    It may be called again from the beginning, when a column turns out to be of another type. `check` says
    whether a table may be so at all, and is given what to call it.
    """
    what = f"the file {path}"
    if path.lower().endswith(_PACKED):
        with unpacked_file(file, what) as plain:
            return over_portions(plain, path[: -len(_PACKED)], work, media_type=media_type, check=check)
    form = format_of(path, media_type) or sniffed(file)
    if form == "json":
        with lined(file, what) as lines:
            return _over(lines, "ndjson", path, work, check)
    return _over(file, form, path, work, check)


def _over(file: IO[bytes], form: str, path: str, work: Callable[[Iterator[pa.Table]], T], check: Check) -> T:
    types: Mapping[str, str] = {}
    while True:
        file.seek(0)
        try:
            return work(_portions(file, form, path, types, check))
        except _Retyped as found:
            types = found.types


def _portions(
    file: IO[bytes], form: str, path: str, types: Mapping[str, str], check: Check
) -> Iterator[pa.Table]:
    with translated(f"the file {path}", form):
        parts = column_parts(file) if form == "parquet" else []
        if _is_small(file, form, parts):
            yield read_table(file, form, {}, path=path, check=check)
        elif form == "parquet":
            yield from _gathered(_parquet(file, parts, check), path, check)
        else:
            yield from _gathered(_batches(file, form, types), path, check)


def _batches(file: IO[bytes], form: str, types: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
    if form == "csv":
        return _csv(file, types)
    return _ndjson(file) if form == "ndjson" else _arrow(file)


def _is_small(file: IO[bytes], form: str, parts: Sequence[ColumnPart]) -> bool:
    """Whether a file is read at once; it is at its beginning again then."""
    size = file.seek(0, 2)
    file.seek(0)
    if form != "parquet":
        return size <= _WHOLE_BYTES
    import pyarrow.parquet as pq

    rows = pq.read_metadata(file).num_rows
    file.seek(0)
    return rows <= PORTION_ROWS and sum(part.size_bytes for part in parts) <= PORTION_BYTES


def _gathered(batches: Iterator[pa.RecordBatch], path: str, check: Check) -> Iterator[pa.Table]:
    """Batches put together to portions, or cut where they are larger."""
    import pyarrow as pa

    waiting, rows, size, is_first = list[pa.RecordBatch](), 0, 0, True
    for batch in (piece for each in batches for piece in _cut(each)):
        if waiting and (rows + batch.num_rows > PORTION_ROWS or size + batch.nbytes > PORTION_BYTES):
            yield check(pa.Table.from_batches(waiting), f"the file {path}")
            waiting, rows, size, is_first = [], 0, 0, False
        waiting.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
    if waiting:
        yield check(pa.Table.from_batches(waiting), f"the file {path}")
    elif is_first:
        raise Invalid(f"the file {path} holds no rows", hint="check it")


def _cut(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    whole = max(1, batch.num_rows)
    step = max(1, min(PORTION_ROWS, PORTION_BYTES * whole // max(1, batch.nbytes)))
    for start in range(0, whole, step):
        yield batch.slice(start, step)


# ------------------------------------------------------------------------------------------- formats


def _parquet(file: IO[bytes], parts: Sequence[ColumnPart], check: Check) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as found:
        schema, rows = found.schema_arrow, max(1, found.metadata.num_rows)
    check(schema.empty_table(), "the file")
    texts = [name for name, kind in zip(schema.names, schema.types, strict=True) if is_text(kind)]
    folded = [name for name in texts if any(part.path == name and part.is_folded for part in parts)]
    page = max((part.page_bytes for part in parts if part.is_grown and part.path in texts), default=1)
    width = sum(part.size_bytes for part in parts) // rows + 1
    at_once = max(1, min(PORTION_ROWS, GROWN_LIMIT // page, PORTION_BYTES // width))
    if any(map(pa.types.is_nested, schema.types)):
        size = nested_bytes(file, parts, limit=_TEXT_LIMIT, rows=at_once)
        if size > SPREAD_LIMIT:
            raise TooLarge(
                f"a group of rows of the file unpacks to {size:,} bytes", hint="write it with smaller groups"
            )
    file.seek(0)
    ways = {"pre_buffer": False, "buffer_size": 1 << 20}
    with (
        pq.ParquetFile(file, **ways) as found,
        pq.ParquetFile(file, read_dictionary=folded, **ways) as pointed,
    ):
        if not folded:
            yield from found.iter_batches(batch_size=at_once, use_threads=False)
            return
        for group in range(found.num_row_groups):
            yield from _written_out(found, pointed, group, at_once)


def _written_out(
    found: pq.ParquetFile, pointed: pq.ParquetFile, group: int, at_once: int
) -> Iterator[pa.RecordBatch]:
    """The rows of a group with texts that are written once and pointed to, as `pointed` reads them.

    Such a text may be written out very often. Where the lists that are pointed to show that none is long, the
    rows are read plainly, which is a third of the work; else they are measured first.
    """
    import pyarrow as pa

    folded = [each.name for each in pointed.schema_arrow if pa.types.is_dictionary(each.type)]
    plain = pa.schema([each.remove_metadata() for each in found.schema_arrow])
    short = PORTION_BYTES // _longest(pointed, group, folded)
    is_short = short >= min(at_once, _FEWEST_AT_ONCE)
    source, rows = (found, min(at_once, short)) if is_short else (pointed, at_once)
    for batch in source.iter_batches(batch_size=rows, row_groups=[group], use_threads=False):
        table = pa.Table.from_batches([batch])
        for name in () if is_short else folded:
            _check_text(name, spread_bytes(table.column(name)))
        yield from table.cast(plain).to_batches()


def _longest(pointed: pq.ParquetFile, group: int, folded: Sequence[str]) -> int:
    """How many bytes such texts of a row have at most: with the first row Arrow reads all they point to."""
    import pyarrow.compute as pc

    batches = pointed.iter_batches(batch_size=1, row_groups=[group], columns=folded, use_threads=False)
    first = next(batches, None)
    lists = [] if first is None else [first.column(name).dictionary for name in folded]
    return 1 + sum(pc.max(pc.binary_length(values)).as_py() or 0 for values in lists)


def _check_text(name: str, size: int) -> None:
    if size > _TEXT_LIMIT:
        raise TooLarge(
            f"some rows of the column {name[:80]!r} hold {size:,} bytes of text",
            hint="keep long texts as files",
        )


def _arrow(file: IO[bytes]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    is_file = file.read(6) == b"ARROW1"
    file.seek(0)
    with pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file) as found:
        each = (found.get_batch(n) for n in range(found.num_record_batches)) if is_file else iter(found)
        for batch in each:
            batch.validate()
            yield batch


def _csv(file: IO[bytes], types: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    from pyarrow import csv

    known = {name: pa.type_for_alias(kind) for name, kind in types.items()}
    options = csv.ConvertOptions(column_types=known, strings_can_be_null=True)
    reading = csv.ReadOptions(block_size=4 << 20, use_threads=False)
    parted = csv.ParseOptions(delimiter=delimiter_of(file))
    with csv.open_csv(file, read_options=reading, parse_options=parted, convert_options=options) as reader:
        check_encoding(reader.schema.empty_table(), "the file")
        while True:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
            except pa.ArrowInvalid as error:
                raise _misfit(error, reader.schema, types) from error
            yield batch


def _misfit(error: Exception, schema: pa.Schema, types: Mapping[str, str]) -> Exception:
    """The types to read with from the beginning, where a value did not fit; else the error itself.

    A text that does not fit texts is not UTF-8, however often it is read.
    """
    import pyarrow as pa

    found = _MISFIT.search(str(error))
    if found is None or int(found[1]) >= len(schema):
        return error
    field = schema.field(int(found[1]))
    if types.get(field.name) == "string" or pa.types.is_string(field.type):
        return not_utf8("the file", field.name)
    return _Retyped({**types, field.name: _wider(field.type)})


def _wider(kind: pa.DataType) -> str:
    """The next type that holds what one does not: numbers, then texts."""
    import pyarrow as pa

    if pa.types.is_null(kind):
        return "int64"
    return "double" if pa.types.is_integer(kind) else "string"


def _ndjson(file: IO[bytes]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    from pyarrow import json

    schemas: list[pa.Schema] = []
    for lines in _lines(file):
        check_lines([lines])
        found = json.read_json(pa.BufferReader(lines)).schema
        schemas = [pa.unify_schemas([*schemas, found], promote_options="permissive")]
    file.seek(0)
    options = json.ParseOptions(explicit_schema=schemas[0])
    for lines in _lines(file):
        yield from json.read_json(pa.BufferReader(lines), parse_options=options).to_batches()


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Some whole lines at a time."""
    rest = b""
    while piece := file.read(8 << 20):
        lines, end, rest = (rest + piece).rpartition(b"\n")
        if lines.strip():
            yield lines + end
        if len(rest) > _LINE_LIMIT:
            raise TooLarge(f"a line is over {_LINE_LIMIT:,} bytes", hint="write one object a line")
    if rest.strip():
        yield rest
