"""Checks a feed against its own recent past: judges each column, moves the feed's alarm."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from loopwright.core.instants import duration, from_micros, to_micros
from loopwright.monitoring.alarms import move, unhealthy_periods
from loopwright.monitoring.feed_rows import FeedRows
from loopwright.monitoring.feeds import ColumnWindow, FeedSign, sign_of, stretch
from loopwright.monitoring.nouns import Alarm, AlarmState, ColumnSign, FeedWatch, Period

__all__ = ["judge", "last_strange", "next_alarm"]

_RECENT = 4
_MICROSECOND = timedelta(microseconds=1)


def judge(rows: FeedRows, watch: FeedWatch, alarm: Alarm, end: datetime) -> tuple[ColumnSign, ...]:
    """The sign of each column in the window that ends at `end`; incidents are left out of the reference.

    The newest quarter of the window is judged too, so that a break shows within hours: of the two the
    stronger sign stands. While the alarm fires the newest part alone is judged (as many rows as a verdict
    needs), so that it ends soon after a repair.
    """
    span = duration(watch.window)
    recent = end - span / _RECENT
    if alarm.state is not AlarmState.FIRING:
        whole = _signs(rows, watch, alarm, Period(start=end - span, end=end))
        newest = {sign.column: sign for sign in _signs(rows, watch, alarm, Period(start=recent, end=end))}
        return tuple(max(sign, newest.get(sign.column, sign), key=_strength) for sign in whole)
    enough = rows.time_of_newest(watch.limits.min_rows, end)
    begin = max(end - span, min(recent, enough or recent))
    return _signs(rows, watch, alarm, Period(start=begin, end=end))


def _strength(sign: ColumnSign) -> tuple[bool, float]:
    return sign.holds, sign.share / sign.limit


def last_strange(rows: FeedRows, watch: FeedWatch, alarm: Alarm, end: datetime) -> datetime | None:
    """When a firing alarm's columns were last strange, within its window; None when they were not."""
    signs = _signs(rows, watch, alarm, Period(start=end - duration(watch.window), end=end))
    found = [sign.until for sign in signs if sign.column in alarm.columns and sign.until is not None]
    return max(found, default=None)


def _signs(rows: FeedRows, watch: FeedWatch, alarm: Alarm, span: Period) -> tuple[ColumnSign, ...]:
    begin, end = to_micros(span.start), to_micros(span.end or span.start)
    first = to_micros(span.start - duration(watch.trailing))
    _check_told(rows, alarm, first, begin, end)
    healthy = _outside(rows.times_us, unhealthy_periods([alarm]))
    not_past = _outside(rows.times_us, alarm.past)
    low, mid, high = np.searchsorted(rows.times_us, [first, begin, end], side="right")
    reference = np.flatnonzero(healthy[low:mid]) + low
    window = np.flatnonzero(not_past[mid:high]) + mid
    stretches = (rows.times_us[reference] - begin - 1) // (end - begin)
    windows = watch.limits.min_windows * duration(watch.window) // ((end - begin) * _MICROSECOND)
    limits = replace(watch.limits, min_windows=windows)
    found = []
    for name in watch.columns:
        values = rows.columns[name]
        column = ColumnWindow(
            name=name,
            reference=values[reference],
            stretches=stretches,
            window=values[window],
            order=rows.order_of(name, reference),
            is_category=name in rows.categories,
        )
        sign = sign_of(column, limits)
        if sign is not None:
            found.append(_written(sign, rows.times_us[window]))
    return tuple(found)


def _check_told(rows: FeedRows, alarm: Alarm, first: int, begin: int, end: int) -> None:
    """Raise `NotTold` where the rows are stretches of time, and one is neither here nor there."""
    unhealthy = [*unhealthy_periods([alarm]), *alarm.past]
    starts = [to_micros(each.start) - 1 for each in unhealthy]
    ends = [to_micros(each.end) for each in unhealthy if each.end is not None]
    rows.check_cuts([first, begin, end, *starts, *ends])
    rows.check_grid(begin, end - begin, first)


def _outside(times_us: NDArray[np.int64], periods: Sequence[Period]) -> NDArray[np.bool_]:
    """Which rows lie in none of the stretches."""
    kept = np.ones(len(times_us), np.bool_)
    for period in periods:
        inside = times_us >= to_micros(period.start)
        if period.end is not None:
            inside &= times_us <= to_micros(period.end)
        kept &= ~inside
    return kept


def _written(sign: FeedSign, times_us: NDArray[np.int64]) -> ColumnSign:
    ends = stretch(sign.strange)
    since, until = (None, None) if ends is None else (from_micros(int(times_us[at])) for at in ends)
    return ColumnSign(
        column=sign.column,
        kind=sign.kind.value,
        share=sign.share,
        limit=sign.limit,
        n=sign.n,
        p_value=sign.p_value,
        holds=sign.holds,
        since=since,
        until=until,
    )


def next_alarm(alarm: Alarm, signs: Sequence[ColumnSign], at: datetime, min_rows: int) -> Alarm:
    """The feed's alarm after a check: raised at once, cleared when every column is well under its limit."""
    holding = [sign for sign in signs if sign.holds]
    calm = bool(signs) and all(sign.share <= sign.limit / 2 and sign.n >= min_rows for sign in signs)
    begun = [sign.since for sign in holding if sign.since is not None]
    return move(
        alarm,
        holds=bool(holding),
        clears=calm,
        at=at,
        since=min(begun, default=None),
        columns=[sign.column for sign in holding],
    )
