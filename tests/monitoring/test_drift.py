"""Drift of inputs: counts, the index, what is called drift and what is not, by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from loopwright.monitoring.drift import ColumnBins, DayCounts, compare, count_day, discoveries, fit_bins
from loopwright.monitoring.nouns import DriftLimits

LIMITS = DriftLimits()


def test_bins_of_many_values_hold_about_as_many_each() -> None:
    values = np.random.default_rng(1).normal(size=5000)
    bins = fit_bins("x", values, because="a test has rows")
    counts = count_day([bins], {"x": values})["x"]

    assert len(bins.edges) == 9
    assert counts[-1] == 0
    assert all(abs(count - 500) <= 1 for count in counts[:-1])


def test_few_levels_have_a_bin_each_and_missing_its_own() -> None:
    values = np.array([0.0, 1.0, 2.0, 2.0, np.nan, np.inf])
    bins = fit_bins("x", values, because="a test has rows")

    assert count_day([bins], {"x": values})["x"] == (1, 1, 2, 2)
    assert fit_bins("x", np.array([np.nan]), because="a test has rows").edges == ()


def test_columns_that_are_not_logged_are_left_out() -> None:
    assert count_day([ColumnBins(column="x", edges=(0.0,))], {"y": np.zeros(3)}) == {}


@given(st.lists(st.floats(0, 1), max_size=12), st.floats(0.001, 0.3))
def test_discoveries_are_those_of_scipy(p_values: list[float], rate: float) -> None:
    found = discoveries(p_values, rate)
    if p_values:
        adjusted = scipy_stats.false_discovery_control(p_values)
        doubtful = np.isclose(adjusted, rate, rtol=1e-9)
        assert all(hit == (q <= rate) for hit, q, d in zip(found, adjusted, doubtful, strict=True) if not d)
    else:
        assert found == []


def test_what_has_no_p_is_never_a_discovery() -> None:
    assert discoveries([None, 0.0, None], 0.01) == [False, True, False]


class World:
    """Days of several columns, each with a level of its own every day, as weather and traffic have."""

    def __init__(self, seed: int, columns: int = 12, rows: int = 900, sway: float = 0.15) -> None:
        self._rng = np.random.default_rng(seed)
        self._rows, self._sway = rows, sway
        self.names = [f"c{number}" for number in range(columns)]
        history = {name: self._rng.normal(size=20_000) for name in self.names}
        self.bins = [fit_bins(name, values, because="a test has rows") for name, values in history.items()]
        self.past: list[DayCounts] = []

    def day(self) -> dict[str, NDArray[np.float64]]:
        return {
            name: self._rng.normal(loc=self._rng.normal(0, self._sway), size=self._rows)
            for name in self.names
        }

    def check(self, columns: dict[str, NDArray[np.float64]], limits: DriftLimits = LIMITS) -> list[str]:
        """Check a day, keep it as healthy, and give the drifted columns."""
        counts = count_day(self.bins, columns)
        found = compare(counts, self.past[-28:], limits)
        self.past.append(
            DayCounts(counts=counts, index={each.column: each.stability_index for each in found})
        )
        return [each.column for each in found if each.drifted]


def test_healthy_days_seldom_alarm() -> None:
    alarms, days = 0, 0
    for seed in range(3):
        world = World(seed)
        for _ in range(35):
            world.check(world.day())
        for _ in range(60):
            alarms += bool(world.check(world.day()))
            days += 1

    assert alarms / days <= 0.01  # a false discovery rate of 0.1 percent, and the effect floor


def moved(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values + 1.0


def widened(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values * 3.0


def stuck(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.arange(len(values)) % 2 == 0, 0.25, values)


def gone(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.arange(len(values)) % 5 == 0, np.nan, values)


@pytest.mark.parametrize("change", [moved, widened, stuck, gone])
def test_a_changed_column_is_named(change: object) -> None:
    assert callable(change)
    world = World(7)
    for _ in range(40):
        world.check(world.day())
    for _ in range(3):
        today = world.day()
        today["c3"] = change(today["c3"])
        assert "c3" in world.check(today)
        world.past.pop()


def test_significant_but_tiny_changes_are_under_the_floor() -> None:
    world = World(3, rows=20_000, sway=0.001)
    for _ in range(30):
        world.check(world.day())
    today = world.day()
    today["c0"] = today["c0"] + 0.1

    assert world.check(today) == []
    world.past.pop()
    assert world.check(today, DriftLimits(floor=0.0)) == ["c0"]


def test_nothing_is_said_before_there_are_healthy_days() -> None:
    world = World(5)
    for number in range(7):
        counts = count_day(world.bins, world.day())
        assert compare(counts, world.past, LIMITS) == ()
        world.past.append(DayCounts(counts=counts))
        assert number < LIMITS.min_days
    found = compare(count_day(world.bins, world.day()), world.past, LIMITS)
    assert all(each.p_value is None and not each.drifted for each in found)


def test_the_p_value_is_that_of_one_more_observation() -> None:
    world = World(11, columns=1)
    for _ in range(40):
        world.check(world.day())
    past = world.past[-28:]
    counts = count_day(world.bins, world.day())
    found = compare(counts, past, LIMITS)[0]
    logs = np.log([day.index["c0"] for day in past])
    t = (math.log(found.stability_index) - logs.mean()) / (logs.std(ddof=1) * math.sqrt(1 + 1 / len(logs)))

    assert found.p_value == pytest.approx(scipy_stats.t.sf(t, len(logs) - 1), rel=1e-9)
    # the index itself, by its definition, with half a row in every bin
    reference = np.sum([day.counts["c0"] for day in past], axis=0) + 0.5
    today = np.array(counts["c0"]) + 0.5
    p, q = reference / reference.sum(), today / today.sum()
    assert found.stability_index == pytest.approx(float(((q - p) * np.log(q / p)).sum()), rel=1e-9)
