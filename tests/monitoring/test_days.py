"""A day of predictions: joined with labels known by then, measured, signalled, checked again later."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from loopwright.core.errors import Invalid, NotFound
from loopwright.engine.operation import operations_in
from loopwright.monitoring import verbs
from loopwright.monitoring.labels import label_table
from loopwright.monitoring.nouns import AlarmState
from loopwright.monitoring.verbs import (
    LabelRow,
    check,
    check_day,
    labels,
    monitors,
    record_labels,
    report,
    show,
    signals,
    skew,
)
from tests.monitoring.watched import DAY, MONITOR, START, Watched
from tests.serving.worlds import ENDPOINT, config


def outcomes(scores: list[float], seed: int = 3) -> list[float]:
    rng = np.random.default_rng(seed)
    return [float(rng.random() < score) for score in scores]


def test_a_day_is_measured_by_the_labels_known_by_then() -> None:
    watched = Watched()
    ids, scores = watched.ask(0)
    truth = outcomes(scores)
    watched.label(ids[:80], truth[:80], START + timedelta(hours=20))
    watched.label(ids[80:], truth[80:], START + timedelta(hours=40))

    first = watched.check(0)
    assert (first.live.predictions, first.live.labelled) == (120, 80)
    assert first.live.roc_auc.value == pytest.approx(roc_auc_score(truth[:80], scores[:80]), abs=1e-12)
    assert first.live.mean_score == pytest.approx(np.mean(scores))

    watched.clock.set(START + 2 * DAY)
    second = check_day(watched.ctx, MONITOR, START, START + DAY)
    assert second.live.labelled == 120
    assert second.live.roc_auc.value == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)


def test_a_day_checked_again_gives_new_signals_and_the_newest_stands() -> None:
    watched = Watched()
    ids, scores = watched.ask(0)
    truth = outcomes(scores)
    watched.label(ids[:80], truth[:80], START + timedelta(hours=20))
    watched.label(ids[80:], truth[80:], START + timedelta(hours=40))
    watched.check(0)
    watched.clock.set(START + 2 * DAY)
    check_day(watched.ctx, MONITOR, START, START + DAY)

    kept = watched.signals(f"endpoint:{ENDPOINT}", "labelled_share")
    assert [round(signal.value, 3) for signal in kept] == [0.667, 1.0]
    assert [signal.facts["maturity"] for signal in kept] == [signal.value for signal in kept]
    newest = signals(watched.ctx, MONITOR, "roc_auc")
    assert len(newest) == 1
    assert newest[0].n == 120
    assert newest[0].low is not None
    assert newest[0].high is not None
    assert newest[0].low < newest[0].value < newest[0].high
    told = {signal.name: signal.value for signal in report(watched.ctx, MONITOR)}
    assert told["predictions"] == 120.0
    assert told["labelled_share"] == 1.0
    assert report(watched.ctx, MONITOR, at=START + 9 * DAY) == ()


def test_drift_is_signalled_again_only_where_it_changed() -> None:
    watched = Watched()
    for day in range(12):
        watched.ask(day)
        watched.check(day)
    names = [f"drift.{each.column}" for each in watched.check(11).drift]
    assert len(names) > 1

    def kept() -> list[int]:
        return [len(watched.signals(f"endpoint:{ENDPOINT}", name)) for name in names]

    before, shares = kept(), len(watched.signals(f"endpoint:{ENDPOINT}", "labelled_share"))
    watched.check(11)
    assert kept() == before
    assert len(watched.signals(f"endpoint:{ENDPOINT}", "labelled_share")) == shares + 1
    watched.ask(11, rows=240)  # half of them came late: the day is not what it was
    watched.check(11)
    assert kept() == [count + 1 for count in before]
    told = {signal.name for signal in report(watched.ctx, MONITOR, at=START + 11 * DAY)}
    assert told.issuperset(names)


def test_a_corrected_label_replaces_the_earlier_one() -> None:
    watched = Watched()
    ids, _ = watched.ask(0)
    watched.label(ids, [0.0] * len(ids), START + timedelta(hours=5))
    watched.label(ids[:30], [1.0] * 30, START + timedelta(hours=9))

    assert watched.check(0).live.mean_label == pytest.approx(30 / 120)


def test_labels_are_the_same_labels_twice() -> None:
    watched = Watched()
    ids, _ = watched.ask(0)
    for _ in range(2):
        watched.label(ids, [1.0] * len(ids), START + timedelta(hours=5))
    taken = labels(watched.ctx, "landings", (LabelRow(prediction_id="strange", label=1.0),))

    assert taken.rows == 1
    assert watched.check(0).live.labelled == 120


def test_a_day_without_predictions_is_a_report_too() -> None:
    found = Watched().check(3)

    assert (found.live.predictions, found.groups, found.drift) == (0, (), ())


def test_versions_variants_and_slices_are_judged_apart() -> None:
    watched = Watched(config((1, 60.0), (2, 40.0), shadow=(1, 2), sticky="tailnum"), slices=("carrier",))
    ids, scores = watched.ask(0, rows=300)
    watched.label(ids, outcomes(scores), START + timedelta(hours=20))
    found = {group.group: group for group in watched.check(0).groups}

    assert set(found) == {
        "version 1",
        "version 1 shadow",
        "version 2",
        "version 2 shadow",
        "carrier AA",
        "carrier B6",
        "carrier UA",
    }
    assert found["version 1"].predictions + found["version 2"].predictions == 300
    assert found["version 1"].predictions == found["version 2 shadow"].predictions
    assert found["version 2"].labelled == found["version 2"].predictions
    assert sum(found[f"carrier {name}"].predictions for name in ("AA", "B6", "UA")) == 300
    apart = watched.signals(f"endpoint:{ENDPOINT}/version 2 shadow", "roc_auc")
    assert [signal.facts["group"] for signal in apart] == ["version 2 shadow"]


def test_what_is_due_is_checked_once_and_again_when_labels_arrive() -> None:
    watched = Watched()
    ids, scores = watched.ask(0)
    truth = outcomes(scores)
    watched.ask(1)
    watched.clock.set(START + 2 * DAY)
    assert [found.start for found in check(watched.ctx, MONITOR)] == [START, START + DAY]
    watched.clock.advance(timedelta(hours=1))
    assert check(watched.ctx, MONITOR) == ()

    watched.label(ids, truth, watched.clock.now())
    again = check(watched.ctx, MONITOR)
    assert [found.live.labelled for found in again] == [120, 0]
    watched.clock.set(START + 30 * DAY)
    late = [found.start for found in check(watched.ctx, MONITOR)]
    assert START not in late
    assert START + 29 * DAY in late


def test_drift_raises_one_alarm_after_two_days_and_clears_after_two() -> None:
    watched = Watched()
    for day in range(20):
        watched.ask(day)
        assert not any(each.drifted for each in watched.check(day).drift), day
    states = []
    for day in range(20, 26):
        watched.ask(day, distance=1600.0 if day < 23 else None)
        found = watched.check(day)
        states.append(found.drift_alarm.state if found.drift_alarm else AlarmState.OK)

    firing = AlarmState.FIRING
    assert states == [AlarmState.PENDING, firing, firing, firing, AlarmState.OK, AlarmState.OK]
    raised, cleared = watched.events("alarm.raised"), watched.events("alarm.cleared")
    assert [event.subject for event in raised] == [f"endpoint:{ENDPOINT}"]
    assert raised[0].payload["cause"] == "drift"
    assert "distance" in raised[0].payload["columns"]
    assert raised[0].payload["since"] == "2013-07-21T00:00:00Z"
    assert len(cleared) == 1


def test_a_monitor_shows_its_newest_readings() -> None:
    watched = Watched()
    ids, scores = watched.ask(0)
    watched.label(ids, outcomes(scores), START + timedelta(hours=20))
    watched.check(0)
    view = show(watched.ctx, MONITOR)

    assert (view.name, view.version, view.alarms) == (MONITOR, 1, ())
    assert view.monitor.reference == "dataset:history@1"
    assert {"predictions", "labelled_share", "roc_auc", "brier", "calibration_gap"} <= set(view.newest)
    assert [found.name for found in monitors(watched.ctx).items] == [MONITOR]


def test_what_cannot_be_measured_is_refused() -> None:
    watched = Watched()
    with pytest.raises(Invalid, match="ends before it starts"):
        check_day(watched.ctx, MONITOR, START, START)
    with pytest.raises(NotFound, match="no monitor named"):
        check(watched.ctx, "nobody")
    with pytest.raises(Invalid, match="lack known_at"):
        record_labels(watched.ctx, "landings", pa.table({"prediction_id": ["a"], "label": [1.0]}))
    unlabelled = label_table(["a"], [1.0], [START]).set_column(1, "label", pa.array([None], pa.float64()))
    with pytest.raises(Invalid, match="1 labels have no label"):
        record_labels(watched.ctx, "landings", unlabelled)
    odd = label_table(["a"], [1.0], [START]).set_column(1, "label", pa.array(["late"]))
    with pytest.raises(Invalid, match="wrong types"):
        record_labels(watched.ctx, "landings", odd)


def test_logged_vectors_are_those_of_the_offline_join() -> None:
    watched = Watched(config((1, 100.0), shadow=(2,)))
    watched.ask(0)
    found = skew(watched.ctx, ENDPOINT, START, START + DAY)

    assert (found.rows, found.values, found.mismatches, found.features) == (240, 720, 0, ())


def test_the_share_of_skew_is_kept_as_a_signal_of_the_endpoint() -> None:
    watched = Watched(config((1, 100.0)))
    watched.ask(0)
    report = verbs.skew_between(watched.ctx, ENDPOINT, START, START + DAY)
    with watched.ctx.read() as tx:
        signal = tx.signals.latest(watched.ctx.space, f"endpoint:{ENDPOINT}", "skew")

    assert signal is not None
    assert (signal.value, signal.n) == (0.0, report.values)
    assert (signal.window_start, signal.window_end) == (START, START + DAY)
    assert signal.facts == {"rows": report.rows, "mismatches": {}}
    assert verbs.usage(watched.ctx, "weather") == ()


def test_the_operations_of_the_slice() -> None:
    found = operations_in([verbs])

    assert sorted(found) == [
        "monitoring.check",
        "monitoring.define",
        "monitoring.labels",
        "monitoring.list",
        "monitoring.report",
        "monitoring.show",
        "monitoring.signals",
        "monitoring.skew",
        "monitoring.usage",
    ]
    for operation in found.values():
        assert operation.request_type
