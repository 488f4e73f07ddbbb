"""Signals and events as what the charts draw. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from loopwright.core.nouns import Event, Run, Signal

__all__ = ["Point", "mark", "promotions", "series_of", "splits", "trimmed", "within"]

Point = list[Any]
_DAY_MS = 86_400_000
_LEAST = 1e-12


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _point(signal: Signal) -> Point:
    at = _ms(signal.window_start or signal.at)
    if "drifted" not in signal.facts:
        return [at, signal.value, signal.low, signal.high, signal.n]
    chance = signal.facts.get("p_value")
    unusual = None if chance is None else -math.log10(max(float(chance), _LEAST))
    return [at, signal.value, unusual, bool(signal.facts["drifted"]), signal.n]


def series_of(signals: Iterable[Signal]) -> dict[str, list[Point]]:
    """Signals by name as points; a window's newest value stands.

    A point is `[milliseconds, value, low, high, n]`, one of drift
    `[milliseconds, value, -log10 of its chance or None, drifted, n]`. Signals about one version are left out.
    """
    found: dict[str, dict[int, Point]] = {}
    for signal in signals:
        if not signal.facts.get("version"):
            point = _point(signal)
            found.setdefault(signal.name, {})[point[0]] = point
    return {name: [points[at] for at in sorted(points)] for name, points in found.items()}


def trimmed(points: Sequence[Point]) -> list[Point]:
    """The points from the first that is not zero to the last."""
    used = [i for i, point in enumerate(points) if point[1]]
    return list(points[used[0] : used[-1] + 1]) if used else []


def within(series: dict[str, list[Point]], days: int | None) -> dict[str, list[Point]]:
    """The last `days` days of what was measured on anything at all; everything for None."""
    counted = trimmed(series.get("predictions", []))
    if not counted:
        return series
    last = counted[-1][0]
    first = counted[0][0] if days is None else last - (days - 1) * _DAY_MS
    return {name: [p for p in points if first <= p[0] <= last] for name, points in series.items()}


def mark(run: Run) -> dict[str, Any]:
    """An incident as a stretch of time."""
    facts = run.facts
    return {"since": facts.get("since"), "until": facts.get("until"), "name": run.name, "id": run.id}


def promotions(moves: Iterable[Event]) -> list[list[Any]]:
    """When the champion became which version: `[milliseconds, version]`."""
    return [[_ms(e.at), e.payload.get("to")] for e in moves if e.payload.get("alias") == "champion"]


def splits(routed: Sequence[Event]) -> dict[str, Any]:
    """The split of traffic over time: versions, and `[milliseconds, {version: percent}]`, oldest first."""
    steps: list[tuple[int, dict[str, float]]] = []
    for event in routed[::-1]:
        routes: dict[str, Any] = event.payload.get("routes") or {}
        steps.append((_ms(event.at), {name: float(share) for name, share in routes.items()}))
    versions = sorted({name for _, routes in steps for name in routes}, key=lambda v: (len(v), v))
    return {"versions": versions, "steps": steps}
