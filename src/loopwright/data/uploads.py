"""Reads a file or the body of an upload as a table: Parquet, Arrow, CSV or one JSON object a line.

What comes from strangers is held to limits before it is unpacked: a small file may be a very large table.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import IO, TYPE_CHECKING, Any, TypeAlias, cast

from loopwright.core.errors import Invalid, TooLarge
from loopwright.core.schema import ColumnType
from loopwright.data.conforming import COLUMNS_LIMIT, arrow_type, check_sound
from loopwright.data.footers import ColumnPart, column_parts
from loopwright.data.json_lines import check_lines, parts_of
from loopwright.data.nested_sizes import nested_bytes, spread
from loopwright.data.plain_files import check_encoding, delimiter_of, lined
from loopwright.engine.operation import Upload
from loopwright.ports.sources import UNPACKED_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = [
    "BODY_LIMIT",
    "GROWN_LIMIT",
    "Check",
    "check_shape",
    "format_of",
    "is_text",
    "opened_file",
    "read_table",
    "sniffed",
    "spread_bytes",
    "table_of_file",
    "table_of_upload",
    "translated",
    "unpacked_file",
]

Check: TypeAlias = "Callable[[pa.Table, str], pa.Table]"
"""gives a table back, or raises what is wrong with it under that name"""
BODY_LIMIT = 1 << 30
"""greatest body in bytes"""
ROWS_LIMIT = 50_000_000
SPREAD_LIMIT = 8 << 30
_TEXT_LIMIT = (1 << 31) - 1
_ROWS_AT_ONCE = 65_536
GROWN_LIMIT = 256 << 20
_CHUNK = 1 << 20
_IN_MEMORY = 32 << 20
_FORMATS = {
    "text/csv": "csv",
    "application/csv": "csv",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/vnd.apache.parquet": "parquet",
    "application/x-parquet": "parquet",
    "application/vnd.apache.arrow.file": "arrow",
    "application/vnd.apache.arrow.stream": "arrow",
}
_ENDINGS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".arrows": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}
_PACKED = ".gz"


def table_of_upload(upload: Upload, types: Mapping[str, ColumnType], *, limit: int = BODY_LIMIT) -> pa.Table:
    """The rows of a body; texts are read as `types` says, where it names a column.

    `TooLarge` past `limit` bytes, `Invalid` when the body is not what its media type says.
    """
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as spool:
        size = 0
        for chunk in upload.chunks:
            size += len(chunk)
            if size > limit:
                raise TooLarge(
                    f"the body is over the limit of {limit:,} bytes", hint="send it in several batches"
                )
            spool.write(chunk)
        if size == 0:
            raise Invalid("the body is empty", hint="send rows as Parquet, CSV or one JSON object a line")
        spool.seek(0)
        form = _format_of(upload.media_type, spool)
        with lined(spool, "the body") if form == "json" else nullcontext(spool) as rows:
            form = "ndjson" if form == "json" else form
            with translated("the body", form):
                return check_shape(_read(rows, form, types), "the body")


def table_of_file(path: str) -> pa.Table:
    """The rows of a file of the caller's own machine, its format by its ending or its first bytes."""
    with opened_file(path) as file:
        return read_table(file, "", {}, path=path)


@contextmanager
def opened_file(path: str) -> Iterator[IO[bytes]]:
    """A regular file of the caller's own machine; `Invalid` where it cannot be read."""
    try:
        with open(path, "rb", opener=_opened_regular) as file:
            yield file
    except OSError as error:
        raise Invalid(f"the file {path} cannot be read: {error.strerror}", hint="check its name") from error


def check_regular(path: str) -> None:
    """`Invalid` for what has no end, or is waited for: a pipe, a device; who opens it tells the rest."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return
    if not stat.S_ISREG(mode):
        raise Invalid(f"{path} is a folder, pipe or device", hint="write its rows into a file first")


def _opened_regular(path: str, flags: int) -> int:
    check_regular(path)
    return os.open(path, flags | os.O_NONBLOCK)


def format_of(path: str, media_type: str = "") -> str:
    """The format that a file's ending or its media type tells; empty where they tell none."""
    plain = path[: -len(_PACKED)] if path.lower().endswith(_PACKED) else path
    found = _ENDINGS.get(os.path.splitext(plain)[1].lower())
    return found or _FORMATS.get(media_type.partition(";")[0].strip().lower(), "")


def read_table(
    file: IO[bytes],
    form: str,
    types: Mapping[str, ColumnType],
    *,
    path: str,
    media_type: str = "",
    check: Check | None = None,
) -> pa.Table:
    """The rows of an open, seekable file, its format by `form`, name, media type or first bytes.

    `path` is also what an error calls it. A file that ends in `.gz` is unpacked, up to the limit. `check`
    says whether such a table may be; by default whether a version could keep it.
    """
    what = f"the file {path}"
    if path.lower().endswith(_PACKED):
        with unpacked_file(file, what) as plain:
            told = path[: -len(_PACKED)]
            return read_table(plain, form, types, path=told, media_type=media_type, check=check)
    found = form or format_of(path, media_type) or sniffed(file)
    if found == "json":
        with lined(file, what) as lines:
            return read_table(lines, "ndjson", types, path=path, check=check)
    with translated(what, found):
        return (check or check_shape)(_read(file, found, types), what)


@contextmanager
def unpacked_file(file: IO[bytes], what: str) -> Iterator[IO[bytes]]:
    """A file of gzip as what is in it, on disk where it is large; `TooLarge` past the limit of a body."""
    import gzip
    import zlib

    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as spool:
        try:
            _unpack(cast("IO[bytes]", gzip.GzipFile(fileobj=file, mode="rb")), spool, what)
        except (OSError, EOFError, zlib.error) as error:
            raise Invalid(f"{what} is not gzip, or is cut off", hint="write it again") from error
        spool.seek(0)
        yield spool


def _unpack(packed: IO[bytes], spool: IO[bytes], what: str) -> None:
    size = 0
    while piece := packed.read(_CHUNK):
        size += len(piece)
        if size > UNPACKED_LIMIT:
            raise TooLarge(f"{what} unpacks to over {UNPACKED_LIMIT:,} bytes", hint="split it up")
        spool.write(piece)


def check_shape(table: pa.Table, what: str) -> pa.Table:
    """The table itself; `TooLarge` for more columns, or more text in one of them, than a version keeps."""
    import pyarrow as pa

    if table.num_columns > COLUMNS_LIMIT:
        raise TooLarge(
            f"{what} has {table.num_columns:,} columns, over {COLUMNS_LIMIT:,}",
            hint="keep values in rows (long form), or leave columns out",
        )
    for name, values in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_nested(values.type):
            raise Invalid(
                f"the column {name[:80]!r} of {what} holds lists or objects",
                hint="keep booleans, integers, floats, strings and instants; unnest or leave out the rest",
            )
        check_sound(name, values)
        size = spread_bytes(values) if is_text(values.type) else 0
        if size > _TEXT_LIMIT:
            raise _too_much_text(name, what, size)
    return table


def is_text(kind: Any) -> bool:
    """Whether values of an Arrow type are texts or bytes, folded or not."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind))


def _format_of(media_type: str, file: IO[bytes]) -> str:
    named = media_type.partition(";")[0].strip().lower()
    return _FORMATS.get(named) or sniffed(file)


def sniffed(file: IO[bytes]) -> str:
    """The format that the first bytes of a file tell: CSV where they tell no other."""
    head = file.read(64)
    file.seek(0)
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return "arrow"
    start = head.lstrip()[:1]
    return "ndjson" if start == b"{" else "json" if start == b"[" else "csv"


def _read(file: IO[bytes], form: str, types: Mapping[str, ColumnType]) -> pa.Table:
    readers = {"csv": _csv, "ndjson": _ndjson, "parquet": _parquet, "arrow": _arrow}
    return readers[form](file, types)


@contextmanager
def translated(what: str, form: str) -> Iterator[None]:
    """What Arrow says of a file is `Invalid`, in our words."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, ValueError) as error:
        said = str(error).partition(": ")[2] or str(error)
        raise Invalid(
            f"{what} is not {form}: {said.splitlines()[0][:120] if said else 'it cannot be read'}",
            hint="check its form, and say it by its media type: text/csv, application/x-ndjson, "
            "application/vnd.apache.parquet",
        ) from error
    except OSError as error:
        raise Invalid(f"{what} is not {form}, or is cut off", hint="write it again") from error


def _csv(file: IO[bytes], types: Mapping[str, ColumnType]) -> pa.Table:
    from pyarrow import csv

    known = {name: arrow_type(kind) for name, kind in types.items()}
    options = csv.ConvertOptions(column_types=known, strings_can_be_null=True)
    parted = csv.ParseOptions(delimiter=delimiter_of(file))
    found = csv.read_csv(file, parse_options=parted, convert_options=options)
    check_encoding(found, "the file")
    return found


def _ndjson(file: IO[bytes], types: Mapping[str, ColumnType]) -> pa.Table:
    import pyarrow as pa
    from pyarrow import json

    check_lines(parts_of(file))
    file.seek(0)
    known = [(name, arrow_type(_json_type(kind))) for name, kind in types.items()]
    options = json.ParseOptions(explicit_schema=pa.schema(known))
    found = json.read_json(file, parse_options=options)
    there = [name for name in found.column_names if found.column(name).null_count < len(found)]
    return found.select([name for name in found.column_names if name in there or name not in types])


def _json_type(kind: ColumnType) -> ColumnType:
    return ColumnType.STRING if kind is ColumnType.INSTANT else kind


def _arrow(file: IO[bytes], types: Mapping[str, ColumnType]) -> pa.Table:
    import pyarrow as pa

    is_file = file.read(6) == b"ARROW1"
    file.seek(0)
    batches: list[pa.RecordBatch] = []
    with pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file) as found:
        each = (found.get_batch(n) for n in range(found.num_record_batches)) if is_file else iter(found)
        unpacked = rows = 0
        for batch in each:
            batch.validate()
            batches.append(batch)
            unpacked, rows = unpacked + batch.nbytes, rows + batch.num_rows
            _check_unpacked(rows, unpacked)
        return pa.Table.from_batches(batches, found.schema)


def _parquet(file: IO[bytes], types: Mapping[str, ColumnType]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    parts = column_parts(file)
    with pq.ParquetFile(file) as found:
        schema, rows, width = found.schema_arrow, found.metadata.num_rows, found.metadata.num_columns
        texts = [name for name, kind in zip(schema.names, schema.types, strict=True) if is_text(kind)]
        fixed = (len(schema.names) - len(texts)) * rows * 8
        _check_unpacked(rows, max(sum(part.size_bytes for part in parts), fixed))
        if width > COLUMNS_LIMIT:
            check_shape(schema.empty_table(), "the file")
        if any(map(pa.types.is_nested, schema.types)):
            _check_unpacked(rows, fixed + nested_bytes(file, parts, limit=_TEXT_LIMIT))
        _check_texts(parts, frozenset(texts))
        folds = {part.path for part in parts if part.is_folded}
        folded = [name for name in texts if name in folds]
        grown = [part for part in parts if part.is_grown and part.path in texts]
        if not folded:
            return _read_bounded(found, grown)
    file.seek(0)
    with pq.ParquetFile(file, read_dictionary=folded) as again:
        table = _read_bounded(again, grown)
    for name in folded:
        check_sound(name, table.column(name))
    _check_unpacked(table.num_rows, fixed + sum(spread_bytes(table.column(name)) for name in folded))
    plain = pa.schema([f.with_type(pa.string()) if f.name in folded else f for f in table.schema])
    return table.cast(plain)


def _read_bounded(found: pq.ParquetFile, grown: Sequence[ColumnPart]) -> pa.Table:
    """All rows; where texts grow out of the ones before them, some at a time, as a page may be in each."""
    import pyarrow as pa

    if not grown:
        return found.read()
    at_once = max(1, min(_ROWS_AT_ONCE, GROWN_LIMIT // max(1, *(part.page_bytes for part in grown))))
    batches, sizes = list[pa.RecordBatch](), Counter[str]()
    for batch in found.iter_batches(batch_size=at_once):
        batches.append(batch)
        for name in {part.path for part in grown}:
            sizes[name] += batch.column(name).nbytes
            if sizes[name] > _TEXT_LIMIT:
                raise _too_much_text(name, "the file", sizes[name])
    return pa.Table.from_batches(batches, found.schema_arrow)


def _check_texts(parts: Sequence[ColumnPart], texts: frozenset[str]) -> None:
    """`TooLarge` before a column is read that has more text than a version keeps of one."""
    sizes: Counter[str] = Counter()
    for part in parts:
        sizes[part.path] += part.size_bytes if part.path in texts else 0
    for name, size in sizes.items():
        if size > _TEXT_LIMIT:
            raise _too_much_text(name, "the file", size)


def _too_much_text(name: str, what: str, size: int) -> TooLarge:
    return TooLarge(
        f"the column {name[:80]!r} of {what} holds {size:,} bytes of text",
        hint="send fewer rows at a time, or keep long texts as files",
    )


def spread_bytes(values: pa.ChunkedArray) -> int:
    """How many bytes the texts have when each is written out."""
    import pyarrow as pa

    is_folded = pa.types.is_dictionary(values.type)
    return sum(map(spread, values.chunks)) if is_folded else int(values.nbytes)


def _check_unpacked(rows: int, unpacked: int) -> None:
    if rows > ROWS_LIMIT or unpacked > SPREAD_LIMIT:
        raise TooLarge(
            f"the file unpacks to {rows:,} rows and {unpacked:,} bytes",
            hint=f"send at most {ROWS_LIMIT:,} rows and {SPREAD_LIMIT:,} bytes at a time",
        )
