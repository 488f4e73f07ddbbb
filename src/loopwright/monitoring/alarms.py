"""Moves alarms: ok, pending, firing and back; one alarm for one cause at one subject."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from msgspec.structs import replace

from loopwright.monitoring.nouns import Alarm, AlarmState, Period

__all__ = ["change_between", "covers", "move", "unhealthy_periods"]


def move(
    alarm: Alarm,
    *,
    holds: bool,
    clears: bool,
    at: datetime,
    since: datetime | None = None,
    columns: Sequence[str] = (),
    confirm: int = 1,
) -> Alarm:
    """The alarm after a check.

    It fires after `confirm` checks in a row that held and ends after `confirm` in a row that cleared; what is
    neither changes nothing (hysteresis). While it fires its columns only grow and its start stays.
    """
    if alarm.state is AlarmState.FIRING:
        return _while_firing(alarm, clears and not holds, at, columns if holds else (), confirm)
    if not holds:
        return replace(alarm, state=AlarmState.OK, since=None, detected_at=None, columns=(), agreeing=0)
    agreeing = alarm.agreeing + 1
    began = alarm.since or since or at
    fires = agreeing >= confirm
    return replace(
        alarm,
        state=AlarmState.FIRING if fires else AlarmState.PENDING,
        since=min(began, since) if since else began,
        detected_at=at if fires else None,
        columns=_joined(alarm.columns, columns),
        agreeing=0 if fires else agreeing,
    )


def _while_firing(alarm: Alarm, clears: bool, at: datetime, columns: Sequence[str], confirm: int) -> Alarm:
    agreeing = alarm.agreeing + 1 if clears else 0
    if agreeing < confirm or alarm.since is None:
        return replace(alarm, agreeing=agreeing, columns=_joined(alarm.columns, columns))
    past = (*alarm.past, Period(start=alarm.since, end=at))
    return Alarm(subject=alarm.subject, cause=alarm.cause, past=past)


def _joined(first: Sequence[str], second: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))


def change_between(before: Alarm, after: Alarm) -> str:
    """`raised` or `cleared` where the move crossed into or out of firing, else nothing."""
    was, is_ = before.state is AlarmState.FIRING, after.state is AlarmState.FIRING
    if was == is_:
        return ""
    return "raised" if is_ else "cleared"


def unhealthy_periods(alarms: Iterable[Alarm]) -> list[Period]:
    """All stretches in which one of the alarms fired, the open ones too."""
    periods: list[Period] = []
    for alarm in alarms:
        periods += alarm.past
        if alarm.state is not AlarmState.OK and alarm.since is not None:
            periods.append(Period(start=alarm.since))
    return periods


def covers(periods: Iterable[Period], start: datetime, end: datetime) -> bool:
    """Whether any of the stretches touches `[start, end)`."""
    return any(period.start < end and (period.end is None or period.end > start) for period in periods)
