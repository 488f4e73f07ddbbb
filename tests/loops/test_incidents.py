"""Incidents: one for an alarm, open while it fires; only those of datasets bar learning."""

from datetime import timedelta

from loopwright.core.nouns import Event
from loopwright.engine.context import Context
from loopwright.loops.incidents import (
    incident_windows,
    on_alarm_cleared,
    on_alarm_raised,
    open_data_incidents,
    open_incidents,
)
from loopwright.testing.builders import SetClock, memory_context


def _alarm(ctx: Context, kind: str, subject: str, **more: object) -> Event:
    body = {"fingerprint": f"{subject}/x", "cause": "x", "since": ctx.now().isoformat(), **more}
    ctx.write(lambda tx: ctx.record(tx, kind, subject, body))
    with ctx.read() as tx:
        return tx.journal.read(0, 1000)[-1]


def test_an_alarm_told_twice_is_one_incident_which_ends_with_it() -> None:
    ctx = memory_context()
    raised = _alarm(ctx, "alarm.raised", "dataset:weather")
    on_alarm_raised(ctx, raised)
    on_alarm_raised(ctx, raised)
    assert len(open_incidents(ctx)) == 1
    on_alarm_cleared(ctx, _alarm(ctx, "alarm.cleared", "dataset:weather"))
    assert open_incidents(ctx) == ()


def test_drift_of_an_endpoint_is_an_incident_but_its_data_may_be_learned_from() -> None:
    ctx = memory_context()
    on_alarm_raised(ctx, _alarm(ctx, "alarm.raised", "endpoint:delays"))
    assert len(open_incidents(ctx)) == 1
    assert open_data_incidents(ctx) == ()
    assert incident_windows(ctx) == ()


def test_a_datasets_incident_bars_learning_from_since_until_its_end() -> None:
    ctx = memory_context()
    clock = ctx.ports.clock
    assert isinstance(clock, SetClock)
    begun = ctx.now()
    on_alarm_raised(ctx, _alarm(ctx, "alarm.raised", "dataset:weather"))
    clock.advance(timedelta(days=2))
    assert len(open_data_incidents(ctx)) == 1
    assert [(w.start, w.end) for w in incident_windows(ctx)] == [(begun, ctx.now())]
    last_bad = ctx.now() - timedelta(hours=3)
    on_alarm_cleared(ctx, _alarm(ctx, "alarm.cleared", "dataset:weather", until=last_bad.isoformat()))
    clock.advance(timedelta(days=5))
    assert open_data_incidents(ctx) == ()
    assert [(w.start, w.end) for w in incident_windows(ctx)] == [(begun, last_bad)]
