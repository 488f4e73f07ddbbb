"""Spans as rows: what they are found by in columns, all else as one JSON text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from loopwright.adapters.sql import schema
from loopwright.adapters.sql.repositories.traces import numbers_of, trace_numbers
from loopwright.adapters.sql.rows import Row
from loopwright.adapters.sql.statements import Session, upsert
from loopwright.core.errors import Invalid
from loopwright.core.traces import Span, SpanEvent, SpanLink

__all__ = ["SqlSpans"]

_PUT = upsert(schema.spans, ["trace_no", "id"])
_CHUNK = 500
_COLUMNS = "trace_no, id, parent_id, name, type, status, start_ns, end_ns, content"


class _Content(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What of a span stands in its text; the name stands there too, for those who search in it."""

    name: str
    message: str = ""
    attributes: dict[str, Any] = {}
    events: tuple[SpanEvent, ...] = ()
    links: tuple[SpanLink, ...] = ()


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Content).decode


class SqlSpans:
    """Fulfils `ports.traces.Spans`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def put(self, space: str, spans: Sequence[Span]) -> None:
        """Make spans or replace them."""
        numbers = numbers_of(self._session, space, [span.trace_id for span in spans])
        rows = [_row(span, numbers[span.trace_id], space) for span in spans]
        self._session.insert_tuples(_PUT, rows)

    def of(self, space: str, trace_ids: Sequence[str]) -> Mapping[str, Sequence[Span]]:
        """The spans of each trace that has some."""
        numbers = trace_numbers(self._session, space, list(dict.fromkeys(trace_ids)))
        ids = {number: each for each, number in numbers.items()}
        found: dict[str, list[Span]] = {}
        listed = list(ids)
        for start in range(0, len(listed), _CHUNK):
            part = listed[start : start + _CHUNK]
            text = f"SELECT {_COLUMNS} FROM spans WHERE trace_no IN ({', '.join('?' * len(part))})"
            for row in self._session.fetch(text, part):
                trace_id = ids[row[0]]
                found.setdefault(trace_id, []).append(_span(row, trace_id))
        for spans in found.values():
            spans.sort(key=lambda span: (span.parent_id is not None, span.start_ns, span.id))
        return found


def _row(span: Span, number: int, space: str) -> tuple[Any, ...]:
    content = _Content(
        name=span.name,
        message=span.message,
        attributes=span.attributes,
        events=span.events,
        links=span.links,
    )
    try:
        text = _encode(content).decode()
    except (TypeError, ValueError, UnicodeEncodeError) as error:
        raise Invalid(f"a span cannot be kept as JSON: {error}", hint="use plain JSON values") from error
    return (
        number,
        span.id,
        space,
        span.parent_id,
        span.name,
        span.type,
        span.status,
        span.start_ns,
        span.end_ns,
        text,
    )


def _span(row: Row, trace_id: str) -> Span:
    content = _decode(row[8])
    return Span(
        trace_id=trace_id,
        id=row[1],
        parent_id=row[2],
        name=row[3],
        type=row[4],
        status=row[5],
        start_ns=row[6],
        end_ns=row[7],
        message=content.message,
        attributes=content.attributes,
        events=content.events,
        links=content.links,
    )
