"""Traces, spans and assessments counted and measured, by time and by what they are called."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, cast

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.instants import from_micros
from loopwright.core.nesting import is_moderate
from loopwright.core.queries import All, Comparison, Condition, Field
from loopwright.core.traces import NAME_TAG, RUN_METADATA, Assessment, Span, Trace, TraceQuery, session_of
from loopwright.engine.context import Context
from loopwright.llm.finding import there
from loopwright.llm.nouns import CACHED, COSTS, SIZE_STATS, SPAN_COST, TOKENS, USAGE
from loopwright.llm.usage import numbers
from loopwright.ports.ledger import PageRequest, Transaction
from loopwright.tracking.lexing import Token, tokens

__all__ = ["Aggregation", "Point", "Question", "kind_of", "measure", "spans_told", "view_of"]

View = Literal["TRACES", "SPANS", "ASSESSMENTS"]
Kind = Literal["COUNT", "SUM", "AVG", "PERCENTILE", "MIN", "MAX"]

_VIEWS: tuple[View, ...] = ("TRACES", "SPANS", "ASSESSMENTS")
_KINDS: tuple[Kind, ...] = ("COUNT", "SUM", "AVG", "PERCENTILE", "MIN", "MAX")
_ROUND = 500
_BUCKET = "time_bucket"
_MOST_BUCKETS = 10_000
_MEASURES: frozenset[Kind] = frozenset({"AVG", "MIN", "MAX", "PERCENTILE"})
_AMOUNTS: frozenset[Kind] = _MEASURES | {"SUM"}
_COUNTS: frozenset[Kind] = frozenset({"COUNT"})


class Aggregation(msgspec.Struct, frozen=True, kw_only=True):
    """How values are put together; a percentile is from 0 to 100."""

    kind: Kind
    percentile: float | None = None


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What of the traces of experiments is measured."""

    experiment_ids: tuple[str, ...]
    view: View
    metric: str
    aggregations: tuple[Aggregation, ...]
    dimensions: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    """each one comparison: `trace.status = 'OK'`, `trace.tag.team = 'blue'`, `span.name = 'ask'`"""
    interval_s: int | None = None
    start_ms: int | None = None
    end_ms: int | None = None
    limit: int = 1_000


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """The values of one group."""

    dimensions: dict[str, str]
    values: dict[str, float]


class _Item(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is measured."""

    at_ms: int
    value: float | str | None
    dimensions: Mapping[str, str | None]


class _Metric(msgspec.Struct, frozen=True, kw_only=True):
    kinds: frozenset[Kind]
    dimensions: tuple[str, ...] = ()
    is_distinct: bool = False


_SPAN_NAMES = ("span_name", "span_type", "span_status", "span_model_name", "span_model_provider")
_METRICS: dict[View, dict[str, _Metric]] = {
    "TRACES": {
        "trace_count": _Metric(kinds=_COUNTS, dimensions=("trace_name", "trace_status")),
        "session_count": _Metric(kinds=_COUNTS, is_distinct=True),
        "latency": _Metric(kinds=_MEASURES, dimensions=("trace_name",)),
        **{key: _Metric(kinds=_AMOUNTS, dimensions=("trace_name",)) for key in (*TOKENS, *CACHED[:2])},
    },
    "SPANS": {
        "span_count": _Metric(kinds=_COUNTS, dimensions=_SPAN_NAMES),
        "latency": _Metric(kinds=_MEASURES, dimensions=("span_name", "span_status")),
        **{key: _Metric(kinds=_AMOUNTS, dimensions=_SPAN_NAMES[3:]) for key in COSTS},
    },
    "ASSESSMENTS": {
        "assessment_count": _Metric(kinds=_COUNTS, dimensions=("assessment_name", "assessment_value")),
        "assessment_value": _Metric(kinds=_MEASURES, dimensions=("assessment_name",)),
    },
}


def view_of(told: str | int) -> View:
    """What is looked at, by name or number from 1."""
    return cast("View", _named(told, _VIEWS, "view_type"))


def kind_of(told: str | int) -> Kind:
    """How values are put together, by name or number from 1."""
    return cast("Kind", _named(told, _KINDS, "aggregation_type"))


def _named(told: str | int, known: Sequence[str], what: str) -> str:
    if isinstance(told, int):
        told = known[told - 1] if 1 <= told <= len(known) else str(told)
    if told not in known:
        raise Invalid(
            f"Invalid value {told[:50]!r} for parameter '{what}' supplied", hint=f"say {', '.join(known)}"
        )
    return told


def spans_told(trace: Trace) -> int:
    """How many spans the client says that a trace has, 0 where it does not."""
    try:
        told = json.loads(trace.metadata.get(SIZE_STATS, "{}"))
    except (ValueError, RecursionError):
        return 0
    found = told.get("num_spans", 0) if isinstance(told, dict) else 0
    return found if isinstance(found, int) else 0


def measure(ctx: Context, asked: Question) -> list[Point]:
    """The values of each group, by time and then by name; the traces are read in rounds, in flat memory.

    How many there are in all is counted without reading them.
    """
    metric = _checked(asked)
    on_trace, on_part = _filters(asked)
    groups: dict[tuple[str | None, ...], list[Any]] = {}
    with ctx.read() as tx:
        query = TraceQuery(
            experiments=there(ctx, tx, asked.experiment_ids), where=All((*on_trace, *_within(asked)))
        )
        if asked.metric == "trace_count" and not asked.dimensions and asked.interval_s is None:
            told = {"COUNT": float(tx.traces.count(ctx.space, query))}
            return [Point(dimensions={}, values=told)][: max(asked.limit, 0)]
        for item in _items(ctx, tx, query, asked):
            if item.value is None or not _is_asked(item, on_part, asked):
                continue
            groups.setdefault(_group(item, asked), []).append(item.value)
    points = [
        Point(dimensions=_told(key, asked), values=_values(values, asked.aggregations, metric))
        for key, values in sorted(groups.items(), key=lambda pair: [(each or "") for each in pair[0]])
    ]
    if not points and not asked.dimensions and asked.interval_s is None and metric.kinds == _COUNTS:
        points = [Point(dimensions={}, values={"COUNT": 0.0})]
    return points[: max(asked.limit, 0)]


def _checked(asked: Question) -> _Metric:
    known = _METRICS[asked.view]
    metric = known.get(asked.metric)
    if metric is None:
        raise Invalid(
            f"metric_name must be one of {sorted(known)}, got '{asked.metric[:100]}'", hint="name one of them"
        )
    for each in asked.aggregations:
        if each.kind not in metric.kinds:
            raise Invalid(
                f"Found invalid aggregation_type(s) {each.kind!r}. Supported: {sorted(metric.kinds)}"
            )
        if each.kind == "PERCENTILE" and not 0 <= (-1 if each.percentile is None else each.percentile) <= 100:
            raise Invalid("a percentile is from 0 to 100", hint="say percentile_value")
    if not asked.aggregations:
        raise Invalid("nothing is asked for: name an aggregation", hint=f"one of {sorted(metric.kinds)}")
    for name in asked.dimensions:
        if name not in metric.dimensions:
            raise Invalid(f"Found invalid dimension(s) {name[:100]!r}. Supported: {list(metric.dimensions)}")
    if asked.interval_s is not None:
        _check_interval(asked)
    return metric


def _check_interval(asked: Question) -> None:
    if asked.start_ms is None or asked.end_ms is None:
        raise Invalid("start_time_ms and end_time_ms are required if time_interval_seconds is set")
    if asked.interval_s is None or asked.interval_s < 1:
        raise Invalid("time_interval_seconds must be positive", hint="say 3600 for an hour")
    if (asked.end_ms - asked.start_ms) // (asked.interval_s * 1000) > _MOST_BUCKETS:
        raise Invalid(f"there are more than {_MOST_BUCKETS} intervals in that time", hint="longer ones")


def _within(asked: Question) -> list[Condition]:
    """What of time is asked of traces; spans are looked at one by one."""
    if asked.view == "SPANS":
        return []
    field = Field("attribute", "timestamp_ms")
    found: list[Condition] = []
    if asked.start_ms is not None:
        found.append(Comparison(field, ">=", asked.start_ms))
    if asked.end_ms is not None:
        found.append(Comparison(field, "<=", asked.end_ms))
    return found


def _items(ctx: Context, tx: Transaction, query: TraceQuery, asked: Question) -> Iterator[_Item]:
    token = ""
    while True:
        page = tx.traces.search(ctx.space, query, PageRequest(limit=_ROUND, token=token))
        ids = [trace.id for trace in page.items]
        if asked.view == "TRACES":
            yield from (_of_trace(trace, asked.metric) for trace in page.items)
        elif asked.view == "SPANS":
            for spans in tx.spans.of(ctx.space, ids).values():
                yield from (_of_span(span, asked.metric) for span in spans)
        else:
            starts = {trace.id: trace.started_ms for trace in page.items}
            for said in tx.assessments.of(ctx.space, ids).values():
                valid = (each for each in said if each.valid)
                yield from (_of_assessment(each, starts[each.trace_id], asked.metric) for each in valid)
        token = page.next_token
        if not token:
            return


def _of_trace(trace: Trace, metric: str) -> _Item:
    value: float | str | None
    match metric:
        case "trace_count":
            value = 1
        case "session_count":
            value = session_of(trace)
        case "latency":
            value = trace.duration_ms
        case _:
            value = numbers(_json(trace.metadata.get(USAGE)), (metric,), whole=True).get(metric)
    return _Item(
        at_ms=trace.started_ms,
        value=value,
        dimensions={"trace_name": trace.name, "trace_status": trace.state.value},
    )


def _of_span(span: Span, metric: str) -> _Item:
    value: float | None
    match metric:
        case "span_count":
            value = 1
        case "latency":
            value = None if span.end_ns is None else (span.end_ns - span.start_ns) // 1_000_000
        case _:
            value = numbers(span.attributes.get(SPAN_COST), (metric,), whole=False).get(metric)
    return _Item(
        at_ms=span.start_ns // 1_000_000,
        value=value,
        dimensions={
            "span_name": span.name,
            "span_type": span.type,
            "span_status": span.status,
            "span_model_name": _word(span.attributes.get("mlflow.llm.model")),
            "span_model_provider": _word(span.attributes.get("mlflow.llm.provider")),
        },
    )


def _of_assessment(said: Assessment, at_ms: int, metric: str) -> _Item:
    return _Item(
        at_ms=at_ms,
        value=1 if metric == "assessment_count" else _score(said.value),
        dimensions={
            "assessment_name": said.name,
            "assessment_value": json.dumps(said.value),
            "assessment_type": said.kind,
        },
    )


def _score(value: Any) -> float | None:
    """What an assessment counts as: yes and true 1, no and false 0, a number itself."""
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        return {"yes": 1.0, "no": 0.0}.get(value.strip().lower())
    return numbers({"it": value}, ("it",), whole=False).get("it")


def _word(value: Any) -> str | None:
    return value[:250] if isinstance(value, str) else None


def _json(text: str | None) -> Any:
    try:
        return json.loads(text) if text is not None and is_moderate(text) else None
    except (ValueError, RecursionError):
        return None


# -- filters -----------------------------------------------------------------------------------------------

_PARTS = {
    "SPANS": ("span", {"name": "span_name", "status": "span_status", "type": "span_type"}),
    "ASSESSMENTS": ("assessment", {"name": "assessment_name", "type": "assessment_type"}),
}
_KEYED = re.compile(r"(tag|metadata)\.(.+)\Z", re.DOTALL)


def _filters(asked: Question) -> tuple[list[Condition], dict[str, str]]:
    """What is asked of whole traces, and which dimensions their parts have to have."""
    on_trace: list[Condition] = []
    on_part: dict[str, str] = {}
    entity, known = _PARTS.get(asked.view, ("", {}))
    for text in asked.filters:
        of, key, value = _comparison(text)
        if of == "trace":
            on_trace.append(_on_trace(key, value))
        elif of == entity and key in known:
            on_part[known[key]] = value
        else:
            raise Invalid(
                f"Filtering by {of[:50]}.{key[:50]} is not supported for the view {asked.view}",
                hint="trace.status, trace.tag.<key>, trace.metadata.<key>, span.name, assessment.name",
            )
    return on_trace, on_part


def _comparison(text: str) -> tuple[str, str, str]:
    keyed = _quoted_key(text)
    if keyed is not None:
        return keyed
    found: list[Token] = list(tokens(text[:10_000]))[:-1]
    if len(found) != 3 or found[0].kind != "path" or found[2].kind not in {"single", "double"}:
        raise Invalid(
            f"Invalid filter: '{text[:100]}'. Expected one filter clause.", hint="trace.status = 'OK'"
        )
    if found[1].text != "=":
        raise Invalid(f"Invalid comparator: '{found[1].text[:20]}', only '=' operator is supported")
    return found[0].entity, found[0].value, found[2].value


_QUOTED = re.compile(r"\s*trace\.(tag|metadata)\.[`\"]([^`\"]+)[`\"]\s*=\s*(?:'([^']*)'|\"([^\"]*)\")\s*\Z")


def _quoted_key(text: str) -> tuple[str, str, str] | None:
    found = _QUOTED.match(text)
    if found is None:
        return None
    return "trace", f"{found[1]}.{found[2]}", found[3] if found[3] is not None else found[4]


def _on_trace(key: str, value: str) -> Condition:
    if key == "status":
        return Comparison(Field("attribute", "status"), "=", value)
    keyed = _KEYED.match(key)
    if keyed is None:
        raise Invalid(
            f"Invalid entity '{key[:100]}' specified for view type 'trace'", hint="status, tag, metadata"
        )
    if keyed[1] == "metadata" and keyed[2] == RUN_METADATA:
        return Comparison(Field("attribute", "run_id"), "=", value)
    if keyed[1] == "tag" and keyed[2] == NAME_TAG:
        return Comparison(Field("attribute", "name"), "=", value)
    return Comparison(Field("tag" if keyed[1] == "tag" else "metadata", keyed[2]), "=", value)


def _is_asked(item: _Item, on_part: Mapping[str, str], asked: Question) -> bool:
    if asked.start_ms is not None and item.at_ms < asked.start_ms:
        return False
    if asked.end_ms is not None and item.at_ms > asked.end_ms:
        return False
    return all(item.dimensions.get(name) == value for name, value in on_part.items())


def _group(item: _Item, asked: Question) -> tuple[str | None, ...]:
    names = tuple(item.dimensions.get(name) for name in asked.dimensions)
    if asked.interval_s is None:
        return names
    width = asked.interval_s * 1000
    return (f"{item.at_ms // width * width:020d}", *names)


def _told(key: tuple[str | None, ...], asked: Question) -> dict[str, str]:
    found: dict[str, str] = {}
    if asked.interval_s is not None:
        found[_BUCKET], key = _bucket(key[0]), key[1:]
    found.update({name: each for name, each in zip(asked.dimensions, key, strict=True) if each is not None})
    return found


def _bucket(padded: str | None) -> str:
    return from_micros(int(padded or "0") * 1000).isoformat()


def _values(values: list[Any], asked: Sequence[Aggregation], metric: _Metric) -> dict[str, float]:
    if metric.is_distinct:
        values = sorted(set(values))
    return {_label(each): float(_PUT[each.kind](values, each)) for each in asked}


def _label(asked: Aggregation) -> str:
    return f"P{asked.percentile}" if asked.kind == "PERCENTILE" else asked.kind


def _percentile(values: list[float], asked: Aggregation) -> float:
    """Between the two nearest values, in proportion (Hyndman and Fan's seventh definition)."""
    ordered = sorted(values)
    place = (asked.percentile or 0.0) / 100 * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


_PUT: dict[Kind, Callable[[list[Any], Aggregation], float]] = {
    "COUNT": lambda values, _: len(values),
    "SUM": lambda values, _: sum(values),
    "AVG": lambda values, _: sum(values) / len(values),
    "MIN": lambda values, _: min(values),
    "MAX": lambda values, _: max(values),
    "PERCENTILE": _percentile,
}
