"""The pages of traces: those of an experiment, found and ordered, and one with its steps as they followed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from loopwright.core.errors import Invalid, LoopwrightError
from loopwright.core.instants import from_micros
from loopwright.core.traces import RUN_METADATA, Span, Trace
from loopwright.engine.wire import failure_of
from loopwright.surfaces.ui.desk import Desk, Query, Values

__all__ = ["trace", "traces"]

_PAGE = 100
_SPANS = 2_000
"""steps that a page draws"""
_TEXT = 20_000
"""characters of a value that a page shows"""
_DEEP = 24
_OWN = "mlflow."
_TOLD_ELSEWHERE = (
    RUN_METADATA,
    "mlflow.traceInputs",
    "mlflow.traceOutputs",
    "mlflow.trace.",
    "mlflow.trace_",
)
_SHOWN_APART = ("mlflow.spanInputs", "mlflow.spanOutputs", "mlflow.spanType", "mlflow.traceRequestId")
_ORDERS = {
    "": "newest first",
    "execution_time_ms DESC": "longest first",
    "execution_time_ms ASC": "shortest first",
    "timestamp_ms ASC": "oldest first",
}


def traces(desk: Desk, path: dict[str, str], query: Query) -> Values:
    """The traces of an experiment that a filter is about."""
    name, asked, order = query.get("experiment", ""), query.get("filter", "").strip(), query.get("order", "")
    values: Values = {
        "title": f"Traces of {name}" if name else "Traces",
        "experiment": name,
        "asked": asked,
        "order": order,
        "orders": _ORDERS,
        "failure": None,
        "lines": [],
        "page": None,
        "more": urlencode({"experiment": name, "filter": asked, "order": order}) + "&",
        "experiments": [] if name else desk.call("experiments.list", limit=_PAGE).items,
    }
    if not name:
        return values
    if order not in _ORDERS:
        raise Invalid("there is no such order", hint="choose one of the list")
    try:
        page = desk.call(
            "traces.search",
            experiment=(name,),
            filter=asked or None,
            order=(order,) if order else (),
            limit=_PAGE,
            token=query.get("token"),
        )
    except LoopwrightError as error:
        return {**values, "failure": failure_of(error)}
    longest = max((each.trace.duration_ms or 0 for each in page.items), default=0)
    return {**values, "page": page, "lines": [_line(each, longest) for each in page.items]}


def _line(line: Any, longest: int) -> Values:
    found: Trace = line.trace
    return {
        "id": found.id,
        "name": found.name or found.request_preview or found.id,
        "state": found.state.value,
        "at": from_micros(found.started_ms * 1000),
        "took": took(found.duration_ms),
        "share": 100 * (found.duration_ms or 0) / longest if longest else 0,
        "tokens": line.tokens,
        "request": found.request_preview or "",
        "response": found.response_preview or "",
        "said": [each for each in line.assessments if each.valid],
    }


def took(millis: int | None) -> str:
    """A duration for people."""
    if millis is None:
        return "\u2013"
    return f"{millis} ms" if millis < 1000 else f"{millis / 1000:.2f} s"


def trace(desk: Desk, path: dict[str, str], query: Query) -> Values:
    """A trace: what it was asked and answered, its steps in time, and what was said of it."""
    view = desk.call("traces.show", trace=path["trace"])
    found: Trace = view.trace
    under = found.metadata.get(RUN_METADATA)
    runs = [each for each in (under, *view.runs) if each]
    return {
        "title": found.name or found.id,
        "view": view,
        "t": found,
        "at": from_micros(found.started_ms * 1000),
        "took": took(found.duration_ms),
        "home": _home(desk, found.experiment_id),
        "runs": [(each, desk.maybe("runs.show", run_id=each)) for each in dict.fromkeys(runs)],
        "tags": {k: v for k, v in found.tags.items() if not k.startswith(_OWN)},
        "metadata": {k: v for k, v in found.metadata.items() if v and not k.startswith(_TOLD_ELSEWHERE)},
        "tokens": _tokens(found),
        "steps": _steps(view.spans),
        "left_out": max(0, len(view.spans) - _SPANS),
        "said": [{"a": each, "value": _written(each.value)} for each in view.assessments],
    }


def _tokens(found: Trace) -> dict[str, Any]:
    try:
        told = json.loads(found.metadata.get("mlflow.trace.tokenUsage", "{}"))
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _home(desk: Desk, experiment_id: str) -> str | None:
    """The name of the experiment, where it is still there."""
    text = f"experiment_id = '{experiment_id}'"
    found = desk.call("experiments.list", filter=text, limit=1).items
    return found[0].name if found else None


def _steps(spans: Sequence[Span]) -> list[Values]:
    """Every step after the one it is part of, with its place in time in hundredths of the whole."""
    if not spans:
        return []
    under: dict[str | None, list[Span]] = {}
    ids = {span.id for span in spans}
    for span in spans:
        under.setdefault(span.parent_id if span.parent_id in ids else None, []).append(span)
    begun = min(span.start_ns for span in spans)
    whole = max(max(span.end_ns or span.start_ns for span in spans) - begun, 1)
    steps: list[Values] = []
    waiting = [(span, 0) for span in reversed(under.get(None, ()))]
    while waiting and len(steps) < _SPANS:
        span, depth = waiting.pop()
        steps.append(_step(span, depth, begun, whole))
        parts = sorted(under.get(span.id, ()), key=lambda each: (each.start_ns, each.id), reverse=True)
        waiting += [(each, depth + 1) for each in parts]
    return steps


def _step(span: Span, depth: int, begun: int, whole: int) -> Values:
    length = 0 if span.end_ns is None else max(span.end_ns - span.start_ns, 0)
    attributes = {k: _written(v) for k, v in span.attributes.items() if k not in _SHOWN_APART}
    return {
        "span": span,
        "depth": min(depth, _DEEP),
        "left": 100 * (span.start_ns - begun) / whole,
        "width": max(100 * length / whole, 0.4),
        "took": took(length // 1_000_000) if length >= 1_000_000 else f"{length / 1e6:.3f} ms",
        "inputs": _told(span, "mlflow.spanInputs"),
        "outputs": _told(span, "mlflow.spanOutputs"),
        "attributes": attributes,
        "events": [
            {"name": each.name, "told": {k: _written(v) for k, v in each.attributes.items()}}
            for each in span.events
        ],
    }


def _told(span: Span, key: str) -> str | None:
    return _written(span.attributes[key]) if key in span.attributes else None


def _written(value: Any) -> str:
    """A value as a person reads it: a text as it is, all else as JSON with lines."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
    return text if len(text) <= _TEXT else f"{text[:_TEXT]}… ({len(text):,} characters)"
