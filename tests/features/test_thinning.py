"""What is left out of a history changes no answer: against a store that was given all of it."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from loopwright.core.expressions import Window, col
from loopwright.core.instants import to_micros
from loopwright.data.reading import read_version
from loopwright.data.verbs import append
from loopwright.engine.publishing import resolve
from loopwright.features.feeding import online_rows
from loopwright.features.nouns import FeatureView
from loopwright.features.rules import online_view
from loopwright.features.thinning import read_seen_from, seen_from
from loopwright.testing.builders import memory_context
from loopwright.testing.online import MemoryOnline, bits

NOON = datetime(2013, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
WINDOWS: dict[str, Window] = {"total": col("n").sum("3h")}


def history(chance: random.Random, rows: int) -> pa.Table:
    """Events before and after noon; known late, early or not said; ties; entities with a null part."""
    kind = pa.timestamp("us", "UTC")

    def moment() -> datetime | None:
        return None if chance.random() < 0.1 else NOON + chance.randrange(-12, 4) * HOUR

    return pa.table(
        {
            "k": [chance.choice(["a", "b", "c", None]) for _ in range(rows)],
            "j": [chance.choice([1, 2]) for _ in range(rows)],
            "event": pa.array([moment() for _ in range(rows)], kind),
            "known": pa.array([moment() for _ in range(rows)], kind),
            "seq": [chance.choice([None, 1, 2]) for _ in range(rows)],
            "n": [chance.choice([None, *range(9)]) for _ in range(rows)],
        }
    )


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("windowed", [False, True])
@pytest.mark.parametrize("known_at", ["known", None])
def test_no_question_from_the_horizon_on_is_answered_otherwise(
    seed: int, *, windowed: bool, known_at: str | None
) -> None:
    chance = random.Random(seed)
    view = FeatureView(
        name="v",
        entity=("k", "j"),
        source="d",
        event_time="event",
        known_at=known_at,
        order="seq",
        ttl=chance.choice(["0", "2h"]),
        latest=("n",),
        windows=WINDOWS if windowed else {},
    )
    table = history(chance, 120)
    memory = memory_context()
    thinned = seen_from(memory, view, table, NOON, few=0)
    assert thinned.num_rows < table.num_rows
    whole, part = MemoryOnline(), MemoryOnline()
    for store, rows in ((whole, table), (part, thinned)):
        store.define(online_view(view, "v@1"))
        store.push("v@1", sorted(online_rows(memory, view, rows), key=lambda row: row.known_us))
    keys = [(k, j) for k in ("a", "b", "c", "z") for j in (1, 2)]
    for step in range(13):
        at_us = to_micros(NOON + step * HOUR / 3)
        told = [
            [{name: bits(value) for name, value in row.items()} for row in store.read("v@1", keys, at_us)]
            for store in (whole, part)
        ]
        assert told[0] == told[1]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("windowed", [False, True])
def test_reading_keys_first_gives_the_rows_that_reading_all_gives(seed: int, *, windowed: bool) -> None:
    chance = random.Random(seed)
    ctx = memory_context()
    for part in range(3):
        append(ctx, "d", history(chance, 50 + part), event_time="event", known_at="known")
    view = FeatureView(
        name="v",
        entity=("k", "j"),
        source="d",
        event_time="event",
        known_at="known",
        order="seq",
        latest=("n",),
        windows=WINDOWS if windowed else {},
    )
    dataset = resolve(ctx, "dataset:d")
    until_us = to_micros(NOON + HOUR)
    within = (col("known") <= until_us) | (col("known").is_null() & (col("event") <= until_us))
    whole = seen_from(ctx, view, read_version(ctx, dataset, where=within), NOON, few=0)
    found = read_seen_from(ctx, view, dataset, within, NOON, few=0)
    assert found.num_rows > 0
    assert found.to_pylist() == whole.select(found.column_names).to_pylist()
