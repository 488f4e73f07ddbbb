"""Joins of Parquet files to a Parquet file: in one piece where that fits into memory, else in parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from loopwright.adapters.tables.joins import join_source
from loopwright.adapters.tables.joins_parted import ROW_GROUP, Cuts, cuts_of, join_in_parts
from loopwright.adapters.tables.memory import budget_of, opened_parquet, spare_of, widths_of
from loopwright.adapters.tables.sources import ParquetSource
from loopwright.core.errors import Invalid
from loopwright.engine.scratch import scratch
from loopwright.ports.tables import AsOfJoin, FilesJoined

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["join_files"]

_A_ROW = 480
"""bytes that a row of the spine comes to while its winner is found"""
_COPIES = 2.2
"""how often the columns of the spine, and of the rows that win, are in memory at the most"""


def join_files(
    spine: str, view: str, out: str, join: AsOfJoin, *, memory_bytes: int | None = None
) -> FilesJoined:
    """The spine's columns as they are, then the view's. `OSError` where `out` cannot be written.

    What does not fit into the memory given (half of the machine's) waits in a folder beside `out`; the
    rows are the same.
    """
    cuts = _cuts(spine, view, join, memory_bytes)
    if cuts is None:
        return _in_one_piece(spine, view, out, join)
    with scratch(Path(out).parent) as folder:
        return join_in_parts((spine, view), join, cuts, folder, lambda schema: _writer(schema, out))


def _cuts(spine: str, view: str, join: AsOfJoin, memory_bytes: int | None) -> Cuts | None:
    """The pieces of a join that does not fit, None for one that does."""
    spare = spare_of(budget_of(memory_bytes))
    with opened_parquet(spine) as asked, opened_parquet(view) as known:
        rows = (asked.metadata.num_rows, known.metadata.num_rows)
    apart = {*join.keys, join.event_time, join.known_at, join.order} if not join.columns else set()
    brought = {name: width for name, width in widths_of(view).items() if name not in apart}
    asked_widths = widths_of(spine)
    widths = (
        sum(asked_widths.values()),
        sum(width for name, width in brought.items() if not join.columns or name in join.columns),
        sum(asked_widths.get(key, 0) for key in join.keys),
    )
    one_piece = rows[0] * (_A_ROW + _COPIES * sum(widths)) + min(rows) * widths[1]
    return None if one_piece <= spare else cuts_of(spare, rows, widths)


def _in_one_piece(spine: str, view: str, out: str, join: AsOfJoin) -> FilesJoined:
    asked = _read(spine)
    rows = ParquetSource([view])
    joined = join_source(asked, rows, join)
    places = joined.rows
    different, inverse = np.unique(places[places >= 0], return_inverse=True)
    back = np.zeros(len(places), dtype=np.int64)
    back[places >= 0] = inverse
    taken = pa.array(back, mask=places < 0)
    brought = _one_ahead(rows, list(joined.brought.values()), different)
    for (name, source), column in zip(joined.brought.items(), brought, strict=True):
        field = pa.field(name, rows.schema.field(source).type)
        asked = asked.append_column(field, column.combine_chunks().take(taken))
    with _writer(asked.schema.remove_metadata(), out) as writer:
        writer.write_table(asked.replace_schema_metadata(None), row_group_size=ROW_GROUP)
    return FilesJoined(rows=asked.num_rows, columns=tuple(joined.brought))


def _one_ahead(
    rows: ParquetSource, columns: Sequence[str], places: NDArray[np.int64]
) -> Iterator[pa.ChunkedArray]:
    """The columns at these places; the next one is read while the one before is put where it belongs."""
    with ThreadPoolExecutor(1) as reader:
        before: Future[pa.ChunkedArray] | None = None
        for name in columns:
            following = reader.submit(rows.take, name, places)
            if before is not None:
                yield before.result()
            before = following
        if before is not None:
            yield before.result()


def _read(path: str) -> pa.Table:
    try:
        return pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise Invalid(
            f"{path} is not Parquet, or is cut off: {str(error)[:200]}", hint="write it again"
        ) from error


def _writer(schema: pa.Schema, out: str) -> pq.ParquetWriter:
    worded = [field.name for field in schema if not pa.types.is_primitive(field.type)]
    return pq.ParquetWriter(
        out,
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=worded or False,
        write_statistics=True,
    )
