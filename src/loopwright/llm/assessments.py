"""What is said of traces: feedback, expectations, references to issues; changed, overridden, deleted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.instants import to_micros
from loopwright.core.nouns import Json
from loopwright.core.traces import Assessment, AssessmentKind
from loopwright.engine.context import Context
from loopwright.llm.traces import no_trace
from loopwright.ports.ledger import Transaction

__all__ = ["Change", "Said", "change", "create", "get", "made", "remove"]

_NAME = 250
_TEXT = 100_000
_VALUE = 1_000_000
_SOURCES = ("SOURCE_TYPE_UNSPECIFIED", "LLM_JUDGE", "HUMAN", "CODE")
_RUN = "mlflow.assessment.sourceRunId"
_CHANGEABLE = {"feedback": "Feedback", "expectation": "Expectation", "issue": "IssueReference"}


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """An assessment as its author gives it."""

    name: str
    kind: AssessmentKind
    value: Any = None
    error: Json | None = None
    source_type: str = "CODE"
    source_id: str | None = None
    rationale: str | None = None
    metadata: dict[str, str] = {}
    span_id: str | None = None
    overrides: str | None = None
    created_ms: int | None = None
    updated_ms: int | None = None
    id: str | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What of an assessment is to change; what is None stays. Metadata are added to those there are."""

    name: str | None = None
    kind: AssessmentKind | None = None
    """of which kind the new value is, where there is one"""
    value: Any = None
    error: Json | None = None
    rationale: str | None = None
    metadata: Mapping[str, str] | None = None


def made(ctx: Context, trace_id: str, said: Said) -> Assessment:
    """The assessment as it is kept; `Invalid` for what cannot be."""
    _check(said)
    now = to_micros(ctx.now()) // 1000
    return Assessment(
        id=said.id or f"a-{ctx.new_id()}",
        trace_id=trace_id,
        space=ctx.space,
        name=said.name,
        kind=said.kind,
        value=said.value,
        error=said.error,
        source_type=said.source_type,
        source_id=said.source_id,
        run_id=said.metadata.get(_RUN),
        span_id=said.span_id,
        rationale=said.rationale,
        metadata=said.metadata,
        created_ms=said.created_ms or now,
        updated_ms=said.updated_ms or now,
        overrides=said.overrides,
    )


def _check(said: Said) -> None:
    if said.source_type not in _SOURCES:
        raise Invalid(f"there is no source type {said.source_type[:50]!r}", hint=f"say {', '.join(_SOURCES)}")
    for what, text, limit in (
        ("name", said.name, _NAME),
        ("source_id", said.source_id, _NAME),
        ("span_id", said.span_id, _NAME),
        ("assessment_id", said.id, _NAME),
        ("rationale", said.rationale, _TEXT),
    ):
        if text is not None and (len(text) > limit or "\0" in text):
            raise Invalid(f"'{what}' exceeds the maximum length of {limit} characters, or has a NUL in it")
    if not said.name:
        raise Invalid("an assessment needs a name", hint="say what is assessed: 'correctness'")
    if len(msgspec.json.encode([said.value, said.error, said.metadata])) > _VALUE:
        raise Invalid(f"an assessment has at most {_VALUE:,} bytes", hint="keep long texts as artifacts")


def create(ctx: Context, trace_id: str, said: Said) -> Assessment:
    """Say something of a trace; one that overrides another makes that invalid."""
    new = made(ctx, trace_id, said)

    def work(tx: Transaction) -> Assessment:
        known = _of(tx, ctx.space, trace_id)
        if new.overrides is not None:
            if new.overrides not in known:
                raise _no_assessment(trace_id, new.overrides)
            tx.assessments.put(replace(known[new.overrides], valid=False))
        tx.assessments.put(new)
        return new

    return ctx.write(work)


def get(ctx: Context, trace_id: str, assessment_id: str) -> Assessment:
    """What was said; `NotFound`."""
    with ctx.read() as tx:
        found = _of(tx, ctx.space, trace_id).get(assessment_id)
    if found is None:
        raise _no_assessment(trace_id, assessment_id)
    return found


def change(ctx: Context, trace_id: str, assessment_id: str, wanted: Change) -> Assessment:
    """Change what was said; who said it, and of what, stays. `Invalid` for a value of another kind."""
    now = to_micros(ctx.now()) // 1000

    def work(tx: Transaction) -> Assessment:
        known = _of(tx, ctx.space, trace_id).get(assessment_id)
        if known is None:
            raise _no_assessment(trace_id, assessment_id)
        after = _changed(known, wanted, now)
        tx.assessments.put(after)
        return after

    return ctx.write(work)


def _changed(known: Assessment, wanted: Change, now: int) -> Assessment:
    if wanted.kind is not None and wanted.kind != known.kind:
        raise Invalid(
            f"Cannot update {wanted.kind} value on a{'n' * (known.kind[0] in 'ei')} "
            f"{_CHANGEABLE[known.kind]} assessment."
        )
    after = replace(
        known,
        name=known.name if wanted.name is None else wanted.name,
        value=known.value if wanted.kind is None else wanted.value,
        error=known.error if wanted.kind is None else wanted.error,
        rationale=known.rationale if wanted.rationale is None else wanted.rationale,
        metadata={**known.metadata, **(wanted.metadata or {})},
        updated_ms=now,
    )
    _check(
        Said(
            name=after.name,
            kind=after.kind,
            value=after.value,
            error=after.error,
            source_type=after.source_type,
            rationale=after.rationale,
            metadata=after.metadata,
        )
    )
    return after


def remove(ctx: Context, trace_id: str, assessment_id: str) -> None:
    """Take it back; what it had overridden is valid again. Nothing happens when it is not there."""

    def work(tx: Transaction) -> None:
        known = {each.id: each for each in tx.assessments.of(ctx.space, [trace_id]).get(trace_id, ())}
        found = known.get(assessment_id)
        if found is None:
            return
        if found.overrides in known:
            tx.assessments.put(replace(known[found.overrides], valid=True))
        tx.assessments.remove(ctx.space, trace_id, assessment_id)

    ctx.write(work)


def _of(tx: Transaction, space: str, trace_id: str) -> dict[str, Assessment]:
    if not tx.traces.those(space, [trace_id]):
        raise no_trace(trace_id)
    return {each.id: each for each in tx.assessments.of(space, [trace_id]).get(trace_id, ())}


def _no_assessment(trace_id: str, assessment_id: str) -> NotFound:
    return NotFound(f"Assessment with ID '{assessment_id[:100]}' not found for trace '{trace_id[:100]}'")
