"""MLflow 3's calls about what is said of traces."""

from __future__ import annotations

import re
from typing import Any

from loopwright.engine.context import Context
from loopwright.llm import assessments
from loopwright.llm.assessments import Change
from loopwright.surfaces.mlflow.routing import Route
from loopwright.surfaces.mlflow.trace_wire import AssessmentIn, assessment_out, said_of, value_of
from loopwright.surfaces.mlflow.traces import OfTrace
from loopwright.surfaces.mlflow.wire import Needed

__all__ = ["routes"]

_BODY = 2 << 20
_CAPITAL = re.compile(r"(?<=[a-z])([A-Z])")


class Create(OfTrace, frozen=True, kw_only=True):
    """Something said of a trace."""

    assessment: AssessmentIn


class OfAssessment(OfTrace, frozen=True, kw_only=True):
    """What was said of a trace, by its id."""

    assessment_id: Needed


class Update(OfAssessment, frozen=True, kw_only=True):
    """What of it is to change: names of fields with commas between."""

    assessment: AssessmentIn
    update_mask: str


def routes() -> tuple[Route, ...]:
    """All calls about assessments."""
    read, write, versions = "trace:read", "trace:write", ("3.0",)
    at = "traces/{trace_id}/assessments"
    one = f"{at}/{{assessment_id}}"

    def route(method: str, path: str, scope: str, takes: type[OfTrace], answer: Any) -> Route:
        return Route(
            method=method,
            path=path,
            scope=scope,
            takes=takes,
            answer=answer,
            versions=versions,
            body_limit=_BODY,
            writes=scope == write,
        )

    return (
        route("POST", at, write, Create, _create),
        route("GET", one, read, OfAssessment, _get),
        route("PATCH", one, write, Update, _update),
        route("DELETE", one, write, OfAssessment, _delete),
    )


def _create(ctx: Context, asked: Create) -> Any:
    made = assessments.create(ctx, asked.trace_id, said_of(asked.assessment))
    return {"assessment": assessment_out(made)}


def _get(ctx: Context, asked: OfAssessment) -> Any:
    return {"assessment": assessment_out(assessments.get(ctx, asked.trace_id, asked.assessment_id))}


def _update(ctx: Context, asked: Update) -> Any:
    told = asked.assessment
    names = {_CAPITAL.sub(r"_\1", each.strip()).lower() for each in asked.update_mask.split(",")}
    kind, value, error = None, None, None
    if names & {"feedback", "expectation"}:
        kind, value, error, _ = value_of(told)
    changed = assessments.change(
        ctx,
        asked.trace_id,
        asked.assessment_id,
        Change(
            name=told.assessment_name if "assessment_name" in names else None,
            kind=kind,
            value=value,
            error=error,
            rationale=(told.rationale or "") if "rationale" in names else None,
            metadata=(told.metadata or {}) if "metadata" in names else None,
        ),
    )
    return {"assessment": assessment_out(changed)}


def _delete(ctx: Context, asked: OfAssessment) -> None:
    assessments.remove(ctx, asked.trace_id, asked.assessment_id)
