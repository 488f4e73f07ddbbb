"""Instants and durations keep every microsecond."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import Invalid
from loopwright.core.instants import (
    duration,
    format_duration,
    format_instant,
    from_micros,
    parse_instant,
    to_micros,
)

_instants = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - naive on purpose


@given(_instants)
def test_instants_survive_text_and_integers(instant: datetime) -> None:
    assert parse_instant(format_instant(instant)) == instant
    assert from_micros(to_micros(instant)) == instant


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=4000)))
def test_durations_survive_text(value: timedelta) -> None:
    assert duration(format_duration(value)) == value


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("6h", 21600), ("1d12h", 129600), ("0", 0)]
)
def test_durations_mean_what_they_say(text: str, seconds: int) -> None:
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "7", "d", "1y", "1d x", "-1d", "1.5h"])
def test_other_texts_are_no_duration(text: str) -> None:
    with pytest.raises(Invalid):
        duration(text)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(Invalid):
        parse_instant("2013-06-01T00:00:00")
    with pytest.raises(Invalid):
        to_micros(datetime(2013, 6, 1))  # noqa: DTZ001 - naive on purpose


@pytest.mark.parametrize("text", ["9" * 30 + "h", "9" * 5000 + "d", "999999999w1d"])
def test_a_duration_without_end_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="out of range"):
        duration(text)
