"""The meaning of a scan, row by row in plain Python: what every engine is held against."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from loopwright.core.expressions import Scalar, evaluate
from loopwright.core.instants import format_instant, to_micros
from loopwright.ports.scans import (
    Aggregate,
    FailedGroups,
    FailedRows,
    FailingRow,
    GroupCheck,
    Histogram,
    Levels,
    Scanned,
    ScanPlan,
    UniqueCheck,
)
from loopwright.ports.tables import RowCheck

__all__ = ["scan_twin"]

Row = Mapping[str, Scalar]


def scan_twin(table: pa.Table, plan: ScanPlan) -> Scanned:
    """What a scan of the table finds."""
    shown = table.to_pylist()
    rows = [{name: _plain(value) for name, value in row.items()} for row in shown]

    def named(failing: Iterable[int]) -> FailedRows:
        places = list(failing)
        first = tuple(
            FailingRow(row=at, key={name: _shown(shown[at][name]) for name in plan.keys})
            for at in places[: plan.first]
        )
        return FailedRows(failed=len(places), first=first)

    checks = {check.name: named(_failing(rows, check)) for check in plan.rows}
    for reference in plan.references:
        known = {_same(_plain(value)) for value in reference.known.to_pylist() if value is not None}
        values = [row[reference.column] for row in rows]
        checks[reference.name] = named(
            at for at, value in enumerate(values) if value is not None and _same(value) not in known
        )
    checks |= {check.name: named(_repeats(rows, check)) for check in plan.unique}
    return Scanned(
        rows=len(rows),
        checks=checks,
        groups={check.name: _groups(rows, shown, check, plan.first) for check in plan.groups},
        measures={
            each.name: _aggregate(each.op, [row[each.column] for row in rows] if each.column else rows)
            for each in plan.measures
        },
        counts={
            **{each.name: _bins(rows, each) for each in plan.histograms},
            **{each.name: _levels(rows, each) for each in plan.levels},
        },
    )


def _plain(value: Any) -> Any:
    return to_micros(value) if isinstance(value, datetime) else value


def _shown(value: Any) -> Any:
    if isinstance(value, datetime):
        return format_instant(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _same(value: Any) -> Any:
    """What is equal as a key: NaN to NaN, the zeros to each other."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else value + 0.0
    return ("text", value) if isinstance(value, str) else value


def _failing(rows: Sequence[Row], check: RowCheck) -> Iterator[int]:
    for at, row in enumerate(rows):
        held = evaluate(check.expr, row)
        if held is False or (held is None and check.null_fails):
            yield at


def _repeats(rows: Sequence[Row], check: UniqueCheck) -> Iterator[int]:
    seen = set()
    for at, row in enumerate(rows):
        key = tuple(_same(row[name]) for name in check.columns)
        if None in key:
            continue
        if key in seen:
            yield at
        seen.add(key)


def _aggregate(op: Aggregate, values: Sequence[Any]) -> float | int | None:
    if op == "rows":
        return len(values)
    there = [value for value in values if value is not None]
    if op == "count":
        return len(there)
    if op == "nulls":
        return len(values) - len(there)
    known = [value for value in there if not (isinstance(value, float) and math.isnan(value))]
    if op == "distinct":
        return len({_same(value) for value in known})
    numbers = [int(value) if isinstance(value, bool) else value for value in known]
    if op == "sum":
        return sum(numbers)
    if not numbers or (op == "std" and len(numbers) < 2):
        return None
    asked = {"mean": statistics.fmean, "std": statistics.stdev, "min": min, "max": max}
    found: float | int = asked[op](numbers)  # type: ignore[operator]  # each takes numbers
    return found


def _groups(
    rows: Sequence[Row], shown: Sequence[Mapping[str, Any]], check: GroupCheck, first: int
) -> FailedGroups:
    groups: dict[tuple[Any, ...], list[Any]] = {}
    names: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row, written in zip(rows, shown, strict=True):
        key = tuple(_same(row[name]) for name in check.by)
        names.setdefault(key, {name: written[name] for name in check.by})
        groups.setdefault(key, []).append(row if check.expr is None else evaluate(check.expr, row))
    failing = []
    for key, values in groups.items():
        value = _aggregate(check.op, values)
        low, high = check.low, check.high
        if value is not None and ((low is not None and value < low) or (high is not None and value > high)):
            failing.append((names[key], value))
    failing.sort(
        key=lambda each: [(value is None, 0 if value is None else value) for value in each[0].values()]
    )
    named = tuple(
        {**{name: _shown(value) for name, value in key.items()}, "value": value}
        for key, value in failing[:first]
    )
    return FailedGroups(groups=len(groups), failed=len(failing), first=named)


def _bins(rows: Sequence[Row], asked: Histogram) -> tuple[int, ...]:
    counts = [0] * (len(asked.edges) + 1)
    for row in rows:
        value: Any = row[asked.column]
        if value is None or math.isnan(value):
            continue
        if value == asked.edges[-1]:
            counts[-2] += 1
        else:
            counts[sum(edge <= value for edge in asked.edges)] += 1
    return tuple(counts)


def _levels(rows: Sequence[Row], asked: Levels) -> tuple[int, ...]:
    values = [row[asked.column] for row in rows if row[asked.column] is not None]
    listed = [sum(value == each for value in values) for each in asked.values]
    return (*listed, len(values) - sum(listed))
