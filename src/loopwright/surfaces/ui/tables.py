"""Runs as rows of a table that holds only the columns asked for. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from loopwright.core.nouns import FoundRun, Run

__all__ = ["cell", "in_list", "known_names", "milliseconds", "row", "usual_columns"]

_LONGEST = 200
_NAMES = 5_000
_METRICS, _PARAMS = 5, 4
_SYSTEM = "system/"
_INTERNAL = "mlflow."


def milliseconds(moment: datetime | None) -> int | None:
    """An instant as browsers count."""
    return None if moment is None else int(moment.timestamp() * 1000)


def cell(value: float | str) -> float | str:
    """A value as JSON can hold it: words for the numbers it has none for, long texts cut."""
    if isinstance(value, str):
        return value if len(value) <= _LONGEST else f"{value[:_LONGEST]}\u2026"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "\u221e" if value > 0 else "\u2212\u221e"
    return value


def row(found: FoundRun, columns: Sequence[str]) -> dict[str, Any]:
    """A run with the values of `columns` (`metrics.auc`, `params.lr`, `tags.team`), in their order."""
    run = found.run
    held: Mapping[str, Mapping[str, float | str]] = {
        "metrics": {point.key: point.value for point in found.metrics},
        "params": run.params,
        "tags": run.tags,
    }
    parts = [column.partition(".") for column in columns]
    values = [held.get(kind, {}).get(key) for kind, _, key in parts]
    return {**_facts(run), "values": [None if value is None else cell(value) for value in values]}


def _facts(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "name": run.name,
        "kind": run.kind,
        "state": run.state,
        "start": milliseconds(run.started_at),
        "end": milliseconds(run.ended_at),
        "by": run.tags.get("mlflow.user") or run.facts.get("user_id") or run.created_by,
        "parent": run.parent_id,
    }


def known_names(found: Iterable[FoundRun]) -> dict[str, list[str]]:
    """The metrics, params and tags that any of the runs has, but those of the protocol itself."""
    names: dict[str, set[str]] = {"metrics": set(), "params": set(), "tags": set()}
    for each in found:
        names["metrics"].update(point.key for point in each.metrics)
        names["params"].update(each.run.params)
        names["tags"].update(key for key in each.run.tags if not key.startswith(_INTERNAL))
    return {kind: sorted(keys)[:_NAMES] for kind, keys in names.items()}


def usual_columns(found: Sequence[FoundRun]) -> list[str]:
    """What a table shows of whom nobody asked more: the commonest metrics, and params that differ."""
    metrics = Counter(
        point.key for each in found for point in each.metrics if not point.key.startswith(_SYSTEM)
    )
    values: dict[str, set[str]] = {}
    for each in found:
        for key, value in each.run.params.items():
            values.setdefault(key, set()).add(value)
    chosen = sorted(metrics, key=lambda key: (-metrics[key], key))[:_METRICS]
    differing = [key for key in values if len(values[key]) > 1] or list(values)
    return [f"metrics.{key}" for key in chosen] + [f"params.{key}" for key in differing[:_PARAMS]]


def in_list(field: str, texts: Iterable[str]) -> str:
    """The condition that a field is one of some texts, in the words of a search."""
    quoted = ", ".join("'" + text.replace("'", "''") + "'" for text in texts)
    return f"{field} IN ({quoted})"
