"""What one unit of work of the ledger in memory sees and changes, and how its lists are paged."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from loopwright.core.digests import canonical
from loopwright.core.errors import Fault, Invalid, NotFound
from loopwright.core.nouns import (
    Alias,
    Asset,
    Decision,
    Event,
    Job,
    Json,
    Link,
    MetricPoint,
    Run,
    Signal,
    Version,
)
from loopwright.core.queries import Comparison
from loopwright.core.traces import Assessment, Span, Trace, TraceLink
from loopwright.ports.ledger import Artifact, Page, PageRequest, Segment
from loopwright.ports.measures import Measure
from loopwright.testing.querying import compares

__all__ = [
    "TYPES",
    "Rows",
    "Unit",
    "kept",
    "matches",
    "missing",
    "page_of",
    "source_holds",
    "stands",
    "told_of",
]

T = TypeVar("T")
Rows = dict[Any, Any]

TYPES: dict[str, Any] = {
    "assets": Asset,
    "measures": Measure,
    "versions": Version,
    "aliases": Alias,
    "runs": Run,
    "tombstones": Run,
    "links": tuple[str, Link],
    "points": MetricPoint,
    "artifacts": Artifact,
    "signals": Signal,
    "decisions": Decision,
    "journal": Event,
    "jobs": Job,
    "segments": Segment,
    "documents": Json,
    "traces": Trace,
    "trace_links": TraceLink,
    "spans": tuple[str, Span],
    "assessments": Assessment,
}
"""the tables, and what each holds"""

MOST_ITEMS = 50_000


class Unit:
    """The tables as one unit of work sees them; a table is copied when it is first changed."""

    def __init__(self, below: Mapping[str, Rows], *, read_only: bool) -> None:
        self._below = below
        self._read_only = read_only
        self.changed: dict[str, Rows] = {}
        self.pending: list[Event] = []

    def rows(self, table: str) -> Mapping[Any, Any]:
        """The rows of a table by key."""
        return self.changed[table] if table in self.changed else self._below[table]

    def edit(self, table: str) -> Rows:
        """The same rows, to be changed."""
        if self._read_only:
            raise Fault("a snapshot was written to", hint="write inside `Ledger.write`")
        if table not in self.changed:
            self.changed[table] = dict(self._below[table])
        return self.changed[table]

    def all(self) -> dict[str, Rows]:
        """Every table as it is now."""
        return {**self._below, **self.changed}


def kept(value: T) -> T:
    """A value as a store would give it back: nothing in it is shared with the caller."""
    try:
        return msgspec.json.decode(canonical(value), type=type(value))
    except (TypeError, ValueError) as error:
        raise Invalid(f"a value cannot be kept as JSON: {error}", hint="use plain JSON values") from error


def missing(what: str) -> NotFound:
    """The error for what is not there."""
    return NotFound(f"there is no {what}", hint="list what there is")


def page_of(
    items: Iterable[T],
    request: PageRequest,
    key: Callable[[T], tuple[Any, ...]],
    *,
    newest_first: bool = True,
) -> Page[T]:
    """One page of items in the order of a key that makes each of them unique."""
    if not 1 <= request.limit <= MOST_ITEMS:
        raise Invalid(f"a page has 1 to {MOST_ITEMS} items", hint="ask for fewer")
    ordered = sorted(items, key=key, reverse=newest_first)
    if request.token:
        after = _place(request.token, ordered, key)
        ordered = [i for i in ordered if (key(i) < after if newest_first else key(i) > after)]
    kept = ordered[: request.limit]
    token = ""
    if len(ordered) > request.limit:
        token = base64.urlsafe_b64encode(msgspec.msgpack.encode(key(kept[-1]))).decode()
    return Page(items=tuple(kept), next_token=token)


def _place(token: str, items: Sequence[T], key: Callable[[T], tuple[Any, ...]]) -> tuple[Any, ...]:
    try:
        raw = base64.urlsafe_b64decode(token)
        place = tuple(msgspec.msgpack.decode(raw, type=list[int | float | str]))
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise Invalid("the page token is not one of ours", hint="start again without a token") from error
    if items and [isinstance(p, str) for p in place] != [isinstance(k, str) for k in key(items[0])]:
        raise Invalid("the page token is of another list", hint="start again without a token")
    return place


def stands(facts: object, name: str, told: str) -> bool:
    """Whether a text stands under a name, however deep."""
    if isinstance(facts, dict):
        return facts.get(name) == told or any(stands(each, name, told) for each in facts.values())
    return isinstance(facts, list) and any(stands(each, name, told) for each in facts)


def told_of(name: str, tags: Mapping[str, str], asked: Comparison) -> bool:
    """Whether a comparison holds of a name or of a tag."""
    if asked.field.kind == "attribute":
        return compares(name, asked.op, asked.value)
    return asked.field.key in tags and compares(tags[asked.field.key], asked.op, asked.value)


def source_holds(facts: Json, asked: Comparison) -> bool:
    """Whether a comparison holds of the fact `source`, as it does where there is none."""
    source = facts.get("source")
    return not source or compares(source, asked.op, asked.value)


def matches(value: object, wanted: Mapping[str, object]) -> bool:
    """Whether the fields of a value are those wanted; None asks for nothing."""
    return all(want is None or getattr(value, name) == want for name, want in wanted.items())
