"""Joins of Parquet files to a Parquet file, holding the spine and one column of what is added to it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from loopwright.adapters.tables.joins import join_source
from loopwright.adapters.tables.sources import ParquetSource
from loopwright.core.errors import Invalid
from loopwright.ports.tables import AsOfJoin, FilesJoined

__all__ = ["join_files"]

_ROW_GROUP = 1 << 18


def join_files(spine: str, view: str, out: str, join: AsOfJoin) -> FilesJoined:
    """The spine's columns as they are, then the view's. `OSError` where `out` cannot be written."""
    asked = _read(spine)
    rows = ParquetSource([view])
    joined = join_source(asked, rows, join)
    places = joined.rows
    different, inverse = np.unique(places[places >= 0], return_inverse=True)
    back = np.zeros(len(places), dtype=np.int64)
    back[places >= 0] = inverse
    taken = pa.array(back, mask=places < 0)
    for name, source in joined.brought.items():
        column = rows.take(source, different).combine_chunks().take(taken)
        asked = asked.append_column(pa.field(name, rows.schema.field(source).type), column)
    _write(asked, out)
    return FilesJoined(rows=asked.num_rows, columns=tuple(joined.brought))


def _read(path: str) -> pa.Table:
    try:
        return pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise Invalid(
            f"{path} is not Parquet, or is cut off: {str(error)[:200]}", hint="write it again"
        ) from error


def _write(table: pa.Table, out: str) -> None:
    worded = [field.name for field in table.schema if not pa.types.is_primitive(field.type)]
    pq.write_table(
        table.replace_schema_metadata(None),
        out,
        compression="zstd",
        compression_level=1,
        row_group_size=_ROW_GROUP,
        use_dictionary=worded or False,
        write_statistics=True,
    )
