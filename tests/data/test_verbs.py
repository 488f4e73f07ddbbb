"""Operations of datasets: lists, pages, uploads, profiles, downloads; and what an append costs."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from loopwright.core.errors import Denied, Invalid, NotFound, PolicyBlocked, TooLarge
from loopwright.core.expressions import col
from loopwright.core.nouns import Json
from loopwright.data.nouns import Contract, QuarantinedRow
from loopwright.data.profiling import profile_file
from loopwright.data.uploads import table_of_upload
from loopwright.data.verbs import (
    append,
    contract,
    datasets,
    define_contract,
    delete,
    download,
    profile,
    quarantine,
    read,
    rows,
    set_contract,
    show,
    upload,
)
from loopwright.engine.context import Context, Principal
from loopwright.engine.operation import Upload, invoke, operations_in
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.testing.builders import memory_context
from tests.data.weather import contract as weather_contract
from tests.data.weather import weather


@pytest.fixture
def ctx() -> Context:
    return memory_context()


def body(data: bytes, media_type: str = "application/octet-stream", piece: int = 1000) -> Upload:
    pieces = [data[at : at + piece] for at in range(0, len(data), piece)]
    return Upload(chunks=pieces, media_type=media_type)


def csv_of(table: pa.Table) -> bytes:
    out = io.BytesIO()
    csv.write_csv(table, out)
    return out.getvalue()


def parquet_of(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def ndjson_of(table: pa.Table) -> bytes:
    lines = [
        "{" + ", ".join(f'"{name}": {_json(value)}' for name, value in row.items()) + "}"
        for row in table.to_pylist()
    ]
    return "\n".join(lines).encode()


def _json(value: object) -> str:
    if value is None:
        return "null"
    return str(value) if isinstance(value, (int, float)) else f'"{value}"'


def test_datasets_are_listed_by_name_in_pages(ctx: Context) -> None:
    for name in ("b", "a", "c/d e"):
        append(ctx, name, pa.table({"x": [1, 2]}))
    append(ctx, "a", pa.table({"x": [3]}))
    define_contract(ctx, "a", Contract(name="a"))
    first = datasets(ctx, limit=2)
    rest = datasets(ctx, limit=2, token=first.next_token)
    assert [(item.name, item.version, item.rows) for item in (*first.items, *rest.items)] == [
        ("a", 2, 3),
        ("b", 1, 2),
        ("c/d e", 1, 2),
    ]
    assert rest.next_token == ""


def test_a_dataset_is_shown_with_its_columns_and_times(ctx: Context) -> None:
    define_contract(ctx, "weather", weather_contract())
    append(ctx, "weather", weather(2), event_time="observed_at", known_at="known_at", keys=("origin",))
    append(ctx, "weather", weather(2, start=2))
    found = show(ctx, "weather")
    assert (found.rows, found.parts, found.version.number, found.version.parent) == (12, 2, 2, 1)
    assert found.body == {
        "event_time": "observed_at",
        "known_at": "known_at",
        "keys": ["origin"],
        "contract": "policy:contract/weather@1",
        "facts": {},
    }
    assert show(ctx, "weather", version="1").rows == 6
    with pytest.raises(NotFound):
        show(ctx, "nothing")


def test_rows_are_paged_in_order_over_parts_while_others_append(ctx: Context) -> None:
    for day in range(5):
        append(ctx, "weather", weather(3, start=3 * day))
    whole = read(ctx, "dataset:weather").to_pylist()
    found, token = list[Json](), ""
    while True:
        page = rows(ctx, "weather", limit=7, token=token)
        found += page.items
        append(ctx, "weather", weather(1, start=100))
        token = page.next_token
        if not token:
            break
    assert len(found) == 45
    assert [row["wind_speed"] for row in found] == [row["wind_speed"] for row in whole]
    assert found[0]["observed_at"] == "2013-01-01T00:00:00Z"
    for bad in ("x", "1", "1.x", "-1.5"):
        with pytest.raises(Invalid):
            rows(ctx, "weather", token=bad)


@pytest.mark.parametrize(
    ("form", "media_type"),
    [
        (csv_of, "text/csv; charset=utf-8"),
        (parquet_of, "application/vnd.apache.parquet"),
        (ndjson_of, "application/x-ndjson"),
        (csv_of, "application/octet-stream"),
        (parquet_of, ""),
        (ndjson_of, "text/plain"),
    ],
)
def test_a_body_of_each_form_is_the_same_rows(ctx: Context, form: object, media_type: str) -> None:
    assert callable(form)
    define_contract(ctx, "weather", weather_contract())
    batch = weather(30, wind={3: None})
    done = upload(ctx, "weather", body(form(batch), media_type), event_time="observed_at", batch="1")
    assert (done.rows, done.quarantined) == (90, 0)
    assert read(ctx, "dataset:weather").equals(batch)
    again = upload(ctx, "weather", body(form(batch), media_type), batch="1")
    assert again.repeated


def test_a_later_body_is_read_as_the_types_the_dataset_has(ctx: Context) -> None:
    append(ctx, "d", pa.table({"code": ["007", "x1"], "size": [1.5, 2.0]}))
    upload(ctx, "d", body(b"code,size\n008,3\n", "text/csv"))
    assert read(ctx, "dataset:d").to_pylist()[-1] == {"code": "008", "size": 3.0}


@pytest.mark.parametrize(
    ("data", "media_type", "said"),
    [
        (b"", "text/csv", "empty"),
        (b"a,b\n1,2,3\n", "text/csv", "csv"),
        (b"PAR1 is not all", "", "parquet"),
        (b'{"a": 1}\n{"a": ', "application/x-ndjson", "ndjson"),
        (b'{"a": 1}\n{"a": "x"}\n', "application/x-ndjson", "ndjson"),
        (b'{"a": {"b": 1}}\n', "application/x-ndjson", "'a'"),
        (b"t\n2013-01-01T00:00:00\n", "text/csv", "'t'"),
        (b"\xff\xfe\x00", "application/x-ndjson", "ndjson"),
        (b"size\nlarge\n", "text/csv", "csv"),
    ],
)
def test_a_body_that_is_not_rows_is_invalid(ctx: Context, data: bytes, media_type: str, said: str) -> None:
    append(ctx, "d", pa.table({"size": [1]}))
    with pytest.raises(Invalid, match=said) as caught:
        upload(ctx, "d", body(data, media_type))
    assert caught.value.hint
    assert show(ctx, "d").version.number == 1


def test_a_body_past_the_limit_is_refused_before_it_is_all_here() -> None:
    sent = []

    def endless() -> Iterator[bytes]:
        while True:
            sent.append(1)
            yield b"1\n" * 500

    with pytest.raises(TooLarge, match="10,000"):
        table_of_upload(Upload(chunks=endless(), media_type="text/csv"), {}, limit=10_000)
    assert len(sent) == 11


def test_a_small_file_that_unpacks_to_too_much_is_refused(ctx: Context) -> None:
    groups = 60
    out = io.BytesIO()
    table = pa.table({"x": pa.array([0] * 1_000_000, pa.int8())})
    with pq.ParquetWriter(out, table.schema, compression="zstd") as writer:
        for _ in range(groups):
            writer.write_table(table)
    assert len(out.getvalue()) < 1 << 20
    with pytest.raises(TooLarge, match="60,000,000 rows"):
        upload(ctx, "d", body(out.getvalue(), piece=1 << 20))


def test_operations_are_authorised_and_decoded_like_any(ctx: Context) -> None:
    import loopwright.data.verbs as module

    found = operations_in([module])
    assert set(found) == {
        "data.compact",
        "data.contract",
        "data.delete_rows",
        "data.download",
        "data.list",
        "data.profile",
        "data.quarantine",
        "data.rows",
        "data.set_contract",
        "data.show",
        "data.upload",
    }
    invoke(found["data.upload"], ctx, {"name": "d", "expect": "0"}, upload=body(b"a\n1\n"))
    reader = ctx.acting_as(Principal(name="reader", scopes=frozenset({"dataset:read"})))
    assert invoke(found["data.show"], reader, {"name": "d"}).rows == 1
    with pytest.raises(Denied):
        invoke(found["data.upload"], reader, {"name": "d"}, upload=body(b"a\n1\n"))
    with pytest.raises(Invalid):
        invoke(found["data.rows"], ctx, {"name": "d", "limit": "0"})


def test_a_contract_is_set_and_shown_as_json(ctx: Context) -> None:
    with pytest.raises(NotFound):
        contract(ctx, "weather")
    first = set_contract(ctx, "weather", weather_contract())
    assert set_contract(ctx, "weather", weather_contract()).number == first.number == 1
    assert str(contract(ctx, "weather")) == str(weather_contract())
    with pytest.raises(PolicyBlocked):
        upload(ctx, "weather", body(b"a\n1\n"))


def test_quarantine_is_paged_newest_first(ctx: Context) -> None:
    define_contract(ctx, "weather", weather_contract())
    for day in range(3):
        wind: dict[int, float | None] = dict.fromkeys(range(4), -1.0 - day)
        append(ctx, "weather", weather(3, start=3 * day, wind=wind))
    found, token = list[QuarantinedRow](), ""
    while True:
        page = quarantine(ctx, "weather", limit=5, token=token)
        found += page.items
        token = page.next_token
        if not token:
            break
    assert len(found) == 12
    assert {row.reason for row in found} == {"wind_speed is in range"}
    assert sorted(row.values["wind_speed"] for row in found) == sorted([-1.0, -2.0, -3.0] * 4)
    with pytest.raises(Invalid):
        quarantine(ctx, "weather", token="nothing.0")


def test_a_version_is_downloaded_as_one_file(ctx: Context) -> None:
    append(ctx, "weather", weather(5))
    append(ctx, "weather", weather(5, start=5))
    for version in ("1", "2", ""):
        blob = download(ctx, "weather", version=version)
        with blob.file as file:
            data = file.read()
        assert len(data) == blob.size_bytes
        address = f"dataset:weather@{version or 2}"
        assert pq.read_table(io.BytesIO(data)).to_pylist() == read(ctx, address).to_pylist()


def downloaded(ctx: Context, version: str, *columns: str) -> pa.Table:
    with download(ctx, "d", version=version, columns=columns).file as file:
        return pq.read_table(file)


def test_a_download_has_all_columns_of_the_version_whatever_its_parts_have(ctx: Context) -> None:
    append(ctx, "d", pa.table({"a": [1, 2]}))
    append(ctx, "d", pa.table({"b": ["x"], "a": [3]}))
    delete(ctx, "d", where=col("a").eq(3))
    delete(ctx, "d", where=col("a") > 0)
    wanted: dict[str, dict[str, list[object]]] = {
        "1": {"a": [1, 2]},
        "2": {"a": [1, 2, 3], "b": [None, None, "x"]},
        "3": {"a": [1, 2], "b": [None, None]},
        "4": {"a": [], "b": []},
    }
    for version, rows_of in wanted.items():
        found = downloaded(ctx, version)
        assert found.to_pydict() == rows_of
        assert found.schema.types == [pa.int64(), pa.string()][: len(rows_of)]
        some = downloaded(ctx, version, *reversed(rows_of))
        assert some.to_pydict() == rows_of
        assert some.column_names == [*reversed(rows_of)]
    with pytest.raises(Invalid, match="no column 'c'"):
        download(ctx, "d", columns=("c",))


def test_a_file_is_profiled_without_a_workspace(ctx: Context, tmp_path: Path) -> None:
    table = weather(20)
    for name, data in (
        ("w.parquet", parquet_of(table)),
        ("w.csv", csv_of(table)),
        ("w.jsonl", ndjson_of(table)),
    ):
        path = tmp_path / name
        path.write_bytes(data)
        found = profile_file(ctx, str(path))
        assert found["rows"] == 60
        assert found["columns"]["humid"]["max"] == 89
    with pytest.raises(Invalid, match=r"nothing\.csv"):
        profile_file(ctx, str(tmp_path / "nothing.csv"))
    (tmp_path / "words.parquet").write_bytes(b"words")
    with pytest.raises(Invalid, match=r"words\.parquet is not parquet"):
        profile_file(ctx, str(tmp_path / "words.parquet"))


def test_the_profile_of_many_parts_is_that_of_the_whole(ctx: Context) -> None:
    for part in range(6):
        append(ctx, "weather", weather(20 + 7 * part, start=50 * part, wind={1: None, 2: float(part)}))
    merged = profile(ctx, "weather")
    whole = ctx.ports.tables.profile(read(ctx, "dataset:weather"))
    assert merged["rows"] == whole["rows"]
    for name, column in whole["columns"].items():
        found = merged["columns"][name]
        for key in ("type", "count", "nulls", "min", "max"):
            assert found.get(key) == column.get(key)
        for key in ("mean", "std"):
            if key in column:
                assert found[key] == pytest.approx(column[key])
        if "histogram" in column:
            shape = found["histogram"]
            assert sum(shape["counts"]) + shape["below"] + shape["above"] == column["count"]
        if name in ("origin",):
            assert found["top"] == column["top"]
            assert found["distinct"] == column["distinct"]
    assert profile(ctx, "weather", version="1")["rows"] == 60


def test_two_hundred_appends_write_each_row_twice_and_leave_few_parts(ctx: Context) -> None:
    for day in range(200):
        append(ctx, "weather", weather(8, start=8 * day), event_time="observed_at", batch=str(day))
    last = show(ctx, "weather")
    assert (last.version.number, last.parts, last.rows) == (200, 200 // 16 + 200 % 16, 4800)
    parts = {entry.digest for entry in manifest_of(ctx, last.version).entries}
    written = {
        entry.digest: entry.rows or 0
        for number in range(1, 201)
        for entry in manifest_of(ctx, resolve(ctx, f"dataset:weather@{number}")).entries
    }
    assert sum(written.values()) < 2 * 4800
    sizes = [stat.size_bytes for stat in ctx.ports.objects.list() if stat.digest in parts]
    assert sum(sizes) < 200 * 4000
    assert read(ctx, "dataset:weather@117").num_rows == 117 * 24
    assert append(ctx, "weather", weather(8), batch="0").repeated
    assert append(ctx, "weather", weather(8), batch="199").repeated
