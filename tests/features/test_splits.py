"""Parts of a training set: no group in two, by time exactly, and bad declarations told."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from loopwright.core.errors import Invalid
from loopwright.features.nouns import Split
from loopwright.features.splits import SPLIT, split_rows

START = datetime(2024, 1, 1, tzinfo=UTC)
HOURS = pa.timestamp("us", "UTC")


def table(count: int = 2000) -> pa.Table:
    at = pa.array([START + timedelta(hours=n) for n in range(count)], HOURS)
    return pa.table({"at": at, "who": [None if n % 50 == 0 else f"p{n % 97}" for n in range(count)]})


def parts(split: Split, rows: pa.Table | None = None) -> list[str]:
    found: list[str] = split_rows(table() if rows is None else rows, split, "at").column(SPLIT).to_pylist()
    return found


def test_no_group_is_in_two_parts_and_it_is_the_same_again() -> None:
    split = Split(shares={"train": 0.7, "test": 0.3}, group="who", seed=5)
    found = parts(split)
    groups: dict[str | None, set[str]] = {}
    for who, part in zip(table().column("who").to_pylist(), found, strict=True):
        groups.setdefault(who, set()).add(part)
    assert all(len(each) == 1 for each in groups.values())
    assert {"train", "test"} == set(found)
    assert parts(msgspec.convert(msgspec.to_builtins(split), Split)) == found
    backwards = table().take(pa.array(range(1999, -1, -1)))
    assert parts(split, backwards) == found[::-1]


def test_by_time_each_part_has_exactly_its_span() -> None:
    split = Split(
        until={"test": START + timedelta(hours=50), "train": START + timedelta(hours=10)}, rest="rest"
    )
    assert parts(split) == ["train"] * 10 + ["test"] * 40 + ["rest"] * 1950


LATER = START + timedelta(days=1)


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"shares": {"train": 1.0}, "group": "nobody"}, "no column 'nobody'"),
        ({"until": {"train": LATER}, "group": "who"}, "keeps no groups together"),
        ({"until": {"train": LATER}, "rest": "train"}, "one name or end at one instant"),
        ({"until": {"train": LATER, "valid": LATER}}, "one name or end at one instant"),
        ({"shares": {"": 1.0}}, "has no name"),
        ({"shares": {"train": math.inf, "test": 1.0}}, "not all positive"),
        ({"shares": {"train": math.nan}}, "not all positive"),
        ({}, "by `until` or by `shares`"),
    ],
)
def test_a_split_that_parts_nothing_is_refused(told: dict[str, Any], why: str) -> None:
    with pytest.raises(Invalid, match=why):
        parts(Split(**told))


def test_rows_without_an_instant_are_in_no_part_by_time() -> None:
    rows = pa.table({"at": pa.array([START, None], HOURS)})
    with pytest.raises(Invalid, match="1 rows have no 'at'"):
        parts(Split(until={"train": LATER}), rows)
    assert len(parts(Split(shares={"train": 1.0}), rows)) == 2


def test_a_column_of_times_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(Invalid, match="no column 'when' to split by") as told:
        split_rows(table(), Split(until={"train": START}, rest="test"), "when")
    assert told.value.hint == "the columns are at, who"
