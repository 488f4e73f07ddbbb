"""An endpoint that is asked, labelled and watched day by day, and a weather feed, all in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from loopwright.core.expressions import Scalar
from loopwright.core.instants import to_micros
from loopwright.core.nouns import Event, Signal
from loopwright.data.verbs import append
from loopwright.monitoring.labels import label_table
from loopwright.monitoring.nouns import DayReport, FeedWatch, Monitor
from loopwright.monitoring.verbs import check_day, define, record_labels
from loopwright.serving.nouns import EndpointConfig
from loopwright.serving.runtime import Runtime
from loopwright.serving.verbs import deploy
from loopwright.testing.builders import SetClock, memory_ports
from tests.serving.worlds import ENDPOINT, LEVELS, config, row, world

START = datetime(2013, 7, 1, tzinfo=UTC)
DAY = timedelta(days=1)
MONITOR = "delays-watch"
FEED = FeedWatch(dataset="weather", columns=("wind", "temp", "station"), trailing="60d")


class Watched:
    """Asks an endpoint about rows of a day, labels them later, checks days."""

    def __init__(self, routing: EndpointConfig | None = None, *, slices: tuple[str, ...] = ()) -> None:
        self.clock = SetClock(START)
        self.ctx = world(ports=memory_ports(clock=self.clock))
        deploy(self.ctx, ENDPOINT, routing or config((1, 100.0)))
        self.runtime = Runtime(self.ctx)
        self.rng = np.random.default_rng(1)
        self.wind = Wind(self)
        self.history_rows = self._history()
        append(self.ctx, "history", self.history_rows, event_time="at")
        monitor = Monitor(
            endpoint=ENDPOINT, labels="landings", reference="dataset:history", slices=slices, feeds=(FEED,)
        )
        self.wind.append_hours(START - 70 * DAY, 70 * 24)
        define(self.ctx, MONITOR, monitor)

    def _history(self) -> pa.Table:
        rows = [self.some_row() for _ in range(3000)]
        return pa.table(
            {
                "at": pa.array([START] * len(rows), pa.timestamp("us", tz="UTC")),
                "x_carrier": [float(LEVELS.index(str(each["carrier"]))) for each in rows],
                "x_distance": pa.array([each["distance"] for each in rows], pa.float64()),
                "x_late_month": [2.0 * float(str(each["month"])) for each in rows],
            }
        )

    def some_row(self, distance: float = 1000.0) -> dict[str, Scalar]:
        return row(
            carrier=str(self.rng.choice(LEVELS)),
            distance=float(self.rng.normal(distance, 200.0)),
            month=int(self.rng.integers(1, 13)),
            tailnum=f"N{self.rng.integers(0, 50)}",
        )

    def ask(
        self, day: int, rows: int = 120, *, distance: float | None = None
    ) -> tuple[list[str], list[float]]:
        """Ask about some rows through a day; their prediction ids and scores."""
        ids: list[str] = []
        scores: list[float] = []
        centre = float(self.rng.normal(1000.0, 20.0)) if distance is None else distance
        for hour in range(0, 24, 4):
            at = START + day * DAY + timedelta(hours=hour)
            asked = [self.some_row(centre) for _ in range(rows // 6)]
            reply = self.runtime.predict(ENDPOINT, asked, f"d{day}-{hour}", at_us=to_micros(at))
            ids += reply.prediction_ids
            scores += reply.scores
        self.runtime.flush()
        return ids, scores

    def label(self, ids: Sequence[str], labels: Sequence[float], known_at: datetime) -> None:
        record_labels(self.ctx, "landings", label_table(list(ids), list(labels), [known_at] * len(ids)))

    def check(self, day: int) -> DayReport:
        self.clock.set(START + (day + 1) * DAY)
        return check_day(self.ctx, MONITOR, START + day * DAY, START + (day + 1) * DAY)

    def events(self, kind: str) -> list[Event]:
        with self.ctx.read() as tx:
            return [event for event in tx.journal.read(0, 100_000) if event.kind == kind]

    def signals(self, subject: str, name: str) -> list[Signal]:
        with self.ctx.read() as tx:
            return list(tx.signals.window("default", subject, name=name))


class Wind:
    """An hourly feed: whole knots as miles per hour, temperatures, a station's name."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._rng = np.random.default_rng(2)

    def rows(self, first: datetime, hours: int, *, in_knots: bool = False, station: str = "") -> pa.Table:
        times = [first + timedelta(hours=hour) for hour in range(hours)]
        knots = self._rng.poisson(8, hours).astype(np.float64)
        kind = pa.timestamp("us", tz="UTC")
        return pa.table(
            {
                "known_at": pa.array(times, kind),
                "wind": knots if in_knots else np.round(knots * 1.15078, 5),
                "temp": _temperatures(self._rng, times),
                "station": [station or str(name) for name in self._rng.choice(["EWR", "JFK", "LGA"], hours)],
            }
        )

    def append_days(self, first: int, last: int, *, in_knots: bool = False, station: str = "") -> None:
        for day in range(first, last):
            self.append_hours(START + day * DAY, 24, in_knots=in_knots, station=station)

    def append_hours(self, first: datetime, hours: int, *, in_knots: bool = False, station: str = "") -> None:
        table = self.rows(first, hours, in_knots=in_knots, station=station)
        append(self._watched.ctx, "weather", table, known_at="known_at")


def _temperatures(rng: np.random.Generator, times: Sequence[datetime]) -> NDArray[np.float64]:
    hours = np.array([at.hour for at in times])
    found: NDArray[np.float64] = np.round(
        70.0 + 10.0 * np.sin(hours / 24.0 * 2.0 * np.pi) + rng.normal(0, 3, len(times)), 0
    )
    return found
