"""Answers questions about runs slowly and plainly: what every ledger's search is held against."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from loopwright.core.errors import Invalid
from loopwright.core.folding import folded
from loopwright.core.instants import to_micros
from loopwright.core.nouns import FoundRun
from loopwright.core.queries import All, AnyOf, Comparison, Condition, Field, Not, Operator, RunQuery

__all__ = ["Values", "compares", "holds", "like", "matches", "ordered", "values_of"]

Values = Sequence[str | float]
"""what a thing has under a field: nothing, one value, or several (of the datasets it read)"""

_COMPARE: dict[Operator, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def matches(condition: Condition | None, found: FoundRun) -> bool:
    """Whether a condition holds of a run; none holds of every run."""
    return condition is None or holds(condition, partial(values_of, found))


def ordered(query: RunQuery, runs: Iterable[FoundRun]) -> list[FoundRun]:
    """The runs that a query is about, in its order."""
    kept = [found for found in runs if _is_asked(query, found) and matches(query.where, found)]
    kept.sort(key=_natural)
    for key in reversed(query.order):
        kept = _sorted(kept, partial(_only, field=key.field), descending=key.descending)
    return kept


def holds(condition: Condition, values: Callable[[Field], Values]) -> bool:
    """Whether a condition holds of a thing whose values `values` tells."""
    match condition:
        case All(parts):
            return all(holds(part, values) for part in parts)
        case AnyOf(parts):
            return any(holds(part, values) for part in parts)
        case Not(part):
            return not holds(part, values)
        case Comparison(field, op, value):
            found = values(field)
            if op in {"IS NULL", "IS NOT NULL"}:
                return (not found) == (op == "IS NULL")
            return any(compares(each, op, value) for each in found)


def like(text: str, pattern: str) -> bool:
    """SQL's LIKE without an escape: `%` is any text, `_` any one character, all else itself."""
    reached = {0}
    for mark in pattern:
        if mark == "%":
            reached = set(range(min(reached), len(text) + 1))
        else:
            reached = {at + 1 for at in reached if at < len(text) and mark in {"_", text[at]}}
        if not reached:
            return False
    return len(text) in reached


def values_of(found: FoundRun, field: Field) -> Values:
    """What a run has under a field, nothing where it has no such; `Invalid` for an attribute that is none."""
    match field.kind:
        case "metric":
            return [point.value for point in found.metrics if point.key == field.key]
        case "param":
            return _present(found.run.params.get(field.key))
        case "tag":
            return _present(found.run.tags.get(field.key))
        case "dataset":
            read = found.run.facts.get("datasets", [])
            return [value for each in read for value in _present(each.get(field.key))]
        case "attribute":
            return _attribute(found, field.key)
        case _:
            raise Invalid(f"runs have no {field.kind}", hint="ask about metrics, params, tags or attributes")


def compares(found: str | float, op: Operator, value: str | float | tuple[str, ...] | None) -> bool:
    """Whether a value that is there stands in a relation to another."""
    if isinstance(value, tuple):
        return (found in value) == (op == "IN")
    if op == "LIKE":
        return like(str(found), str(value))
    if op == "ILIKE":
        return like(folded(str(found)), folded(str(value)))
    return _COMPARE[op](found, value)


def _present(value: str | float | None) -> Values:
    return [] if value is None else [value]


def _attribute(found: FoundRun, key: str) -> Values:
    run = found.run
    known: dict[str, str | float | None] = {
        "run_id": run.id,
        "run_name": run.name,
        "status": run.state.upper(),
        "user_id": run.tags.get("mlflow.user"),
        "artifact_uri": run.facts.get("artifact_uri"),
        "start_time": _milliseconds(run.started_at),
        "end_time": _milliseconds(run.ended_at),
        "created": _milliseconds(run.created_at),
    }
    if key not in known:
        raise Invalid(f"a run has no attribute {key!r}", hint=f"ask about one of {', '.join(known)}")
    return _present(known[key])


def _milliseconds(instant: datetime | None) -> int | None:
    return None if instant is None else to_micros(instant) // 1000


def _is_asked(query: RunQuery, found: FoundRun) -> bool:
    is_deleted = found.run.deleted_at is not None
    in_lifecycle = query.lifecycle == "all" or is_deleted == (query.lifecycle == "deleted")
    return in_lifecycle and found.run.experiment in query.experiments


def _natural(found: FoundRun) -> tuple[float, str]:
    """Newest start first, without a start last, then by id."""
    start = found.run.started_at
    return (math.inf if start is None else -to_micros(start), found.run.id)


def _only(found: FoundRun, field: Field) -> str | float | None:
    values = values_of(found, field)
    if field.kind == "dataset":
        raise Invalid(
            "runs have no order by their datasets", hint="order by an attribute, metric, param or tag"
        )
    return values[0] if values else None


def _sorted(
    runs: list[FoundRun], value: Callable[[FoundRun], str | float | None], *, descending: bool
) -> list[FoundRun]:
    """By a value; after them NaN, then what has none, in both directions; equals stay as they were."""
    told = [(value(found), found) for found in runs]
    values = [pair for pair in told if _rank(pair[0]) == 0]
    values.sort(key=operator.itemgetter(0), reverse=descending)
    behind = sorted((pair for pair in told if _rank(pair[0]) > 0), key=lambda pair: _rank(pair[0]))
    return [found for _, found in values + behind]


def _rank(value: str | float | None) -> int:
    if value is None:
        return 2
    return 1 if isinstance(value, float) and math.isnan(value) else 0
