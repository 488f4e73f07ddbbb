"""The story, stage by stage; each can be taken up again where a killed one stopped."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec.structs import replace

from loopwright.app.demo import definitions as defined
from loopwright.app.demo.asking import Asker
from loopwright.app.demo.feed import Day, days, rows_known
from loopwright.app.demo.flights import Flights
from loopwright.app.demo.measuring import label_rows, prediction_ids
from loopwright.app.demo.progress import Progress, load_progress, save_progress
from loopwright.app.demo.replay import Replayer
from loopwright.core.instants import parse_instant
from loopwright.core.nouns import Decision
from loopwright.data.verbs import append, define_contract
from loopwright.engine.context import Context
from loopwright.features.verbs import Feed, define_service, define_view, materialize
from loopwright.gates.verbs import define as define_gate
from loopwright.loops.nouns import Window
from loopwright.loops.retraining import define as define_loop
from loopwright.loops.rollout import first_champion
from loopwright.loops.training import submit, train
from loopwright.monitoring.verbs import define as define_monitor
from loopwright.monitoring.verbs import record_labels
from loopwright.serving.nouns import EndpointConfig, Route
from loopwright.workspace import ReplayClock, Workspace

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FULL_DAYS", "START", "Story", "switch_window"]

START = parse_instant("2013-07-01T05:00:00Z")
"""midnight in New York between the history and what is replayed"""
FULL_DAYS = 185
"""July to December in New York time, in days of UTC"""
_SWITCH_DAY, _SWITCH_DAYS = 99, 7
_MONTHS = ("2013-01-01", "2013-02-01", "2013-03-01", "2013-04-01", "2013-05-01", "2013-06-01", "2013-07-01")
_WORSE_DAY = 21
_SETTLE_DAYS = 14
Tell = Callable[[str], None]


def switch_window(count: int) -> Window:
    """When the weather feed speaks other units: a week in October, or a part of a shortened story."""
    midnight = START.replace(hour=0)
    if count > _SWITCH_DAY + 2 * _SWITCH_DAYS:
        first, lasts = _SWITCH_DAY, _SWITCH_DAYS
    else:
        first, lasts = max(1, count // 2), max(1, min(_SWITCH_DAYS, count // 4))
    return Window(start=midnight + timedelta(days=first), end=midnight + timedelta(days=first + lasts))


class Story:
    """Everything the demo does with a workspace; it uses what any user could use."""

    def __init__(
        self, workspace: Workspace, clock: ReplayClock, flights: Flights, *, count: int, port: int, tell: Tell
    ) -> None:
        self._workspace = workspace
        self._ctx: Context = workspace.context()
        self._clock = clock
        self.flights = flights
        self.count = count
        self._port = port
        self._tell = tell
        self.window = switch_window(count)

    def run(self, begun: float) -> Progress:
        """Go on from where the story stopped until its last day; `begun` is when it began (monotonic)."""
        progress = load_progress(self._ctx) or Progress(days=self.count)
        if not progress.prepared:
            self._prepare()
            progress = replace(progress, prepared=True, instant=START)
            save_progress(self._ctx, replace(progress, seconds=time.monotonic() - begun))
        return self._replay(progress, lambda: time.monotonic() - begun)

    # -- before the replay ---------------------------------------------------------

    def _prepare(self) -> None:
        self._tell("ingesting January to June, month by month, under contracts")
        self._ingest()
        self._tell("defining features: weather as of the instant, rolling delays, planes")
        self._define_features()
        self._tell("loading the online store with what is known at the start")
        self._materialize(START)
        self._tell("training and tuning the first model")
        self._first_model()

    def _ingest(self) -> None:
        ctx, flights = self._ctx, self.flights
        for contract in defined.contracts():
            define_contract(ctx, contract.name, contract)
        for name, table in (
            ("planes", flights.planes),
            ("airports", flights.airports),
            ("airlines", flights.airlines),
        ):
            append(ctx, name, table, batch="register", **defined.TIMES.get(name, defined.Times()))
        schedule = flights.schedule
        for month in range(1, 7):
            self._append("flights", f"2013-{month:02}", _of_month(schedule, month))
        for number, first in enumerate(_MONTHS):
            until = parse_instant(_MONTHS[number + 1]) if number + 1 < len(_MONTHS) else START
            after = None if number == 0 else parse_instant(first)
            for name in ("departures", "landings", "weather"):
                self._append(name, first, rows_known(getattr(flights, name), after, until))

    def _append(self, name: str, batch: str, table: pa.Table) -> None:
        if table.num_rows == 0:
            return
        found = append(
            self._ctx, name, table, contract=name, batch=batch, **defined.TIMES.get(name, defined.Times())
        )
        if found.quarantined:
            reasons = ", ".join(found.reasons)
            self._tell(f"{name} {batch}: {found.quarantined} row quarantined ({reasons})")

    def _define_features(self) -> None:
        for view in defined.views():
            define_view(self._ctx, view)
        levels = defined.levels_of(self.flights)
        for rolling in (True, False):
            define_service(self._ctx, defined.service(levels, rolling=rolling))

    def _materialize(self, until: datetime) -> None:
        for view in defined.views():
            materialize(self._ctx, view.name, until=until)

    def _first_model(self) -> None:
        ctx, spec = self._ctx, defined.loop()
        define_gate(ctx, defined.gate())
        trained, data = train(ctx, spec.training, reason="the first model")
        decision = submit(ctx, spec.training, trained, data)
        self._tell(_said(decision))
        config = EndpointConfig(
            model=defined.MODEL,
            routes=(Route(version=trained.version.number, percent=100.0),),
            service=defined.MODEL,
            sticky="tailnum",
        )
        first_champion(ctx, spec, config, trained.version.number)
        define_monitor(ctx, defined.MONITOR, defined.monitor(str(data.version.ref)))
        define_loop(ctx, spec)

    # -- the replay ----------------------------------------------------------------

    def _replay(self, progress: Progress, spent: Callable[[], float]) -> Progress:
        self._materialize(progress.instant or START)
        gc.freeze()  # what the online store holds now stays: no collection has to walk through it again
        feed = Feed(self._ctx, [view.name for view in defined.views()])
        asker = Asker("127.0.0.1", self._port, defined.ENDPOINT, defined.request_schema())
        replayer = Replayer(self._workspace, self._clock, asker, feed)
        asked_ids: dict[str, str] = {}
        for number, day in enumerate(days(self.flights, START, self.count, self.window)):
            asked_ids.update(zip(day.asked["flight_id"].to_pylist(), prediction_ids(day.asked), strict=True))
            if number < progress.day:
                continue
            replayer.replay(day, self._on_minute)
            self._end_day(number, day, asked_ids)
            progress = replace(progress, day=number + 1, instant=day.end, seconds=spent())
            save_progress(self._ctx, progress)
            # after the progress: the online store answers no instant long before its watermark, so it must
            # never be ahead of where a killed story is taken up again; what it lacks is in the datasets
            if number % _SETTLE_DAYS == 0 or number == self.count - 1:
                feed.settle(day.end)
        asker.close()
        return progress

    def _on_minute(self, instant: datetime, asked: int) -> None:
        self._tell(f"\r{instant:%Y-%m-%d %H:%M}  {asked:,} predictions")

    def _end_day(self, number: int, day: Day, asked_ids: dict[str, str]) -> None:
        """What has become known goes into the datasets and to the labels; then the loop takes its round."""
        ctx, batch = self._ctx, f"day {number + 1}"
        self._workspace.runtime.flush()
        for name in ("departures", "landings", "weather"):
            self._append(name, batch, day.known[name])
        labels = label_rows(day.known["landings"], asked_ids)
        if labels.num_rows:
            record_labels(ctx, defined.ENDPOINT, labels)
        if number == min(_WORSE_DAY, self.count // 3):
            self._worse_candidate()
        self._workspace.settle()

    def _worse_candidate(self) -> None:
        """Somebody submits a model that knows nothing of other flights' delays; the gate has to see it."""
        spec = defined.training(f"{defined.MODEL}-without-rolling")
        trained, data = train(self._ctx, spec, reason="a candidate without the rolling delays", params={})
        self._tell(_said(submit(self._ctx, spec, trained, data)))


def _of_month(schedule: pa.Table, month: int) -> pa.Table:
    import pyarrow.compute as pc

    return schedule.filter(pc.equal(schedule["month"], month))


def _said(decision: Decision) -> str:
    return f"{decision.subject}: {decision.verdict.value} ({decision.reason})"
