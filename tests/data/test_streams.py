"""Streams of rows: written once, read by span, columns and condition."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import Invalid
from loopwright.core.expressions import col
from loopwright.core.instants import to_micros
from loopwright.data.compaction import groups_of, merged_facts
from loopwright.data.streams import read_stream, segments_of, write_segment
from loopwright.data.verbs import compact
from loopwright.engine.context import Context
from loopwright.ports.ledger import Segment
from loopwright.testing.builders import SetClock, memory_context
from tests.data.weather import START

HOUR = timedelta(hours=1)


@pytest.fixture
def ctx() -> Context:
    return memory_context()


def part(hour: int, **more: object) -> pa.Table:
    times = [START + hour * HOUR + timedelta(minutes=at) for at in range(60)]
    columns = {
        "at": pa.array(times, pa.timestamp("us", "UTC")),
        "score": [hour + at / 60 for at in range(60)],
    }
    return pa.table({**columns, **{name: pa.array([value] * 60) for name, value in more.items()}})


def write(ctx: Context, hour: int, **more: object) -> None:
    start = START + hour * HOUR
    write_segment(
        ctx, "predictions/delays", part(hour, **more), start, start + timedelta(minutes=59), {"n": hour}
    )


def test_rows_are_read_by_span_in_the_order_of_segments(ctx: Context) -> None:
    for hour in (3, 0, 2, 1):
        write(ctx, hour)
    found = read_stream(ctx, "predictions/delays")
    assert found["score"].to_pylist() == [hour + at / 60 for hour in range(4) for at in range(60)]
    start, end = START + HOUR, START + 2 * HOUR
    rim = read_stream(ctx, "predictions/delays", start, end)
    assert rim.num_rows == 120
    inside = (col("at") >= to_micros(start)) & (col("at") < to_micros(end))
    exact = read_stream(ctx, "predictions/delays", start, end, ["score"], inside)
    assert exact["score"].to_pylist() == [1 + at / 60 for at in range(60)]
    assert [segment.facts for segment in segments_of(ctx, "predictions/delays", end)] == [{"n": 2}, {"n": 3}]


def test_the_same_rows_twice_are_one_segment(ctx: Context) -> None:
    write(ctx, 0)
    write(ctx, 0)
    assert len(segments_of(ctx, "predictions/delays")) == 1
    assert read_stream(ctx, "predictions/delays").num_rows == 60


def test_columns_that_came_later_are_null_before(ctx: Context) -> None:
    write(ctx, 0)
    write(ctx, 1, x_wind=2.5)
    write(ctx, 2, x_humid=7)
    found = read_stream(ctx, "predictions/delays")
    assert found.num_rows == 180
    assert found["x_wind"].null_count == 120
    assert found["x_humid"].to_pylist() == [None] * 120 + [7] * 60
    assert read_stream(ctx, "predictions/delays", columns=["x_wind"], where=col("x_wind") > 1).num_rows == 60


def test_streams_and_spaces_are_apart_and_an_empty_stream_has_no_rows(ctx: Context) -> None:
    write(ctx, 0)
    other = memory_context(space="other")
    assert read_stream(ctx, "predictions/other").num_rows == 0
    assert read_stream(ctx, "predictions/other", columns=["score"]).column_names == ["score"]
    assert segments_of(other, "predictions/delays") == ()
    with pytest.raises(Invalid):
        write_segment(ctx, "s", part(0), START + HOUR, START)


def _sized(at: int, rows: int) -> Segment:
    return Segment(
        id=str(at),
        space="default",
        stream="s",
        digest="",
        rows=rows,
        size_bytes=1,
        start=START,
        end=START,
        created_at=START,
        facts={"n": [at], "same": 1},
    )


def test_compaction_keeps_rows_order_and_spans(ctx: Context) -> None:
    for hour in range(12):
        write(ctx, hour, x_wind=hour / 2)
    write(ctx, 12)
    clock = ctx.ports.clock
    assert isinstance(clock, SetClock)
    clock.set(START + 11 * HOUR)
    before = read_stream(ctx, "predictions/delays")
    done = compact(ctx, stream="predictions/delays")
    assert (done.before, done.after) == (10, 1)
    assert read_stream(ctx, "predictions/delays").equals(before)
    found = segments_of(ctx, "predictions/delays")
    assert [segment.rows for segment in found] == [600, 60, 60, 60]
    assert (found[0].start, found[0].end) == (START, START + 10 * HOUR - timedelta(minutes=1))
    assert compact(ctx).after == 1
    assert read_stream(ctx, "predictions/delays", START, START + HOUR).num_rows == 600


def test_compaction_again_and_again_rewrites_each_row_a_few_times(ctx: Context) -> None:
    sizes, written = list[int](), 0
    for _ in range(500):
        sizes.append(1)
        segments = [_sized(at, rows) for at, rows in enumerate(sizes)]
        for group in groups_of(segments):
            first, last = int(group[0].id), int(group[-1].id)
            total = sum(sizes[first : last + 1])
            written += total
            sizes[first : last + 1] = [total]
    assert sum(sizes) == 500
    assert len(sizes) < 20
    assert written < 500 * 10


@given(sizes=st.lists(st.integers(1, 12), max_size=20), limit=st.integers(1, 20))
def test_groups_are_consecutive_and_fit(sizes: list[int], limit: int) -> None:
    segments = [_sized(at, rows) for at, rows in enumerate(sizes)]
    groups = groups_of(segments, rows=limit)
    order = [int(segment.id) for group in groups for segment in group]
    assert order == sorted(set(order))
    for group in groups:
        assert len(group) > 1
        assert sum(segment.rows for segment in group) <= limit
        assert [int(segment.id) for segment in group] == list(range(int(group[0].id), int(group[-1].id) + 1))
        assert merged_facts(group) == {"n": [int(segment.id) for segment in group], "same": 1}
