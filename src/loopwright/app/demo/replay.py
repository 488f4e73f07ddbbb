"""Replays the flights in time order: each is asked about at its scheduled departure, over HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

from loopwright.app.demo.asking import Asker
from loopwright.app.demo.feed import Day
from loopwright.core.instants import format_instant, from_micros, to_micros
from loopwright.engine.live import Note
from loopwright.features.verbs import Feed
from loopwright.workspace import ReplayClock, Workspace

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Replayer"]

_NOTE_EVERY_S = 0.2


class Replayer:
    """Moves the clock from one scheduled minute to the next; what became known meanwhile is pushed first."""

    def __init__(self, workspace: Workspace, clock: ReplayClock, asker: Asker, feed: Feed) -> None:
        self._workspace = workspace
        self._clock = clock
        self._asker = asker
        self._feed = feed
        self._noted_at = time.monotonic()
        self._noted_asked = 0
        self.asked = 0

    def replay(self, day: Day, on_minute: Callable[[datetime, int], None]) -> None:
        """Ask about all flights of the day, then take in what is known by its end."""
        for source, rows in day.known.items():
            self._feed.load(source, rows)
        for at_us, rows in _minutes(day.asked):
            self._feed.advance(at_us)
            self._clock.advance(from_micros(at_us))
            self._asker.ask(f"flights-{format_instant(from_micros(at_us))}", rows)
            self.asked += len(rows)
            self._note(on_minute)
        self._feed.advance(to_micros(day.end))
        self._clock.advance(day.end)

    def _note(self, on_minute: Callable[[datetime, int], None]) -> None:
        passed = time.monotonic() - self._noted_at
        if passed < _NOTE_EVERY_S:
            return
        rate = (self.asked - self._noted_asked) / passed
        self._noted_at, self._noted_asked = time.monotonic(), self.asked
        body = {
            "instant": format_instant(self._clock.now()),
            "rate": rate,
            "said": f"{self.asked:,} predictions in this run",
        }
        self._workspace.live.publish([Note(topic="replay", body=body)])
        on_minute(self._clock.now(), self.asked)


def _minutes(asked: pa.Table) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """The day's flights by their scheduled instant (microseconds)."""
    import pyarrow as pa

    at = asked.column_names.index("scheduled_at")
    rows = asked.set_column(at, "scheduled_at", asked["scheduled_at"].cast(pa.int64())).to_pylist()
    for at_us, group in groupby(rows, key=lambda row: row["scheduled_at"]):
        yield at_us, list(group)
