"""Evaluation datasets: one record for equal inputs, a digest of the content, pages by key, erasure."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import Invalid, NotFound
from loopwright.engine.context import Context
from loopwright.llm import datasets
from loopwright.llm.records import EvaluationRecord
from loopwright.testing.builders import SetClock, memory_context, memory_ports

INPUTS = st.dictionaries(st.sampled_from("abc"), st.integers(0, 2) | st.booleans() | st.none(), max_size=2)
NEW = st.fixed_dictionaries(
    {"inputs": INPUTS},
    optional={
        "expectations": st.dictionaries(st.sampled_from("xy"), st.integers(0, 3), max_size=2),
        "tags": st.dictionaries(st.sampled_from("st"), st.sampled_from("12"), max_size=2),
        "outputs": st.integers() | st.dictionaries(st.sampled_from("o"), st.floats(0, 1)),
    },
)


def _text(record: dict[str, Any]) -> str:
    return json.dumps(record["inputs"], sort_keys=True)


def _all(ctx: Context, dataset_id: str, size: int) -> list[EvaluationRecord]:
    found: list[EvaluationRecord] = []
    token = ""
    while True:
        page = datasets.records(ctx, dataset_id, limit=size, token=token)
        found += page.items
        if not page.next_token:
            return found
        assert len(page.items) == size
        token = page.next_token


def _joined(calls: list[list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """The slow twin: plain dictionaries by the text of the inputs, in the order they came."""
    kept: dict[str, dict[str, Any]] = {}
    for record in (each for call in calls for each in call):
        there = kept.setdefault(
            json.dumps(record["inputs"], sort_keys=True), {"expectations": {}, "tags": {}, "outputs": {}}
        )
        there["expectations"] = {**there["expectations"], **record.get("expectations", {})}
        there["tags"] = {**there["tags"], **record.get("tags", {})}
        there["outputs"] = record.get("outputs", there["outputs"])
    return kept


@given(calls=st.lists(st.lists(NEW, max_size=5), max_size=4), size=st.integers(1, 7))
def test_records_are_joined_as_dictionaries_are(calls: list[list[dict[str, Any]]], size: int) -> None:
    ctx = memory_context()
    made = datasets.create(ctx, "d")
    for call in calls:
        before = len(_all(ctx, made.id, 100))
        done = datasets.merge(ctx, made.id, call)
        after = len(_all(ctx, made.id, 100))
        assert (done.inserted, done.inserted + done.updated) == (after - before, len(call))
    wanted = _joined(calls)
    found = _all(ctx, made.id, size)
    assert [json.dumps(each.inputs, sort_keys=True) for each in found] == list(wanted)
    for each, there in zip(found, wanted.values(), strict=True):
        told = {"expectations": each.expectations or {}, "tags": each.tags, "outputs": each.outputs}
        assert told == there
    assert (datasets.show(ctx, made.id).records or 0) == len(wanted)


@given(records=st.lists(NEW, min_size=1, max_size=6, unique_by=_text))
def test_a_digest_is_of_the_content_in_any_order(records: list[dict[str, Any]]) -> None:
    ctx = memory_context()
    one, two, empty = (datasets.create(ctx, "d").id for _ in range(3))
    datasets.merge(ctx, one, records)
    for record in reversed(records):
        datasets.merge(ctx, two, [record])
    digest = datasets.show(ctx, one).digest
    assert datasets.show(ctx, two).digest == digest
    assert datasets.show(ctx, empty).digest != digest
    datasets.merge(ctx, two, [{"inputs": {"more": True}}])
    assert datasets.show(ctx, two).digest != digest
    more = next(each.id for each in _all(ctx, two, 100) if each.inputs == {"more": True})
    assert datasets.delete_records(ctx, two, (more, more, "dr-none")) == 1
    assert datasets.show(ctx, two).digest == digest
    assert datasets.delete_records(ctx, one, tuple(each.id for each in _all(ctx, one, 100))) == len(records)
    assert datasets.show(ctx, one).digest == datasets.show(ctx, empty).digest


def test_a_schema_keeps_the_type_that_came_first() -> None:
    ctx = memory_context()
    made = datasets.create(ctx, "d").id
    assert datasets.show(ctx, made).columns is None
    datasets.merge(ctx, made, [{"inputs": {"a": 1, "b": True, "c": None, "d": [1], "e": {"x": 1}}}])
    datasets.merge(ctx, made, [{"inputs": {"a": "text", "f": 0.5}, "outputs": "plain"}])
    found = datasets.show(ctx, made).columns
    assert found is not None
    types = {"a": "integer", "b": "boolean", "c": "null", "d": "array", "e": "object", "f": "float"}
    assert found["inputs"] == types
    assert found["outputs"] == "string"


def test_what_is_no_record_is_refused_and_nothing_of_the_call_is_kept() -> None:
    ctx = memory_context()
    made = datasets.create(ctx, "d").id
    wrong: list[Any] = [7, {"inputs": [1]}, {"inputs": {}, "tags": "x"}, {"source": {"source_type": "?"}}]
    for each in wrong:
        with pytest.raises(Invalid) as refused:
            datasets.merge(ctx, made, [{"inputs": {"a": 1}}, each])
        assert refused.value.where == "records[1]"
    assert _all(ctx, made, 10) == []
    for token in ("x", "dr-", "../..", "dr-" + "g" * 32):
        with pytest.raises(Invalid):
            datasets.records(ctx, made, token=token)


def test_a_deleted_dataset_is_gone_with_its_records_and_others_stay() -> None:
    ctx = memory_context()
    one, two = datasets.create(ctx, "same"), datasets.create(ctx, "same")
    for each in (one, two):
        datasets.merge(ctx, each.id, [{"inputs": {"n": n}} for n in range(30)])
    datasets.delete(ctx, one.id)
    with pytest.raises(NotFound):
        datasets.show(ctx, one.id)
    with pytest.raises(NotFound):
        datasets.merge(ctx, one.id, [])
    assert [each.id for each in datasets.datasets(ctx).items] == [two.id]
    assert len(_all(ctx, two.id, 7)) == 30
    with ctx.read() as tx:
        for collection in ("evaluation_records", "evaluation_inputs"):
            assert all(key.startswith(two.id) for key in tx.documents.all("default", collection))


def test_another_space_sees_nothing() -> None:
    ports = memory_ports()
    here, there = memory_context(ports), memory_context(ports, space="other")
    made = datasets.create(here, "d")
    assert datasets.datasets(there).items == ()
    with pytest.raises(NotFound):
        datasets.merge(there, made.id, [{"inputs": {}}])


def test_pages_of_datasets_go_on_where_they_ended() -> None:
    clock = SetClock()
    ctx = memory_context(memory_ports(clock=clock))
    for n in range(9):
        datasets.create(ctx, f"d{n}", tags={"odd": str(n % 2)})
        if n % 3 == 0:
            clock.advance(timedelta(seconds=1))
    found: list[str] = []
    token = ""
    while True:
        page = datasets.datasets(ctx, where="tags.odd = '0'", limit=2, token=token)
        found += [each.name for each in page.items]
        token = page.next_token
        if not token:
            break
    assert sorted(found) == ["d0", "d2", "d4", "d6", "d8"]
    assert found[-1] == "d0"
