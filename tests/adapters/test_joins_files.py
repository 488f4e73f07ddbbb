"""The join of files against its contract written down row by row: batches, keys far apart, types, zones."""

from __future__ import annotations

import random
import tempfile
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.adapters.tables import PolarsTables
from loopwright.core.errors import Invalid
from loopwright.ports.tables import AsOfJoin
from tests.adapters.joins_twin import MICROSECOND, as_of, table
from tests.adapters.test_joins_as_of import NOON, SPINE, UTC_TIME, VIEW, spines, views

JOIN = AsOfJoin(keys=("k",), time="at", event_time="event", known_at="known", order="seq")


def joined(
    spine: pa.Table, view: pa.Table, join: AsOfJoin, *, group: int = 3, spine_options: Any = None
) -> pa.Table:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [str(folder / each) for each in ("spine", "view", "out")]
        pq.write_table(spine, paths[0], **(spine_options or {}))
        pq.write_table(view, paths[1], row_group_size=group)
        report = PolarsTables().join_files(paths[0], paths[1], paths[2], join)
        found = pq.read_table(paths[2])
        assert report.rows == found.num_rows == spine.num_rows
        return found


@settings(max_examples=60, deadline=None)
@given(
    spine=spines,
    view=views,
    two=st.booleans(),
    mode=st.sampled_from(["known", "event"]),
    ttl=st.integers(0, 5),
    group=st.integers(1, 9),
)
def test_is_the_contract_row_by_row(
    spine: list[dict[str, Any]],
    view: list[dict[str, Any]],
    *,
    two: bool,
    mode: Literal["known", "event"],
    ttl: int,
    group: int,
) -> None:
    join = AsOfJoin(
        keys=("k", "j") if two else ("k",),
        time="at",
        event_time="event",
        known_at="known",
        order="seq",
        ttl=ttl * MICROSECOND,
        mode=mode,
        columns=("v",),
    )
    found = joined(table(spine, SPINE), table(view, VIEW), join, group=group)
    assert found.to_pylist() == as_of(spine, view, join, ("v",))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("spread", [7, 40, 10**15])
def test_many_rows_of_keys_near_and_far_apart(seed: int, spread: int) -> None:
    """Integer keys that lie close, far apart, over all 64 bits; times from a few to thousands of years."""
    chance = random.Random(seed)
    step = chance.choice([MICROSECOND, timedelta(days=365)])
    numbers = [chance.randrange(-spread, spread) for _ in range(30)]

    def moment() -> datetime | None:
        return None if chance.random() < 0.1 else NOON + chance.randrange(-500, 500) * step

    spine = [{"j": chance.choice([*numbers, None]), "k": "a", "at": moment(), "label": i} for i in range(80)]
    view = [
        {
            "j": chance.choice([*numbers, None, 3 * spread]),
            "k": "a",
            "event": moment(),
            "known": moment(),
            "seq": chance.choice([None, 1, 2]),
            "v": i,
        }
        for i in range(400)
    ]
    join = AsOfJoin(
        keys=("j",),
        time="at",
        event_time="event",
        known_at="known",
        order="seq",
        ttl=chance.choice([0, 100]) * step,
        mode=chance.choice(["known", "event"]),
        columns=("v",),
    )
    found = joined(table(spine, SPINE), table(view, VIEW), join, group=50)
    assert found.to_pylist() == as_of(spine, view, join, ("v",))


def test_columns_keep_types_that_the_platform_does_not_store() -> None:
    spine = pa.table(
        {
            "list": pa.array([[1], None]),
            "k": pa.array(["a", "b"], pa.large_string()),
            "at": pa.array([NOON, NOON], UTC_TIME),
            "naive": pa.array([0, None], pa.timestamp("us")),
            "money": pa.array([Decimal("1.25"), None], pa.decimal128(20, 2)),
        }
    )
    view = pa.table(
        {
            "k": pa.array(["a", "a", "b"]).dictionary_encode(),
            "event": pa.array([NOON] * 3, pa.timestamp("ns", "America/New_York")),
            "level": pa.array(["x", "y", None]).dictionary_encode(),
            "tags": pa.array([["p"], ["q", "r"], []]),
        }
    )
    found = joined(spine, view, AsOfJoin(keys=("k",), time="at", event_time="event"), group=1)
    assert found.schema.remove_metadata() == pa.schema(
        [*spine.schema, view.schema.field("level"), view.schema.field("tags")]
    )
    assert found["level"].to_pylist() == ["y", None]
    assert found["tags"].to_pylist() == [["q", "r"], []]
    assert found["list"].to_pylist() == [[1], None]


@pytest.mark.parametrize("what", ["spine", "view"])
def test_no_rows(what: str) -> None:
    spine = [{"k": "a", "j": 1, "at": NOON, "label": 1}]
    view = [{"k": "a", "j": 1, "event": NOON, "known": NOON, "seq": 1, "v": 7}]
    found = joined(
        table([] if what == "spine" else spine, SPINE), table([] if what == "view" else view, VIEW), JOIN_V
    )
    assert found.to_pylist() == ([] if what == "spine" else [{**spine[0], "v": None}])


JOIN_V = AsOfJoin(keys=("k",), time="at", event_time="event", known_at="known", order="seq", columns=("v",))


def test_a_missing_column_or_one_of_another_type_is_named() -> None:
    spine = table([{"k": "a", "j": 1, "at": NOON, "label": 1}], SPINE)
    view = table([{"k": "a", "j": 1, "event": NOON, "known": NOON, "seq": 1, "v": 7}], VIEW)
    for changed, match in (
        ({"known_at": "nope"}, "'nope'"),
        ({"keys": ("nope",)}, "'nope'"),
        ({"time": "label"}, "not instants"),
        ({"event_time": "v"}, "not instants"),
        ({"columns": ("nope",)}, "'nope'"),
    ):
        fields: dict[str, Any] = {name: getattr(JOIN_V, name) for name in JOIN_V.__struct_fields__}
        with pytest.raises(Invalid, match=match):
            joined(spine, view, AsOfJoin(**{**fields, **changed}))


LOCAL_S = int((NOON - timedelta(hours=4)).timestamp())
"""noon UTC as a clock in New York reads it"""


def test_a_zone_is_declared_for_both_sides_and_aware_times_keep_theirs() -> None:
    spine = pa.table({"k": ["a"], "at": pa.array([LOCAL_S * 1_000_000], pa.timestamp("us"))})
    view = pa.table(
        {
            "k": ["a", "a"],
            "event": pa.array([LOCAL_S * 1000, LOCAL_S * 1000 + 1], pa.timestamp("ms")),
            "known": pa.array([NOON] * 2, UTC_TIME),
            "v": [1, 2],
        }
    )
    join = AsOfJoin(keys=("k",), time="at", event_time="event", known_at="known", zone="America/New_York")
    assert joined(spine, view, join)["v"].to_pylist() == [1]
