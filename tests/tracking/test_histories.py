"""Histories: page by page, whole, and sampled as windows of equal counts are."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.adapters.sql import open_ledger
from loopwright.core.errors import NotFound
from loopwright.core.nouns import MetricPoint
from loopwright.engine.context import Context
from loopwright.ports.ledger import PageRequest
from loopwright.testing.builders import memory_context, memory_ports
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


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def ctx(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Context]:
    """A context over each store."""
    ports = memory_ports()
    if request.param == "memory":
        yield memory_context(ports)
        return
    url = f"sqlite:///{tmp_path}/ledger.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres_url")
    ports.ledger = open_ledger(url)
    yield memory_context(ports)
    ports.ledger.close()


_SAMPLED = """
    WITH tile AS (
        SELECT step, at_us, value, ntile(:limit) OVER (ORDER BY step, at_us, value) AS tile,
        row_number() OVER (ORDER BY step, at_us, value) AS place, count(*) OVER () AS total
        FROM (SELECT DISTINCT step, at_us, value FROM points WHERE step BETWEEN :least AND :greatest)
    )
    SELECT step, at_us, value FROM tile AS one WHERE place = total OR (
        place = (SELECT min(place) FROM tile WHERE tile = one.tile)
        AND (total <= :limit OR tile < :limit)
    ) ORDER BY place
"""


def sampled_by_windows(
    points: list[MetricPoint], limit: int, steps: tuple[int, int] | None
) -> list[tuple[int, int, float]]:
    """What is to be sampled, by the window functions of a database that holds nothing else."""
    with sqlite3.connect(":memory:") as store:
        store.execute("CREATE TABLE points (step INTEGER, at_us INTEGER, value REAL)")
        store.executemany("INSERT INTO points VALUES (?, ?, ?)", [(p.step, p.at_us, p.value) for p in points])
        least, greatest = steps or (-(2**62), 2**62)
        asked = {"limit": limit, "least": least, "greatest": greatest}
        return store.execute(_SAMPLED, asked).fetchall()


@pytest.mark.parametrize("is_even", [True, False])
def test_samples_are_those_of_a_database_with_windows(ctx: Context, is_even: bool) -> None:
    """Of a curve whose steps come evenly while it grows, and of one that goes on from an earlier step."""
    rng = random.Random(4)
    run_id = create_run(ctx, NewRun(experiment_id="0", started_at=datetime(2024, 1, 1, tzinfo=UTC))).id
    points, at_us, step = list[MetricPoint](), 0, -20
    for number in range(8):
        batch = []
        for _ in range(rng.choice([1, 100])):
            at_us += rng.choice([0, 1000, 1200, 10**9 if rng.random() < 0.02 else 1100])
            batch.append(MetricPoint(key="m", value=rng.random(), step=step, at_us=at_us))
            step += 5
        log_batch(ctx, run_id, Batch(points=batch))
        points += batch
        step -= 0 if is_even or number != 4 else 151
        for steps in (None, (-7, step - 33), (100, 300), (step, step + 9), (-900, -800)):
            limit = rng.choice([1, 2, 7, 50])
            found = [(p.step, p.at_us, p.value) for p in sampled(ctx, run_id, "m", limit, steps)]
            assert found == sampled_by_windows(points, limit, steps), (number, steps, limit)
