"""Files that are read a portion at a time are the same rows and have the profile of the whole."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.errors import Invalid, LoopwrightError, TooLarge
from loopwright.data import portions, repeats
from loopwright.data.duplicates import exact_groups
from loopwright.data.portions import over_portions
from loopwright.data.profiling import profile_file
from loopwright.data.repeats import Room, exact
from loopwright.engine.context import Context
from loopwright.stats.sketches import ERROR
from loopwright.testing.builders import memory_context

ROWS = 9_000


@pytest.fixture
def ctx() -> Context:
    return memory_context()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Portions so small that a file for a test has many."""
    monkeypatch.setattr(portions, "PORTION_ROWS", 1000)
    monkeypatch.setattr(portions, "_WHOLE_BYTES", 1000)


def table(rows: int = ROWS) -> pa.Table:
    drawn = np.random.default_rng(0)
    half = pa.table(
        {
            "n": drawn.integers(0, 10**6, rows // 2),
            "x": drawn.normal(size=rows // 2),
            "kind": np.array(["a", "b", "c"])[drawn.integers(0, 3, rows // 2)],
            "at": pa.array(drawn.integers(10**15, 2 * 10**15, rows // 2), pa.timestamp("us", "UTC")),
        }
    )
    return pa.concat_tables([half, half])


def parquet(path: Path, rows: pa.Table) -> None:
    pq.write_table(rows, path, row_group_size=1700)


def arrow(path: Path, rows: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, rows.schema) as writer:
        writer.write_table(rows, max_chunksize=300)


def ndjson(path: Path, rows: pa.Table) -> None:
    lines = ({**row, "at": row["at"].isoformat()} for row in rows.to_pylist())
    path.write_text("\n".join(json.dumps(row) for row in lines), encoding="utf-8")


WRITERS = {
    "t.parquet": parquet,
    "t.arrow": arrow,
    "t.csv": lambda path, rows: pc.write_csv(rows, path),
    "t.ndjson": ndjson,
}


def read(path: Path) -> list[pa.Table]:
    with path.open("rb") as file:
        found: list[pa.Table] = over_portions(file, str(path), list)
    return found


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.usefixtures("small")
def test_the_portions_are_the_rows(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name, table())
    found = read(tmp_path / name)
    assert len(found) >= ROWS / 1000
    assert max(each.num_rows for each in found) <= 1000
    whole = pa.concat_tables(found)
    for column in ("n", "x", "kind"):
        assert whole.column(column).to_pylist() == table().column(column).to_pylist()


@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
@pytest.mark.usefixtures("small")
def test_the_profile_of_portions_is_that_of_the_whole(name: str, tmp_path: Path, ctx: Context) -> None:
    WRITERS[name](tmp_path / name, table())
    found = profile_file(ctx, str(tmp_path / name))
    fresh = ctx.ports.tables.profile(table())["columns"]
    assert (found["rows"], found["duplicates"]) == (ROWS, ROWS // 2)
    for column in ("n", "x", "at"):
        told, true = found["columns"][column], fresh[column]
        assert [told[key] for key in ("count", "nulls", "min", "max")] == [
            true[key] for key in ("count", "nulls", "min", "max")
        ]
        assert told["rank_error"] <= ERROR
    assert found["columns"]["x"]["mean"] == pytest.approx(fresh["x"]["mean"])
    assert found["columns"]["x"]["std"] == pytest.approx(fresh["x"]["std"])
    rising = np.sort(table()["x"].to_numpy())
    median = np.searchsorted(rising, found["columns"]["x"]["quantiles"]["0.5"]) / ROWS
    assert abs(median - 0.5) <= ERROR + 1 / ROWS
    pair = np.corrcoef(table()["n"].to_numpy(), table()["x"].to_numpy())[0, 1]
    assert found["correlations"]["values"][0][1] == pytest.approx(pair)


@pytest.mark.usefixtures("small")
def test_texts_that_are_written_once_and_pointed_to_come_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Short ones in one group of rows, long ones in the next; those that come to too much are refused."""
    monkeypatch.setattr(portions, "PORTION_BYTES", 1 << 20)
    short = [None if row % 7 == 0 else f"short {row % 50}" for row in range(1700)]
    long = [f"{row % 3}" + "x" * 20_000 for row in range(300)]
    rows = pa.table({"t": pa.array(short + long, pa.large_string()), "n": list(range(2000))})
    parquet(tmp_path / "t.parquet", rows)
    assert (tmp_path / "t.parquet").stat().st_size < 100_000
    found = pa.concat_tables(read(tmp_path / "t.parquet"))
    assert found.to_pydict() == rows.to_pydict()
    monkeypatch.setattr(portions, "_TEXT_LIMIT", 1 << 20)
    with pytest.raises(TooLarge):
        read(tmp_path / "t.parquet")


@pytest.mark.usefixtures("small")
def test_rows_that_repeat_are_counted_over_portions(
    tmp_path: Path, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = np.random.default_rng(4)
    values: list[Any] = [None if each == 0 else int(each) for each in drawn.integers(0, 900, 5000)]
    other = drawn.integers(0, 3, 5000).tolist()
    parquet(tmp_path / "t.parquet", pa.table({"a": values, "b": other}))
    expected = 5000 - len(set(zip(values, other, strict=True)))
    assert profile_file(ctx, str(tmp_path / "t.parquet"))["duplicates"] == expected
    monkeypatch.setattr(repeats, "_MOST_HELD", 700)  # then they wait in files
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert profile_file(ctx, str(tmp_path / "t.parquet"))["duplicates"] == expected
    assert [each.name for each in tmp_path.iterdir()] == ["t.parquet"]


def lines(head: str, first: str, then: str) -> str:
    return f"{head}\n" + f"{first}\n" * 900_000 + f"{then}\n"


@pytest.mark.parametrize(
    ("first", "then", "kind"),
    [
        ("1,a", "2.5,a", "float"),
        ("1,a", "x,a", "string"),
        (",a", "7,a", "int"),
        ("true,a", "0.5,a", "string"),
    ],
)
@pytest.mark.slow
def test_a_column_of_csv_that_changes_its_mind_is_read_again(
    first: str, then: str, kind: str, tmp_path: Path, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portions, "_WHOLE_BYTES", 1000)
    (tmp_path / "t.csv").write_text(lines("v,k", first, then), encoding="utf-8")
    found = profile_file(ctx, str(tmp_path / "t.csv"))
    assert (found["rows"], found["columns"]["v"]["type"]) == (900_001, kind)


@pytest.mark.usefixtures("small")
def test_lines_of_json_may_bring_columns_late(tmp_path: Path, ctx: Context) -> None:
    rows = [{"a": n} for n in range(3000)] + [{"a": 0.5, "late": "x"}]
    (tmp_path / "t.ndjson").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    columns = profile_file(ctx, str(tmp_path / "t.ndjson"))["columns"]
    assert (columns["a"]["type"], columns["late"]["nulls"]) == ("float", 3000)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.usefixtures("small")
def test_a_file_that_is_cut_off_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    WRITERS[name](path, table())
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3] + b'\x00"{')
    with pytest.raises(Invalid):
        read(path)


@pytest.mark.usefixtures("small")
def test_a_fault_in_the_work_is_not_told_of_the_file(tmp_path: Path) -> None:
    parquet(tmp_path / "t.parquet", table())

    def fails(found: Iterator[pa.Table]) -> None:
        next(found)
        raise ValueError("of the work")

    with (
        (tmp_path / "t.parquet").open("rb") as file,
        pytest.raises(ValueError, match="of the work") as caught,
    ):
        over_portions(file, "t.parquet", fails)
    assert not isinstance(caught.value, LoopwrightError)


@settings(max_examples=25)
@given(
    rows=st.lists(st.tuples(st.none() | st.integers(0, 4), st.none() | st.sampled_from("ab")), max_size=60),
    cuts=st.integers(1, 20),
)
def test_groups_over_portions_are_those_of_the_whole(
    rows: list[tuple[int | None, str | None]], cuts: int
) -> None:
    given_rows = pa.table(
        {
            "a": pa.array([a for a, _ in rows], pa.int64()),
            "b": pa.array([b for _, b in rows], pa.string()),
            "other": pa.array(range(len(rows)), pa.int64()),
        }
    )
    parts = (given_rows.slice(at, cuts) for at in range(0, max(1, len(rows)), cuts))
    found, again = exact(memory_context(), parts, ("a", "b"), Room())
    whole = exact_groups(given_rows, ("a", "b"))
    assert (found.rows, found.groups) == (len(rows), len(whole))
    assert found.repeated == sum(len(group.rows) - 1 for group in whole)
    assert set(np.flatnonzero(again).tolist()) == {row for group in whole for row in group.rows[1:]}
    assert sorted(group.rows for group in found.first) == sorted(group.rows for group in whole)
    for group in found.first:
        a, b = rows[group.rows[0]]
        assert group.values == ({"a": a, "b": b},) * min(5, len(group.rows))


NAMED = {
    "list.json": b'[{"name": "M\\u00fcller", "town": "K\xc3\xb6ln"},\n {"name": "X",\n  "town": "Y; Z"}]',
    "lines.json": '{"name": "Müller", "town": "Köln"}\n{"name": "X", "town": "Y; Z"}\n'.encode(),
    "tabs.tsv": "name\ttown\nMüller\tKöln\nX\tY; Z\n".encode(),
    "semicolons.csv": 'name;town\nMüller;Köln\nX;"Y; Z"\n'.encode(),
    "bars.csv": "name|town\nMüller|Köln\nX|Y; Z\n".encode(),
    "quoted.csv": '"name","town"\nMüller,Köln\nX,Y; Z\n'.encode(),
    "mark.csv": "\ufeffname,town\nMüller,Köln\nX,Y; Z\n".encode(),
    "list.json.gz": gzip.compress('[{"name":"Müller","town":"Köln"},{"name":"X","town":"Y; Z"}]'.encode()),
}


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("is_small", [True, False])
def test_what_people_call_csv_and_json_is_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_small: bool
) -> None:
    monkeypatch.setattr(portions, "_WHOLE_BYTES", 1 << 20 if is_small else 1)
    (tmp_path / name).write_bytes(NAMED[name])
    rows = pa.concat_tables(read(tmp_path / name)).to_pylist()
    assert rows == [{"name": "Müller", "town": "Köln"}, {"name": "X", "town": "Y; Z"}]


@pytest.mark.parametrize("late", [True, False])
def test_texts_in_another_encoding_are_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, late: bool
) -> None:
    """Also where they come after the types of the columns were read off the first rows."""
    monkeypatch.setattr(portions, "_WHOLE_BYTES", 1000)
    plain = "name,n\n" + "x,1\n" * (1_200_000 if late else 400)
    (tmp_path / "t.csv").write_bytes(plain.encode() + "Müller,2\n".encode("latin-1"))
    with pytest.raises(Invalid, match="not UTF-8: the column 'name'"):
        read(tmp_path / "t.csv")


def test_a_list_that_breaks_off_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('[{"a": 1}, {"a": 2}', encoding="utf-8")
    with pytest.raises(Invalid, match="not JSON"):
        read(tmp_path / "t.json")
