"""Differences of two versions against plain dictionaries and counters, in memory and through files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.errors import Invalid
from loopwright.core.expressions import col
from loopwright.core.schema import Column, ColumnType, Schema
from loopwright.data import differences
from loopwright.data.appending import append
from loopwright.data.comparing import diff, row_changes
from loopwright.data.cutting import each_batch
from loopwright.data.evolution import likely_renames, schema_changes
from loopwright.data.rewriting import delete, overwrite, upsert
from loopwright.engine.context import Context
from loopwright.testing.builders import memory_context

Row = tuple[int, str | None, float | None]
TYPES = {"id": pa.int64(), "word": pa.string(), "value": pa.float64()}
VALUES = st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from([0.0, 1.5, None]))
KEYED = st.dictionaries(st.integers(0, 30), VALUES, max_size=20)


@pytest.fixture
def ctx() -> Context:
    return memory_context()


def table(rows: Sequence[Row]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(TYPES, row, strict=True)) for row in rows], pa.schema(TYPES))


def written(ctx: Context, *versions: Sequence[Row]) -> None:
    for rows in versions:
        overwrite(ctx, "d", table(rows), keys=("id",))


def in_buckets(ctx: Context, rows: int, keys: tuple[str, ...] = ()) -> list[differences.RowChanges]:
    patch = pytest.MonkeyPatch()
    patch.setattr(differences, "_BUCKET_ROWS", rows)
    try:
        return list(row_changes(ctx, "d@1", "d@2", keys=keys))
    finally:
        patch.undo()


def listed(tables: list[pa.Table]) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for each in tables for row in each.to_pylist()]


@pytest.mark.parametrize("bucket_rows", [1_000_000, 3])
@settings(max_examples=40, deadline=None)
@given(old=KEYED, new=KEYED)
def test_by_key_against_a_dictionary(
    bucket_rows: int, old: dict[int, tuple[Any, Any]], new: dict[int, tuple[Any, Any]]
) -> None:
    ctx = memory_context()
    first, second = ([(key, *values) for key, values in side.items()] for side in (old, new))
    written(ctx, first, [*second, (99, "z", 9.0)])
    found = in_buckets(ctx, bucket_rows, ("id",))
    changed = {key for key in old.keys() & new.keys() if old[key] != new[key]}
    assert sorted(row[0] for row in listed([each.added for each in found])) == sorted(
        {*(new.keys() - old.keys()), 99}
    )
    assert {row[0] for row in listed([each.removed for each in found])} == old.keys() - new.keys()
    pairs = zip(listed([each.before for each in found]), listed([each.after for each in found]), strict=True)
    assert {was[0]: (was[1:], now[1:]) for was, now in pairs} == {
        key: (old[key], new[key]) for key in changed
    }
    words = sum(each.columns.get("word", 0) for each in found)
    assert words == sum(old[key][0] != new[key][0] for key in changed)


@pytest.mark.parametrize("bucket_rows", [1_000_000, 3])
@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 2), VALUES)), more=st.lists(st.tuples(st.integers(0, 2), VALUES))
)
def test_as_they_are_against_a_counter(bucket_rows: int, rows: list[Any], more: list[Any]) -> None:
    ctx = memory_context()
    old, new = ([(key, *values) for key, values in side] for side in (rows, [*more, (9, ("z", 1.0))]))
    written(ctx, old, new)
    found = in_buckets(ctx, bucket_rows)
    assert Counter(listed([each.added for each in found])) == Counter(new) - Counter(old)
    assert Counter(listed([each.removed for each in found])) == Counter(old) - Counter(new)


def test_what_both_versions_share_is_not_read(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    append(ctx, "d", table([(i, "a", 0.0) for i in range(100)]), keys=("id",))
    append(ctx, "d", table([(i + 100, "a", 0.0) for i in range(5)]))
    upsert(ctx, "d", table([(103, "b", 0.0), (200, "c", 1.0)]))
    delete(ctx, "d", where=col("id").eq(104))
    read = list[int]()

    def counted(*arguments: Any) -> Any:
        for batch in each_batch(*arguments):
            read.append(batch.num_rows)
            yield batch

    monkeypatch.setattr(differences, "each_batch", counted)
    told = diff(ctx, "d@2", "d@4")
    assert (told.added, told.removed, told.changed, told.columns) == (1, 1, 1, {"word": 1})
    assert (told.rows_before, told.rows_after, told.rows_shared) == (105, 105, 100)
    assert told.keys == ("id",)
    assert max(read) <= 5
    assert not diff(ctx, "d@4", "d@4").sample
    by_kind = {str(row.kind): (row.before, row.after, row.columns) for row in told.sample}
    assert by_kind["changed"][1:] == ({"id": 103, "word": "b", "value": 0.0}, ("word",))
    assert by_kind["removed"][0] == {"id": 104, "word": "a", "value": 0.0}
    measured = {(item.column, item.measure): (item.before, item.after) for item in told.profile}
    assert measured["id", "max"] == (104, 200)


def test_without_a_key_that_names_rows_they_are_compared_as_they_are(ctx: Context) -> None:
    written(ctx, [(1, "a", 1.0), (1, "a", 1.0)], [(1, "a", 1.0), (2, "b", 1.0)])
    told = diff(ctx, "d@1", "d@2", limit=1)
    assert (told.keys, told.added, told.removed, told.changed) == ((), 1, 1, 0)
    assert len(told.sample) == 2
    with pytest.raises(Invalid, match="repeat a key"):
        diff(ctx, "d@1", "d@2", by="key")
    with pytest.raises(Invalid, match="'nothing' is not in both"):
        diff(ctx, "d@1", "d@2", keys=("nothing",))


def test_columns_that_changed_are_told(ctx: Context) -> None:
    rows = [(i, f"word {i}", i / 2) for i in range(10)]
    overwrite(ctx, "d", table(rows))
    new = table(rows).rename_columns(["id", "text", "value"]).set_column(2, "value", pa.array(range(10)))
    overwrite(ctx, "d", new, schema="replace")
    told = diff(ctx, "d@1", "d@2")
    assert told.breaks
    assert told.readable == ("id",)
    assert [(item.kind, item.column) for item in told.schema] == [("renamed", "word"), ("retyped", "value")]


def schema(**types: ColumnType) -> Schema:
    return Schema(columns=tuple(Column(name=name, type=kind) for name, kind in types.items()))


def test_what_a_reader_of_the_old_may_still_read() -> None:
    old = schema(id=ColumnType.INT, gone=ColumnType.STRING, count=ColumnType.INT)
    new = schema(id=ColumnType.INT, came=ColumnType.BOOL, count=ColumnType.FLOAT)
    found = schema_changes(old, new)
    assert found.readable == ("id",)
    assert [(item.kind, item.column, item.breaks) for item in found.changes] == [
        ("removed", "gone", True),
        ("retyped", "count", True),
        ("added", "came", False),
    ]
    assert "exact up to 2^53" in found.report
    assert not schema_changes(
        old, schema(**{c.name: c.type for c in old.columns}, more=ColumnType.INT)
    ).breaks


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({"dep_delay": "float"}, {"departure_delay": "float"}, True),
        ({"dep_delay": "float"}, {"DepDelay": "float"}, True),
        ({"dep_delay": "float"}, {"DepDelay": "int"}, False),
        ({"dep_delay": "float"}, {"wind_speed": "float"}, False),
    ],
)
def test_names_that_look_renamed(old: dict[str, str], new: dict[str, str], *, said: bool) -> None:
    sides = [schema(**{name: ColumnType(kind) for name, kind in side.items()}) for side in (old, new)]
    assert bool(likely_renames(sides[0], sides[1])) is said


def test_a_column_is_known_again_by_what_it_holds(ctx: Context) -> None:
    values = {"a": pa.array(["x", "y", "z", "x"]), "b": pa.array([1.0, 2.0, 3.0, 4.0])}
    before = ctx.ports.tables.profile(pa.table(values))["columns"]
    after = ctx.ports.tables.profile(pa.table({"q": values["a"], "r": pa.array([9.0, 2.0, 3.0, 4.0])}))
    old = schema(a=ColumnType.STRING, b=ColumnType.FLOAT)
    new = schema(q=ColumnType.STRING, r=ColumnType.FLOAT)
    assert likely_renames(old, new, (before, after["columns"])) == (("a", "q"),)


def test_an_append_that_looks_like_a_renamed_column_warns(ctx: Context) -> None:
    append(ctx, "d", table([(1, "a", 1.0)]))
    done = append(ctx, "d", table([(2, "b", 1.0)]).rename_columns(["id", "words", "value"]))
    assert done.warnings == ("the batch lacks 'word' and brings 'words' of the same type: was it renamed?",)


def test_versions_without_a_common_column_have_no_common_row(ctx: Context) -> None:
    overwrite(ctx, "apart", pa.table({"a": [1, 1, 2]}))
    overwrite(ctx, "apart", pa.table({"b": ["x", "y"]}), schema="replace")
    found = diff(ctx, "apart@1", "apart@2")
    assert (found.removed, found.added, found.changed) == (3, 2, 0)
    assert [row.before or row.after for row in found.sample] == [
        {"a": 1},
        {"a": 1},
        {"a": 2},
        {"b": "x"},
        {"b": "y"},
    ]


def test_versions_that_never_had_a_row_are_the_same(ctx: Context) -> None:
    overwrite(ctx, "none", pa.table({"a": pa.array([], pa.int64())}))
    overwrite(ctx, "none", pa.table({"b": pa.array([], pa.string())}), schema="replace")
    found = diff(ctx, "none@1", "none@2")
    assert (found.removed, found.added, found.changed, found.sample) == (0, 0, 0, ())
