"""What is read of a Parquet file's end is what Arrow reads of it."""

from __future__ import annotations

import io
import random
from contextlib import suppress
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loopwright.data.footers import column_parts
from loopwright.data.uploads import table_of_file

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
    found = column_parts(out)
    assert [(part.path, part.is_folded) for part in found] == [
        (each.path_in_schema, bool({"PLAIN_DICTIONARY", "RLE_DICTIONARY"} & set(each.encodings)))
        for each in columns
    ]
    for part, each in zip(found, columns, strict=True):  # Arrow counts the heads of pages too
        assert part.page_bytes <= part.size_bytes <= each.total_uncompressed_size
        assert part.size_bytes >= 0.5 * each.total_uncompressed_size - 200
    assert out.tell() == 0


def test_files_of_other_writers_have_pages_of_their_size(tmp_path: Path) -> None:
    flat = TABLE.drop_columns(["nested"])
    pl.DataFrame(flat).write_parquet(tmp_path / "polars.parquet", row_group_size=700)
    with duckdb.connect() as base:
        base.register("flat", flat)
        base.execute(f"copy flat to '{tmp_path}/duckdb.parquet' (format parquet, parquet_version v2)")
    for name in ("polars.parquet", "duckdb.parquet"):
        with (tmp_path / name).open("rb") as file:
            parts = column_parts(file)
            told = pq.ParquetFile(file).metadata
        groups = [told.row_group(at) for at in range(told.num_row_groups)]
        columns = [group.column(at) for group in groups for at in range(group.num_columns)]
        assert [part.path for part in parts] == [each.path_in_schema for each in columns]
        assert all(
            part.size_bytes <= each.total_uncompressed_size for part, each in zip(parts, columns, strict=True)
        )
        assert table_of_file(str(tmp_path / name)).sort_by("whole").to_pylist() == flat.to_pylist()


def test_texts_that_grow_out_of_one_another_are_told() -> None:
    out = io.BytesIO()
    ways = {"column_encoding": {"different": "DELTA_BYTE_ARRAY"}, "use_dictionary": False}
    pq.write_table(TABLE.select(["different", "whole"]), out, data_page_size=1_000, **ways)
    text, whole = column_parts(out)
    assert (text.is_grown, whole.is_grown) == (True, False)
    assert text.page_bytes < text.size_bytes


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
