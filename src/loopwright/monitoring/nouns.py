"""What monitoring speaks of: monitors, watched feeds, and the reports of a day, a feed and skew."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from loopwright.core.nouns import Signal

__all__ = [
    "MONITOR",
    "Alarm",
    "AlarmState",
    "ColumnDrift",
    "ColumnSign",
    "DayReport",
    "DriftLimits",
    "FeatureSkew",
    "FeedLimits",
    "FeedReport",
    "FeedWatch",
    "Monitor",
    "MonitorView",
    "Period",
    "Quality",
    "Reading",
    "RowsRead",
    "SkewReport",
    "labels_stream",
]

MONITOR = "monitor"
"""the kind of asset"""


class DriftLimits(msgspec.Struct, frozen=True, kw_only=True):
    """When an input is called drifted: an effect floor and a significance on healthy days, both needed."""

    floor: float = 0.1
    """least population stability index that counts"""
    rate: float = 0.001
    """false discovery rate over all columns of a check (Benjamini and Hochberg)"""
    min_days: int = 7
    """healthy days needed in the trailing reference"""
    confirm: int = 2
    """checks in a row that must agree before an alarm is raised, and before it is cleared"""


class FeedLimits(msgspec.Struct, frozen=True, kw_only=True):
    """When a column is called changed: an effect floor and a significance, both needed."""

    floor: float = 0.25
    """least share of a window's values that must be new levels, or missing more than usual"""
    range_floor: float = 0.5
    """least share of a window's values that must be far out of range"""
    quantised: float = 0.03
    """a column has levels to go by when at most this share of the reference occurs in one stretch only"""
    factor: float = 2.0
    """and at least so many times that of the strangest stretch of the reference as long as the window"""
    margin: float = 0.5
    """how far outside the reference's range is far, in widths of its middle 90 percent"""
    alpha: float = 1e-6
    """greatest chance of so many strange values were every row as likely strange as on the strangest day"""
    min_rows: int = 12
    min_windows: int = 14
    """how many windows long the reference has to be"""


class FeedWatch(msgspec.Struct, frozen=True, kw_only=True):
    """Columns of a dataset that are held against their own recent past, hours after they arrive."""

    dataset: str
    columns: tuple[str, ...]
    window: str = "1d"
    trailing: str = "90d"
    limits: FeedLimits = FeedLimits()


class Monitor(msgspec.Struct, frozen=True, kw_only=True):
    """What is watched about an endpoint; the body of a `monitor` version."""

    endpoint: str
    labels: str
    """name of the labels: stream `labels/<name>`"""
    reference: str
    """address of the dataset version whose profile fixes the bins of every input, once and for all"""
    every: str = "1d"
    trailing: str = "28d"
    slices: tuple[str, ...] = ()
    """request columns whose levels are judged apart"""
    feeds: tuple[FeedWatch, ...] = ()
    drift: DriftLimits = DriftLimits()


class RowsRead(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that are read although profiles are what drift is judged by: which, and why."""

    what: str
    because: str


class MonitorView(msgspec.Struct, frozen=True, kw_only=True):
    """A monitor, what it is firing about, and its newest readings by name."""

    name: str
    version: int
    monitor: Monitor
    alarms: tuple[Alarm, ...]
    newest: dict[str, Signal]
    read_rows: tuple[RowsRead, ...] = ()
    """for what rows of datasets are read, and why; all else comes of profiles and of counts"""


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of time; `end` is None while it lasts."""

    start: datetime
    end: datetime | None = None


class AlarmState(StrEnum):
    """Where an alarm stands."""

    OK = "ok"
    PENDING = "pending"
    FIRING = "firing"


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """One cause at one subject: state, since when, which columns, and its past firings."""

    subject: str
    cause: str
    """feed, drift, performance, calibration"""
    state: AlarmState = AlarmState.OK
    since: datetime | None = None
    """when what it is about began, as far as the data say"""
    detected_at: datetime | None = None
    columns: tuple[str, ...] = ()
    agreeing: int = 0
    """checks in a row that spoke for a change of state"""
    past: tuple[Period, ...] = ()

    @property
    def fingerprint(self) -> str:
        """What makes two alarms the same."""
        return f"{self.subject}/{self.cause}"


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A number with its interval and rows, or why there is none."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    absent: str = ""


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """How good a group's predictions turned out, by the labels known so far."""

    group: str
    """`live`, `version 3`, `version 4 shadow`, `origin EWR`"""
    predictions: int
    labelled: int
    mean_score: float | None
    mean_label: float | None
    roc_auc: Reading
    roc_auc_expected: Reading
    """what the scores foretell: a realised AUC near it speaks of harder rows, not of a worse model"""
    brier: Reading
    calibration_error: Reading
    calibration_gap: Reading
    """mean score minus mean label: above 0 the model promises too much"""

    @property
    def labelled_share(self) -> float:
        """Share of the predictions whose label is known."""
        return self.labelled / self.predictions if self.predictions else 0.0


class ColumnDrift(msgspec.Struct, frozen=True, kw_only=True):
    """One input of a day against the trailing healthy days."""

    column: str
    stability_index: float
    p_value: float | None
    """against the column's own index on healthy days; None while there are too few"""
    missing_share: float
    n: int
    reference_days: int
    drifted: bool


class DayReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a check of a window of predictions found."""

    monitor: str
    endpoint: str
    start: datetime
    end: datetime
    checked_at: datetime
    live: Quality
    groups: tuple[Quality, ...]
    drift: tuple[ColumnDrift, ...]
    drift_alarm: Alarm | None = None
    suppressed_by: tuple[str, ...] = ()
    """feeds that fire at the time: drift they explain is reported and raises no alarm of its own"""


class ColumnSign(msgspec.Struct, frozen=True, kw_only=True):
    """What a feed's column shows: its strangest kind of sign, the share of rows, and the limit."""

    column: str
    kind: str
    share: float
    limit: float
    n: int
    p_value: float
    holds: bool
    since: datetime | None = None
    """the first row of the stretch of strange ones, where there is one"""
    until: datetime | None = None
    """its last row"""


class FeedReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a check of a feed found; `change` says whether this check raised or cleared its alarm."""

    dataset: str
    checked_at: datetime
    start: datetime
    end: datetime
    rows: int
    reference_rows: int
    signs: tuple[ColumnSign, ...]
    alarm: Alarm
    change: str = ""
    """`raised`, `cleared` or nothing"""
    read_rows: str = ""
    """why rows were read; empty: counts by stretch of time told all, or rows were given"""


class FeatureSkew(msgspec.Struct, frozen=True, kw_only=True):
    """An input whose logged vectors are not those of the offline join."""

    feature: str
    mismatches: int
    largest: float | None
    """greatest absolute difference where both are numbers"""
    first: tuple[str, ...]
    """ids of the first predictions that differ"""


class SkewReport(msgspec.Struct, frozen=True, kw_only=True):
    """Logged vectors against the offline join at the same instants, compared bit by bit."""

    endpoint: str
    start: datetime
    end: datetime
    rows: int
    values: int
    mismatches: int
    features: tuple[FeatureSkew, ...]


def labels_stream(name: str) -> str:
    """The name of the stream that holds labels."""
    return f"labels/{name}"
