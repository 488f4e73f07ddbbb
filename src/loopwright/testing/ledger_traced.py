"""Traces, spans and assessments in memory, over the tables of one unit of work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from loopwright.core.errors import Conflict, Invalid, NotFound
from loopwright.core.traces import Assessment, Span, Trace, TraceLink, TraceQuery
from loopwright.ports.ledger import Page, PageRequest
from loopwright.testing.ledger_unit import Unit, kept
from loopwright.testing.trace_querying import Told, is_of_session, ordered_traces

__all__ = ["MemoryAssessments", "MemorySpans", "MemoryTraces"]


def _must_be_there(unit: Unit, space: str, trace_id: str) -> None:
    if (space, trace_id) not in unit.rows("traces"):
        raise NotFound(f"there is no trace {trace_id[:100]!r}", hint="list what there is")


class MemoryTraces:
    """Fulfils `ports.traces.Traces`."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def those(self, space: str, ids: Sequence[str]) -> Sequence[Trace]:
        """The traces of these ids that are there."""
        rows = self._unit.rows("traces")
        return [rows[space, each] for each in dict.fromkeys(ids) if (space, each) in rows]

    def save(self, traces: Sequence[Trace]) -> None:
        """Make or replace."""
        for trace in traces:
            self._unit.edit("traces")[trace.space, trace.id] = kept(trace)

    def search(self, space: str, query: TraceQuery, request: PageRequest) -> Page[Trace]:
        """All in order, then a slice behind the token, which is the last trace's id."""
        if request.limit < 1:
            raise Invalid("a page has at least one item", hint="ask for more")
        found = [told.trace for told in self._asked(space, query)]
        after = 0
        if request.token:
            ids = [trace.id for trace in found]
            if request.token not in ids:
                raise Invalid("the page token is not one of ours", hint="start again without a token")
            after = ids.index(request.token) + 1
        items = tuple(found[after : after + request.limit])
        goes_on = len(found) > after + request.limit
        return Page(items=items, next_token=items[-1].id if goes_on else "")

    def count(self, space: str, query: TraceQuery) -> int:
        """How many."""
        return len(self._asked(space, query))

    def oldest(
        self, space: str, experiment_id: str, *, until_ms: int | None = None, limit: int | None = None
    ) -> Sequence[str]:
        """The oldest first."""
        found = [
            trace
            for trace in self._unit.rows("traces").values()
            if (trace.space, trace.experiment_id) == (space, experiment_id)
            and (until_ms is None or trace.started_ms <= until_ms)
        ]
        found.sort(key=lambda trace: (trace.started_ms, trace.id))
        return [trace.id for trace in found][:limit]

    def remove(self, space: str, ids: Sequence[str]) -> int:
        """With all that belongs to them."""
        known = [(space, each) for each in dict.fromkeys(ids) if (space, each) in self._unit.rows("traces")]
        gone = set(known)
        for key in known:
            del self._unit.edit("traces")[key]
        for table in ("spans", "trace_links"):
            rows = self._unit.edit(table)
            for key in [key for key in rows if key[:2] in gone]:
                del rows[key]
        said = self._unit.edit("assessments")
        for key in [key for key, each in said.items() if (each.space, each.trace_id) in gone]:
            del said[key]
        return len(known)

    def link(self, space: str, links: Sequence[TraceLink]) -> None:
        """Those of traces that are there."""
        for each in links:
            if (space, each.trace_id) in self._unit.rows("traces"):
                self._unit.edit("trace_links")[space, each.trace_id, each.kind, each.target] = each

    def links(self, space: str, trace_id: str, kind: Literal["run", "prompt"]) -> Sequence[str]:
        """Sorted."""
        rows = self._unit.rows("trace_links")
        return sorted(key[3] for key in rows if key[:3] == (space, trace_id, kind))

    def _asked(self, space: str, query: TraceQuery) -> list[Told]:
        traces = [each for each in self._unit.rows("traces").values() if each.space == space]
        within = {each.id: each for each in traces if each.experiment_id in query.experiments}
        said = [each for each in self._unit.rows("assessments").values() if each.space == space]
        return ordered_traces(query, [self._told(trace, said, within) for trace in traces])

    def _told(self, trace: Trace, said: Sequence[Assessment], within: Mapping[str, Trace]) -> Told:
        spans = self._unit.rows("spans")
        return Told(
            trace=trace,
            spans=tuple(each for key, (_, each) in spans.items() if key[:2] == (trace.space, trace.id)),
            assessments=tuple(each for each in said if each.trace_id == trace.id),
            of_session=tuple(
                each
                for each in said
                if each.trace_id in within and is_of_session(each, within[each.trace_id], trace)
            ),
            runs=frozenset(self.links(trace.space, trace.id, "run")),
            prompts=frozenset(self.links(trace.space, trace.id, "prompt")),
        )


class MemorySpans:
    """Fulfils `ports.traces.Spans`."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def put(self, space: str, spans: Sequence[Span]) -> None:
        """Make or replace."""
        for span in spans:
            _must_be_there(self._unit, space, span.trace_id)
        for span in spans:
            self._unit.edit("spans")[space, span.trace_id, span.id] = (space, kept(span))

    def of(self, space: str, trace_ids: Sequence[str]) -> Mapping[str, Sequence[Span]]:
        """Roots first, then by start and id."""
        found: dict[str, list[Span]] = {}
        for key, (_, span) in self._unit.rows("spans").items():
            if key[0] == space and key[1] in trace_ids:
                found.setdefault(key[1], []).append(span)
        for spans in found.values():
            spans.sort(key=lambda span: (span.parent_id is not None, span.start_ns, span.id))
        return found


class MemoryAssessments:
    """Fulfils `ports.traces.Assessments`."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit

    def put(self, assessment: Assessment) -> None:
        """Make or replace one."""
        _must_be_there(self._unit, assessment.space, assessment.trace_id)
        key = (assessment.space, assessment.id)
        known = self._unit.rows("assessments").get(key)
        if known is not None and known.trace_id != assessment.trace_id:
            raise Conflict("another trace has an assessment of this id")
        self._unit.edit("assessments")[key] = kept(assessment)

    def of(self, space: str, trace_ids: Sequence[str]) -> Mapping[str, Sequence[Assessment]]:
        """In the order they were made."""
        found: dict[str, list[Assessment]] = {}
        for each in self._unit.rows("assessments").values():
            if each.space == space and each.trace_id in trace_ids:
                found.setdefault(each.trace_id, []).append(each)
        for said in found.values():
            said.sort(key=lambda each: (each.created_ms, each.id))
        return found

    def remove(self, space: str, trace_id: str, assessment_id: str) -> None:
        """Nothing happens when it is not there."""
        known = self._unit.rows("assessments").get((space, assessment_id))
        if known is not None and known.trace_id == trace_id:
            del self._unit.edit("assessments")[space, assessment_id]
