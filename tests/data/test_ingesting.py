"""Sources are read from where the last reading ended; rows and place are one commit: nothing comes twice."""

from __future__ import annotations

import gzip
import os
import sqlite3
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from loopwright.core.errors import Conflict, Invalid, LoopwrightError, NotFound, PolicyBlocked, TooLarge
from loopwright.core.nouns import JobState
from loopwright.core.schema import ColumnType
from loopwright.data.ingesting import ingest_source
from loopwright.data.nouns import ColumnRule, Contract
from loopwright.data.reading import read
from loopwright.data.sources import (
    carry_out,
    declare_source,
    follow,
    ingest,
    remove_source,
    run_source,
    show_source,
    sources,
)
from loopwright.data.sourcing import shown_address
from loopwright.data.uploads import read_table
from loopwright.data.verbs import define_contract, show
from loopwright.engine.context import Context
from loopwright.engine.schedule import fire_due
from loopwright.ports.ledger import PageRequest
from loopwright.testing.builders import SetClock, memory_context, memory_ports
from tests.data.ingested import is_there, rows

# files


def test_a_folder_grows_by_its_new_files_and_makes_no_version_when_there_are_none(
    ctx: Context, tmp_path: Path
) -> None:
    (tmp_path / "b.csv").write_text("id,x\n3,1.5\n")
    (tmp_path / "a.csv").write_text("id,x\n1,2.5\n2,\n")
    (tmp_path / "_SUCCESS").write_text("")
    first = ingest(ctx, str(tmp_path), into="d")
    assert (first.version, first.versions, first.rows, first.files) == (1, 1, 3, 2)
    assert ingest(ctx, str(tmp_path), into="d").versions == 0
    pq.write_table(pa.table({"id": [4], "x": [0.5]}), tmp_path / "c.parquet")
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress(b'{"id": 5, "x": 1.0}\n'))
    feather.write_feather(pa.table({"id": [6], "x": [7.0]}), tmp_path / "e.feather")
    second = ingest(ctx, str(tmp_path), into="d")
    assert (second.version, second.versions, second.rows, second.files) == (2, 1, 3, 3)
    assert [row["id"] for row in rows(ctx, "d")] == [1, 2, 3, 4, 5, 6]


def test_a_file_that_was_touched_is_not_new_and_one_that_was_changed_is_refused(
    ctx: Context, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    ingest(ctx, str(tmp_path), into="d")
    (tmp_path / "a.csv").touch()
    assert ingest(ctx, str(tmp_path), into="d").versions == 0
    (tmp_path / "a.csv").write_text("x\n1\n2\n")
    with pytest.raises(Conflict, match=r"a\.csv"):
        ingest(ctx, str(tmp_path), into="d")
    assert show(ctx, "d").rows == 1


def test_one_file_is_what_it_holds_now(ctx: Context, tmp_path: Path) -> None:
    place = tmp_path / "prices 2024.csv"
    place.write_text("x\n1\n2\n")
    assert ingest(ctx, str(place)).dataset == "prices-2024"
    assert ingest(ctx, str(place)).versions == 0
    place.write_text("x\n5\n")
    assert ingest(ctx, f"file://{place}".replace(" ", "%20"), into="prices-2024").version == 2
    assert rows(ctx, "prices-2024") == [{"x": 5}]
    assert read(ctx, "dataset:prices-2024@1").num_rows == 2


def test_a_pattern_names_files_and_odd_names_are_kept_or_refused(ctx: Context, tmp_path: Path) -> None:
    (tmp_path / "ä 'x\".csv").write_text("x\n1\n")
    (tmp_path / "readme.md").write_text("no table {")
    assert ingest(ctx, f"{tmp_path}/*.csv", into="d").rows == 1
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / os.fsdecode(b"\xff.csv")).write_text("x\n1\n")
    with pytest.raises(Invalid, match="UTF-8"):
        ingest(ctx, str(bad), into="e")
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "l.csv").symlink_to("/etc/passwd")
    with pytest.raises(Invalid, match="link"):
        ingest(ctx, str(linked), into="f")
    with pytest.raises(NotFound):
        ingest(ctx, str(tmp_path / "nothing.csv"))
    assert {name for name in ("e", "f") if is_there(ctx, name)} == set()


def test_times_without_a_zone_are_refused_unless_one_is_declared(ctx: Context, tmp_path: Path) -> None:
    place = tmp_path / "t.csv"
    place.write_text("t\n2024-07-01 12:00:00\n2024-01-01 12:00:00\n")
    with pytest.raises(Invalid, match="zone"):
        ingest(ctx, str(place))
    ingest(ctx, str(place), zone="Europe/Berlin")
    assert [row["t"] for row in rows(ctx, "t")] == [
        datetime(2024, 7, 1, 10, tzinfo=UTC),
        datetime(2024, 1, 1, 11, tzinfo=UTC),
    ]
    place.write_text("t\n2024-10-27 02:30:00\n")
    with pytest.raises(Invalid, match="twice"):
        ingest(ctx, str(place), zone="Europe/Berlin")
    with pytest.raises(Invalid, match="zone"):
        ingest(ctx, str(place), zone="Europe/Nowhere")


# contracts


def test_a_contract_that_blocks_leaves_place_and_dataset_as_they_were(ctx: Context, tmp_path: Path) -> None:
    rule = ColumnRule(name="x", type=ColumnType.INT, min=0, severity="block")
    define_contract(ctx, "d", Contract(name="d", columns=(rule,)))
    (tmp_path / "a.csv").write_text("x\n1\n")
    ingest(ctx, str(tmp_path), into="d")
    (tmp_path / "b.csv").write_text("x\n-1\n")
    for _ in range(2):
        with pytest.raises(PolicyBlocked):
            ingest(ctx, str(tmp_path), into="d")
    assert (show(ctx, "d").version.number, show_source(ctx, "d").runs) == (1, 1)
    (tmp_path / "b.csv").write_text("x\n2\n")
    assert ingest(ctx, str(tmp_path), into="d").rows == 1


def test_rows_in_quarantine_are_told_and_not_read_again(ctx: Context, tmp_path: Path) -> None:
    rule = ColumnRule(name="x", type=ColumnType.INT, min=0)
    define_contract(ctx, "d", Contract(name="d", columns=(rule,)))
    (tmp_path / "a.csv").write_text("x\n1\n-1\n5\n")
    done = ingest(ctx, str(tmp_path), into="d")
    assert (done.rows, done.quarantined, done.reasons) == (2, 1, {"x is in range": 1})
    assert ingest(ctx, str(tmp_path), into="d").quarantined == 0
    assert show(ctx, "d").quarantined == 1


# hostile files


def _parquet_bomb(path: Path) -> None:
    """Small on disk, 60 GB when its one text is written out for every row."""
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 60_000, pa.int32()), pa.array(["x" * 1_000_000]))
    pq.write_table(pa.table({"t": text}), path, compression="zstd")


def _wide(path: Path) -> None:
    path.write_text(",".join(f"c{n}" for n in range(10_000)) + "\n" + ",".join("1" * 10_000) + "\n")


def _corrupt(path: Path) -> None:
    pq.write_table(pa.table({"x": list(range(10_000))}), path)
    data = bytearray(path.read_bytes())
    data[50:5_000] = b"\0" * 4_950
    path.write_bytes(data)


def _gzip_bomb(path: Path) -> None:
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(1_100):
            file.write(b"x\n" * (1 << 19))


@pytest.mark.parametrize(
    ("name", "write", "error"),
    [
        ("bomb.parquet", _parquet_bomb, TooLarge),
        ("wide.csv", _wide, TooLarge),
        ("corrupt.parquet", _corrupt, Invalid),
        ("cut.parquet", lambda path: path.write_bytes(b"PAR1" + b"\0" * 100), Invalid),
        ("cut.csv.gz", lambda path: path.write_bytes(gzip.compress(b"x\n1\n")[:-9]), Invalid),
        ("no.feather", lambda path: path.write_bytes(b"ARROW1\0\0nothing"), Invalid),
        ("nested.jsonl", lambda path: path.write_text('{"a": {"b": [1]}}\n'), Invalid),
        ("empty.csv", lambda path: path.write_text(""), Invalid),
        ("twice.csv", lambda path: path.write_text("a,a\n1,2\n"), Invalid),
        ("kinds.jsonl", lambda path: path.write_text('{"a": 1}\n{"a": "x"}\n'), Invalid),
        ("control.csv", lambda path: path.write_text('"a\x1b[31m"\n1\n'), Invalid),
        ("deep.jsonl", lambda path: path.write_text('{"a":' * 3_000 + "1" + "}" * 3_000), Invalid),
    ],
)
def test_hostile_files_are_refused_and_the_store_stays_as_it_was(
    ctx: Context, tmp_path: Path, name: str, write: object, error: type[LoopwrightError]
) -> None:
    (tmp_path / "good.csv").write_text("x\n1\n")
    ingest(ctx, str(tmp_path / "good.csv"), into="d")
    before = sorted(stat.digest for stat in ctx.ports.objects.list())
    assert callable(write)
    write(tmp_path / name)
    with pytest.raises(error) as told:
        ingest(ctx, str(tmp_path / name), into="d")
    assert told.value.hint
    assert len(str(told.value)) < 600
    assert (show(ctx, "d").version.number, rows(ctx, "d")) == (1, [{"x": 1}])
    added = {stat.digest for stat in ctx.ports.objects.list()} - set(before)
    assert len(added) <= 1, "the declaration of the source alone"


@pytest.mark.slow
@pytest.mark.parametrize("kept", [tempfile.TemporaryFile, tempfile.SpooledTemporaryFile])
def test_what_is_packed_is_read_out_of_a_file_that_was_just_written(kept: Callable[[], Any]) -> None:
    """As it comes by HTTP or from an object store: such a file is open for writing too."""
    with kept() as file:
        file.write(gzip.compress(b"x\n1\n2\n"))
        file.seek(0)
        found = read_table(file, "", {}, path="https://example.org/x.csv.gz")
    assert found.column("x").to_pylist() == [1, 2]


def test_a_gzip_bomb_is_refused(ctx: Context, tmp_path: Path) -> None:
    _gzip_bomb(tmp_path / "b.csv.gz")
    with pytest.raises(TooLarge, match="unpacks"):
        ingest(ctx, str(tmp_path / "b.csv.gz"))


def test_columns_of_another_type_are_refused(ctx: Context, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    ingest(ctx, str(tmp_path), into="d")
    (tmp_path / "b.csv").write_text("x\nlarge\n")
    with pytest.raises(Invalid, match="large"):
        ingest(ctx, str(tmp_path), into="d")
    assert show(ctx, "d").version.number == 1


# declared sources


def test_a_schedule_reads_a_source_and_removing_it_ends_that(tmp_path: Path) -> None:
    clock = SetClock()
    ctx = memory_context(memory_ports(clock=clock))
    (tmp_path / "a.csv").write_text("x\n1\n")
    declare_source(ctx, "hourly", str(tmp_path), into="d", every="1h")
    assert fire_due(ctx) == 0
    clock.advance(timedelta(hours=1, minutes=1))
    assert fire_due(ctx) == 1
    with ctx.read() as tx:
        (job,) = tx.jobs.page(ctx.space, PageRequest()).items
    assert (job.operation, job.state) == ("data.ingest", JobState.QUEUED)
    assert carry_out(ctx, job)["rows"] == 1
    assert show_source(ctx, "hourly").ended_with == 1
    remove_source(ctx, "hourly")
    clock.advance(timedelta(hours=2))
    assert fire_due(ctx) == 0
    with pytest.raises(NotFound):
        show_source(ctx, "hourly")
    assert show(ctx, "d").rows == 1


def test_a_relative_path_means_the_same_wherever_it_is_read(
    ctx: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    sqlite3.connect(tmp_path / "s.db").execute("create table t as select 1 as x").connection.close()
    monkeypatch.chdir(tmp_path)
    declare_source(ctx, "a", "a.csv")
    declare_source(ctx, "t", "sqlite:///s.db", query="t")
    monkeypatch.chdir("/")
    assert ingest_source(ctx, "a").rows == 1
    assert ingest_source(ctx, "t").rows == 1
    assert show_source(ctx, "a").source.address == str(tmp_path / "a.csv")


def test_sources_are_listed_in_pages_and_run_as_jobs(ctx: Context, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    for name in ("c", "a", "b"):
        declare_source(ctx, name, str(tmp_path))
    first = sources(ctx, limit=2)
    rest = sources(ctx, limit=2, token=first.next_token)
    assert [each.name for each in (*first.items, *rest.items)] == ["a", "b", "c"]
    assert run_source(ctx, "b").arguments == {"source": "b"}
    with pytest.raises(NotFound):
        run_source(ctx, "nobody")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (
            "postgresql://me:secret@h:1/d?sslpassword=secret&x=1",
            "postgresql://me:***@h:1/d?sslpassword=***&x=***",
        ),
        ("https://secret@h/x?sig=secret", "https://***@h/x?sig=***"),
        ("https://h/x?secret", "https://h/x?***"),
        ("redis://:secret@h/0/s", "redis://:***@h/0/s"),
        ("https://a:secret@h/x#secret", "https://***:***@h/x"),
        ("folder/a?.csv", "folder/a?.csv"),
        ("s3://bucket/a", "s3://bucket/a"),
    ],
)
def test_secrets_of_an_address_are_not_shown(address: str, shown: str) -> None:
    assert shown_address(address) == shown


def test_secrets_are_nowhere_in_the_ledger_or_in_what_is_told(ctx: Context) -> None:
    view = declare_source(
        ctx,
        "d",
        "postgresql://me:hunter2@127.0.0.1:1/d",
        query="t",
        cursor="id",
        header=("Authorization: Bearer hunter3",),
        options={"key": "hunter4"},
    )
    with pytest.raises(LoopwrightError) as told:
        ingest_source(ctx, "d")
    with ctx.read() as tx:
        lines = tx.journal.read(0, 100)
    objects = b"".join(ctx.ports.objects.get(each.digest) for each in ctx.ports.objects.list())
    seen = f"{view}{told.value}{told.value.__cause__}{lines}{objects!r}"
    assert "hunter" not in seen
    assert (view.source.headers, view.source.options) == (("Authorization",), ("key",))


@pytest.mark.parametrize(
    "options",
    [
        {"address": "ftp://h/x"},
        {"address": "x.csv", "cursor": "id"},
        {"address": "sqlite:///x.db", "query": "t", "mode": "append"},
        {"address": "sqlite:///x.db", "query": "t", "cursor": "id", "mode": "replace"},
        {"address": "redis://h/0/s", "mode": "replace"},
        {"address": "x.csv", "every": "1h", "cron": "0 * * * *"},
        {"address": "x.csv", "every": "soon"},
        {"address": "x.csv", "cron": "never"},
        {"address": "x.csv", "header": ("no colon",)},
    ],
)
def test_what_makes_no_sense_is_not_declared(ctx: Context, options: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        declare_source(ctx, "d", **options)  # type: ignore[arg-type] # a table of wrong ones
    assert sources(ctx).items == ()


def test_from_elsewhere_only_urls_are_declared(ctx: Context) -> None:
    for address in ("/etc/passwd", "file:///etc/passwd", "sqlite:///x.db", "redis://127.0.0.1/0/s"):
        with pytest.raises(Invalid):
            follow(ctx, "d", address)
    assert follow(ctx, "d", "https://example.org/x.csv", every="1d").source.mode == "replace"
