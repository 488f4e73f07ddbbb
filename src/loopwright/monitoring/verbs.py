"""Use cases of monitoring: define, take labels in, check days, feeds and skew, list, show and report."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from loopwright.core.addresses import Address, AssetName
from loopwright.core.errors import Invalid
from loopwright.core.instants import duration, format_instant, from_micros, to_micros
from loopwright.core.nouns import Json, Signal, Version
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.features.nouns import Purpose
from loopwright.monitoring.days import check_window
from loopwright.monitoring.definitions import keep, load, rows_read, watch_of
from loopwright.monitoring.drift import DayCounts
from loopwright.monitoring.feed_rows import FeedRows, NotTold, feed_of, read_whole, stretched
from loopwright.monitoring.labels import label_table, record
from loopwright.monitoring.nouns import (
    MONITOR,
    AlarmState,
    ColumnSign,
    DayReport,
    FeedReport,
    FeedWatch,
    Monitor,
    MonitorView,
    Period,
    SkewReport,
    labels_stream,
)
from loopwright.monitoring.readings import signal_of_skew, signals_of_feed
from loopwright.monitoring.skew import measure_skew
from loopwright.monitoring.state import alarm_of, alarms_about, checked_windows, keep_alarm
from loopwright.monitoring.usage import FeatureUse, uses_of
from loopwright.monitoring.watching import judge, last_strange, next_alarm
from loopwright.ports.ledger import Page, PageRequest, Segment, Transaction
from loopwright.serving.nouns import stream_of
from loopwright.serving.verbs import config_of

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "LabelRow",
    "LabelsTaken",
    "check",
    "check_day",
    "check_feed",
    "define",
    "labels",
    "monitors",
    "record_labels",
    "show",
    "signals",
    "skew",
    "usage",
]

_LABEL_LIMIT = 100_000
_SETTLES = timedelta(days=7)
_NEWEST = 5_000
_SAID = {
    "levels": "{:.0%} of the rows hold values never seen",
    "range": "{:.0%} of the rows are far out of range",
    "missing": "{:.0%} of the rows have no value",
}


class LabelRow(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one prediction; `known_at` is now when it is left out."""

    prediction_id: str
    label: float
    known_at: datetime | None = None


class LabelsTaken(msgspec.Struct, frozen=True, kw_only=True):
    """How many labels were kept."""

    labels: str
    rows: int


@operation("monitoring.define", scope="monitor:write", route="PUT /monitors/{name}")
def define(ctx: Context, name: AssetName, monitor: Monitor) -> Version:
    """Say what is watched about an endpoint; the reference's profile fixes the bins of every input for good.

    Its rows are read where it has no profile: `read_rows` of `monitoring show` says which, and why.
    """
    return keep(ctx, name, monitor)


def record_labels(ctx: Context, name: str, table: pa.Table) -> Segment | None:
    """Keep labels: columns `prediction_id`, `label`, `known_at` (instant), without nulls; None without rows.

    The same labels twice are one; a label known later replaces an earlier one of its prediction.
    """
    return record(ctx, name, table)


@operation("monitoring.labels", scope="label:write", route="POST /labels/{name}")
def labels(ctx: Context, name: AssetName, rows: tuple[LabelRow, ...]) -> LabelsTaken:
    """Say how predictions turned out."""
    if len(rows) > _LABEL_LIMIT:
        raise Invalid(f"{len(rows):,} labels are too many at once", hint=f"send at most {_LABEL_LIMIT:,}")
    now = ctx.now()
    table = label_table(
        [row.prediction_id for row in rows],
        [row.label for row in rows],
        [row.known_at or now for row in rows],
    )
    record(ctx, name, table)
    return LabelsTaken(labels=name, rows=len(rows))


def check_day(ctx: Context, name: str, start: datetime, end: datetime) -> DayReport:
    """Check the predictions of `[start, end)` by the labels known now, and write what was found as signals.

    A window may be checked again when more labels are known: that gives new signals; the drift alarm
    moves at the first check alone.
    """
    if end <= start:
        raise Invalid("the window ends before it starts", hint="give start and end in order")
    found = load(ctx, name)
    return check_window(ctx, name, found.monitor, found.bins, Period(start=start, end=end))


@operation("monitoring.check", scope="monitor:run", route="POST /monitors/{name}/check")
def check(ctx: Context, name: AssetName) -> tuple[DayReport, ...]:
    """Check every window that has ended: new ones, and those that labels arrived for since their check."""
    found = load(ctx, name)
    every = duration(found.monitor.every)
    return tuple(
        check_window(ctx, name, found.monitor, found.bins, Period(start=start, end=start + every))
        for start in _due(ctx, name, found.monitor)
    )


def _due(ctx: Context, name: str, monitor: Monitor) -> list[datetime]:
    """Starts of the windows to check now, oldest first."""
    every, now = duration(monitor.every), ctx.now()
    with ctx.read() as tx:
        asked = tx.segments.between(ctx.space, stream_of(monitor.endpoint), None, None)
        told = tx.segments.between(ctx.space, labels_stream(monitor.labels), None, None)
    if not asked:
        return []
    newest = max((segment.created_at for segment in told), default=None)
    first = _aligned(min(segment.start for segment in asked), every)
    with ctx.read() as tx:
        done = checked_windows(ctx, tx, name, first, now)
    starts = [first + every * step for step in range((now - first) // every)]
    return [
        start
        for start in starts
        if start not in done or (now - start < every + _SETTLES and _may_have_grown(done[start], newest))
    ]


def _may_have_grown(before: DayCounts, newest_label: datetime | None) -> bool:
    if newest_label is None or before.checked_at is None or before.labelled >= before.predictions:
        return False
    return newest_label >= before.checked_at


def _aligned(at: datetime, every: timedelta) -> datetime:
    step = every // timedelta(microseconds=1)
    return from_micros(to_micros(at) // step * step)


def check_feed(
    ctx: Context, name: str, dataset: str, *, end: datetime | None = None, rows: pa.Table | None = None
) -> FeedReport:
    """Hold the newest window of a watched dataset against its trailing past; raise or clear its alarm.

    `rows` are the dataset's rows where the caller has them at hand: at least the window and the trailing
    time before it. Without them the counts by stretch of time beside the dataset's parts are read, and its
    rows only where these do not prove the answer: `read_rows` says why. Raised at once, cleared when the
    newest quarter of the window is healthy throughout.
    """
    watch = watch_of(name, load(ctx, name).monitor, dataset)
    until = end or ctx.now()
    if rows is None:
        try:
            return _checked(ctx, name, watch, until, stretched(ctx, watch, until))
        except NotTold as why:
            return _checked(ctx, name, watch, until, (read_whole(ctx, watch, until), str(why)))
    time = feed_of(ctx, watch).time
    return _checked(ctx, name, watch, until, (FeedRows.read(rows, time, watch.columns), ""))


def _checked(
    ctx: Context, name: str, watch: FeedWatch, until: datetime, told: tuple[FeedRows, str]
) -> FeedReport:
    """The feed judged, and its alarm moved; `NotTold` where rows by stretches do not prove the answer."""
    feed, because = told
    start = until - duration(watch.window)
    subject = str(Address(kind="dataset", name=watch.dataset))
    with ctx.read() as tx:
        seen = alarm_of(ctx, tx, subject, "feed")
    judged = judge(feed, watch, seen, until)

    def work(tx: Transaction) -> FeedReport:
        before = alarm_of(ctx, tx, subject, "feed")
        signs = judged if before == seen else judge(feed, watch, before, until)
        after = next_alarm(before, signs, until, watch.limits.min_rows)
        clearing = before.state is AlarmState.FIRING and after.state is not AlarmState.FIRING
        ended = last_strange(feed, watch, before, until) if clearing else None
        change = keep_alarm(ctx, tx, before, after, _told(name, signs, ended))
        tx.signals.add(signals_of_feed(ctx, subject, signs, start, until))
        return FeedReport(
            dataset=watch.dataset,
            checked_at=ctx.now(),
            start=start,
            end=until,
            rows=feed.count(start, until),
            reference_rows=feed.count(start - duration(watch.trailing), start),
            signs=signs,
            alarm=before if change == "cleared" else after,
            change=change,
            read_rows=because,
        )

    return ctx.write(work)


def _told(name: str, signs: Sequence[ColumnSign], ended: datetime | None) -> Json:
    """What the alarm's event says of a feed: kinds and shares by column, never values."""
    holding = [sign for sign in signs if sign.holds]
    said = "; ".join(f"{sign.column}: {_SAID[sign.kind].format(sign.share)}" for sign in holding)
    return {
        "monitor": name,
        "kinds": {sign.column: sign.kind for sign in holding},
        "said": said,
        "until": None if ended is None else format_instant(ended),
    }


def skew(ctx: Context, endpoint: str, start: datetime, end: datetime, *, purpose: str = "") -> SkewReport:
    """Compare the vectors logged in `[start, end)` with those the offline join gives, bit by bit."""
    return measure_skew(ctx, endpoint, config_of(ctx, endpoint).model, start, end, purpose=purpose)


@operation("monitoring.skew", scope="monitor:run", route="POST /endpoints/{endpoint}/skew")
def skew_between(
    ctx: Context, endpoint: AssetName, start: datetime, end: datetime, *, purpose: Purpose = ""
) -> SkewReport:
    """Compare an endpoint's logged vectors of a stretch with the offline join at the same instants.

    The share that differs is kept as the endpoint's signal `skew`. Columns are read for the purpose.
    """
    if end <= start or end - start > timedelta(days=31):
        raise Invalid("the stretch is empty or longer than 31 days", hint="compare a month at a time")
    found = skew(ctx, endpoint, start, end, purpose=purpose)
    signal = signal_of_skew(ctx, found)
    ctx.write(lambda tx: tx.signals.add([signal]))
    return found


@operation("monitoring.usage", scope="monitor:read", route="GET /features/views/{name}/usage")
def usage(
    ctx: Context, name: AssetName, *, until: datetime | None = None, purpose: Purpose = ""
) -> tuple[FeatureUse, ...]:
    """Show where a feature view is used, with the shares of its values in training and as served.

    Of inputs that may not be read for the purpose no shares are told, and whom to ask (`withheld`).
    """
    return uses_of(ctx, name, until or ctx.now(), purpose)


@operation("monitoring.list", scope="monitor:read", route="GET /monitors")
def monitors(ctx: Context, *, limit: int = 100, token: str = "") -> Page[MonitorView]:
    """List monitors with what they are firing about."""
    if not 1 <= limit <= 1000:
        raise Invalid(f"limit {limit} is out of range", hint="ask for 1 to 1000 monitors")
    with ctx.read() as tx:
        page = tx.assets.page(ctx.space, MONITOR, PageRequest(limit=limit, token=token))
    return Page(items=tuple(_view(ctx, asset.name) for asset in page.items), next_token=page.next_token)


@operation("monitoring.show", scope="monitor:read", route="GET /monitors/{name}")
def show(ctx: Context, name: AssetName) -> MonitorView:
    """Show a monitor, what it is firing about, and its newest readings."""
    return _view(ctx, name)


def _view(ctx: Context, name: str) -> MonitorView:
    found = load(ctx, name)
    subject = f"endpoint:{found.monitor.endpoint}"
    subjects = [subject, *(f"dataset:{watch.dataset}" for watch in found.monitor.feeds)]
    with ctx.read() as tx:
        alarms = alarms_about(ctx, tx, subjects)
        newest = {signal.name: signal for signal in tx.signals.window(ctx.space, subject, limit=_NEWEST)}
    return MonitorView(
        name=name,
        version=found.version.number,
        monitor=found.monitor,
        alarms=tuple(alarm for alarm in alarms if alarm.state is AlarmState.FIRING),
        newest=newest,
        read_rows=rows_read(ctx, found),
    )


@operation("monitoring.signals", scope="monitor:read", route="GET /monitors/{name}/signals/{signal}")
def signals(
    ctx: Context, name: AssetName, signal: str, *, start: datetime | None = None
) -> tuple[Signal, ...]:
    """List one measurement of a monitor's endpoint over time: of each window its newest value."""
    endpoint = load(ctx, name).monitor.endpoint
    with ctx.read() as tx:
        found = tx.signals.window(ctx.space, f"endpoint:{endpoint}", name=signal, start=start)
    newest = {each.window_start: each for each in found}
    return tuple(newest[at] for at in sorted(newest, key=lambda at: (at is not None, at)))


@operation("monitoring.report", scope="monitor:read", route="GET /monitors/{name}/report")
def report(ctx: Context, name: AssetName, *, at: datetime | None = None) -> tuple[Signal, ...]:
    """Show all measurements of the window that holds an instant (the newest window, when none is given)."""
    endpoint = load(ctx, name).monitor.endpoint
    with ctx.read() as tx:
        found = tx.signals.window(ctx.space, f"endpoint:{endpoint}", start=at, limit=_NEWEST)
    held = [each for each in found if each.window_start is not None and _holds(each, at)]
    if not held:
        return ()
    newest = max(each.window_start for each in held if each.window_start is not None)
    chosen = {each.name: each for each in held if each.window_start == newest}
    return tuple(chosen.values())


def _holds(signal: Signal, at: datetime | None) -> bool:
    if at is None or signal.window_start is None or signal.window_end is None:
        return at is None
    return signal.window_start <= at < signal.window_end
