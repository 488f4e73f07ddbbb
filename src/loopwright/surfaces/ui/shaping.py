"""How values look on a page: numbers, times, sizes, sentences for events. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, unquote

from markupsafe import Markup, escape

from loopwright.core.nouns import Event

__all__ = ["FILTERS", "event_link", "event_subject", "event_text", "event_tone", "interval", "span"]

_KB = 1000.0
_WHOLE, _GREAT, _LARGE, _TINY = 1e9, 1e6, 1e4, 1e-3
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)")
_HEX = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"([a-z_]+):([^@#:\s]+)@(\d+)")
_NAMED = re.compile(r"\(?\b(run|incident|decision):([0-9a-z]{26})\b\)?")


def count(value: float | None) -> str:
    """`12,345`; a dash for nothing."""
    return "\u2013" if value is None else f"{value:,.0f}"


def number(value: float | None, digits: int = 4) -> str:
    """A measurement with a fixed number of digits after the point."""
    return "\u2013" if value is None else f"{value:.{digits}f}"


def figure(value: float | str) -> str:
    """A metric as tables and curves show it: five digits that count, whole numbers in full."""
    if isinstance(value, str):
        return value
    size = abs(value)
    if value == int(value) and size < _WHOLE:
        return f"{value + 0.0:,.0f}"
    if size < _TINY or size >= _GREAT:
        mantissa, _, power = f"{value:.3e}".partition("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(power):+d}"
    return f"{value:,.1f}".removesuffix(".0") if size >= _LARGE else f"{value:.5g}"


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


def moment(value: str) -> str:
    """A text, where it is an instant as tables show it, with its seconds: `2013-07-01 09:05:20`."""
    if not _INSTANT.fullmatch(value):
        return value
    at = datetime.fromisoformat(value).astimezone(UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}{f'.{at.microsecond:06d}'.rstrip('0') if at.microsecond else ''}"


def path(value: str) -> str:
    """A text as one part of a path."""
    return quote(value, safe="")


def interval(low: float | None, high: float | None) -> str:
    """`[0.78, 0.79]` or nothing."""
    return "" if low is None or high is None else f"[{low:.4f}, {high:.4f}]"


def day(value: datetime | str | None) -> str:
    """`19 Dec 2013`, UTC."""
    if value is None:
        return "\u2013"
    moment = (datetime.fromisoformat(value) if isinstance(value, str) else value).astimezone(UTC)
    return f"{moment.day} {moment:%b %Y}"


def day_of(milliseconds: int) -> str:
    """The day of a point of a chart."""
    return day(datetime.fromtimestamp(milliseconds / 1000, UTC))


def span(start: datetime | str | None, end: datetime | str | None) -> str:
    """The time between two instants in its two largest units: `7 d 23 h`, `4 min 10 s`, `13 y 145 d`."""
    if start is None or end is None:
        return "\u2013"
    ends = [datetime.fromisoformat(each) if isinstance(each, str) else each for each in (start, end)]
    seconds = max(0, int((ends[1] - ends[0]) / timedelta(seconds=1)))
    parts: list[str] = []
    for unit, length in (("y", 31_557_600), ("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        amount, seconds = divmod(seconds, length)
        if amount or (parts and len(parts) < 2):
            parts.append(f"{amount} {unit}")
    told = [part for part in parts[:2] if not part.startswith("0 ")]
    return " ".join(told) or "at once"


def words(value: str) -> str:
    """The name of a field as words."""
    return value.replace("_", " ")


def signs(value: str) -> str:
    """A limit with the signs of print: `>= -0.01` as `\u2265 \u22120.01`."""
    text = value.replace(">=", "\u2265").replace("<=", "\u2264")
    return re.sub(r"(?<![\w.])-(?=\d)", "\u2212", text)


def linked(value: Any) -> Markup:
    """A value of a record, in which addresses of versions, runs, incidents and decisions are links."""
    if isinstance(value, list | tuple):
        return Markup(", ").join(linked(item) for item in value)
    if value is None or value is True or value is False:
        return escape("\u2013" if value is None else "yes" if value else "no")
    if isinstance(value, int):
        return escape(f"{value:,}")
    text = shown(value)
    if _INSTANT.fullmatch(text):
        return escape(when(text))
    if _HEX.fullmatch(text):
        return Markup('<span class="mono faint" title="{}">{}\u2026</span>').format(text, text[:16])
    if _VERSION.fullmatch(text):
        return Markup('<a href="/versions/{}">{}</a>').format(path(text), text)
    found, at = Markup(), 0
    for hit in _NAMED.finditer(text):
        kind, name = hit[1], hit[2]
        link = Markup('<a href="/{}s/{}">{}</a>').format(kind, name, f"its {kind}")
        found += escape(signs(text[at : hit.start()])) + Markup("({})").format(link)
        at = hit.end()
    return found + escape(signs(text[at:]))


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
    "incident.resolved": "resolved",
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
            return f"opened: {shown(body.get('columns', []))}"
    return _TEXTS.get(event.kind, event.kind.replace(".", " "))


def event_subject(event: Event, names: Mapping[str, str] = MappingProxyType({})) -> str:
    """What an event is about: its address, or for what has none but an id, a name from `names` by address."""
    kind, _, name = event.subject.partition(":")
    if event.subject in names:
        return f"{kind} {names[event.subject]}"
    if kind in ("incident", "run", "job", "schedule", "asset"):
        told = str(event.payload.get("cause") or event.payload.get("name") or name[-6:])
        return f"{kind} {told}"
    return event.subject


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
    "day": day,
    "day_of": day_of,
    "linked": linked,
    "signs": signs,
    "words": words,
    "count": count,
    "figure": figure,
    "moment": moment,
    "number": number,
    "percent": percent,
    "size": size,
    "when": when,
    "path": path,
    "shown": shown,
}
