"""Runs that were found, as lines of a table: columns for the metrics, params or tags worth one. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from loopwright.core.errors import Invalid

__all__ = ["COMMAND", "told", "usual"]

COMMAND = "runs.search"
"""the operation whose results are shown so"""
_KINDS = ("metrics", "params", "tags")
_FIXED = ("run", "name", "state", "started")
_METRICS, _PARAMS = 4, 4
_SYSTEM = "system/"


def told(
    items: Sequence[Mapping[str, Any]], columns: Sequence[str]
) -> tuple[list[str], list[dict[str, Any]]]:
    """The names of the columns, and a line for each run; without columns asked for, the usual ones.

    A column is `metrics.auc`, `params.lr` or `tags.team`, else `Invalid`.
    """
    for column in columns:
        kind, _, key = column.partition(".")
        if kind not in _KINDS or not key:
            raise Invalid(f"{column[:80]!r} is no column", hint="write metrics.auc, params.lr or tags.team")
    shown = list(columns) or usual(items)
    return [*_FIXED, *shown], [_line(item, shown) for item in items]


def _line(item: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    run = item["run"]
    held: dict[str, Mapping[str, Any]] = {
        "metrics": {point["key"]: point["value"] for point in item["metrics"]},
        "params": run["params"],
        "tags": run["tags"],
    }
    started = run["started_at"] or run["created_at"]
    line = {"run": run["id"], "name": run["name"], "state": run["state"], "started": started}
    for column in columns:
        kind, _, key = column.partition(".")
        line[column] = held[kind].get(key)
    return line


def usual(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """The commonest metrics, but those of the machine, and the params that tell the runs apart."""
    metrics = Counter(
        point["key"] for item in items for point in item["metrics"] if not point["key"].startswith(_SYSTEM)
    )
    values: dict[str, set[str]] = {}
    for item in items:
        for key, value in item["run"]["params"].items():
            values.setdefault(key, set()).add(value)
    chosen = sorted(metrics, key=lambda key: (-metrics[key], key))[:_METRICS]
    differing = [key for key in values if len(values[key]) > 1] or list(values)
    return [f"metrics.{key}" for key in chosen] + [f"params.{key}" for key in differing[:_PARAMS]]
