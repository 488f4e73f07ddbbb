"""Where the calls of the facade go, and what they hand over."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from loopwright.app.connecting import connect
from loopwright.client import Client
from loopwright.core.errors import Invalid, Unavailable
from loopwright.core.nouns import Job, JobState
from loopwright.data.ingesting import zoned
from loopwright.data.uploads import table_of_file
from loopwright.engine.current import current
from loopwright.engine.operation import Upload
from loopwright.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Face", "face_at", "table_from", "upload_of", "waited"]

Face: TypeAlias = Workspace | Client

_PARQUET = "application/vnd.apache.parquet"
_POLL_S = 0.25
_ENDED = {JobState.DONE, JobState.FAILED, JobState.CANCELLED}


@contextmanager
def face_at(to: Face | None) -> Iterator[Face]:
    """What was given, else where the run that goes on is recorded, else `lw.connect()`, closed at the end."""
    held = current()
    given = to if to is not None else None if held is None else held.face
    if isinstance(given, Workspace | Client):
        yield given
        return
    face = connect()
    try:
        yield face
    finally:
        face.close()


def table_from(rows: Any, zone: str = "") -> pa.Table:
    """Rows as an Arrow table: a frame of Polars or pandas, anything of Arrow, objects, columns, or a file.

    Lazy frames, and readers and iterators of batches, are read to their end. `zone` declares the zone of
    times that are written without one; without it they are refused later.
    """
    import pyarrow as pa

    if isinstance(rows, str | Path):
        table = table_of_file(str(rows))
    elif isinstance(rows, pa.Table):
        table = rows
    elif type(rows).__module__.partition(".")[0] == "pandas":
        table = pa.Table.from_pandas(rows, preserve_index=False)
    elif hasattr(rows, "__arrow_c_stream__"):
        table = pa.table(rows)
    elif _is_lazy(rows):
        table = pa.table(rows.collect())
    elif isinstance(rows, Iterator):
        table = _of_batches(rows)
    elif isinstance(rows, Mapping) and rows:
        table = _of_columns(rows)
    elif isinstance(rows, Sequence) and rows and all(isinstance(row, Mapping) for row in rows):
        table = _of_objects(rows)
    else:
        raise Invalid(
            f"{type(rows).__name__} is no table",
            hint="give a frame of Polars or pandas, an Arrow table, objects, lists by column, or a path",
        )
    return zoned(table, zone)


def _is_lazy(rows: Any) -> bool:
    return type(rows).__module__.partition(".")[0] == "polars" and type(rows).__name__ == "LazyFrame"


def _of_batches(batches: Iterator[Any]) -> pa.Table:
    import pyarrow as pa

    tables = [
        pa.Table.from_batches([each]) if isinstance(each, pa.RecordBatch) else table_from(each)
        for each in batches
    ]
    if not tables:
        raise Invalid("there is no batch, so no column is known", hint="give one, if only without rows")
    try:
        return pa.concat_tables(tables)
    except pa.ArrowInvalid as error:
        raise Invalid(f"the batches are no table: {error}", hint="give all the same columns") from error


def _of_columns(columns: Mapping[str, Any]) -> pa.Table:
    import pyarrow as pa

    try:
        return pa.table(dict(columns))
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError) as error:
        raise Invalid(
            f"the columns are no table: {error}", hint="give each name a list of one type"
        ) from error


def _of_objects(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    import pyarrow as pa

    try:
        return pa.Table.from_pylist([dict(row) for row in rows])
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise Invalid(f"the objects are no table: {error}", hint="give a column one type") from error


def upload_of(table: pa.Table) -> Upload:
    """The table as the body of a request."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    plain = pa.schema([f.with_type(pa.string()) if f.type == pa.string_view() else f for f in table.schema])
    file = io.BytesIO()
    pq.write_table(table.cast(plain).replace_schema_metadata(None), file, compression="zstd")
    return Upload(chunks=[file.getvalue()], media_type=_PARQUET)


def waited(face: Face, job: Job) -> Job:
    """The job when it has ended, which a workspace of this machine carries out; `Unavailable` when failed."""
    while job.state not in _ENDED:
        if isinstance(face, Workspace):
            face.settle_beside()
        job = face.call("jobs.show", job_id=job.id)
        if job.state not in _ENDED:
            time.sleep(_POLL_S)
    if job.state is not JobState.DONE:
        raise Unavailable(
            f"job:{job.id} {job.state}: {job.error}", hint="call it again: it goes on where it stopped"
        )
    return job
