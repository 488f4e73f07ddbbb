"""What is read of a Parquet file's end is what Arrow reads of it."""

from __future__ import annotations

import io
import random
from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loopwright.data.footers import ColumnPart, column_parts

TABLE = pa.table(
    {
        "whole": list(range(3_000)),
        "text": [f"text {n % 7}" for n in range(3_000)],
        "different": [f"{n:x}" * 3 for n in range(3_000)],
        "flags": [n % 2 == 0 for n in range(3_000)],
        "nested": [{"a": n, "b": [str(n)]} for n in range(3_000)],
        "nulls": pa.nulls(3_000, pa.float64()),
    }
)


@pytest.mark.parametrize("rows", [50, 1_000, 10_000])
@pytest.mark.parametrize("folded", [True, False, ["text"]])
@pytest.mark.parametrize("version", ["1.0", "2.6"])
def test_parts_are_those_that_arrow_reads(rows: int, folded: object, version: str) -> None:
    out = io.BytesIO()
    pq.write_table(TABLE, out, row_group_size=rows, use_dictionary=folded, version=version)
    told = pq.ParquetFile(out).metadata
    groups = [told.row_group(at) for at in range(told.num_row_groups)]
    columns = [group.column(at) for group in groups for at in range(group.num_columns)]
    assert column_parts(out) == [
        ColumnPart(
            each.path_in_schema,
            each.total_uncompressed_size,
            bool({"PLAIN_DICTIONARY", "RLE_DICTIONARY"} & set(each.encodings)),
        )
        for each in columns
    ]
    assert out.tell() == 0


def test_no_end_of_a_file_is_read_as_another() -> None:
    out = io.BytesIO()
    pq.write_table(TABLE, out)
    data, chance = out.getvalue(), random.Random(8)
    for cut in (0, 3, 11, 12, 100, len(data) - 1):
        with pytest.raises(ValueError, match="damaged"):
            column_parts(io.BytesIO(data[:cut]))
    for _ in range(300):
        broken = bytearray(data)
        for _ in range(4):
            broken[-chance.randrange(1, 2_000)] = chance.randrange(256)
        with suppress(ValueError):
            column_parts(io.BytesIO(bytes(broken)))
