"""Alarms: one for a cause, however often checks agree; hysteresis on the way out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from loopwright.monitoring.alarms import change_between, covers, move, unhealthy_periods
from loopwright.monitoring.nouns import Alarm, AlarmState, Period

START = datetime(2013, 7, 1, tzinfo=UTC)
FRESH = Alarm(subject="dataset:weather", cause="feed")


def day(number: int) -> datetime:
    return START + timedelta(days=number)


def after(steps: list[tuple[bool, bool]], *, confirm: int = 1) -> tuple[Alarm, list[str]]:
    """The alarm after (holds, clears) checks a day apart, and what was told."""
    alarm, told = FRESH, []
    for number, (holds, clears) in enumerate(steps):
        moved = move(alarm, holds=holds, clears=clears, at=day(number), columns=["wind"], confirm=confirm)
        told.append(change_between(alarm, moved))
        alarm = moved
    return alarm, [change for change in told if change]


def test_an_alarm_is_told_once_however_often_its_check_holds() -> None:
    alarm, told = after([(True, False)] * 10)

    assert told == ["raised"]
    assert (alarm.state, alarm.since, alarm.columns) == (AlarmState.FIRING, day(0), ("wind",))


def test_flapping_between_the_limits_changes_nothing() -> None:
    _, told = after([(True, False), (False, False), (True, False), (False, False), (True, False)])

    assert told == ["raised"]


def test_it_ends_when_it_clears_and_remembers_when() -> None:
    alarm, told = after([(True, False), (False, False), (False, True), (False, True)])

    assert told == ["raised", "cleared"]
    assert alarm.state is AlarmState.OK
    assert alarm.past == (Period(start=day(0), end=day(2)),)


def test_it_waits_for_as_many_checks_as_asked_on_both_ways() -> None:
    assert after([(True, False), (False, True), (True, False)], confirm=2)[1] == []
    alarm, told = after(
        [(True, False), (True, False), (False, True), (True, False), (False, True)], confirm=2
    )
    assert told == ["raised"]
    assert alarm.since == day(0)
    assert after([(True, False)] * 2 + [(False, True)] * 2, confirm=2)[1] == ["raised", "cleared"]


def test_columns_only_grow_while_it_fires() -> None:
    first = move(FRESH, holds=True, clears=False, at=day(0), columns=["wind"])
    second = move(first, holds=True, clears=False, at=day(1), columns=["temp", "wind"])

    assert second.columns == ("wind", "temp")
    assert second.since == day(0)


def test_the_start_is_what_the_data_say() -> None:
    alarm = move(FRESH, holds=True, clears=False, at=day(3), since=day(2))

    assert (alarm.since, alarm.detected_at) == (day(2), day(3))


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=30), st.integers(1, 3))
def test_raised_and_cleared_alternate(steps: list[tuple[bool, bool]], confirm: int) -> None:
    alarm, told = after(steps, confirm=confirm)

    assert told == ["raised", "cleared"] * (len(told) // 2) + ["raised"] * (len(told) % 2)
    assert (alarm.state is AlarmState.FIRING) == (len(told) % 2 == 1)
    assert len(alarm.past) == told.count("cleared")
    assert all(period.end is not None and period.start <= period.end for period in alarm.past)


def test_stretches_of_past_and_open_firings() -> None:
    alarm, _ = after([(True, False), (False, True), (False, True), (True, False)])
    periods = unhealthy_periods([alarm])

    assert periods == [Period(start=day(0), end=day(1)), Period(start=day(3))]
    assert covers(periods, day(0), day(1))
    assert not covers(periods, day(1), day(3))
    assert covers(periods, day(9), day(10))
