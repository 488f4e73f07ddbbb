"""Remembers between checks: alarms by fingerprint, and the counts of each window that was checked."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from loopwright.core.instants import format_instant, parse_instant
from loopwright.core.nouns import Json
from loopwright.engine.context import Context
from loopwright.monitoring.alarms import change_between
from loopwright.monitoring.drift import DayCounts
from loopwright.monitoring.nouns import Alarm
from loopwright.ports.ledger import Transaction

__all__ = ["alarm_of", "alarms_about", "checked_windows", "keep_alarm", "keep_window", "window_of"]

_ALARMS = "alarms"
_SECOND = timedelta(seconds=1)
"""keys are instants as text, and within a second text and time may differ in order"""


def alarm_of(ctx: Context, tx: Transaction, subject: str, cause: str) -> Alarm:
    """The alarm as it stands; one never raised is ok."""
    fresh = Alarm(subject=subject, cause=cause)
    body = tx.documents.get(ctx.space, _ALARMS, fresh.fingerprint)
    return fresh if body is None else msgspec.convert(body, Alarm)


def alarms_about(ctx: Context, tx: Transaction, subjects: Iterable[str]) -> list[Alarm]:
    """Every alarm about one of the subjects."""
    wanted = set(subjects)
    found = (msgspec.convert(body, Alarm) for body in tx.documents.all(ctx.space, _ALARMS).values())
    return [alarm for alarm in found if alarm.subject in wanted]


def keep_alarm(ctx: Context, tx: Transaction, before: Alarm, after: Alarm, evidence: Json) -> str:
    """Remember an alarm, journal its crossing into or out of firing; gives `raised`, `cleared` or nothing."""
    if after == before:
        return ""
    tx.documents.put(ctx.space, _ALARMS, after.fingerprint, msgspec.to_builtins(after))
    change = change_between(before, after)
    if not change:
        return ""
    told = after if change == "raised" else before
    payload: Json = {
        "fingerprint": after.fingerprint,
        "cause": after.cause,
        "columns": list(told.columns),
        "since": None if told.since is None else format_instant(told.since),
        "detected_at": None if told.detected_at is None else format_instant(told.detected_at),
        **evidence,
    }
    ctx.record(tx, f"alarm.{change}", after.subject, payload)
    return change


def checked_windows(
    ctx: Context, tx: Transaction, monitor: str, since: datetime, until: datetime
) -> dict[datetime, DayCounts]:
    """What the windows of a monitor that start in `[since, until)` counted, by their start."""
    first, end = format_instant(since - _SECOND), format_instant(until + _SECOND)
    found = tx.documents.all(ctx.space, _windows(monitor), start=first, end=end)
    at = {parse_instant(key): body for key, body in found.items()}
    return {start: msgspec.convert(body, DayCounts) for start, body in at.items() if since <= start < until}


def window_of(ctx: Context, tx: Transaction, monitor: str, start: datetime) -> DayCounts | None:
    """What the window that starts then counted, None when it was never checked."""
    body = tx.documents.get(ctx.space, _windows(monitor), format_instant(start))
    return None if body is None else msgspec.convert(body, DayCounts)


def keep_window(ctx: Context, tx: Transaction, monitor: str, start: datetime, counts: DayCounts) -> None:
    """Remember what a window counted; a window checked again is replaced."""
    tx.documents.put(ctx.space, _windows(monitor), format_instant(start), msgspec.to_builtins(counts))


def _windows(monitor: str) -> str:
    return f"monitor/{monitor}"
