"""Databases and streams are read from where the last reading ended, and nothing of them comes twice."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.errors import Conflict, Invalid, LoopwrightError, NotFound
from loopwright.data.ingesting import ingest_source
from loopwright.data.parcels import _Place
from loopwright.data.sources import (
    declare_source,
    ingest,
    rewind,
)
from loopwright.data.verbs import show
from loopwright.engine.context import Context
from loopwright.testing.builders import memory_context
from tests.data.ingested import is_there, rows

pytest_plugins = ["loopwright.testing.valkey", "loopwright.testing.postgres"]


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
    assert not is_there(ctx, "d")
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
    assert not is_there(ctx, "poison")
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
