"""The payload log: flushes lose nothing, overflow is counted, failures are retried, crashes leave gaps."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import numpy as np
import pytest

from loopwright.core.errors import Unavailable
from loopwright.core.instants import to_micros
from loopwright.engine.context import Context
from loopwright.ports.ledger import Transaction
from loopwright.serving.gaps import LogMark, record_gaps
from loopwright.serving.history import predictions
from loopwright.serving.log import Entry, PredictionLog, Sheet, log_schema
from loopwright.serving.nouns import Variant
from loopwright.testing.builders import SetClock, memory_ports
from loopwright.testing.ledger import MemoryLedger
from tests.serving.worlds import ENDPOINT, SERVICE, row, world

T = TypeVar("T")
SHEET = Sheet(endpoint=ENDPOINT, inputs=SERVICE.request, features=("carrier", "distance"))


def entry(ctx: Context, request_id: str, rows: int = 1, sheet: Sheet = SHEET) -> Entry:
    return Entry(
        sheet=sheet,
        request_id=request_id,
        positions=range(rows),
        at_us=to_micros(ctx.now()),
        version=1,
        variant=Variant.LIVE,
        rows=[row() for _ in range(rows)],
        x=np.ones((rows, len(sheet.features))),
        scores=np.full(rows, 0.5),
        latency_us=7,
    )


def ids(ctx: Context) -> list[str]:
    now, hour = ctx.now(), timedelta(hours=1)
    found: list[str] = predictions(ctx, ENDPOINT, now - hour, now + hour)["prediction_id"].to_pylist()
    return found


def test_nothing_is_lost_at_a_flush_under_many_threads() -> None:
    ctx = world()
    log = PredictionLog(ctx, flush_rows=50, interval_s=0.01)
    log.start()

    def write(thread: int) -> None:
        for number in range(200):
            assert log.append(entry(ctx, f"{thread}-{number}", rows=2))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.flush()

    assert sorted(ids(ctx)) == sorted(f"{t}-{n}.{r}" for t in range(4) for n in range(200) for r in range(2))
    assert log.waiting == 0
    log.close()


def test_what_is_over_the_bound_is_counted_and_not_waited_for() -> None:
    ctx = world()
    log = PredictionLog(ctx, capacity=10)
    kept = [log.append(entry(ctx, f"q{number}", rows=3)) for number in range(5)]

    assert kept == [True, True, True, False, False]
    assert log.dropped(ENDPOINT) == 6
    assert log.flush() == 9
    assert log.append(entry(ctx, "later", rows=3))
    assert log.flush() == 3


class _FailingLedger(MemoryLedger):
    """Refuses a number of works."""

    failures = 0

    def write(self, work: Callable[[Transaction], T]) -> T:
        if self.failures:
            self.failures -= 1
            raise Unavailable("the disk is full")
        return super().write(work)


def test_a_failed_write_is_tried_again() -> None:
    ledger = _FailingLedger()
    ctx = world(ports=memory_ports(ledger=ledger))
    log = PredictionLog(ctx)
    log.append(entry(ctx, "q1"))
    ledger.failures = 1
    with pytest.raises(Unavailable):
        log.flush()
    log.append(entry(ctx, "q2"))

    assert log.waiting == 2
    assert log.flush() == 2
    assert ids(ctx) == ["q1.0", "q2.0"]


def test_the_thread_goes_on_after_a_failure() -> None:
    ledger = _FailingLedger()
    ctx = world(ports=memory_ports(ledger=ledger))
    ledger.failures = 2
    log = PredictionLog(ctx, interval_s=0.01)
    log.start()
    log.append(entry(ctx, "q1"))
    waited = threading.Event()
    for _ in range(200):
        if log.waiting == 0:
            break
        waited.wait(0.01)

    assert ids(ctx) == ["q1.0"]
    log.close()


def test_entries_of_several_features_are_read_as_one_table() -> None:
    ctx = world()
    log = PredictionLog(ctx)
    other = Sheet(endpoint=ENDPOINT, inputs=SERVICE.request, features=("distance", "fresh"))
    log.append(entry(ctx, "q1"))
    log.append(entry(ctx, "q2", sheet=other))
    assert log.flush() == 2
    now, hour = ctx.now(), timedelta(hours=1)
    table = predictions(ctx, ENDPOINT, now - hour, now + hour)

    rows = {each["prediction_id"]: each for each in table.to_pylist()}
    assert rows["q1.0"]["x_carrier"] == 1.0
    assert rows["q1.0"]["x_fresh"] is None
    assert rows["q2.0"]["x_fresh"] == 1.0


def test_the_columns_of_the_log() -> None:
    names = [name for name, _ in log_schema(SHEET)]

    assert names[:7] == [
        "prediction_id",
        "request_id",
        "at",
        "model_version",
        "variant",
        "score",
        "latency_us",
    ]
    assert names[7:] == [*(f"in_{name}" for name in SERVICE.request.names), "x_carrier", "x_distance"]


def gaps(ctx: Context) -> list[str]:
    with ctx.read() as tx:
        return [event.subject for event in tx.journal.read(0, 1000) if event.kind == "endpoint.gap"]


def test_a_writer_that_died_with_traffic_leaves_a_gap_in_the_journal() -> None:
    clock = SetClock()
    ctx = world(ports=memory_ports(clock=clock))
    dead = PredictionLog(ctx)
    dead.append(entry(ctx, "q1"))
    dead.flush()
    assert record_gaps(ctx) == 0

    clock.advance(timedelta(minutes=1))
    assert record_gaps(ctx) == 1
    assert gaps(ctx) == ["endpoint:delays"]
    assert record_gaps(ctx) == 0


def test_a_writer_that_ended_or_rests_leaves_none() -> None:
    clock = SetClock()
    ctx = world(ports=memory_ports(clock=clock))
    ended = PredictionLog(ctx)
    ended.append(entry(ctx, "q1"))
    ended.close()
    resting = LogMark(ctx)
    resting.keep({ENDPOINT}, [])
    resting.clean()
    clock.advance(timedelta(minutes=1))

    assert record_gaps(ctx) == 0
    assert gaps(ctx) == []
