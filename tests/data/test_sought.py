"""Unique keys and references found by profiles and few parts: what all rows would say, and how."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.expressions import col
from loopwright.core.schema import ColumnType
from loopwright.data.appending import append
from loopwright.data.checking import checks
from loopwright.data.contracts import define_contract
from loopwright.data.keys import repeated, unreferred
from loopwright.data.nouns import ColumnRule, Contract, Reference, UniqueKey
from loopwright.data.reading import read
from loopwright.data.rewriting import delete
from loopwright.data.sought import earlier_keys, known_values
from loopwright.data.verbs import profile
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.testing.builders import memory_context

KEY = UniqueKey(columns=("n", "s"), severity="warn")
KINDS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "n": (pa.int64(), st.integers(-40, 40)),
    "s": (pa.string(), st.sampled_from(["", "a", "ab", "é", "x" * 79, "x" * 80, "x" * 80 + "y", "x" * 90])),
    "f": (pa.float64(), st.sampled_from([0.0, -0.0, 1.5, -2.0, float("nan"), float("inf"), 9.0])),
    "b": (pa.bool_(), st.booleans()),
    "t": (pa.timestamp("us", "UTC"), st.integers(0, 40).map(lambda n: n * 86_400_000_000 + 1)),
}
ROW = st.tuples(*(st.none() | values for _, values in KINDS.values()))


def table_of(rows: list[tuple[Any, ...]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(KINDS)
    return pa.table(
        {
            name: pa.array(list(values), kind)
            for (name, (kind, _)), values in zip(KINDS.items(), columns, strict=True)
        }
    )


@settings(max_examples=60, deadline=None)
@given(
    batches=st.lists(st.lists(ROW, max_size=6), min_size=1, max_size=4),
    came=st.lists(ROW, max_size=8),
    key=st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=2, unique=True),
    to=st.sampled_from(sorted(KINDS)),
    below=st.none() | st.integers(-20, 20),
)
def test_what_is_found_is_what_all_rows_say(
    batches: list[list[tuple[Any, ...]]],
    came: list[tuple[Any, ...]],
    key: list[str],
    to: str,
    below: int | None,
) -> None:
    ctx = memory_context()
    for rows in batches:
        append(ctx, "base", table_of(rows))
    if below is not None:
        delete(ctx, "base", where=col("n") < below)
    newest, whole, batch = resolve(ctx, "dataset:base"), read(ctx, "base"), table_of(came)
    unique = UniqueKey(columns=tuple(key))
    found = earlier_keys(ctx, unique, batch, newest)
    np.testing.assert_array_equal(repeated(batch, unique, found.values), repeated(batch, unique, whole))
    rule = Reference(column=to, dataset="base", to=to)
    for values in (batch.column(to), None):
        known = known_values(ctx, rule, values)
        expected = unreferred(batch, rule, whole.column(to).combine_chunks())
        np.testing.assert_array_equal(unreferred(batch, rule, known.values), expected)
        assert known.how


def grown(ctx: Context) -> None:
    """Three parts of a hundred rows, keys rising from part to part."""
    for at in range(3):
        n = np.arange(100 * at, 100 * at + 100)
        append(ctx, "base", pa.table({"n": n, "s": [f"k{value}" for value in n], "few": n % 5}))


def columns_of() -> tuple[ColumnRule, ...]:
    kinds = {"n": ColumnType.INT, "s": ColumnType.STRING, "few": ColumnType.INT}
    return tuple(ColumnRule(name=name, type=kind) for name, kind in kinds.items())


def hows(ctx: Context, n: list[int], *, to: str = "n", gone: bool = False) -> dict[str, tuple[bool, str]]:
    """Of each rule about other rows: whether it held, and how it was found."""
    rules = Reference(column=to, dataset="base", to=to, severity="warn")
    contract = Contract(name="held", columns=columns_of(), unique=(KEY,), references=(rules,))
    grown(ctx)
    append(ctx, "held", read(ctx, "base"))
    define_contract(ctx, "held", contract)
    if gone:
        for name in ("held", "base"):
            for entry in manifest_of(ctx, resolve(ctx, f"dataset:{name}")).entries:
                if ctx.ports.objects.stat(entry.digest) is not None:
                    ctx.ports.objects.remove(entry.digest)
    append(ctx, "held", pa.table({"n": n, "s": [f"k{value}" for value in n], "few": [at % 5 for at in n]}))
    return {each.rule: (each.held, each.how) for each in checks(ctx, "held") if each.how}


def test_profiles_prove_it_though_the_objects_of_all_rows_are_gone() -> None:
    assert hows(memory_context(), [300, 301], to="few", gone=True) == {
        "few occurs in base.few": (True, "by the profile of dataset:base@3: it lists every value"),
        "n + s is unique": (True, "by the profile of dataset:held@1: it has no n of the batch"),
    }
    assert hows(memory_context(), [900], to="n", gone=True)["n occurs in base.n"] == (
        False,
        "by the profile of dataset:base@3: what it does not list lies outside its range",
    )


def test_only_parts_that_may_hold_a_value_are_read_and_the_result_says_so() -> None:
    found = hows(memory_context(), [150, 151, 1000])
    why = "since a profile does not hold every value"
    assert found["n occurs in base.n"] == (False, f"by reading 100 rows of n in 1 of 3 parts, {why}")
    assert found["n + s is unique"] == (False, f"by reading 300 rows of n + s in 1 of 1 parts, {why}")


def test_footers_rule_parts_out_where_a_profile_has_a_gap() -> None:
    ctx = memory_context()
    for first in (0, 500):
        append(ctx, "base", pa.table({"n": np.arange(first, first + 100)}))
    key = UniqueKey(columns=("n",))
    found = earlier_keys(ctx, key, pa.table({"n": [200, 300]}), resolve(ctx, "dataset:base"))
    assert found == (None, "by the ranges of 2 parts: none can hold one")


@pytest.mark.parametrize("endless", [math.inf, -math.inf])
def test_an_infinite_key_of_an_earlier_batch_is_found_behind_a_finite_one(endless: float) -> None:
    ctx = memory_context()
    define_contract(ctx, "d", Contract(name="d", unique=(UniqueKey(columns=("f",), severity="warn"),)))
    append(ctx, "d", pa.table({"f": [endless, 1.0]}))
    append(ctx, "d", pa.table({"f": [5.0]}))
    column = profile(ctx, "d")["columns"]["f"]
    assert (column["min"], column["max"]) == ((1.0, None) if endless > 0 else (None, 5.0))
    append(ctx, "d", pa.table({"f": [endless]}))
    assert [each.held for each in checks(ctx, "d") if each.rule == "f is unique"] == [False]


@pytest.mark.parametrize("within", ["batch", "dataset"])
def test_a_key_of_the_batch_alone_asks_nobody(within: Any) -> None:
    key = UniqueKey(columns=("n",), within=within)
    assert earlier_keys(memory_context(), key, pa.table({"n": [1]}), None) == (None, "")
