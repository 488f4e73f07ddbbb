"""Points of even curves are found by few looks into their index, whatever their times are."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

import pytest

from loopwright.adapters.sql.repositories.strides import Ask, Curve, curve_rows, shape_of
from loopwright.adapters.sql.rows import Row

COUNT = 20_000


def steadily(rng: random.Random) -> float:
    return 1000.0


def jittered(rng: random.Random) -> float:
    return rng.expovariate(1 / 5000)


def with_nights(rng: random.Random) -> float:
    return 4e10 if rng.random() < 0.0005 else rng.uniform(900, 1100)


def at_one_moment(rng: random.Random) -> float:
    return 0.0 if rng.random() < 0.99 else 10_000.0


class Index:
    """The rows of a curve in order, and how many were passed while they were looked for."""

    def __init__(self, rows: Sequence[tuple[int, int, int, float]]) -> None:
        self.rows = rows
        self.passed = 0

    def look(self, asks: Sequence[Ask]) -> list[Row | None]:
        found: list[Row | None] = []
        for ask in asks:
            self.passed += 1 + ask.skip
            at = bisect_left(self.rows, (ask.at_us, ask.step, 0, float("-inf")))
            at += -1 if ask.before else ask.skip
            found.append(self.rows[at] if 0 <= at < len(self.rows) else None)
        return found


def curve_of(times: Sequence[int], stride: int) -> tuple[Index, Curve]:
    rows = [(at_us, 5 + stride * place, 0, float(place)) for place, at_us in enumerate(times)]
    return Index(rows), Curve(times[0], 5, times[-1], rows[-1][1], stride)


@pytest.mark.parametrize("pause", [steadily, jittered, with_nights, at_one_moment])
def test_few_rows_are_passed(pause: object) -> None:
    assert callable(pause)
    rng = random.Random(3)
    times = [int(at) for at in accumulate(pause(rng) for _ in range(COUNT))]
    index, curve = curve_of(times, 50)
    places = [*range(0, COUNT, 97), COUNT - 1]
    assert len(curve.steps) == COUNT
    assert curve_rows(curve, places, index.look) == [index.rows[place] for place in places]
    assert index.passed < COUNT


def test_times_that_cannot_be_guessed_are_left_to_a_walk() -> None:
    """Each time twice the one before, so that nearly all points lie at the beginning of the whole."""
    index, curve = curve_of([int(1.01**place * 1e3) for place in range(4_000)], 1)
    found = curve_rows(curve, list(range(0, 4_000, 13)), index.look)
    assert found is None or found == index.rows[::13]


def test_places_behind_the_end_and_ends_are_found() -> None:
    index, curve = curve_of([7], 0)
    assert curve_rows(curve, [0, 1, 9], index.look) == [index.rows[0]]
    index, curve = curve_of([7, 9], 4)
    assert curve_rows(curve, [0, 1, 2], index.look) == list(index.rows)
    assert curve_rows(curve, [5], index.look) == []


def rows_of(*points: tuple[int, int]) -> list[tuple[int, int, int, int, int, float, str]]:
    return [(1, 1, at_us, step, 0, 0.5, "default") for at_us, step in points]


@pytest.mark.parametrize(
    ("points", "shape"),
    [
        ([(5, 3)], (5, 3, 0)),
        ([(5, 3), (5, 5), (8, 7)], (5, 3, 2)),
        ([(8, 7), (5, 3), (5, 5)], (5, 3, 2)),
        ([(5, 3), (5, 3)], (5, 3, -1)),
        ([(5, 3), (4, 5)], None),
        ([(5, 3), (6, 5), (7, 6)], (5, 3, -1)),
        ([(7, 6), (5, 3), (6, 3)], (5, 3, -1)),
        ([(5, -(2**63)), (6, 2**63 - 1)], (5, -(2**63), -1)),
        ([(5, 2**60)], (5, 2**60, -1)),
        ([(5, 0), (6, 1), (7, 2**51)], (5, 0, -1)),
    ],
)
def test_what_is_told_of_a_batch(points: list[tuple[int, int]], shape: tuple[int, int, int] | None) -> None:
    rows = rows_of(*points)
    latest, told = shape_of(rows)
    assert told == (shape or (None, None, None))
    assert latest[2:4] == max(((row[2], row[3]) for row in rows), key=lambda row: (row[1], row[0]))
