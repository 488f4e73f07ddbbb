"""What was said of traces, as rows; values as JSON text, and as a number where they are one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, delete

from loopwright.adapters.sql import schema
from loopwright.adapters.sql.repositories.traces import numbers_of, trace_numbers
from loopwright.adapters.sql.rows import from_json, to_json
from loopwright.adapters.sql.statements import Session, upsert
from loopwright.core.errors import Conflict
from loopwright.core.traces import Assessment, is_session_wide

__all__ = ["SqlAssessments", "measure_of"]

_PUT = upsert(schema.assessments, ["space", "id"])
_a = schema.assessments.c
_REMOVE = delete(schema.assessments).where(
    _a.space == bindparam("space"), _a.id == bindparam("id"), _a.trace_no == bindparam("trace_no")
)
_NAMES = tuple(c.name for c in schema.assessments.columns)
_LISTED = f"SELECT {', '.join(_NAMES)} FROM assessments"
_CHUNK = 500


def measure_of(value: Any) -> float | None:
    """The number that a value is compared as; yes and no are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


class SqlAssessments:
    """Fulfils `ports.traces.Assessments`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def put(self, assessment: Assessment) -> None:
        """Make or replace one."""
        number = numbers_of(self._session, assessment.space, [assessment.trace_id])[assessment.trace_id]
        text = "SELECT trace_no FROM assessments WHERE space = ? AND id = ?"
        known = self._session.fetch(text, [assessment.space, assessment.id])
        if known and known[0][0] != number:
            raise Conflict("another trace has an assessment of this id", hint="leave the id to the server")
        self._session.change(_PUT, _row(assessment, number))

    def of(self, space: str, trace_ids: Sequence[str]) -> Mapping[str, Sequence[Assessment]]:
        """The assessments of each trace that has some, in the order they were made."""
        numbers = trace_numbers(self._session, space, list(dict.fromkeys(trace_ids)))
        ids = {number: each for each, number in numbers.items()}
        found: dict[str, list[Assessment]] = {}
        listed = list(ids)
        for start in range(0, len(listed), _CHUNK):
            part = listed[start : start + _CHUNK]
            marks = ", ".join("?" * len(part))
            text = f"{_LISTED} WHERE trace_no IN ({marks}) ORDER BY created_ms, id"
            for row in self._session.fetch(text, part):
                known = dict(zip(_NAMES, row, strict=True))
                trace_id = ids[known["trace_no"]]
                found.setdefault(trace_id, []).append(_assessment(known, trace_id))
        return found

    def remove(self, space: str, trace_id: str, assessment_id: str) -> None:
        """Take one away; nothing happens when it is not there."""
        number = trace_numbers(self._session, space, [trace_id]).get(trace_id)
        if number is not None:
            self._session.change(_REMOVE, {"space": space, "id": assessment_id, "trace_no": number})


def _row(given: Assessment, number: int) -> dict[str, Any]:
    return {
        "id": given.id,
        "space": given.space,
        "trace_no": number,
        "name": given.name,
        "kind": given.kind,
        "value": to_json(given.value),
        "measure": measure_of(given.value),
        "error": None if given.error is None else to_json(given.error),
        "source_type": given.source_type,
        "source_id": given.source_id,
        "run_id": given.run_id,
        "span_id": given.span_id,
        "rationale": given.rationale,
        "metadata": to_json(given.metadata),
        "is_session_wide": int(is_session_wide(given)),
        "created_ms": given.created_ms,
        "updated_ms": given.updated_ms,
        "overrides": given.overrides,
        "valid": int(given.valid),
    }


def _assessment(row: Mapping[str, Any], trace_id: str) -> Assessment:
    plain = (
        "id space name kind source_type source_id run_id span_id rationale created_ms updated_ms overrides"
    )
    return Assessment(
        **{name: row[name] for name in plain.split()},
        trace_id=trace_id,
        value=from_json(row["value"]),
        error=None if row["error"] is None else from_json(row["error"]),
        metadata=from_json(row["metadata"]),
        valid=bool(row["valid"]),
    )
