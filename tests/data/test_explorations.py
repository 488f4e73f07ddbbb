"""Exploration documents: read, run, kept, run again, withheld and erased; and queries that want out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.adapters.tables.queries import DuckDBQueries
from loopwright.core.errors import Denied, Invalid, LoopwrightError, TooLarge
from loopwright.core.schema import ColumnType
from loopwright.data.allowing import PurposeRule, Purposes
from loopwright.data.appending import append
from loopwright.data.explorations import Chart, parse_document, picture
from loopwright.data.exploring import explorations, rerun, run, save, show
from loopwright.data.purposes import set_purposes
from loopwright.engine.context import Context
from loopwright.engine.operation import Upload
from loopwright.engine.platform import lineage
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.loops import erasing
from loopwright.ports.queries import QueryLimits, QuerySession, QueryTable
from loopwright.workspace import Workspace
from tests.loops.conftest import at_once, workspace

__all__ = ["at_once", "workspace"]

WHO = "zoe-4711"
START = datetime(2024, 1, 1, tzinfo=UTC)
DOCUMENT = """# Fares

By day.

```data
trips = trips
```

```sql by_day
SELECT date_trunc('day', "at") AS day, sum(fare) AS fare, count(*) AS n FROM trips GROUP BY ALL ORDER BY day
```

```chart line by_day
x = day
y = fare, n
```

```sql dearest
SELECT passenger AS name, fare FROM trips ORDER BY fare DESC, name LIMIT 3
```

```chart histogram dearest
x = fare
bins = 4
```
"""


def trips(day: int, *names: str) -> pa.Table:
    at = [START + timedelta(days=day, hours=n) for n in range(len(names))]
    fares = [10.0 * day + n + (500.0 if name == WHO else 0.0) for n, name in enumerate(names)]
    return pa.table({"passenger": list(names), "at": pa.array(at, pa.timestamp("us", "UTC")), "fare": fares})


@pytest.fixture
def ctx(workspace: Workspace) -> Context:
    made = workspace.context()
    append(made, "trips", trips(0, "a", "b", WHO))
    append(made, "trips", trips(1, "c", "d"))
    return made


def body(text: str) -> Upload:
    return Upload(chunks=iter([text.encode()]), media_type="text/markdown")


# ------------------------------------------------------------------------------------------ documents


def test_a_document_says_what_it_reads_asks_and_draws() -> None:
    found = parse_document(DOCUMENT)
    assert (found.title, dict(found.data)) == ("Fares", {"trips": "trips"})
    assert [(cell.kind, cell.name) for cell in found.cells] == [
        ("text", ""),
        ("sql", "by_day"),
        ("chart", ""),
        ("sql", "dearest"),
        ("chart", ""),
    ]
    assert found.cells[2].chart == Chart(kind="line", of="by_day", x="day", y=("fare", "n"))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("```sql a\nSELECT 1", 1),
        ("```sql a b\nSELECT 1\n```", 1),
        ("```sql a\nSELECT 1\n```\n```sql a\nSELECT 1\n```", 4),
        ("```sql a\nSELECT 1\n```\n```chart pie a\nx = b\ny = c\n```", 4),
        ("```sql a\nSELECT 1\n```\n```chart line b\nx = b\ny = c\n```", 4),
        ("```sql a\nSELECT 1\n```\n```chart line a\nx = b\n```", 4),
        ("```sql a\nSELECT 1\n```\n```chart histogram a\nx = b\nbins = 0\n```", 4),
        ("```sql a\nSELECT 1\n```\n```chart line a\nx = b\ny = c\nz = d\n```", 4),
        ("```data\ntrips\n```\n```sql\nSELECT 1\n```", 2),
        ("```data\nt = a\n```\n```data\nt = b\n```\n```sql\nSELECT 1\n```", 1),
    ],
)
def test_what_is_wrong_with_a_document_is_told_with_its_line(text: str, line: int) -> None:
    with pytest.raises(Invalid, match=f"^line {line}: "):
        parse_document(text)


@given(text=st.text(alphabet="` \n#dataqlschrx=1_", max_size=120))
def test_any_text_is_a_document_or_refused(text: str) -> None:
    try:
        found = parse_document(text)
    except Invalid:
        return
    assert any(cell.kind == "sql" for cell in found.cells)


def test_a_picture_is_of_the_rows() -> None:
    table = pa.table({"a": [1.0, float("nan"), 3.0], "b": ["x", "y", None]})
    line = picture(Chart(kind="line", of="q", x="b", y=("a",)), table)
    assert line["x"] == {"name": "b", "type": "text", "values": ["x", "y", None]}
    assert line["series"] == [{"name": "a", "values": [1.0, None, 3.0]}]
    counted = picture(Chart(kind="histogram", of="q", x="a", bins=2), table)
    assert (counted["edges"], counted["counts"]) == ([1.0, 2.0, 3.0], [1, 1])
    for chart in (Chart(kind="bar", of="q", x="c", y=("a",)), Chart(kind="bar", of="q", x="a", y=("b",))):
        with pytest.raises(Invalid):
            picture(chart, table)


# ------------------------------------------------------------------------------------------ running


def test_a_document_is_run_over_the_newest_versions(ctx: Context) -> None:
    found = run(ctx, body(DOCUMENT))
    assert found.pins["trips"].address == "dataset:trips@2"
    assert next(cell for cell in found.cells if cell.name == "dearest").rows[0] == (WHO, 502.0)


@pytest.mark.slow
def test_a_saved_document_runs_again_to_the_same_picture(ctx: Context) -> None:
    made = save(ctx, "fares", body(DOCUMENT))
    assert made.number == 1
    assert save(ctx, "fares", body(DOCUMENT)).number == 1
    append(ctx, "trips", trips(2, "e"))
    kept = show(ctx, "fares")
    assert {name: pin.address for name, pin in kept.pins.items()} == {"trips": "dataset:trips@2"}
    by_day = next(cell for cell in kept.cells if cell.name == "by_day")
    assert by_day.rows == (("2024-01-01T00:00:00Z", 503.0, 3), ("2024-01-02T00:00:00Z", 21.0, 2))
    assert by_day.columns == {"day": "instant", "fare": "float", "n": "int"}
    drawn = next(cell.chart for cell in kept.cells if cell.chart)
    assert [each["values"] for each in drawn["series"]] == [[503.0, 21.0], [3, 2]]
    again = rerun(ctx, "fares")
    assert (again.outcome, again.changed, again.now) == ("same", (), kept.digest)
    assert again.explored.cells == kept.cells
    fresh = run(ctx, body(DOCUMENT))
    assert fresh.digest != kept.digest
    assert save(ctx, "fares", body(DOCUMENT)).number == 2


@pytest.mark.slow
def test_what_is_left_to_chance_comes_out_different(ctx: Context) -> None:
    save(ctx, "chance", body("```sql drawn\nSELECT uuid() AS id\n```\n```sql firm\nSELECT 1 AS one\n```"))
    again = rerun(ctx, "chance")
    assert (again.outcome, again.changed) == ("different", ("drawn",))


@pytest.mark.slow
def test_columns_are_read_for_a_purpose_and_results_withheld_without(ctx: Context) -> None:
    rule = PurposeRule(column="passenger", allowed=("care",), otherwise="forbidden")
    set_purposes(ctx, "trips", Purposes(rules=(rule,), ask="the privacy team"))
    with pytest.raises(Denied, match="passenger"):
        run(ctx, body(DOCUMENT))
    for query in ("SELECT * FROM trips", "SELECT t FROM trips t", "SELECT COLUMNS('p.*') FROM trips"):
        with pytest.raises(Denied, match="passenger"):
            run(ctx, body(f"```data\ntrips = trips\n```\n```sql\n{query}\n```"))
    free = run(ctx, body("```data\ntrips = trips\n```\n```sql\nSELECT count(*) AS n FROM trips\n```"))
    assert free.cells[0].rows == ((5,),)
    assert (
        save(ctx, "care", body(DOCUMENT.replace("trips = trips", "trips = trips\npurpose = care"))).number
        == 1
    )
    assert show(ctx, "care").withheld == ""
    stricter = PurposeRule(column="passenger", forbidden=("care",), otherwise="forbidden")
    set_purposes(ctx, "trips", Purposes(rules=(stricter,), ask="the privacy team"))
    kept = show(ctx, "care")
    assert "privacy team" in kept.withheld
    assert (kept.digest, [cell.rows for cell in kept.cells if cell.kind == "sql"]) == ("", [(), ()])
    assert all(cell.chart is None for cell in kept.cells)


@pytest.mark.slow
def test_results_go_with_the_rows_they_were_made_of(ctx: Context) -> None:
    save(ctx, "fares", body(DOCUMENT))
    save(
        ctx,
        "named",
        body(f"# About {WHO}\n```data\ntrips = trips@1\n```\n```sql\nSELECT 1 AS a FROM trips\n```"),
    )
    save(ctx, "else", body("```sql\nSELECT 1 AS a\n```"))
    before = resolve(ctx, "exploration:fares@1")
    untouched = resolve(ctx, "exploration:else@1")
    proof = erasing.erase(ctx, (f"passenger={WHO}",))
    assert proof.left == 0
    assert {line.holder: line.places for line in proof.holders}["explorations"] == 2
    for path in ctx.ports.folder.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        assert WHO.encode() not in data, path
        assert b"503.0" not in data, path
    kept = show(ctx, "fares")
    assert "erased" in kept.withheld
    assert kept.text == DOCUMENT
    assert "(erased)" in show(ctx, "named").title
    assert resolve(ctx, f"exploration:fares#{before.digest}").number == 1
    assert resolve(ctx, "exploration:else@1") == untouched
    again = rerun(ctx, "fares")
    assert (again.outcome, again.renewed) == ("different", ("trips",))
    by_day = next(cell for cell in again.explored.cells if cell.name == "by_day")
    assert by_day.rows[0] == ("2024-01-01T00:00:00Z", 1.0, 2)


@pytest.mark.slow
def test_a_version_that_was_taken_away_is_told(ctx: Context) -> None:
    with pytest.raises(LoopwrightError, match="nothing"):
        run(ctx, body("```data\nt = nothing\n```\n```sql\nSELECT * FROM t\n```"))
    with pytest.raises(Invalid, match="'flights', which is none of its datasets"):
        run(ctx, body("```sql\nSELECT * FROM flights\n```"))
    with pytest.raises(Invalid, match=r"query 'typo': .*fair"):
        run(ctx, body("```data\ntrips = trips\n```\n```sql typo\nSELECT fair FROM trips\n```"))


# ------------------------------------------------------------------------------------------ attacks


@pytest.fixture(scope="module")
def session() -> Iterator[QuerySession]:
    with DuckDBQueries().session(QueryLimits(rows=10, result_bytes=100_000)) as opened:
        yield opened


OUTSIDE = (
    "COPY (SELECT 1) TO '/tmp/loopwright-out.csv'",
    "ATTACH '/tmp/loopwright.db'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "PRAGMA database_list",
    "SET enable_external_access = true",
    "RESET lock_configuration",
    "CREATE TABLE t AS SELECT 1",
    "EXPORT DATABASE '/tmp/x'",
    "CALL pragma_version()",
    "SELECT 1; SELECT 2",
    "EXPLAIN ANALYZE SELECT 1",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_blob('https://example.org')",
    "SELECT (SELECT count(*) FROM glob('/*'))",
    "WITH a AS (SELECT * FROM read_parquet('/x')) SELECT 1",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM 'https://example.org/x.parquet'",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM query_table('trips')",
    "SELECT * FROM arrow_scan(1, 2, 3)",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_secrets",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM system.main.duckdb_views",
    "SELECT getenv('PATH')",
    "SELECT " + "(" * 5000 + "1" + ")" * 5000,
    "",
    "SELECT 1 AS a, 2 AS a",
)


@pytest.mark.parametrize("query", OUTSIDE)
def test_a_query_does_not_get_out(session: QuerySession, query: str) -> None:
    with pytest.raises(Invalid):
        session.run(query, {})
    assert session.run("SELECT 7 AS it", {}).table.to_pylist() == [{"it": 7}]


def test_only_the_columns_given_are_there(session: QuerySession, tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1, 2], "secret": ["x", "y"]}), tmp_path / "t")
    given = {
        "t": QueryTable(files=(str(tmp_path / "t"),), columns={"a": ColumnType.INT, "b": ColumnType.STRING})
    }
    assert session.run("SELECT * FROM t", given).table.to_pylist() == [
        {"a": 1, "b": None},
        {"a": 2, "b": None},
    ]
    for query in ("SELECT secret FROM t", f"SELECT * FROM '{tmp_path / 't'}'"):
        with pytest.raises(Invalid):
            session.run(query, given)
    with pytest.raises(Invalid, match="none of its datasets"):
        session.run("SELECT * FROM t", {})


def test_more_rows_than_are_kept_are_cut(session: QuerySession) -> None:
    found = session.run("SELECT i FROM range(100000) t(i)", {})
    assert (found.table.num_rows, found.is_cut) == (10, True)
    wide = session.run("SELECT repeat('x', 60000) AS x FROM range(5)", {})
    assert wide.is_cut


@pytest.mark.slow
@pytest.mark.parametrize(
    "query",
    [
        "WITH RECURSIVE x AS (SELECT 1 AS n UNION ALL SELECT n FROM x) SELECT count(*) FROM x",
        "SELECT sum(hash(a.i * b.i)) FROM range(1000000) a(i), range(1000000) b(i)",
        "SELECT list(i) FROM range(1000000000) t(i)",
        "SELECT repeat('x', 4000000000)",
    ],
)
def test_what_takes_too_much_is_ended(query: str) -> None:
    limits = QueryLimits(seconds=2, memory_bytes=200 << 20, scratch_bytes=200 << 20)
    with DuckDBQueries().session(limits) as opened, pytest.raises(TooLarge):
        opened.run(query, {})


@pytest.mark.slow
def test_many_queries_have_one_time_together() -> None:
    def work(opened: QuerySession) -> None:
        for _ in range(10_000):
            opened.run("SELECT sum(i) FROM range(1000) t(i)", {})

    limits = QueryLimits(seconds=5, session_seconds=0.2)
    with DuckDBQueries().session(limits) as opened, pytest.raises(TooLarge, match="together"):
        work(opened)


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("SELECT sum(i) AS v FROM range(4) t(i)", 6),
        ("SELECT 170141183460469231731687303715884105727::HUGEINT AS v", float(2**127)),
        ("SELECT 1.5::DECIMAL(10,2) AS v", 1.5),
        ("SELECT [1, 2] AS v", "[1, 2]"),
        ("SELECT DATE '2024-01-02' AS v", datetime(2024, 1, 2, tzinfo=UTC)),
        ("SELECT TIMESTAMP '2024-01-02 03:00:00' AS v", datetime(2024, 1, 2, 3, tzinfo=UTC)),
        ("SELECT NULL AS v", None),
        ("SELECT true AS v", True),
    ],
)
def test_values_come_in_the_platforms_types(session: QuerySession, query: str, value: Any) -> None:
    found = session.run(query, {}).table
    assert found.column("v").to_pylist() == [value]


@pytest.mark.slow
def test_manifests_keep_no_rows_in_their_facts(ctx: Context) -> None:
    made = save(ctx, "fares", body(DOCUMENT))
    assert made.facts == {"reads": ["dataset:trips@2"]}
    assert [(each.name, each.title, each.version) for each in explorations(ctx).items] == [
        ("fares", "Fares", 1)
    ]
    assert [entry.path for entry in manifest_of(ctx, made).entries] == ["by_day.parquet", "dearest.parquet"]


def test_a_saved_document_stands_in_the_lineage_of_what_it_reads(tmp_path: Path) -> None:
    """Saved outside every run too, in both directions; run without being saved it made nothing."""
    with Workspace.open(tmp_path / ".loopwright") as workspace:
        ctx = workspace.context()
        append(ctx, "flights", pa.table({"delay": [1.0, 2.0]}))
        append(ctx, "others", pa.table({"delay": [1.0]}))
        text = b"# Doc\n\n```data\nf = flights\n```\n\n```sql q\nSELECT count(*) AS n FROM f\n```\n"
        workspace.call("explorations.run", upload=Upload(chunks=[text]))
        assert lineage(ctx, "dataset:flights").edges == ()
        workspace.call("explorations.save", name="doc", upload=Upload(chunks=[text]))
        inside = ctx.under(workspace.call("runs.start", name="made").id)
        append(inside, "flights", pa.table({"delay": [3.0]}))
        for address in ("dataset:flights@1", "exploration:doc"):
            (edge,) = lineage(ctx, address).edges
            assert (edge.source, edge.target) == ("dataset:flights@1", "exploration:doc@1")
        assert lineage(ctx, "dataset:others").edges == ()
