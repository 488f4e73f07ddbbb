"""Overwrite, upsert and delete against plain lists of rows, and what they leave alone."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Mapping
from threading import Barrier, Thread
from typing import Any

import pyarrow as pa
import pytest

from loopwright.core.errors import Conflict, Invalid, LoopwrightError, NotFound, PolicyBlocked
from loopwright.core.expressions import Expr, col
from loopwright.core.schema import ColumnType
from loopwright.data.appending import append
from loopwright.data.contracts import define_contract
from loopwright.data.drafting import Change
from loopwright.data.nouns import ColumnRule, Contract, UniqueKey
from loopwright.data.profiles import merged_profile
from loopwright.data.pruning import may_hold
from loopwright.data.reading import read
from loopwright.data.rewriting import delete, overwrite, upsert, write_together
from loopwright.data.shrinking import shrunk_profile
from loopwright.data.verbs import profile
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.ports.tables import ColumnRange
from loopwright.testing.builders import memory_context

NUMBERS = {"id": pa.int64(), "word": pa.string(), "value": pa.float64()}


@pytest.fixture
def ctx() -> Context:
    return memory_context()


def table(*rows: tuple[int | None, str | None, float | None]) -> pa.Table:
    names = list(NUMBERS)
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], pa.schema(NUMBERS))


def rows(ctx: Context, address: str = "d") -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in read(ctx, address).to_pylist()]


def parts(ctx: Context, address: str = "dataset:d") -> list[str]:
    return [entry.digest for entry in manifest_of(ctx, resolve(ctx, address)).entries]


def kinds(ctx: Context) -> list[str]:
    with ctx.read() as tx:
        return [event.kind for event in tx.journal.read(0, 10_000)]


def three_parts(ctx: Context) -> None:
    for start in (0, 10, 20):
        append(ctx, "d", table(*[(start + i, "abc"[i % 3], i / 2) for i in range(10)]), keys=("id",))


def test_an_overwrite_leaves_earlier_versions(ctx: Context) -> None:
    append(ctx, "d", table((1, "a", 1.0), (2, "b", 2.0)))
    done = overwrite(ctx, "d", table((3, "c", 3.0)))
    assert (done.version.number, done.rows, done.removed) == (2, 1, 2)
    assert rows(ctx) == [(3, "c", 3.0)]
    assert rows(ctx, "d@1") == [(1, "a", 1.0), (2, "b", 2.0)]
    assert profile(ctx, "d")["rows"] == 1
    assert kinds(ctx).count("version.published") == 2


def test_an_overwrite_with_what_is_there_makes_no_version(ctx: Context) -> None:
    first = overwrite(ctx, "d", table((1, "a", 1.0)))
    again = overwrite(ctx, "d", table((1, "a", 1.0)))
    assert again.version == first.version
    assert (again.rows, again.removed, again.unchanged) == (0, 0, 1)


def test_an_overwrite_of_what_a_condition_is_true_of(ctx: Context) -> None:
    three_parts(ctx)
    before = parts(ctx)
    done = overwrite(ctx, "d", table((7, "x", 0.0)), where=col("id") < 10)
    assert (done.rows, done.removed) == (1, 10)
    assert parts(ctx)[:2] == before[1:]
    assert [row[0] for row in rows(ctx)] == [*range(10, 30), 7]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (pa.table({"id": [1], "word": ["a"]}), "'value' (float) is gone"),
        (pa.table({"id": ["1"], "word": ["a"], "value": ["z"]}), "'value' was of type float and is of type"),
        (pa.table({"id": [1], "words": ["a"], "value": [0.5]}), "'word' is called 'words' now"),
    ],
)
def test_an_overwrite_that_breaks_readers_is_refused_with_a_report(
    ctx: Context, changed: pa.Table, said: str
) -> None:
    append(ctx, "d", table((1, "a", 1.0)))
    with pytest.raises(Invalid) as caught:
        overwrite(ctx, "d", changed)
    assert said in caught.value.message
    assert resolve(ctx, "dataset:d").number == 1
    assert overwrite(ctx, "d", changed, schema="replace").version.number == 2
    assert read(ctx, "d").column_names == changed.column_names


def test_an_upsert_replaces_by_key_and_adds_the_rest(ctx: Context) -> None:
    three_parts(ctx)
    before = parts(ctx)
    done = upsert(ctx, "d", table((12, "new", 9.0), (99, "more", 1.0)))
    assert (done.rows, done.removed, done.unchanged, done.rewritten) == (2, 1, 0, 1)
    assert [parts(ctx)[0], parts(ctx)[2]] == [before[0], before[2]]
    found = {row[0]: row for row in rows(ctx)}
    assert len(found) == 31
    assert found[12] == (12, "new", 9.0)
    assert [row[0] for row in rows(ctx)][-2:] == [12, 99]


def test_the_same_upsert_again_makes_no_version(ctx: Context) -> None:
    three_parts(ctx)
    batch = table((12, None, math.nan), (99, "more", None))
    first = upsert(ctx, "d", batch)
    again = upsert(ctx, "d", batch)
    assert again.version == first.version
    assert (again.rows, again.removed, again.unchanged) == (0, 0, 2)


def test_an_upsert_makes_one_row_of_a_key_that_was_there_twice(ctx: Context) -> None:
    append(ctx, "d", table((1, "a", 1.0), (1, "a", 1.0), (2, "b", 2.0)), keys=("id",))
    done = upsert(ctx, "d", table((1, "a", 1.0)))
    assert (done.rows, done.removed) == (1, 2)
    assert rows(ctx) == [(2, "b", 2.0), (1, "a", 1.0)]


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (table((1, "a", 1.0), (1, "b", 1.0)), "1 rows repeat a key"),
        (table((None, "a", 1.0)), "null in the key column 'id'"),
    ],
)
def test_keys_that_name_no_row_are_refused(ctx: Context, batch: pa.Table, said: str) -> None:
    three_parts(ctx)
    with pytest.raises(Invalid, match=said):
        upsert(ctx, "d", batch)
    assert resolve(ctx, "dataset:d").number == 3


def test_an_upsert_asks_for_a_key(ctx: Context) -> None:
    append(ctx, "d", table((1, "a", 1.0)))
    with pytest.raises(Invalid, match="has no key"):
        upsert(ctx, "d", table((1, "b", 1.0)))
    with pytest.raises(Invalid, match="no column 'nothing'"):
        upsert(ctx, "d", table((1, "b", 1.0)), keys=("nothing",))
    upsert(ctx, "d", table((1, "b", 1.0)), keys=("id", "value"))
    assert rows(ctx) == [(1, "b", 1.0)]
    assert manifest_of(ctx, resolve(ctx, "dataset:d")).body["keys"] == ["id", "value"]


def test_an_upsert_brings_a_column(ctx: Context) -> None:
    append(ctx, "d", table((1, "a", 1.0), (2, "b", 2.0)), keys=("id",))
    upsert(ctx, "d", table((2, "b", 2.0)).append_column("more", pa.array([5])))
    assert rows(ctx) == [(1, "a", 1.0, None), (2, "b", 2.0, 5)]


def test_a_delete_by_condition_keeps_what_it_is_false_or_null_of(ctx: Context) -> None:
    append(ctx, "d", table((1, "a", 1.0), (2, None, 2.0), (3, "c", 3.0)))
    done = delete(ctx, "d", where=col("word").eq("a"))
    assert (done.rows, done.removed) == (0, 1)
    assert [row[0] for row in rows(ctx)] == [2, 3]
    assert done.version.facts == {"rows": 2, "added": 0, "removed": 1}


def test_a_delete_leaves_parts_without_such_rows(ctx: Context) -> None:
    three_parts(ctx)
    before = parts(ctx)
    done = delete(ctx, "d", where=col("id").between(12, 14))
    assert (done.removed, done.rewritten) == (3, 1)
    assert [digest in before for digest in parts(ctx)] == [True, False, True]
    assert delete(ctx, "d", where=col("id") >= 20).removed == 10
    assert parts(ctx)[0] == before[0]
    assert len(parts(ctx)) == 2


def test_a_delete_by_keys_of_any_columns(ctx: Context) -> None:
    three_parts(ctx)
    keys = pa.table({"word": ["a", "a", "nobody"], "id": pa.array([0, 1, 3], pa.int32())})
    done = delete(ctx, "d", keys=keys)
    assert done.removed == 1
    assert 0 not in [row[0] for row in rows(ctx)]
    with pytest.raises(Invalid, match="'id' is of type string, in the dataset int"):
        delete(ctx, "d", keys=pa.table({"id": ["x"]}))


def test_a_delete_of_nothing_and_of_all(ctx: Context) -> None:
    three_parts(ctx)
    assert delete(ctx, "d", where=col("id") > 1000).version.number == 3
    assert delete(ctx, "d", where=col("id") >= 0).version.number == 4
    assert rows(ctx) == []
    assert read(ctx, "d").column_names == list(NUMBERS)
    assert append(ctx, "d", table((5, "z", 0.0))).version.facts["rows"] == 1
    with pytest.raises(NotFound):
        delete(ctx, "none", where=col("id") > 1)
    with pytest.raises(Invalid, match="no column 'nothing'"):
        delete(ctx, "d", where=col("nothing") > 1)
    with pytest.raises(Invalid, match="either a condition or keys"):
        delete(ctx, "d")


def test_a_batch_is_written_once_even_when_its_rows_are_gone(ctx: Context) -> None:
    append(ctx, "d", table((1, "a", 1.0)), batch="first", keys=("id",))
    append(ctx, "d", table((2, "b", 1.0)), batch="second")
    delete(ctx, "d", where=col("id").eq(1), batch="third")
    for name in ("first", "second"):
        assert append(ctx, "d", table((9, "a", 1.0)), batch=name).repeated
    assert delete(ctx, "d", where=col("id").eq(2), batch="third").repeated
    assert upsert(ctx, "d", table((3, "c", 1.0)), batch="fourth").rows == 1
    assert upsert(ctx, "d", table((4, "c", 1.0)), batch="fourth").repeated
    assert [row[0] for row in rows(ctx)] == [2, 3]
    assert overwrite(ctx, "d", table((7, "a", 1.0)), batch="fifth").version.number == 5
    assert overwrite(ctx, "d", table((8, "a", 1.0)), batch="fifth").repeated


def test_a_contract_holds_for_what_comes(ctx: Context) -> None:
    rules = (
        ColumnRule(name="id", type=ColumnType.INT, severity="block", nullable=False),
        ColumnRule(name="word", type=ColumnType.STRING),
        ColumnRule(name="value", type=ColumnType.FLOAT, min=0.0),
    )
    unique = (UniqueKey(columns=("id",)), UniqueKey(columns=("word",)))
    asked = Contract(name="d", columns=rules, unique=unique)
    define_contract(ctx, "d", asked)
    append(ctx, "d", table((1, "a", 1.0), (2, "b", 1.0)), keys=("id",))
    done = upsert(ctx, "d", table((1, "a", 2.0), (3, "c", 0.0), (4, "e", -1.0)))
    assert (done.rows, done.removed, done.quarantined) == (2, 1, 1)
    assert done.reasons == {"value is in range": 1}
    with pytest.raises(PolicyBlocked):
        overwrite(ctx, "d", table((None, "a", 1.0)))
    with pytest.raises(Invalid, match="1 rows have a word that rows of another key have"):
        upsert(ctx, "d", table((5, "b", 1.0)))
    assert sorted(row[0] for row in rows(ctx)) == [1, 2, 3]


def test_several_datasets_in_one_transaction(ctx: Context) -> None:
    append(ctx, "a", table((1, "a", 1.0)), keys=("id",))
    changes = (
        Change(how="upsert", name="a", table=table((1, "z", 1.0))),
        Change(how="append", name="b", table=table((2, "b", 2.0))),
        Change(how="delete", name="a", branch="none", where=col("id").eq(1)),
    )
    assert [done.version.name for done in write_together(ctx, changes[:2])] == ["a", "b"]
    with pytest.raises(NotFound):
        write_together(ctx, (Change(how="append", name="b", table=table((3, "c", 1.0))), changes[2]))
    late = Change(how="append", name="b", table=table((3, "c", 1.0)), expect=0)
    with pytest.raises(Conflict):
        write_together(ctx, (Change(how="append", name="a", table=table((9, "c", 1.0))), late))
    assert (rows(ctx, "a"), rows(ctx, "b")) == ([(1, "z", 1.0)], [(2, "b", 2.0)])
    with pytest.raises(Invalid, match="twice in one transaction"):
        write_together(ctx, (changes[0], changes[0]))


def test_writers_at_the_same_time_all_succeed_and_nothing_is_lost(ctx: Context) -> None:
    append(ctx, "d", table(*[(i, "a", 0.0) for i in range(20)]), keys=("id",))
    gate, failed = Barrier(3), list[Exception]()

    def work(place: int) -> None:
        gate.wait()
        try:
            for step in range(4):
                key = 3 * step + place
                match place:
                    case 0:
                        append(ctx, "d", table((100 + step, "n", 0.0)))
                    case 1:
                        upsert(ctx, "d", table((key, "u", float(step))))
                    case _:
                        delete(ctx, "d", where=col("id").eq(key))
        except LoopwrightError as error:
            failed.append(error)

    threads = [Thread(target=work, args=(place,)) for place in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert resolve(ctx, "dataset:d").number == 13
    found = {row[0]: row[1] for row in rows(ctx)}
    expected = dict.fromkeys(range(20), "a") | {100 + i: "n" for i in range(4)}
    expected |= {3 * i + 1: "u" for i in range(4)}
    assert found == {key: word for key, word in expected.items() if key not in {2, 5, 8, 11}}


def test_what_expects_a_number_is_told_when_it_is_overtaken(ctx: Context) -> None:
    three_parts(ctx)
    with pytest.raises(Conflict):
        overwrite(ctx, "d", table((1, "a", 1.0)), expect=2)
    with pytest.raises(Conflict):
        upsert(ctx, "d", table((1, "q", 1.0)), expect=2)
    with pytest.raises(Conflict):
        delete(ctx, "d", where=col("id").eq(1), expect=2)
    assert resolve(ctx, "dataset:d").number == 3


def assert_alike(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """The exact numbers of two profiles agree."""
    assert found["rows"] == wanted["rows"]
    for name, column in wanted["columns"].items():
        other = found["columns"][name]
        for key in ("type", "count", "nulls", "nan", "min", "max"):
            assert other.get(key) == column.get(key), (name, key)
        for key in ("mean", "std"):
            wanted_number = column.get(key)
            if wanted_number is not None:
                wanted_number = pytest.approx(wanted_number, rel=1e-9, abs=1e-9)
            assert other.get(key) == wanted_number, (name, key)


def test_rows_of_parts_that_have_no_such_column_lack_a_value_of_it(ctx: Context) -> None:
    append(ctx, "d", pa.table({"id": list(range(10))}))
    append(ctx, "d", pa.table({"id": [10, 11, 12, 13], "late": [1.0, 2.0, None, 3.0]}))
    append(ctx, "d", pa.table({"id": [14]}))
    delete(ctx, "d", where=col("id").eq(3))
    wanted = ctx.ports.tables.profile(read(ctx, "d"))
    assert wanted["columns"]["late"]["nulls"] == 11
    assert_alike(profile(ctx, "d"), wanted)


def test_the_profile_after_a_delete_is_that_of_what_stays(ctx: Context) -> None:
    chance = random.Random(3)
    many = [(i, chance.choice(["a", "b", None]), chance.gauss(0, 5)) for i in range(300)]
    append(ctx, "d", table(*many))
    append(ctx, "d", table(*[(i + 300, w, v) for i, w, v in many]))
    delete(ctx, "d", where=(col("id") % 7).eq(3))
    delete(ctx, "d", where=col("id") > 590)
    found, whole = profile(ctx, "d"), ctx.ports.tables.profile(read(ctx, "d"))
    assert_alike(found, whole)
    assert found["columns"]["word"] == whole["columns"]["word"]
    shape = found["columns"]["value"]["histogram"]
    assert sum(shape["counts"]) + shape["below"] + shape["above"] == found["rows"]
    delete(ctx, "d", where=col("id") > 20)
    assert_alike(profile(ctx, "d"), ctx.ports.tables.profile(read(ctx, "d")))


def test_a_profile_grown_and_shrunk_is_the_first_one(ctx: Context) -> None:
    first, second = table((1, "a", 1.0), (2, "b", 5.0), (4, "a", -1.0)), table((9, "c", 7.0))
    tables = ctx.ports.tables
    before = tables.profile(first)
    whole = merged_profile(before, tables.profile(second, like=before))
    ranges = tables.ranges(io.BytesIO(tables.write(first)))
    found = shrunk_profile(whole, tables.profile(second, like=whole), second, ranges)
    assert found is not None
    assert_alike(found, tables.profile(first))
    assert found["columns"]["word"]["top"] == tables.profile(first)["columns"]["word"]["top"]


RANGES = {"id": ColumnRange(10, 20, 0), "word": ColumnRange("b", "d", 2)}


@pytest.mark.parametrize(
    ("where", "may"),
    [
        (col("id") < 10, False),
        (col("id") <= 10, True),
        (col("id").eq(21), False),
        (col("id").is_in([1, 2, 15]), True),
        (col("id").is_in([1, 2]), False),
        (col("word").eq("a"), False),
        (col("word").eq("c"), True),
        (col("word") > "d", False),
        (col("word").is_null(), True),
        (col("id").is_null(), False),
        ((col("id") < 10) | (col("word").eq("c")), True),
        ((col("id") < 10) & (col("word").eq("c")), False),
        (~(col("id") < 10), True),
        (col("id").eq("x"), True),
        (col("other") < 3, True),
    ],
)
def test_parts_that_cannot_matter_are_known_by_their_ranges(where: Expr, *, may: bool) -> None:
    assert may_hold(where, RANGES) is may
