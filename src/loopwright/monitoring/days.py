"""Checks a window of predictions: quality by the labels known, drift of inputs, signals, the drift alarm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from loopwright.core.digests import digest_value
from loopwright.core.instants import duration
from loopwright.engine.context import Context
from loopwright.monitoring.alarms import covers, move, unhealthy_periods
from loopwright.monitoring.drift import ColumnBins, DayCounts, compare, count_day
from loopwright.monitoring.labels import join_labels
from loopwright.monitoring.nouns import Alarm, AlarmState, DayReport, Monitor, Period, Quality
from loopwright.monitoring.quality import quality
from loopwright.monitoring.readings import signals_of
from loopwright.monitoring.state import (
    alarm_of,
    alarms_about,
    checked_windows,
    keep_alarm,
    keep_window,
    window_of,
)
from loopwright.ports.ledger import Transaction
from loopwright.serving.history import predictions

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["check_window"]

_SCORE = "score"
_NOTHING = quality("live", np.zeros(0), np.zeros(0))
_MIN_SLICE = 50


class _Window:
    """The predictions of a window with what is known of them, as arrays of one length."""

    def __init__(self, table: pa.Table, labels: NDArray[np.float64]) -> None:
        self._table = table
        self.scores = _floats(table, _SCORE)
        self.labels = labels
        self.versions = table["model_version"].to_numpy()
        names, codes = coded(table["variant"])
        self.variants = np.array(names, dtype=np.str_)[codes]
        self.is_live = self.variants == "live"

    def quality(self, group: str, chosen: NDArray[np.bool_]) -> Quality:
        return quality(group, self.scores[chosen], self.labels[chosen])

    def groups(self, slices: Sequence[str]) -> list[Quality]:
        """By version and variant, then by the levels of each slice column among the live ones."""
        found = []
        for version in np.unique(self.versions):
            for variant in np.unique(self.variants[self.versions == version]):
                name = f"version {version}" if variant == "live" else f"version {version} {variant}"
                found.append(self.quality(name, (self.versions == version) & (self.variants == variant)))
        for column in slices:
            found += self._slice(column)
        return found

    def _slice(self, column: str) -> list[Quality]:
        name = f"in_{column}"
        if name not in self._table.column_names:
            return []
        levels, codes = coded(self._table[name])
        counts = np.bincount(codes[self.is_live], minlength=len(levels))
        return [
            self.quality(f"{column} {level}", (codes == code) & self.is_live)
            for level, code in sorted((level, code) for code, level in enumerate(levels))
            if counts[code] >= _MIN_SLICE
        ]

    def columns(self, bins: Sequence[ColumnBins]) -> dict[str, NDArray[np.float64]]:
        """The live rows' inputs and score, as far as they are logged."""
        names = {each.column: _SCORE if each.column == _SCORE else f"x_{each.column}" for each in bins}
        there = set(self._table.column_names)
        return {
            column: _floats(self._table, name)[self.is_live]
            for column, name in names.items()
            if name in there
        }


def coded(values: pa.ChunkedArray) -> tuple[list[str], NDArray[np.int64]]:
    """The levels of a column as text, in order of appearance, and the place of each row's level `(n,)`."""
    import pyarrow.compute as pc

    found = pc.dictionary_encode(values, null_encoding="encode").combine_chunks()
    levels = [str(level) for level in found.dictionary.to_pylist()]
    return levels, np.asarray(found.indices.to_numpy(), dtype=np.int64)


def _floats(table: pa.Table, name: str) -> NDArray[np.float64]:
    found: NDArray[np.float64] = table[name].to_numpy().astype(np.float64, copy=False)
    return found


def check_window(
    ctx: Context, name: str, monitor: Monitor, bins: Sequence[ColumnBins], span: Period
) -> DayReport:
    """Check the predictions of `[start, end)`, write signals, move the drift alarm at the first check."""
    end = span.end or ctx.now()
    window = _read_window(ctx, monitor, span.start, end)
    live, groups = _NOTHING, list[Quality]()
    counts: dict[str, tuple[int, ...]] = {}
    if window is not None:
        live, groups = window.quality("live", window.is_live), window.groups(monitor.slices)
        counts = count_day(bins, window.columns(bins))

    with ctx.read() as tx:
        since = span.start - duration(monitor.trailing)
        windows = checked_windows(ctx, tx, name, since, span.start)
        feeds = alarms_about(ctx, tx, [f"dataset:{feed.dataset}" for feed in monitor.feeds])
    report = DayReport(
        monitor=name,
        endpoint=monitor.endpoint,
        start=span.start,
        end=end,
        checked_at=ctx.now(),
        live=live,
        groups=tuple(groups),
        drift=compare(counts, _healthy(windows, feeds, monitor), monitor.drift),
        suppressed_by=_firing_during(feeds, span.start, end),
    )

    def work(tx: Transaction) -> DayReport:
        before, counted = window_of(ctx, tx, name, span.start), _counted(report, counts)
        keep_window(ctx, tx, name, span.start, counted)
        # most of a window's signals are of drift, which more labels do not change
        is_news = before is None or before.told != counted.told
        tx.signals.add(signals_of(ctx, report, drift=is_news))
        return replace(report, drift_alarm=_alarm(ctx, tx, report, monitor, is_first=before is None))

    return ctx.write(work)


def _counted(report: DayReport, counts: dict[str, tuple[int, ...]]) -> DayCounts:
    return DayCounts(
        counts=counts,
        index={each.column: each.stability_index for each in report.drift},
        drifted=tuple(each.column for each in report.drift if each.drifted),
        predictions=report.live.predictions,
        labelled=report.live.labelled,
        checked_at=report.checked_at,
        told=digest_value(msgspec.to_builtins(report.drift)),
    )


def _read_window(ctx: Context, monitor: Monitor, start: datetime, end: datetime) -> _Window | None:
    table = predictions(ctx, monitor.endpoint, start, end)
    if table.num_rows == 0:
        return None
    return _Window(table, join_labels(ctx, monitor.labels, table["prediction_id"], start, ctx.now()))


def _healthy(
    windows: Mapping[datetime, DayCounts], feeds: Sequence[Alarm], monitor: Monitor
) -> list[DayCounts]:
    """Those of the trailing windows that no incident of a feed touches, oldest first."""
    every, periods = duration(monitor.every), unhealthy_periods(feeds)
    return [
        windows[at] for at in sorted(windows) if windows[at].counts and not covers(periods, at, at + every)
    ]


def _firing_during(feeds: Sequence[Alarm], start: datetime, end: datetime) -> tuple[str, ...]:
    return tuple(alarm.subject for alarm in feeds if covers(unhealthy_periods([alarm]), start, end))


def _alarm(
    ctx: Context, tx: Transaction, report: DayReport, monitor: Monitor, *, is_first: bool
) -> Alarm | None:
    """The drift alarm after this check; drift that a firing feed explains moves nothing."""
    before = alarm_of(ctx, tx, f"endpoint:{report.endpoint}", "drift")
    drifted = [each.column for each in report.drift if each.drifted]
    after = before
    if is_first and report.drift and not report.suppressed_by:
        after = move(
            before,
            holds=bool(drifted),
            clears=not drifted,
            at=report.end,
            since=report.start,
            columns=drifted,
            confirm=monitor.drift.confirm,
        )
    said = f"{len(drifted)} of {len(report.drift)} inputs left their range of healthy days"
    keep_alarm(ctx, tx, before, after, {"monitor": report.monitor, "said": said})
    return None if after.state is AlarmState.OK else after
