"""Files that hold far more than they seem to are refused before memory is taken for it."""

from __future__ import annotations

import io
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loopwright.core.errors import Invalid, NotFound, TooLarge
from loopwright.data import conforming, portions, uploads
from loopwright.data.appending import append
from loopwright.data.profiling import profile_file
from loopwright.data.reading import read
from loopwright.data.uploads import read_table
from loopwright.engine.context import Context
from loopwright.testing.builders import memory_context


@pytest.fixture
def ctx(ctx_on_disk: Context) -> Context:
    return ctx_on_disk


LARGE = """
import resource, sys
from pathlib import Path
from loopwright.core.errors import LoopwrightError
from loopwright.data.uploads import table_of_file
import pyarrow.csv, pyarrow.json, pyarrow.parquet
table_of_file(sys.argv[2])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    print("read", table_of_file(sys.argv[1]).nbytes)
except LoopwrightError as error:
    print("refused", type(error).__name__, bool(error.hint), len(str(error)) < 600)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
CELL = 2_200_000_000


def _one_cell(place: Path, head: bytes, tail: bytes) -> None:
    piece = b"x" * (1 << 20)
    with place.open("wb") as file:
        file.write(head)
        for _ in range(CELL // len(piece)):
            file.write(piece)
        file.write(tail)


def _wide_parquet(place: Path) -> None:
    """Texts that are all different, 2.2 GB of them in one column, written a piece at a time."""
    chance = random.Random(5)
    kinds = pa.schema({"t": pa.large_string()})
    with pq.ParquetWriter(place, kinds, compression="zstd", use_dictionary=False) as file:
        for at in range(22):
            start = f"{at}-{chance.random()}-"
            texts = pa.array([f"{start}{n}" + "x" * 999_980 for n in range(100)], pa.large_string())
            file.write_table(pa.table({"t": texts}))


def _grown_parquet(place: Path) -> None:
    """Texts that are written as what they have in common with the one before: 3 GB in a small file."""
    kinds = pa.schema({"t": pa.string()})
    ways = {"column_encoding": {"t": "DELTA_BYTE_ARRAY"}, "use_dictionary": False, "compression": "zstd"}
    with pq.ParquetWriter(place, kinds, **ways) as file:
        for at in range(30):
            file.write_table(pa.table({"t": ["x" * 1_000_000 + f"{at}-{n}" for n in range(100)]}, kinds))


def _lying_parquet(place: Path) -> None:
    """Pages of 3 GB in all, of which the end of the file says that they are small."""
    kinds = pa.schema({"t": pa.large_string()})
    text = pa.array(["x" * 100_000_000], pa.large_string())
    with pq.ParquetWriter(
        place, kinds, compression="zstd", use_dictionary=False, write_statistics=False
    ) as file:
        for _ in range(30):
            file.write_table(pa.table({"t": text}))
    data = place.read_bytes()
    group = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0)
    told = _varint(group.column(0).total_uncompressed_size)
    assert data.count(told) >= 30
    lie = _varint(1_000)
    padded = bytes([*(each | 0x80 for each in lie), *([0x80] * (len(told) - len(lie) - 1)), 0])
    place.write_bytes(data.replace(told, padded))


def _varint(number: int) -> bytes:
    """As Thrift writes a positive whole number."""
    left, found = number << 1, bytearray()
    while left >= 0x80:
        found.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*found, left])


def _small(place: Path) -> None:
    if place.suffix == ".parquet":
        pq.write_table(pa.table({"x": [1]}), place)
    else:
        place.write_text("t\nx\n" if place.suffix == ".csv" else '{"t": "x"}\n')


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "write", "most_mb"),
    [
        ("a.csv", lambda place: _one_cell(place, b"t\n", b"\n"), 300),
        ("a.jsonl", lambda place: _one_cell(place, b'{"t": "', b'"}\n'), 300),
        ("a.parquet", _wide_parquet, 300),
        ("lying.parquet", _lying_parquet, 300),
        ("grown.parquet", _grown_parquet, 3_000),
    ],
)
def test_two_gigabytes_in_one_cell_or_column_are_refused(
    tmp_path: Path, name: str, write: Callable[[Path], None], most_mb: int
) -> None:
    """Before they are held, or where only reading tells them once they are more than a version keeps."""
    place, small = tmp_path / name, tmp_path / f"small{Path(name).suffix}"
    write(place)
    _small(small)
    done = subprocess.run(
        [sys.executable, "-c", LARGE, str(place), str(small)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    place.unlink()
    assert done.returncode == 0, done.stderr[-2000:]
    told, grown = done.stdout.splitlines()
    assert told in {"refused TooLarge True True", "refused Invalid True True"}
    assert int(grown) < most_mb


def test_a_reader_of_any_bytes_refuses_by_the_first_ones() -> None:
    with pytest.raises(Invalid):
        read_table(io.BytesIO(b"\xff\xff\xff\xff" + b"\xff" * 60), "", {}, path="a")


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view()])
def test_more_text_at_once_than_a_column_holds_is_refused_and_a_view_of_a_few_is_not(
    ctx: Context, monkeypatch: pytest.MonkeyPatch, kind: pa.DataType
) -> None:
    monkeypatch.setattr(conforming, "_TEXT_LIMIT", 1000)
    texts = pa.array(["x" * 100] * 40, kind)
    with pytest.raises(TooLarge, match="'t' holds 4,"):
        append(ctx, "d", pa.table({"t": texts}))
    with pytest.raises(NotFound):
        read(ctx, "d")
    assert append(ctx, "d", pa.table({"t": texts.slice(10, 5)})).rows == 5


def pointed_to(text: str, count: int) -> pa.DictionaryArray:
    """A text that a file has once, however often it occurs."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), pa.array([text]))


def in_lists(values: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(range(len(values) + 1), pa.int32()), values)


NESTED: dict[str, Callable[[pa.Array], pa.Array]] = {
    "lists": in_lists,
    "objects": lambda values: pa.StructArray.from_arrays([values], ["f"]),
    "lists of objects": lambda values: in_lists(pa.StructArray.from_arrays([values], ["f"])),
    "maps": lambda values: pa.MapArray.from_arrays(
        pa.array(range(len(values) + 1), pa.int32()), pa.array(["k"] * len(values)), values
    ),
}


def nested_file(folder: Path, values: pa.Array) -> Path:
    pq.write_table(pa.table({"a": values}), folder / "a.parquet", store_schema=False)
    return folder / "a.parquet"


@pytest.mark.parametrize("form", NESTED)
def test_texts_in_lists_and_objects_are_measured_before_they_are_written_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    file = nested_file(tmp_path, NESTED[form](pointed_to("x" * 10_000, 300)))
    assert file.stat().st_size < 20_000
    assert profile_file(memory_context(), str(file))["rows"] == 300
    monkeypatch.setattr(uploads, "_TEXT_LIMIT", 2_000_000)
    with pytest.raises(TooLarge, match="'a' hold over 2,000,000 bytes of text"):
        profile_file(memory_context(), str(file))
    with file.open("rb") as opened, pytest.raises(TooLarge, match="hold over 2,000,000"):
        read_table(opened, "parquet", {}, path="a.parquet")


@pytest.mark.parametrize("form", NESTED)
def test_a_portion_of_lists_and_objects_is_measured_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(portions, "PORTION_ROWS", 100)
    file = nested_file(tmp_path, NESTED[form](pointed_to("x" * 10_000, 1000)))
    monkeypatch.setattr(portions, "_TEXT_LIMIT", 2_000_000)
    assert profile_file(memory_context(), str(file))["rows"] == 1000
    monkeypatch.setattr(portions, "_TEXT_LIMIT", 900_000)
    with pytest.raises(TooLarge, match="'a' hold over 900,000"):
        profile_file(memory_context(), str(file))


def test_very_many_numbers_in_one_list_are_counted_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = nested_file(tmp_path, pa.array([[7] * 20_000]))
    assert file.stat().st_size < 2_000
    assert profile_file(memory_context(), str(file))["rows"] == 1
    monkeypatch.setattr(uploads, "SPREAD_LIMIT", 100_000)
    with pytest.raises(TooLarge, match="160,008 bytes"):
        profile_file(memory_context(), str(file))
    monkeypatch.setattr(portions, "SPREAD_LIMIT", 100_000)
    monkeypatch.setattr(portions, "PORTION_ROWS", 0)
    with pytest.raises(TooLarge, match="a group of rows of the file unpacks to 160,000 bytes"):
        profile_file(memory_context(), str(file))
