"""Instants are aware UTC datetimes; durations are written `90s`, `15m`, `6h`, `7d`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from loopwright.core.errors import Invalid

__all__ = [
    "duration",
    "format_duration",
    "format_instant",
    "from_micros",
    "parse_instant",
    "to_micros",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DURATION = re.compile(r"(\d+)(us|ms|s|m|h|d|w)")
_UNITS = {
    "us": _MICROSECOND,
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}


def to_micros(instant: datetime) -> int:
    """Microseconds since 1970 of an aware instant, exact."""
    if instant.tzinfo is None:
        raise Invalid(
            f"the time {instant} has no zone",
            hint="give an aware time, such as 2013-07-01T00:00:00Z",
        )
    return (instant - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The aware UTC instant of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=micros)


def parse_instant(text: str) -> datetime:
    """Read an ISO 8601 instant with a zone; a bare date is its midnight in UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise Invalid(
            f"{text[:80]!r} is not a time",
            hint="write it as 2013-07-01T00:00:00Z, or 2013-07-01 for midnight UTC",
        ) from error
    if found.tzinfo is None:
        if len(text) > len("2013-07-01"):
            raise Invalid(
                f"the time {text!r} has no zone",
                hint="append Z or an offset such as +02:00",
            )
        found = found.replace(tzinfo=UTC)
    try:
        return found.astimezone(UTC)
    except OverflowError as error:
        raise Invalid(f"the time {text!r} is out of range", hint="name a year between 1 and 9999") from error


def format_instant(instant: datetime) -> str:
    """The shortest exact ISO 8601 form in UTC, ending in Z."""
    if instant.tzinfo is None:
        raise Invalid(f"the time {instant} has no zone", hint="give an aware time")
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def duration(text: str | timedelta) -> timedelta:
    """Read `90s`, `15m`, `6h`, `7d`, `1d12h`; `0` is none."""
    if isinstance(text, timedelta):
        return text
    if text == "0":
        return timedelta(0)
    total, end = timedelta(0), 0
    for part in _DURATION.finditer(text):
        if part.start() != end:
            break
        total = _longer(total, part)
        end = part.end()
    if end == 0 or end != len(text):
        raise Invalid(f"{text!r} is not a duration", hint="write it as 90s, 15m, 6h or 7d")
    return total


def _longer(total: timedelta, part: re.Match[str]) -> timedelta:
    try:
        return total + int(part[1]) * _UNITS[part[2]]
    except (OverflowError, ValueError) as error:
        raise Invalid(
            f"the duration {part.string[:60]!r} is out of range", hint="name one of at most 2,700,000 years"
        ) from error


def format_duration(value: timedelta) -> str:
    """The form `duration` reads back, with the largest units first."""
    rest = value // _MICROSECOND
    if rest == 0:
        return "0"
    parts = []
    for unit in ("w", "d", "h", "m", "s", "ms", "us"):
        count, rest = divmod(rest, _UNITS[unit] // _MICROSECOND)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)
