"""Answers questions about traces slowly and plainly: what every ledger's search of them is held against."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.queries import All, AnyOf, Comparison, Condition, Field, Not, SortKey
from loopwright.core.traces import (
    NAME_TAG,
    RUN_METADATA,
    Assessment,
    Span,
    Trace,
    TraceQuery,
    is_session_wide,
    session_of,
)
from loopwright.testing.querying import compares

__all__ = ["Told", "content_of", "holds", "is_of_session", "ordered_traces", "told_of"]

_NULLS = {"IS NULL", "IS NOT NULL"}


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A trace with all that belongs to it, and what was said of its session by way of other traces."""

    trace: Trace
    spans: tuple[Span, ...] = ()
    assessments: tuple[Assessment, ...] = ()
    of_session: tuple[Assessment, ...] = ()
    runs: frozenset[str] = frozenset()
    prompts: frozenset[str] = frozenset()


def ordered_traces(query: TraceQuery, all_told: Iterable[Told]) -> list[Told]:
    """The traces that a query is about, in its order."""
    kept = [
        told
        for told in all_told
        if told.trace.experiment_id in query.experiments and (query.where is None or holds(query.where, told))
    ]
    kept.sort(key=lambda told: told.trace.id)
    kept.sort(key=lambda told: -told.trace.started_ms)
    for key in reversed(query.order):
        kept = _sorted(kept, key)
    return kept


def holds(condition: Condition, told: Told) -> bool:
    """Whether a condition holds of a trace."""
    match condition:
        case All(parts):
            spans = [each for each in parts if isinstance(each, Comparison) and each.field.kind == "span"]
            rest = [each for each in parts if each not in spans]
            return all(holds(part, told) for part in rest) and (not spans or _some_span(spans, told))
        case AnyOf(parts):
            return any(holds(part, told) for part in parts)
        case Not(part):
            return not holds(part, told)
        case Comparison():
            return _compared(condition, told)


def told_of(value: Any) -> str:
    """A value of an attribute as text: a text as it is, all else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _compared(asked: Comparison, told: Told) -> bool:
    kind, key = asked.field.kind, asked.field.key
    if kind == "span":
        return _some_span([asked], told)
    if kind in {"feedback", "expectation"}:
        found = _assessed(asked, told)
        return found != (asked.op == "IS NULL")
    if kind == "issue":
        issues = [each.name for each in told.assessments if each.kind == "issue"]
        return any(_test(name, asked) for name in issues)
    if (kind, key) == ("attribute", "prompt"):
        values: Sequence[str | float] = sorted(told.prompts)
    else:
        values = _values(asked.field, told)
    if (kind, key, asked.op) == ("attribute", "run_id", "=") and asked.value in told.runs:
        return True
    if asked.op in _NULLS:
        return (not values) == (asked.op == "IS NULL")
    return any(_test(value, asked) for value in values)


def _some_span(asked: Sequence[Comparison], told: Told) -> bool:
    return any(all(_holds_of_span(each, span) for each in asked) for span in told.spans)


def _holds_of_span(asked: Comparison, span: Span) -> bool:
    key = asked.field.key
    if key.startswith("attributes."):
        value = span.attributes.get(key.removeprefix("attributes."))
        found = None if value is None else told_of(value)
    elif key == "content":
        found = content_of(span)
    elif key in {"name", "type", "status"}:
        found = getattr(span, key)
    else:
        raise Invalid(f"spans have no {key!r}", hint="they have name, type, status, content and attributes")
    if asked.op in _NULLS:
        return (found is None) == (asked.op == "IS NULL")
    return found is not None and _test(found, asked)


def content_of(span: Span) -> str:
    """All that was recorded of a span, as the JSON text that stores keep of it."""
    told: dict[str, Any] = {"name": span.name}
    if span.message:
        told["message"] = span.message
    for name in ("attributes", "events", "links"):
        if getattr(span, name):
            told[name] = getattr(span, name)
    return msgspec.json.encode(told).decode()


def _assessed(asked: Comparison, told: Told) -> bool:
    return any(
        each.kind == asked.field.kind
        and each.name == asked.field.key
        and each.valid
        and (asked.op in _NULLS or _holds_of_value(asked, each.value))
        for each in (*told.assessments, *told.of_session)
    )


def _holds_of_value(asked: Comparison, value: Any) -> bool:
    text = msgspec.json.encode(value).decode()
    if asked.op in {"<", "<=", ">", ">="}:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and _test(float(value), asked)
    if asked.op in {"=", "!="}:
        equal = asked.value in {text, value if isinstance(value, str) else text}
        return equal == (asked.op == "=")
    return _test(text, asked)


def _values(field: Field, told: Told) -> Sequence[str | float]:
    trace = told.trace
    match field.kind:
        case "tag":
            found: Any = trace.tags.get(field.key)
        case "metadata":
            found = trace.metadata.get(field.key)
        case "attribute":
            found = _attribute(field.key, trace)
        case _:
            raise Invalid(f"traces have no {field.kind}", hint="ask about an attribute, tag or metadata")
    return [] if found is None else [found]


def _attribute(key: str, trace: Trace) -> str | float | None:
    known: dict[str, str | float | None] = {
        "request_id": trace.id,
        "experiment_id": trace.experiment_id,
        "client_request_id": trace.client_request_id,
        "status": trace.state.value,
        "name": trace.tags.get(NAME_TAG),
        "run_id": trace.metadata.get(RUN_METADATA),
        "timestamp_ms": trace.started_ms,
        "execution_time_ms": trace.duration_ms,
        "end_time_ms": trace.started_ms + (trace.duration_ms or 0),
    }
    if key not in known:
        raise Invalid(f"traces have no attribute {key!r}", hint=f"they have {', '.join(known)}")
    return known[key]


def _test(found: str | float, asked: Comparison) -> bool:
    if asked.op == "RLIKE":
        return re.search(str(asked.value), str(found)) is not None
    return compares(found, asked.op, asked.value)


def _sorted(kept: list[Told], key: SortKey) -> list[Told]:
    """By a value; what has none comes last in both directions; equals stay as they were."""
    pairs = [(_values(key.field, told), told) for told in kept]
    there = [(values[0], told) for values, told in pairs if values]
    there.sort(key=lambda pair: pair[0], reverse=key.descending)
    return [told for _, told in there] + [told for values, told in pairs if not values]


def is_of_session(assessment: Assessment, by: Trace, trace: Trace) -> bool:
    """Whether something said of one trace was said of the session that another is in too."""
    session = session_of(trace)
    return is_session_wide(assessment) and session is not None and session_of(by) == session
