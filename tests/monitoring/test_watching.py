"""A feed under watch: its alarm, since when, until when, and what is left out of the reference afterwards."""

from __future__ import annotations

from datetime import timedelta

import pytest

from loopwright.core.errors import Invalid
from loopwright.core.nouns import Event
from loopwright.engine.operation import reactors_in
from loopwright.monitoring import react
from loopwright.monitoring.nouns import AlarmState, FeedReport, Period
from loopwright.monitoring.verbs import check_feed, show
from tests.monitoring.watched import DAY, MONITOR, START, Watched

HOUR = timedelta(hours=1)


def checked(watched: Watched, hours: int) -> FeedReport:
    """The feed checked so many hours after the start."""
    watched.clock.set(START + hours * HOUR)
    return check_feed(watched.ctx, MONITOR, "weather")


def run(watched: Watched, first: int, last: int, **changed: object) -> list[FeedReport]:
    """Six hours of feed at a time from hour to hour, each followed by a check."""
    found = []
    for hour in range(first, last, 6):
        watched.wind.append_hours(START + hour * HOUR, 6, **changed)  # type: ignore[arg-type]  # passed through
        found.append(checked(watched, hour + 6))
    return found


def test_a_healthy_feed_is_left_alone() -> None:
    watched = Watched()
    found = run(watched, 0, 10 * 24)

    assert {report.alarm.state for report in found} == {AlarmState.OK}
    assert watched.events("alarm.raised") == []
    assert found[-1].rows == 23  # later than 24 hours ago, until now
    assert found[-1].reference_rows == 60 * 24
    assert {sign.column for sign in found[-1].signs} == {"wind", "temp", "station"}


def test_a_switched_unit_is_found_within_a_day_and_ends_soon_after_the_repair() -> None:
    watched = Watched()
    run(watched, 0, 24)
    during = run(watched, 24, 24 + 48, in_knots=True)
    after = run(watched, 72, 72 + 48)

    raised = [report for report in during if report.change == "raised"]
    assert len(raised) == 1
    assert raised[0].end - (START + DAY) <= timedelta(hours=24)
    assert raised[0].alarm.columns == ("wind",)
    since = raised[0].alarm.since
    assert since is not None
    assert abs(since - (START + DAY)) <= 2 * HOUR
    assert [report.alarm.state for report in during[during.index(raised[0]) :]].count(AlarmState.FIRING) >= 6

    cleared = [report for report in after if report.change == "cleared"]
    assert len(cleared) == 1
    assert cleared[0].end - (START + 3 * DAY) <= timedelta(hours=12)
    assert [report.change for report in after].count("raised") == 0


def told(watched: Watched, kind: str) -> Event:
    events = watched.events(kind)
    assert len(events) == 1
    return events[0]


def test_the_journal_says_what_since_when_and_until_when() -> None:
    watched = Watched()
    run(watched, 0, 24)
    run(watched, 24, 72, in_knots=True)
    run(watched, 72, 120)

    raised, cleared = told(watched, "alarm.raised"), told(watched, "alarm.cleared")
    assert raised.subject == cleared.subject == "dataset:weather"
    assert raised.payload["fingerprint"] == cleared.payload["fingerprint"] == "dataset:weather/feed"
    assert raised.payload["columns"] == ["wind"]
    assert raised.payload["kinds"] == {"wind": "levels"}
    assert "of the rows hold values never seen" in raised.payload["said"]
    assert cleared.payload["columns"] == ["wind"]
    assert "2013-07-03T20:00:00Z" <= cleared.payload["until"] <= "2013-07-04T01:00:00Z"
    shares = watched.signals("dataset:weather", "strange.wind")
    assert max(signal.value for signal in shares) > 0.9
    assert {signal.facts["kind"] for signal in shares} <= {"levels", "range", "missing"}


def test_the_same_break_again_is_found_again() -> None:
    watched = Watched()
    run(watched, 0, 24)
    run(watched, 24, 72, in_knots=True)
    run(watched, 72, 144)
    again = run(watched, 144, 192, in_knots=True)

    assert [report.change for report in again].count("raised") == 1
    assert len(watched.events("alarm.raised")) == 2
    assert len(again[-1].alarm.past) == 1


def test_a_new_station_is_a_new_level() -> None:
    watched = Watched()
    run(watched, 0, 24)
    found = run(watched, 24, 48, station="Newark")

    raised = [report for report in found if report.change == "raised"]
    assert raised
    assert raised[0].alarm.columns == ("station",)


def test_a_firing_feed_is_shown_and_keeps_drift_quiet() -> None:
    watched = Watched()
    for day in range(16):
        watched.ask(day)
        watched.wind.append_days(day, day + 1)
        watched.check(day)
        checked(watched, 24 * (day + 1))
    states = []
    for day in range(16, 19):
        watched.ask(day, distance=1600.0)
        watched.wind.append_days(day, day + 1, in_knots=True)
        checked(watched, 24 * (day + 1))
        found = watched.check(day)
        states.append((found.suppressed_by, any(each.drifted for each in found.drift), found.drift_alarm))

    assert states == [(("dataset:weather",), True, None)] * 3
    assert [alarm.cause for alarm in show(watched.ctx, MONITOR).alarms] == ["feed"]


def test_a_dataset_that_grows_is_checked_by_the_reactor() -> None:
    watched = Watched()
    watched.clock.set(START + 2 * DAY)
    watched.wind.append_days(0, 1)
    watched.wind.append_days(1, 2, in_knots=True)
    reactor = reactors_in([react])[0]
    published = [event for event in watched.events("version.published") if reactor.wants(event)]
    for event in published:
        reactor.function(watched.ctx, event)

    assert len(watched.events("alarm.raised")) == 1
    with watched.ctx.read() as tx:
        assert len(tx.documents.all("default", "alarms")) == 1


def test_a_dataset_that_is_not_watched_is_refused() -> None:
    with pytest.raises(Invalid, match="does not watch 'planes'"):
        check_feed(Watched().ctx, MONITOR, "planes")


def test_rows_at_hand_are_judged_as_those_of_the_dataset() -> None:
    watched = Watched()
    run(watched, 0, 24)
    watched.wind.append_hours(START + DAY, 24, in_knots=True)
    watched.clock.set(START + 2 * DAY)
    first = check_feed(watched.ctx, MONITOR, "weather")
    assert first.change == "raised"
    assert first.alarm.past == ()
    assert first.start == START + DAY
    assert Period(start=first.start).end is None
