"""The repositories of traces, of their spans, and of what was said of them; none of them is journaled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from loopwright.core.traces import Assessment, Span, Trace, TraceLink, TraceQuery
from loopwright.ports.pages import Page, PageRequest

__all__ = ["Assessments", "Spans", "Traces"]


class Traces(Protocol):
    """Traces by id; an id is unique in its space."""

    def those(self, space: str, ids: Sequence[str]) -> Sequence[Trace]:
        """The traces of these ids that are there, in the order asked, each once."""

    def save(self, traces: Sequence[Trace]) -> None:
        """Make traces, or replace all of those that are there. No id twice."""

    def search(self, space: str, query: TraceQuery, request: PageRequest) -> Page[Trace]:
        """Traces that a query is about, in its order."""

    def count(self, space: str, query: TraceQuery) -> int:
        """How many traces a query is about."""

    def oldest(
        self, space: str, experiment_id: str, *, until_ms: int | None = None, limit: int | None = None
    ) -> Sequence[str]:
        """Ids of an experiment's traces that began no later, the oldest first, at most so many."""

    def remove(self, space: str, ids: Sequence[str]) -> int:
        """Take traces away with all that belongs to them; how many were there."""

    def link(self, space: str, links: Sequence[TraceLink]) -> None:
        """Link traces to runs and prompts; the same link twice is one, one of no trace is let be."""

    def links(self, space: str, trace_id: str, kind: Literal["run", "prompt"]) -> Sequence[str]:
        """What a trace is linked to, sorted."""


class Spans(Protocol):
    """The spans of traces that are there; an id is unique in its trace."""

    def put(self, space: str, spans: Sequence[Span]) -> None:
        """Make spans or replace them. `NotFound` when a trace is not there."""

    def of(self, space: str, trace_ids: Sequence[str]) -> Mapping[str, Sequence[Span]]:
        """The spans of each trace that has some: those without a parent first, then by start and id."""


class Assessments(Protocol):
    """What was said of traces that are there; an id is unique in its space."""

    def put(self, assessment: Assessment) -> None:
        """Make or replace one; `NotFound` when its trace is not there, `Conflict` for another trace's id."""

    def of(self, space: str, trace_ids: Sequence[str]) -> Mapping[str, Sequence[Assessment]]:
        """The assessments of each trace that has some, in the order they were made."""

    def remove(self, space: str, trace_id: str, assessment_id: str) -> None:
        """Take one away; nothing happens when it is not there."""
