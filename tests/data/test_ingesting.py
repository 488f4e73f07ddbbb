"""Sources are read from where the last reading ended; rows and place are one commit: nothing comes twice."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import feather

from loopwright.core.errors import Conflict, Invalid, LoopwrightError, NotFound, PolicyBlocked, TooLarge
from loopwright.core.nouns import JobState
from loopwright.core.schema import ColumnType
from loopwright.data.ingesting import ingest_source
from loopwright.data.nouns import ColumnRule, Contract
from loopwright.data.parcels import _Place
from loopwright.data.reading import read
from loopwright.data.sources import (
    carry_out,
    declare_source,
    follow,
    ingest,
    remove_source,
    rewind,
    run_source,
    show_source,
    sources,
)
from loopwright.data.sourcing import shown_address
from loopwright.data.verbs import define_contract, show
from loopwright.engine.context import Context
from loopwright.engine.schedule import fire_due
from loopwright.ports.ledger import PageRequest
from loopwright.testing.builders import SetClock, memory_context, memory_ports

pytest_plugins = ["loopwright.testing.valkey", "loopwright.testing.postgres"]


@pytest.fixture
def ctx() -> Context:
    return memory_context()


def rows(ctx: Context, name: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = read(ctx, f"dataset:{name}").to_pylist()
    return found


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
    assert {name for name in ("e", "f") if _is_there(ctx, name)} == set()


def _is_there(ctx: Context, name: str) -> bool:
    with ctx.read() as tx:
        return tx.assets.find(ctx.space, "dataset", name) is not None


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


# databases


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    made = sqlite3.connect(tmp_path / "shop.db")
    made.execute("create table sales (id integer, amount real, at text)")
    yield made
    made.close()


def _sell(database: sqlite3.Connection, *ids: int) -> None:
    told = [(each, each / 2, f"2024-01-01T00:00:{each % 60:02}Z") for each in ids]
    database.executemany("insert into sales values (?, ?, ?)", told)
    database.commit()


def test_a_cursor_reads_what_is_new_also_beside_the_last_value(
    ctx: Context, tmp_path: Path, database: sqlite3.Connection
) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    _sell(database, 3, 1, 2)
    assert ingest(ctx, url, query="sales", cursor="id").rows == 3
    assert ingest(ctx, url, query="sales", cursor="id").versions == 0
    database.execute("insert into sales values (3, 99.0, 'x')")
    database.execute("insert into sales values (null, 1.0, 'never read')")
    _sell(database, 4)
    again = ingest(ctx, url, query="sales", cursor="id")
    assert (again.rows, again.version) == (2, 2)
    assert [(row["id"], row["amount"]) for row in rows(ctx, "sales")] == [
        (1, 0.5),
        (2, 1.0),
        (3, 1.5),
        (3, 99.0),
        (4, 2.0),
    ]


def test_a_question_without_a_cursor_is_kept_whole_when_its_answer_changed(
    ctx: Context, tmp_path: Path, database: sqlite3.Connection
) -> None:
    url, query = f"sqlite:///{tmp_path}/shop.db", "SELECT id, amount FROM sales WHERE id > 1 ORDER BY id;"
    _sell(database, 1, 2)
    assert ingest(ctx, url, query=query, into="d").rows == 1
    assert ingest(ctx, url, query=query, into="d").versions == 0
    _sell(database, 3)
    assert ingest(ctx, url, query=query, into="d").rows == 2
    assert [row["id"] for row in rows(ctx, "d")] == [2, 3]


@pytest.mark.parametrize(
    ("query", "cursor", "said"),
    [
        ("nothing", "id", "no such table"),
        ("SELECT nowhere FROM sales", "", "no such column"),
        ("sales", "nothing", "nothing"),
        ("sales; DROP TABLE sales", "id", "no such table"),
        ("SELECT 1; DELETE FROM sales", "", "refused"),
        ("WITH x AS (DELETE FROM sales RETURNING *) SELECT * FROM x", "", "refused"),
        ("", "id", "question"),
    ],
)
def test_a_wrong_or_wicked_question_is_told_and_changes_nothing(
    ctx: Context, tmp_path: Path, database: sqlite3.Connection, query: str, cursor: str, said: str
) -> None:
    _sell(database, 1)
    with pytest.raises(LoopwrightError, match=said) as told:
        ingest(ctx, f"sqlite:///{tmp_path}/shop.db", query=query, cursor=cursor, into="d")
    assert told.value.status < 500 or told.value.status == 503
    assert not _is_there(ctx, "d")
    assert database.execute("select count(*) from sales").fetchone() == (1,)


def test_a_database_that_is_not_there_is_not_made(ctx: Context, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        ingest(ctx, f"sqlite:///{tmp_path}/none.db", query="t", into="d")
    assert not (tmp_path / "none.db").exists()


@given(
    batches=st.lists(st.lists(st.integers(0, 6), max_size=6), max_size=8),
)
@settings(max_examples=60, deadline=None)
def test_whatever_comes_beside_or_after_the_greatest_value_is_read_once(batches: list[list[int]]) -> None:
    """A twin: of rows that never come below the greatest value read, each is passed exactly once."""
    table: list[tuple[int, int]] = []
    passed: list[tuple[int, int]] = []
    state: dict[str, object] = {}
    for values in batches:
        floor = max((value for value, _ in table), default=0)
        table += [(value, len(table) + n) for n, value in enumerate(v for v in values if v >= floor)]
        place = _Place(state)
        since = place.value
        seen = sorted(row for row in table if since is None or row[0] >= since)
        for at in range(0, len(seen), 3):
            part = seen[at : at + 3]
            batch = pa.table({"c": [row[0] for row in part], "n": [row[1] for row in part]})
            passed += [(row["c"], row["n"]) for row in place.passed(batch, "c").to_pylist()]
        state = json.loads(json.dumps(place.state))
    assert sorted(passed) == sorted(table)


def test_postgresql_is_read_by_an_instant_and_types_are_kept(ctx: Context, postgres_url: str) -> None:
    import psycopg

    server = postgres_url.partition("&schema=")[0]
    with psycopg.connect(server, autocommit=True) as line:
        line.execute("drop table if exists readings")
        line.execute(
            "create table readings (at timestamptz, day date, price numeric(10,2), is_ok bool, n int, t text)"
        )
        line.execute(
            "insert into readings select '2024-01-01T00:00:00Z'::timestamptz + g * interval '1 minute', "
            "'2024-01-01', g + 0.25, g % 2 = 0, g, 'n' || g from generate_series(1, 1000) g"
        )
        done = ingest(ctx, server, query="readings", cursor="at", event_time="at")
        assert done.rows == 1000
        line.execute("insert into readings values ('2025-01-01', '2025-01-01', 1, null, null, null)")
        assert ingest(ctx, server, query="public.readings", cursor="at", into="other").rows == 1001
        assert ingest(ctx, server, query="readings", cursor="at", event_time="at").rows == 1
        with pytest.raises(LoopwrightError):
            ingest(
                ctx, server, query="WITH x AS (DELETE FROM readings RETURNING *) SELECT * FROM x", into="x"
            )
        assert line.execute("select count(*) from readings").fetchone() == (1001,)
    found = rows(ctx, "readings")
    assert found[0] == {
        "at": datetime(2024, 1, 1, 0, 1, tzinfo=UTC),
        "day": datetime(2024, 1, 1, tzinfo=UTC),
        "price": 1.25,
        "is_ok": False,
        "n": 1,
        "t": "n1",
    }
    assert found[-1]["is_ok"] is None


# streams


def test_a_stream_is_read_in_micro_batches_exactly_once(ctx: Context, valkey_url: str) -> None:
    client = redis.Redis.from_url(valkey_url)
    client.delete("clicks")
    for n in range(5):
        client.xadd("clicks", {"who": f"u{n}", "n": n})
    place = f"{valkey_url}/0/clicks"
    assert (ingest(ctx, place).rows, ingest(ctx, place).versions) == (5, 0)
    client.xadd("clicks", {"who": "u9", "n": 9})
    assert ingest(ctx, place).rows == 1
    assert [row["who"] for row in rows(ctx, "clicks")] == ["u0", "u1", "u2", "u3", "u4", "u9"]
    client.delete("clicks")
    client.xadd("clicks", {"who": "new", "n": 1}, id="5-1")
    with pytest.raises(Conflict, match="another one"):
        ingest(ctx, place)
    rewind(ctx, "clicks")
    assert ingest(ctx, place).rows == 1
    client.close()


def test_a_record_that_is_none_is_refused_or_left_out_and_counted(ctx: Context, valkey_url: str) -> None:
    client = redis.Redis.from_url(valkey_url)
    client.delete("poison")
    for value in (b'{"a": 1}', b"no json", b"[1]", b'{"a": 2.5}'):
        client.xadd("poison", {"v": value})
    place, options = f"{valkey_url}/0/poison", {"field": "v"}
    with pytest.raises(Invalid, match="no JSON object"):
        ingest(ctx, place, options=options)
    assert not _is_there(ctx, "poison")
    done = ingest(ctx, place, options=options, skip_bad=True)
    assert (done.rows, done.skipped) == (2, 2)
    assert rows(ctx, "poison") == [{"a": 1.0}, {"a": 2.5}]
    client.close()


def test_two_readers_of_a_source_add_its_rows_once(ctx: Context, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    declare_source(ctx, "d", str(tmp_path))
    overtaken: list[bool] = []
    opened = ctx.ports.sources.open

    class Slow:
        """Between looking at the files and keeping them, another reader does all of it."""

        kind = staticmethod(ctx.ports.sources.kind)
        is_many = staticmethod(ctx.ports.sources.is_many)

        def open(self, origin: object) -> object:
            if not overtaken:
                overtaken.append(True)
                ingest_source(ctx, "d")
            return opened(origin)  # type: ignore[arg-type] # given on as it came

    ctx.ports.sources = Slow()  # type: ignore[misc, assignment] # ports in memory may be replaced
    with pytest.raises(Conflict, match="somebody else"):
        ingest_source(ctx, "d")
    assert show(ctx, "d").rows == 1


@given(failing=st.lists(st.integers(0, 12), max_size=4, unique=True))
@settings(max_examples=25, deadline=None)
def test_a_reading_that_fails_anywhere_is_made_good_by_the_next(failing: list[int]) -> None:
    """Units of work fail at any of their points; then all is run again: each row is there once."""
    import tempfile

    context = memory_context()
    calls = iter(range(1_000))
    real = context.ports.ledger.write

    def write(work: object) -> object:
        if next(calls) in failing:
            raise Conflict("the disk is busy", hint="again")
        return real(work)  # type: ignore[arg-type] # given on as it came

    with tempfile.TemporaryDirectory() as folder:
        context.ports.ledger.write = write  # type: ignore[method-assign, assignment] # the point of it
        for n in range(4):
            (Path(folder) / f"{n}.csv").write_text(f"x\n{n}\n")
            for _ in range(6):
                try:
                    ingest(context, folder, into="d")
                except Conflict:
                    continue
    assert [row["x"] for row in rows(context, "d")] == [0, 1, 2, 3]


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
