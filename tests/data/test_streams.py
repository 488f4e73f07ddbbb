"""Streams of rows: written once, read by span, columns and condition."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pytest

from loopwright.core.errors import Invalid
from loopwright.core.expressions import col
from loopwright.core.instants import to_micros
from loopwright.data.streams import read_stream, segments_of, write_segment
from loopwright.engine.context import Context
from loopwright.testing.builders import memory_context
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
