"""What a database of MLflow 3 tells of traces: their steps, and what was said of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import select

from loopwright.adapters.sql.past.source import Source, integer, text, texts
from loopwright.core.errors import Corrupt
from loopwright.core.traces import (
    NAME_TAG,
    SESSION_METADATA,
    Assessment,
    AssessmentKind,
    Span,
    SpanEvent,
    SpanLink,
    Trace,
    TraceState,
)
from loopwright.ports.histories import PastTrace

__all__ = ["PROMOTED", "SqlTraces"]

PROMOTED = {
    "mlflow.trace.tokenUsage": (
        "input_tokens",
        "output_tokens",
        "total_tokens",
        "cache_read_input_tokens",
        "cache_creation_input_tokens",
        "cache_creation_input_tokens_above_1hr",
    ),
    "mlflow.trace.cost": ("input_cost", "output_cost", "total_cost"),
}
"""metadata that MLflow keeps in columns, by its name"""
_PAGE = 100
_NEEDED = {"trace_info", "trace_tags", "trace_request_metadata"}
_KINDS: Mapping[str, AssessmentKind] = {
    "feedback": "feedback",
    "expectation": "expectation",
    "issue": "issue",
}
_STATUS: Mapping[str, Literal["UNSET", "OK", "ERROR"]] = {"OK": "OK", "ERROR": "ERROR"}
_Row = Mapping[str, Any]


class SqlTraces:
    """The tables of traces."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def of(self, experiment_id: str) -> Iterator[PastTrace]:
        """The traces of an experiment, by id; without steps where those are in files."""
        if not self._source.names >= _NEEDED:
            return
        table = self._source.table("trace_info")
        mine = select(table).where(table.c.experiment_id == int(experiment_id)).order_by(table.c.request_id)
        after = ""
        while True:
            page = self._named("trace_info", mine.where(table.c.request_id > after).limit(_PAGE))
            if not page:
                return
            yield from self._whole(page)
            after = page[-1]["request_id"]

    def _named(self, name: str, question: Any) -> list[_Row]:
        names = [column.name for column in self._source.table(name).c]
        return [dict(zip(names, row, strict=True)) for row in self._source.all(question)]

    def _whole(self, rows: Sequence[_Row]) -> Iterator[PastTrace]:
        ids = [row["request_id"] for row in rows]
        tags, metadata = self._texts("trace_tags", ids), self._texts("trace_request_metadata", ids)
        spans, said = self._spans(ids), self._said(ids)
        runs, prompts = self._linked(ids, "run"), self._linked(ids, "prompt_version")
        for row in rows:
            trace_id = text(row["request_id"])
            yield PastTrace(
                trace=_trace(row, tags.get(trace_id, {}), metadata.get(trace_id, {})),
                spans=tuple(spans.get(trace_id, ())),
                assessments=tuple(said.get(trace_id, ())),
                runs=tuple(runs.get(trace_id, ())),
                prompts=tuple(prompts.get(trace_id, ())),
            )

    def _texts(self, name: str, ids: Sequence[str]) -> dict[str, dict[str, str]]:
        table = self._source.table(name)
        columns = select(table.c.request_id, table.c.key, table.c.value)
        return texts(self._source.rows(columns.where(table.c.request_id.in_(ids))))

    def _spans(self, ids: Sequence[str]) -> dict[str, list[Span]]:
        if "spans" not in self._source.names:
            return {}
        table = self._source.table("spans")
        mine = select(table).where(table.c.trace_id.in_(ids)).order_by(table.c.span_id)
        found: dict[str, list[Span]] = {}
        for row in self._named("spans", mine):
            found.setdefault(text(row["trace_id"]), []).append(_span(row))
        return found

    def _said(self, ids: Sequence[str]) -> dict[str, list[Assessment]]:
        if "assessments" not in self._source.names:
            return {}
        table = self._source.table("assessments")
        mine = select(table).where(table.c.trace_id.in_(ids)).order_by(table.c.assessment_id)
        found: dict[str, list[Assessment]] = {}
        for row in self._named("assessments", mine):
            found.setdefault(text(row["trace_id"]), []).append(_assessment(row))
        return found

    def _linked(self, ids: Sequence[str], kind: str) -> dict[str, list[str]]:
        if "entity_associations" not in self._source.names:
            return {}
        c = self._source.table("entity_associations").c
        linked = select(c.source_id, c.destination_id).where(
            c.source_type == "trace", c.destination_type == kind, c.source_id.in_(ids)
        )
        found: dict[str, list[str]] = {}
        for trace_id, target in self._source.rows(linked.order_by(c.destination_id)):
            found.setdefault(text(trace_id), []).append(text(target))
        return found


def _trace(row: _Row, tags: dict[str, str], metadata: dict[str, str]) -> Trace:
    name, session = row.get("trace_name"), row.get("session_id")
    promoted = {
        key: json.dumps(told)
        for key, columns in PROMOTED.items()
        if (told := {each: row[each] for each in columns if row.get(each) is not None})
    }
    duration = row["execution_time_ms"]
    state = text(row["status"])
    return Trace(
        id=text(row["request_id"]),
        space="",
        experiment_id=text(row["experiment_id"]),
        started_ms=integer(row["timestamp_ms"]),
        duration_ms=None if duration is None else integer(duration),
        state=TraceState(state) if state in set(TraceState) else TraceState.STATE_UNSPECIFIED,
        client_request_id=_maybe(row.get("client_request_id")),
        request_preview=_maybe(row.get("request_preview")),
        response_preview=_maybe(row.get("response_preview")),
        tags=tags | ({NAME_TAG: text(name)} if name is not None else {}),
        metadata=metadata | promoted | ({SESSION_METADATA: text(session)} if session is not None else {}),
    )


def _maybe(value: object) -> str | None:
    return None if value is None else text(value)


def _json(value: object) -> Any:
    try:
        return msgspec.json.decode(text(value))
    except (msgspec.DecodeError, RecursionError) as error:
        raise Corrupt("the database holds what is no JSON where a step should be") from error


def _attributes(told: object) -> dict[str, Any]:
    """Attributes of a step: each value is a JSON text of its own."""
    return {text(key): _unwrapped(value) for key, value in told.items()} if isinstance(told, dict) else {}


def _unwrapped(value: object) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return value


def _span(row: _Row) -> Span:
    told = _json(row["content"])
    if not isinstance(told, dict):
        raise Corrupt("the database holds a step that is none")
    status = told.get("status")
    attributes = _attributes(told.get("attributes"))
    end = row["end_time_unix_nano"]
    kind = attributes.get("mlflow.spanType")
    return Span(
        trace_id=text(row["trace_id"]),
        id=text(row["span_id"]),
        parent_id=text(row["parent_span_id"]) or None,
        name=text(row["name"]),
        type=kind if isinstance(kind, str) else None,
        status=_STATUS.get(text(row["status"]), "UNSET"),
        message=text(status.get("message")) if isinstance(status, dict) else "",
        start_ns=integer(row["start_time_unix_nano"]),
        end_ns=None if end is None else integer(end),
        attributes=attributes,
        events=tuple(_event(each) for each in told.get("events") or () if isinstance(each, dict)),
        links=tuple(_link(each) for each in told.get("links") or () if isinstance(each, dict)),
    )


def _event(told: _Row) -> SpanEvent:
    attributes = told.get("attributes")
    return SpanEvent(
        name=text(told.get("name")),
        at_ns=integer(told.get("time_unix_nano") or 0),
        attributes=attributes if isinstance(attributes, dict) else {},
    )


def _link(told: _Row) -> SpanLink:
    attributes = told.get("attributes")
    return SpanLink(
        trace_id=text(told.get("trace_id")),
        span_id=text(told.get("span_id")),
        attributes=attributes if isinstance(attributes, dict) else {},
    )


def _assessment(row: _Row) -> Assessment:
    metadata = _json(row["assessment_metadata"]) if row["assessment_metadata"] is not None else {}
    kind = _KINDS.get(text(row["assessment_type"]))
    if kind is None:
        raise Corrupt("the database holds an assessment of no kind")
    return Assessment(
        id=text(row["assessment_id"]),
        trace_id=text(row["trace_id"]),
        space="",
        name=text(row["name"]),
        kind=kind,
        value=_json(row["value"]),
        error=_json(row["error"]) if row["error"] is not None else None,
        source_type=text(row["source_type"]),
        source_id=_maybe(row["source_id"]),
        run_id=_maybe(row["run_id"]),
        span_id=_maybe(row["span_id"]),
        rationale=_maybe(row["rationale"]),
        metadata={text(key): text(value) for key, value in metadata.items()}
        if isinstance(metadata, dict)
        else {},
        created_ms=integer(row["created_timestamp"]),
        updated_ms=integer(row["last_updated_timestamp"]),
        overrides=_maybe(row["overrides"]),
        valid=bool(row["valid"]),
    )
