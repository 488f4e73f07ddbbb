"""What the charts are given, worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from loopwright.core.nouns import Event, Signal
from loopwright.surfaces.ui.series import promotions, series_of, splits, trimmed, within

DAY = datetime(2013, 7, 1, tzinfo=UTC)
DAY_MS = 86_400_000
START_MS = int(DAY.timestamp() * 1000)


def signal(name: str, day: int, value: float, **facts: Any) -> Signal:
    start = DAY + timedelta(days=day)
    return Signal(
        id="s",
        space="default",
        subject="endpoint:e",
        name=name,
        value=value,
        at=start + timedelta(days=1),
        window_start=start,
        n=10,
        facts=facts,
    )


def event(kind: str, day: int, **payload: Any) -> Event:
    at = DAY + timedelta(days=day)
    return Event(
        id="e",
        space="default",
        principal="p",
        kind=kind,
        subject="endpoint:e",
        at=at,
        wall_at=at,
        payload=payload,
    )


def test_the_newest_value_of_a_window_stands_and_versions_are_left_out() -> None:
    found = series_of(
        [
            signal("auc", 1, 0.7),
            signal("auc", 0, 0.8),
            signal("auc", 1, 0.9),
            signal("auc", 2, 0.1, version=3),
        ]
    )
    assert found == {"auc": [[START_MS, 0.8, None, None, 10], [START_MS + DAY_MS, 0.9, None, None, 10]]}


def test_drift_is_told_by_how_unusual_it_is() -> None:
    points = series_of(
        [
            signal("drift.a", 0, 5.0, drifted=False, p_value=None),
            signal("drift.a", 1, 5.0, drifted=False, p_value=0.01),
            signal("drift.a", 2, 5.0, drifted=True, p_value=0.0),
        ]
    )["drift.a"]
    assert [(p[2], p[3]) for p in points] == [(None, False), (2.0, False), (12.0, True)]


def test_days_on_which_nothing_was_asked_do_not_stretch_a_chart() -> None:
    counts = [signal("predictions", day, value) for day, value in enumerate([0, 0, 5, 0, 7, 0])]
    late = signal("predictions", 4700, 0)
    series = within(series_of([*counts, late, signal("roc_auc", 4, 0.7), signal("roc_auc", 4699, 0.1)]), None)
    assert [p[1] for p in series["predictions"]] == [5, 0, 7]
    assert [p[1] for p in series["roc_auc"]] == [0.7]
    assert [p[1] for p in within(series, 1)["predictions"]] == [7]
    assert trimmed([[0, 0.0], [1, 0.0]]) == []
    assert within({}, 30) == {}


def test_the_split_of_traffic_is_told_oldest_first() -> None:
    told = splits(
        [
            event("endpoint.routed", 1, routes={"9": 95, "10": 5}),
            event("endpoint.routed", 0, routes={"9": 100}),
        ]
    )
    assert told["versions"] == ["9", "10"]
    assert told["steps"] == [(START_MS, {"9": 100.0}), (START_MS + DAY_MS, {"9": 95.0, "10": 5.0})]
    assert splits([]) == {"versions": [], "steps": []}


def test_only_moves_of_the_champion_are_promotions() -> None:
    moves = [event("alias.moved", 2, alias="champion", to=3), event("alias.moved", 1, alias="live", to=7)]
    assert promotions(moves) == [[START_MS + 2 * DAY_MS, 3]]
