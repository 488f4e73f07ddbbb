"""Traces by number, with their tags and metadata whole in the row and as rows beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import bindparam, delete, insert, update

from loopwright.adapters.sql import schema
from loopwright.adapters.sql.repositories.keys import key_numbers, known_keys
from loopwright.adapters.sql.repositories.texts import HEAD
from loopwright.adapters.sql.repositories.trace_search import TraceSearch
from loopwright.adapters.sql.rows import Row, to_json
from loopwright.adapters.sql.statements import Session, insert_new, upsert
from loopwright.core.errors import NotFound
from loopwright.core.traces import Trace, TraceLink, TraceQuery, TraceState, session_of
from loopwright.ports.ledger import Page, PageRequest

__all__ = ["SqlTraces", "numbers_of", "trace_numbers"]

_COLUMNS = (
    "id, space, experiment_id, started_ms, duration_ms, state, client_request_id, request_preview, "
    "response_preview, tags, metadata"
)
_CHUNK = 500
_texts = msgspec.json.Decoder(dict[str, str]).decode
_t = schema.traces.c
_ADD = insert(schema.traces).values(
    {c.name: bindparam(c.name, type_=c.type) for c in schema.traces.columns if c.name != "no"}
)
_UPDATE = (
    update(schema.traces)
    .where(_t.no == bindparam("b_no"))
    .values(
        {
            c.name: bindparam(c.name, type_=c.type)
            for c in schema.traces.columns
            if c.name not in {"no", "id", "space"}
        }
    )
)
_LINK = insert_new(schema.trace_links)
_BELONGINGS = (
    schema.trace_tags,
    schema.trace_metadata,
    schema.trace_links,
    schema.spans,
    schema.assessments,
)
_REMOVALS = (
    *(delete(table).where(table.c.trace_no == bindparam("no", type_=schema.BIG)) for table in _BELONGINGS),
    delete(schema.traces).where(_t.no == bindparam("no", type_=schema.BIG)),
)
_PUT = {
    table.name: upsert(table, ["trace_no", "key_no"]) for table in (schema.trace_tags, schema.trace_metadata)
}
_DROP = {
    table.name: delete(table).where(
        table.c.trace_no == bindparam("trace_no"), table.c.key_no == bindparam("key_no")
    )
    for table in (schema.trace_tags, schema.trace_metadata)
}


def trace_numbers(session: Session, space: str, ids: Sequence[str]) -> dict[str, int]:
    """The numbers of the traces of these ids that are there."""
    return {row[0]: row[1] for row in _by_ids(session, space, ids, "id, no")}


def _by_ids(session: Session, space: str, ids: Sequence[str], columns: str) -> list[Row]:
    found: list[Row] = []
    for start in range(0, len(ids), _CHUNK):
        part = ids[start : start + _CHUNK]
        marks = ", ".join("?" * len(part))
        text = f"SELECT {columns} FROM traces WHERE space = ? AND id IN ({marks})"
        found += session.fetch(text, [space, *part])
    return found


class SqlTraces:
    """Fulfils `ports.traces.Traces`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def those(self, space: str, ids: Sequence[str]) -> Sequence[Trace]:
        """The traces of these ids that are there, in the order asked."""
        wanted = list(dict.fromkeys(ids))
        found = {row[0]: row for row in _by_ids(self._session, space, wanted, _COLUMNS)}
        return [_trace(found[each]) for each in wanted if each in found]

    def save(self, traces: Sequence[Trace]) -> None:
        """Make traces, or replace all of those that are there."""
        before = self._before(traces)
        new = [trace for trace in traces if (trace.space, trace.id) not in before]
        self._session.change_many(_ADD, [_row(trace) for trace in new])
        old = [trace for trace in traces if (trace.space, trace.id) in before]
        rows = [{**_row(trace), "b_no": before[trace.space, trace.id][0]} for trace in old]
        self._session.change_many(_UPDATE, rows)
        numbers = {key: row[0] for key, row in before.items()}
        for space in {trace.space for trace in new}:
            ids = [trace.id for trace in new if trace.space == space]
            made = trace_numbers(self._session, space, ids)
            numbers.update({(space, each): number for each, number in made.items()})
        for trace in traces:
            key = trace.space, trace.id
            tags, metadata = (_texts(before[key][1]), _texts(before[key][2])) if key in before else ({}, {})
            self._write("trace_tags", numbers[key], trace.space, tags, trace.tags)
            self._write("trace_metadata", numbers[key], trace.space, metadata, trace.metadata)

    def _before(self, traces: Sequence[Trace]) -> dict[tuple[str, str], tuple[int, str, str]]:
        found: dict[tuple[str, str], tuple[int, str, str]] = {}
        for space in {trace.space for trace in traces}:
            ids = [trace.id for trace in traces if trace.space == space]
            for row in _by_ids(self._session, space, ids, "id, no, tags, metadata"):
                found[space, row[0]] = (row[1], row[2], row[3])
        return found

    def _write(
        self, table: str, number: int, space: str, before: Mapping[str, str], after: Mapping[str, str]
    ) -> None:
        changed = {name: value for name, value in after.items() if before.get(name) != value}
        if changed:
            keys = key_numbers(self._session, space, set(changed))
            rows = [(number, keys[name], value[:HEAD], value, space) for name, value in changed.items()]
            self._session.insert_tuples(_PUT[table], rows)
        gone = [name for name in before if name not in after]
        if gone:
            keys = known_keys(self._session, space, gone)
            lost = [{"trace_no": number, "key_no": keys[name]} for name in gone]
            self._session.change_many(_DROP[table], lost)

    def search(self, space: str, query: TraceQuery, request: PageRequest) -> Page[Trace]:
        """Traces that a query is about, in its order."""
        numbers, token = TraceSearch(self._session, space, query).page(request)
        found: dict[int, Trace] = {}
        for start in range(0, len(numbers), _CHUNK):
            part = numbers[start : start + _CHUNK]
            marks = ", ".join("?" * len(part))
            text = f"SELECT {_COLUMNS}, no FROM traces WHERE no IN ({marks})"
            found.update({row[11]: _trace(row) for row in self._session.fetch(text, part)})
        return Page(items=tuple(found[number] for number in numbers), next_token=token)

    def count(self, space: str, query: TraceQuery) -> int:
        """How many traces a query is about."""
        return TraceSearch(self._session, space, query).count()

    def oldest(
        self, space: str, experiment_id: str, *, until_ms: int | None = None, limit: int | None = None
    ) -> Sequence[str]:
        """Ids of an experiment's traces that began no later, the oldest first."""
        text = "SELECT id FROM traces WHERE space = ? AND experiment_id = ?"
        values: list[Any] = [space, experiment_id]
        if until_ms is not None:
            text, values = f"{text} AND started_ms <= ?", [*values, until_ms]
        text += " ORDER BY started_ms, id"
        if limit is not None:
            text, values = f"{text} LIMIT ?", [*values, limit]
        return [row[0] for row in self._session.fetch(text, values)]

    def remove(self, space: str, ids: Sequence[str]) -> int:
        """Take traces away with all that belongs to them."""
        numbers = trace_numbers(self._session, space, list(dict.fromkeys(ids)))
        for statement in _REMOVALS:
            self._session.change_many(statement, [{"no": number} for number in numbers.values()])
        return len(numbers)

    def link(self, space: str, links: Sequence[TraceLink]) -> None:
        """Link traces that are there to runs and prompts."""
        numbers = trace_numbers(self._session, space, list(dict.fromkeys(each.trace_id for each in links)))
        rows = [
            (numbers[each.trace_id], each.kind, each.target, space)
            for each in links
            if each.trace_id in numbers
        ]
        self._session.insert_tuples(_LINK, rows)

    def links(self, space: str, trace_id: str, kind: Literal["run", "prompt"]) -> Sequence[str]:
        """What a trace is linked to, sorted."""
        number = trace_numbers(self._session, space, [trace_id]).get(trace_id)
        if number is None:
            return []
        text = "SELECT target FROM trace_links WHERE trace_no = ? AND kind = ? ORDER BY target"
        return [row[0] for row in self._session.fetch(text, [number, kind])]


def numbers_of(session: Session, space: str, ids: Sequence[str]) -> dict[str, int]:
    """The numbers of traces; `NotFound` for one that is not there."""
    found = trace_numbers(session, space, list(dict.fromkeys(ids)))
    for each in ids:
        if each not in found:
            raise NotFound(f"Trace with ID '{each[:100]}' is not found.", hint="traces search")
    return found


def _row(trace: Trace) -> dict[str, Any]:
    return {
        "id": trace.id,
        "space": trace.space,
        "experiment_id": trace.experiment_id,
        "started_ms": trace.started_ms,
        "duration_ms": trace.duration_ms,
        "state": str(trace.state),
        "client_request_id": trace.client_request_id,
        "request_preview": trace.request_preview,
        "response_preview": trace.response_preview,
        "session": session_of(trace),
        "tags": to_json(trace.tags),
        "metadata": to_json(trace.metadata),
    }


def _trace(row: Row) -> Trace:
    return Trace(
        id=row[0],
        space=row[1],
        experiment_id=row[2],
        started_ms=row[3],
        duration_ms=row[4],
        state=TraceState(row[5]),
        client_request_id=row[6],
        request_preview=row[7],
        response_preview=row[8],
        tags=_texts(row[9]),
        metadata=_texts(row[10]),
    )
