"""Reads the body of an upload as a table: Parquet, CSV or one JSON object a line."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from loopwright.core.errors import Invalid, TooLarge
from loopwright.core.schema import ColumnType
from loopwright.data.conforming import arrow_type
from loopwright.engine.operation import Upload

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

__all__ = ["BODY_LIMIT", "table_of_file", "table_of_upload"]

BODY_LIMIT = 1 << 30
"""greatest body in bytes"""
ROWS_LIMIT = 50_000_000
UNPACKED_LIMIT = 8 << 30
_IN_MEMORY = 32 << 20
_FORMATS = {
    "text/csv": "csv",
    "application/csv": "csv",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "application/vnd.apache.parquet": "parquet",
    "application/x-parquet": "parquet",
}
_ENDINGS = {".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".parquet": "parquet"}


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
        with _translated("the body", form := _format_of(upload.media_type, spool)):
            return _read(spool, form, types)


def table_of_file(path: str) -> pa.Table:
    """The rows of a file of the caller's own machine, its format by its ending or its first bytes."""
    try:
        with open(path, "rb") as file:
            found = _ENDINGS.get(os.path.splitext(path)[1].lower()) or _sniffed(file)
            with _translated(f"the file {path}", found):
                return _read(file, found, {})
    except OSError as error:
        raise Invalid(f"the file {path} cannot be read: {error.strerror}", hint="check its name") from error


def _format_of(media_type: str, file: IO[bytes]) -> str:
    named = media_type.partition(";")[0].strip().lower()
    return _FORMATS.get(named) or _sniffed(file)


def _sniffed(file: IO[bytes]) -> str:
    head = file.read(64)
    file.seek(0)
    if head.startswith(b"PAR1"):
        return "parquet"
    return "ndjson" if head.lstrip().startswith(b"{") else "csv"


def _read(file: IO[bytes], form: str, types: Mapping[str, ColumnType]) -> pa.Table:
    readers = {"csv": _csv, "ndjson": _ndjson, "parquet": _parquet}
    return readers[form](file, types)


@contextmanager
def _translated(what: str, form: str) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowKeyError, UnicodeDecodeError) as error:
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
    return csv.read_csv(file, convert_options=options)


def _ndjson(file: IO[bytes], types: Mapping[str, ColumnType]) -> pa.Table:
    import pyarrow as pa
    from pyarrow import json

    known = [(name, arrow_type(_json_type(kind))) for name, kind in types.items()]
    options = json.ParseOptions(explicit_schema=pa.schema(known))
    found = json.read_json(file, parse_options=options)
    there = [name for name in found.column_names if found.column(name).null_count < len(found)]
    return found.select([name for name in found.column_names if name in there or name not in types])


def _json_type(kind: ColumnType) -> ColumnType:
    return ColumnType.STRING if kind is ColumnType.INSTANT else kind


def _parquet(file: IO[bytes], types: Mapping[str, ColumnType]) -> pa.Table:
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as found:
        groups = range(found.metadata.num_row_groups)
        unpacked = sum(found.metadata.row_group(i).total_byte_size for i in groups)
        if found.metadata.num_rows > ROWS_LIMIT or unpacked > UNPACKED_LIMIT:
            raise TooLarge(
                f"the file unpacks to {found.metadata.num_rows:,} rows and {unpacked:,} bytes",
                hint=f"send at most {ROWS_LIMIT:,} rows and {UNPACKED_LIMIT:,} bytes at a time",
            )
        return found.read()
