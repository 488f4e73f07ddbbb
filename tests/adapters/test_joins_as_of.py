"""The as-of join against its contract written down row by row, and trap by trap."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.adapters.tables.joins import join_as_of
from loopwright.core.errors import Invalid
from loopwright.ports.tables import AsOfJoin
from tests.adapters.joins_twin import MICROSECOND, as_of, table

NOON = datetime(2013, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
UTC_TIME = pa.timestamp("us", "UTC")
SPINE = pa.schema({"k": pa.string(), "j": pa.int64(), "at": UTC_TIME, "label": pa.int64()})
VIEW = pa.schema(
    {
        "k": pa.string(),
        "j": pa.int64(),
        "event": UTC_TIME,
        "known": UTC_TIME,
        "seq": pa.int64(),
        "v": pa.int64(),
    }
)
BY_KEY = AsOfJoin(keys=("k",), time="at", event_time="event", known_at="known", order="seq", columns=("v",))


def join_of(**changed: Any) -> AsOfJoin:
    fields: dict[str, Any] = {name: getattr(BY_KEY, name) for name in BY_KEY.__struct_fields__}
    return AsOfJoin(**{**fields, **changed})


def one(
    view: list[tuple[Any, ...]], *, at: datetime | None = NOON, key: str | None = "a", join: AsOfJoin = BY_KEY
) -> Any:
    """The value found by one question; view rows are (key, event, known, seq, v)."""
    rows = [{"k": k, "j": 1, "event": e, "known": c, "seq": s, "v": v} for k, e, c, s, v in view]
    found = join_as_of(table([{"k": key, "j": 1, "at": at, "label": 0}], SPINE), table(rows, VIEW), join)
    assert found.num_rows == 1
    return found["v"][0].as_py()


def hours(number: float) -> datetime:
    return NOON + number * HOUR


TRAPS: dict[str, tuple[list[tuple[Any, ...]], Any]] = {
    "the newest of several": ([("a", hours(-3), None, 0, 1), ("a", hours(-1), None, 0, 2)], 2),
    "the newest stands first": ([("a", hours(-1), None, 0, 2), ("a", hours(-3), None, 0, 1)], 2),
    "an event at the instant itself": ([("a", NOON, NOON, 0, 1)], 1),
    "an event a microsecond later": ([("a", NOON + MICROSECOND, None, 0, 1)], None),
    "known at the instant itself": ([("a", hours(-1), NOON, 0, 1)], 1),
    "known a microsecond later": ([("a", hours(-1), NOON + MICROSECOND, 0, 1)], None),
    "known later, an older one serves": (
        [("a", hours(-2), hours(-2), 0, 1), ("a", hours(-1), hours(1), 0, 2)],
        1,
    ),
    "known before it happens": ([("a", hours(1), hours(-1), 0, 1)], None),
    "an old event learned late": ([("a", hours(-1), hours(-1), 0, 1), ("a", hours(-5), NOON, 0, 2)], 1),
    "a late correction": ([("a", hours(-1), hours(-1), 0, 1), ("a", hours(-1), hours(-0.5), 0, 2)], 2),
    "a correction not yet known": ([("a", hours(-1), hours(-1), 0, 1), ("a", hours(-1), hours(1), 0, 2)], 1),
    "a correction that stands first": (
        [("a", hours(-1), hours(-0.5), 0, 2), ("a", hours(-1), hours(-1), 0, 1)],
        2,
    ),
    "a null known-at counts as the event": (
        [("a", hours(-2), hours(-2), 0, 1), ("a", hours(-1), None, 0, 2)],
        2,
    ),
    "a null known-at ties as the event": (
        [("a", hours(-2), hours(-1), 0, 1), ("a", hours(-2), None, 9, 2)],
        1,
    ),
    "a null known-at of a later event": ([("a", hours(1), None, 0, 1)], None),
    "a tie goes by order": ([("a", hours(-1), None, 2, 1), ("a", hours(-1), None, 1, 2)], 1),
    "a null order is before all": ([("a", hours(-1), None, -5, 1), ("a", hours(-1), None, None, 2)], 1),
    "a full tie goes by place": ([("a", hours(-1), None, 1, 1), ("a", hours(-1), None, 1, 2)], 2),
    "a full tie of nulls goes by place": (
        [("a", hours(-1), None, None, 1), ("a", hours(-1), None, None, 2)],
        2,
    ),
    "the winner's null stays null": ([("a", hours(-2), None, 0, 1), ("a", hours(-1), None, 0, None)], None),
    "a null event is no candidate": ([("a", None, hours(-2), 0, 1)], None),
    "another key": ([("b", hours(-1), None, 0, 1)], None),
    "a null key in the view": ([(None, hours(-1), None, 0, 1)], None),
    "upper case is another key": ([("A", hours(-1), None, 0, 1)], None),
    "an empty view": ([], None),
    "years ago": ([("a", datetime(1931, 1, 1, tzinfo=UTC), None, 0, 1)], 1),
}


@pytest.mark.parametrize("name", TRAPS)
def test_trap(name: str) -> None:
    view, expected = TRAPS[name]
    assert one(view) == expected


def test_null_keys_never_match_and_empty_strings_do() -> None:
    assert one([(None, hours(-1), None, 0, 1)], key=None) is None
    assert one([("", hours(-1), None, 0, 1)], key="") == 1
    assert one([("", hours(-1), None, 0, 1)], key=None) is None


def test_a_null_part_of_a_longer_key_never_matches() -> None:
    view = table(
        [{"k": "a", "j": None, "event": hours(-1), "v": 1}, {"k": None, "j": 1, "event": hours(-1), "v": 2}],
        VIEW,
    )
    spine = table(
        [{"k": "a", "j": None, "at": NOON}, {"k": None, "j": 1, "at": NOON}, {"k": "a", "j": 1, "at": NOON}],
        SPINE,
    )
    found = join_as_of(spine, view, join_of(keys=("k", "j"), columns=("v",)))
    assert found["v"].to_pylist() == [None, None, None]


def test_a_null_instant_gives_nulls() -> None:
    assert one([("a", hours(-1), None, 0, 1)], at=None) is None


@pytest.mark.parametrize(("late", "expected"), [(timedelta(0), 1), (MICROSECOND, None)])
def test_the_ttl_is_inclusive_to_the_microsecond(late: timedelta, expected: int | None) -> None:
    ttl = timedelta(days=1, microseconds=3)
    assert one([("a", NOON - ttl - late, None, 0, 1)], join=join_of(ttl=ttl)) == expected


def test_a_newest_row_that_is_expired_hides_nothing_younger() -> None:
    view = [("a", hours(-30), hours(-1), 0, 1), ("a", hours(-2), hours(-2), 0, 2)]
    assert one(view, join=join_of(ttl=timedelta(days=1))) == 2


def test_mode_event_sees_what_was_not_known_but_ties_by_it() -> None:
    later = [("a", hours(-2), hours(-2), 0, 1), ("a", hours(-1), hours(9), 0, 2)]
    assert one(later, join=join_of(mode="event")) == 2
    tied = [("a", hours(-1), hours(9), 0, 1), ("a", hours(-1), hours(3), 5, 2)]
    assert one(tied, join=join_of(mode="event")) == 1


def test_rows_order_and_duplicates_of_the_spine_are_kept() -> None:
    questions = [("b", 0), ("a", 5), ("a", 5), ("b", -9)]
    asked = [{"k": k, "j": 1, "at": hours(h), "label": i} for i, (k, h) in enumerate(questions)]
    view = [{"k": "a", "event": hours(1), "v": 1}, {"k": "b", "event": hours(-1), "v": 2}]
    found = join_as_of(table(asked, SPINE), table(view, VIEW), join_of(columns=("v",)))
    assert found.column_names == ["k", "j", "at", "label", "v"]
    assert found["label"].to_pylist() == [0, 1, 2, 3]
    assert found["v"].to_pylist() == [2, 1, 1, None]


def test_a_name_of_both_is_an_error_unless_it_gets_a_prefix() -> None:
    spine = table([{"k": "a", "j": 1, "at": NOON}], SPINE)
    view = table([{"k": "a", "j": 7, "event": hours(-1), "v": 3}], VIEW)
    with pytest.raises(Invalid, match="'j'") as caught:
        join_as_of(spine, view, join_of(columns=()))
    assert "prefix" in caught.value.hint
    found = join_as_of(spine, view, join_of(prefix="w_", columns=()))
    assert found.column_names == [*SPINE.names, "w_j", "w_v"]
    assert (found["w_j"][0].as_py(), found["w_v"][0].as_py()) == (7, 3)


@pytest.mark.parametrize("side", ["spine", "event", "known"])
def test_naive_times_are_refused(side: str) -> None:
    naive = pa.timestamp("us")
    spine = pa.table({"k": ["a"], "at": pa.array([0], naive if side == "spine" else UTC_TIME)})
    view = pa.table(
        {
            "k": ["a"],
            "event": pa.array([0], naive if side == "event" else UTC_TIME),
            "known": pa.array([0], naive if side == "known" else UTC_TIME),
        }
    )
    join = AsOfJoin(keys=("k",), time="at", event_time="event", known_at="known")
    with pytest.raises(Invalid, match="no zone") as caught:
        join_as_of(spine, view, join)
    assert caught.value.hint


@pytest.mark.parametrize("kind", [pa.date32(), pa.int64(), pa.string()])
def test_what_is_no_instant_is_refused(kind: pa.DataType) -> None:
    spine = pa.table({"k": ["a"], "at": pa.array([None], kind)})
    view = pa.table({"k": ["a"], "event": pa.array([0], UTC_TIME)})
    with pytest.raises(Invalid, match="not instants"):
        join_as_of(spine, view, AsOfJoin(keys=("k",), time="at", event_time="event"))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "+05:30"])
def test_an_instant_is_one_in_whatever_unit_and_zone(unit: str, zone: str) -> None:
    spine = pa.table({"k": ["a", "a"], "at": pa.array([NOON, hours(-1)], pa.timestamp(unit, zone))})
    view = pa.table({"k": ["a"], "event": pa.array([NOON], UTC_TIME), "v": [1]})
    found = join_as_of(spine, view, AsOfJoin(keys=("k",), time="at", event_time="event"))
    assert found["v"].to_pylist() == [1, None]
    assert found.schema.field("at").type == pa.timestamp(unit, zone)


def test_types_of_the_columns_are_kept() -> None:
    view = pa.table(
        {
            "k": pa.array(["a"]).dictionary_encode(),
            "event": pa.array([hours(-1)], UTC_TIME),
            "small": pa.array([1], pa.int8()),
            "text": pa.array(["x"], pa.large_string()),
            "level": pa.array(["y"]).dictionary_encode(),
            "when": pa.array([NOON], pa.timestamp("ms", "UTC")),
        }
    )
    spine = pa.table({"k": pa.array(["a", "b"], pa.large_string()), "at": pa.array([NOON, NOON], UTC_TIME)})
    found = join_as_of(spine, view, AsOfJoin(keys=("k",), time="at", event_time="event"))
    for name in ("small", "text", "level", "when"):
        assert found.schema.field(name).type == view.schema.field(name).type
        assert found[name].to_pylist() == [view[name][0].as_py(), None]


def test_keys_of_other_types_are_refused() -> None:
    spine = pa.table({"k": [1], "at": pa.array([NOON], UTC_TIME)})
    view = pa.table({"k": ["1"], "event": pa.array([NOON], UTC_TIME)})
    with pytest.raises(Invalid, match="key"):
        join_as_of(spine, view, AsOfJoin(keys=("k",), time="at", event_time="event"))


def test_integer_keys_of_other_widths_match() -> None:
    spine = pa.table({"k": pa.array([1], pa.int8()), "at": pa.array([NOON], UTC_TIME)})
    view = pa.table({"k": pa.array([1], pa.uint32()), "event": pa.array([NOON], UTC_TIME), "v": [4]})
    assert join_as_of(spine, view, AsOfJoin(keys=("k",), time="at", event_time="event"))["v"].to_pylist() == [
        4
    ]


def test_numbers_match_as_numbers_and_nan_never() -> None:
    spine = pa.table({"k": pa.array([1, 2, None], pa.int64()), "at": pa.array([NOON] * 3, UTC_TIME)})
    view = pa.table({"k": [1.0, 2.5, math.nan], "event": pa.array([NOON] * 3, UTC_TIME), "v": [1, 2, 3]})
    join = AsOfJoin(keys=("k",), time="at", event_time="event")
    assert join_as_of(spine, view, join)["v"].to_pylist() == [1, None, None]
    same = spine.set_column(0, "k", view["k"])
    assert join_as_of(same, view, join)["v"].to_pylist() == [1, 2, None]


def test_an_unknown_column_is_named() -> None:
    with pytest.raises(Invalid, match="'nope'"):
        one([("a", NOON, None, 0, 1)], join=join_of(order="nope"))


def test_times_from_the_first_to_the_last_year() -> None:
    far = [datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)]
    view = [{"k": str(i), "event": far[i % 2], "v": i} for i in range(100)]
    asked = [{"k": str(i), "at": far[1], "label": i} for i in range(100)]
    found = join_as_of(table(asked, SPINE), table(view, VIEW), join_of(columns=("v",)))
    assert found["v"].to_pylist() == list(range(100))


moments = st.one_of(st.none(), st.integers(-6, 6).map(lambda n: NOON + n * MICROSECOND))
keys = st.sampled_from(["a", "b", "", None])
spines = st.lists(
    st.fixed_dictionaries(
        {"k": keys, "j": st.sampled_from([1, 2, None]), "at": moments, "label": st.integers(0, 9)}
    ),
    max_size=12,
)
views = st.lists(
    st.fixed_dictionaries(
        {
            "k": keys,
            "j": st.sampled_from([1, 2, None]),
            "event": moments,
            "known": moments,
            "seq": st.sampled_from([None, 0, 1, 2]),
            "v": st.one_of(st.none(), st.integers(0, 99)),
        }
    ),
    max_size=25,
)


@settings(max_examples=300, deadline=None)
@given(
    spine=spines,
    view=views,
    two=st.booleans(),
    mode=st.sampled_from(["known", "event"]),
    ttl=st.integers(0, 5),
    known=st.booleans(),
    order=st.booleans(),
)
def test_is_the_contract_row_by_row(
    spine: list[dict[str, Any]],
    view: list[dict[str, Any]],
    *,
    two: bool,
    mode: Literal["known", "event"],
    ttl: int,
    known: bool,
    order: bool,
) -> None:
    join = AsOfJoin(
        keys=("k", "j") if two else ("k",),
        time="at",
        event_time="event",
        known_at="known" if known else None,
        order="seq" if order else None,
        ttl=ttl * MICROSECOND,
        mode=mode,
        columns=("v",),
    )
    found = join_as_of(table(spine, SPINE), table(view, VIEW), join)
    assert found.to_pylist() == as_of(spine, view, join, ("v",))
