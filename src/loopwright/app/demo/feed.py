"""The world of the replay: what becomes known when, and the week the weather speaks other units."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from loopwright.app.demo.flights import Flights
from loopwright.core.instants import to_micros
from loopwright.loops.nouns import Window

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Day", "days", "rows_known", "switched"]

_KNOTS_PER_MPH = 1 / 1.15078
_LAST = datetime(2014, 1, 1, 23, 59, tzinfo=UTC)
_WIND = ("wind_speed", "wind_gust")
_TEMPERATURE = ("temp", "dewp")


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """One day of the replay: what is asked in it and what becomes known in it."""

    start: datetime
    end: datetime
    asked: pa.Table
    known: dict[str, pa.Table]
    """departures, landings, weather: rows with `start < known_at <= end`"""


def rows_known(table: pa.Table, after: datetime | None, until: datetime) -> pa.Table:
    """The rows of a table sorted by `known_at` with `after < known_at <= until`."""
    return _slice(table, "known_at", after, until)


def _slice(table: pa.Table, column: str, after: datetime | None, until: datetime) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    stamps = table[column].cast(pa.int64()).to_numpy()
    low = 0 if after is None else int(np.searchsorted(stamps, to_micros(after), "right"))
    return table.slice(low, int(np.searchsorted(stamps, to_micros(until), "right")) - low)


def switched(weather: pa.Table, window: Window) -> pa.Table:
    """The weather as the feed sends it: in the window knots for miles per hour, Celsius for Fahrenheit."""
    import pyarrow as pa
    import pyarrow.compute as pc

    stamps = weather["known_at"].cast(pa.int64())
    inside = pc.and_(
        pc.greater_equal(stamps, to_micros(window.start)), pc.less(stamps, to_micros(window.end))
    )
    for name in _WIND:
        knots = pc.round(pc.multiply(weather[name], _KNOTS_PER_MPH), ndigits=3)
        weather = _put(weather, name, pc.if_else(inside, knots, weather[name]))
    for name in _TEMPERATURE:
        celsius = pc.round(pc.multiply(pc.subtract(weather[name], 32.0), 5 / 9), ndigits=1)
        weather = _put(weather, name, pc.if_else(inside, celsius, weather[name]))
    return weather


def _put(table: pa.Table, name: str, column: Any) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, column)


def days(flights: Flights, start: datetime, count: int, window: Window) -> Iterator[Day]:
    """The days of the replay, aligned to UTC; the first one begins at `start`."""
    weather = switched(flights.weather, window)
    begin = start
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    for number in range(count):
        end = midnight + timedelta(days=number + 1)
        # the year's last hours are no whole day, and are not judged as one
        end = min(end, _LAST)
        known = {
            "departures": rows_known(flights.departures, begin, end),
            "landings": rows_known(flights.landings, begin, end),
            "weather": rows_known(weather, begin, end),
        }
        asked = _slice(flights.schedule, "scheduled_at", begin, end)
        yield Day(start=begin, end=end, asked=asked, known=known)
        begin = end
