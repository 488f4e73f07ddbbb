"""How values look on a page: numbers, times, sizes, sentences for events. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote

from loopwright.core.nouns import Event

__all__ = ["FILTERS", "event_link", "event_text", "event_tone"]

_KB = 1000.0


def count(value: float | None) -> str:
    """`12,345`; a dash for nothing."""
    return "\u2013" if value is None else f"{value:,.0f}"


def number(value: float | None, digits: int = 4) -> str:
    """A measurement with a fixed number of digits after the point."""
    return "\u2013" if value is None else f"{value:.{digits}f}"


def percent(value: float | None) -> str:
    """A share as a percentage."""
    return "\u2013" if value is None else f"{100 * value:.1f} %"


def size(value: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if value < _KB or unit == "GB":
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= _KB
    return ""


def when(value: datetime | str | None) -> str:
    """`2013-07-01 09:05`, UTC."""
    if value is None:
        return "\u2013"
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"


def path(value: str) -> str:
    """A text as one part of a path."""
    return quote(value, safe="")


def interval(low: float | None, high: float | None) -> str:
    """`[0.78, 0.79]` or nothing."""
    return "" if low is None or high is None else f"[{low:.4f}, {high:.4f}]"


def shown(value: Any) -> str:
    """A small value of a record."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} ({shown(item)})" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(shown(item) for item in value)
    return str(value)


_TEXTS = {
    "asset.created": "was created",
    "version.published": "was published",
    "run.started": "started",
    "run.finished": "finished",
    "run.failed": "failed",
    "incident.opened": "incident opened",
    "incident.resolved": "incident resolved",
    "alarm.raised": "raised an alarm",
    "alarm.cleared": "is clear again",
}


def event_text(event: Event) -> str:
    """What an event says, in a few words, behind its subject."""
    body = event.payload
    match event.kind:
        case "alias.moved":
            came = f" (was {body['from']})" if body.get("from") else ""
            return f"{body.get('alias')} now points to version {body.get('to')}{came}"
        case "decision.made":
            said = "allowed" if body.get("verdict") == "allow" else "refused"
            return f"{said} by {str(body.get('policy', '')).removeprefix('policy:')}"
        case "endpoint.routed":
            routes = body.get("routes") or {}
            split = ", ".join(f"version {k}: {float(v):g} %" for k, v in routes.items())
            return f"answers by {split}" if split else "was routed"
        case "quarantine.added":
            return f"{body.get('rows')} quarantined: {shown(body.get('reasons', ''))}"
        case "incident.opened":
            return f"incident: {body.get('cause')} ({shown(body.get('columns', []))})"
        case "run.started" | "run.finished" | "run.failed":
            return f"{body.get('name', '')} {_TEXTS[event.kind]}"
    return _TEXTS.get(event.kind, event.kind.replace(".", " "))


def event_tone(event: Event) -> str:
    """The colour of an event's dot."""
    if event.kind in ("run.failed", "incident.opened", "alarm.raised"):
        return "bad"
    if event.kind == "quarantine.added":
        return "warn"
    if event.kind == "decision.made":
        return "good" if event.payload.get("verdict") == "allow" else "bad"
    return "good" if event.kind in ("alias.moved", "incident.resolved", "alarm.cleared") else ""


def event_link(event: Event) -> str:
    """The page an event is about."""
    kind, _, name = event.subject.partition(":")
    if event.kind == "decision.made":
        return f"/decisions/{event.payload.get('decision')}"
    if kind in ("run", "incident"):
        return f"/{kind}s/{name}"
    if kind == "endpoint":
        return f"/endpoints/{path(unquote(name.partition('@')[0]))}"
    if kind in ("job", "schedule", "asset", "prediction"):
        return f"/journal?subject={path(event.subject)}"
    if "@" in name:
        return f"/versions/{path(event.subject)}"
    return f"/assets/{kind}/{path(unquote(name))}"


FILTERS: dict[str, Callable[..., str]] = {
    "count": count,
    "number": number,
    "percent": percent,
    "size": size,
    "when": when,
    "path": path,
    "shown": shown,
}
