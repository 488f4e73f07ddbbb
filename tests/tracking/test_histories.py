"""Histories: page by page, whole, and sampled as windows of equal counts are."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import NotFound
from loopwright.core.nouns import MetricPoint
from loopwright.ports.ledger import PageRequest
from loopwright.testing.builders import memory_context
from loopwright.tracking.histories import page, sample, sampled, whole
from loopwright.tracking.intake import Batch, log_batch
from loopwright.tracking.lifecycle import NewRun, create_run

_TILES = """
    WITH RECURSIVE place(no) AS (SELECT 0 UNION ALL SELECT no + 1 FROM place WHERE no + 1 < ?),
    tile AS (SELECT no, ntile(?) OVER (ORDER BY no) AS tile FROM place)
    SELECT min(no) FROM tile GROUP BY tile ORDER BY 1
"""


@given(count=st.integers(1, 300), limit=st.integers(1, 40))
def test_samples_are_the_firsts_of_equal_parts_and_the_last_of_all(count: int, limit: int) -> None:
    with sqlite3.connect(":memory:") as store:
        firsts = [row[0] for row in store.execute(_TILES, (count, limit))]
    expected = firsts if count <= limit else [*firsts[:-1], count - 1]
    assert sample(count, limit) == expected


def test_nothing_is_sampled_of_nothing() -> None:
    assert sample(0, 5) == []


def test_points_come_in_order_of_their_steps_when_sampled() -> None:
    ctx = memory_context()
    run_id = create_run(ctx, NewRun(experiment_id="0", started_at=datetime(2024, 1, 1, tzinfo=UTC))).id
    points = [MetricPoint(key="m", value=float(n), step=9 - n, at_us=n) for n in range(10)]
    log_batch(ctx, run_id, Batch(points=points))
    assert [p.step for p in whole(ctx, run_id, "m", 4)] == [9, 8, 7, 6]
    assert [p.step for p in page(ctx, run_id, "m", PageRequest(limit=2)).items] == [9, 8]
    assert [p.step for p in sampled(ctx, run_id, "m", 3)] == [0, 4, 9]
    assert [p.step for p in sampled(ctx, run_id, "m", 3, (2, 4))] == [2, 3, 4]
    assert sampled(ctx, "none", "m", 3) == whole(ctx, "none", "m", 3) == ()
    with pytest.raises(NotFound):
        page(ctx, "none", "m", PageRequest())
