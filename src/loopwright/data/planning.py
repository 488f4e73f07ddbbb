"""What a contract asks of a batch, as one scan: the plan, and each rule's answer from what the scan found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from math import inf, isfinite
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from loopwright.core.instants import (
    duration,
    format_duration,
    format_instant,
    from_micros,
    parse_instant,
    to_micros,
)
from loopwright.core.nouns import Json
from loopwright.data.nouns import (
    Comparison,
    Contract,
    Distribution,
    Freshness,
    GroupRule,
    Reference,
    RuleResult,
    Severity,
    UniqueKey,
)
from loopwright.data.rules import Asked, asked_of
from loopwright.ports.scans import (
    FailedGroups,
    FailedRows,
    GroupCheck,
    Histogram,
    Levels,
    Measure,
    ReferenceCheck,
    Scanned,
    ScanPlan,
    UniqueCheck,
)
from loopwright.stats.drift import bins
from loopwright.stats.sketches import from_plain, quantiles, shares_below

__all__ = [
    "Before",
    "distribution_name",
    "freshness_name",
    "key_columns",
    "key_name",
    "plan_of",
    "reference_name",
    "results_of",
    "rows_result",
]

_USUAL = "population_stability"
_BY_RANKS = "kolmogorov_smirnov"
_RANKS = 40
"""quantiles of the baseline at which shares are compared: one between two of them adds 1 / 80 at most"""
_MEASURES = {
    "null_share": "nulls",
    "distinct": "distinct",
    "mean": "mean",
    "std": "std",
    "min": "min",
    "max": "max",
}
_COUNTED = {"rows", "null_share", "distinct"}
"""what counts and tells no value: anybody may see it, as a profile's counts"""


class Before(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch is compared with: profiles of versions, the last batch, values that are referred to."""

    now: datetime
    last_rows: int | None = None
    """rows of the last version's batch; None where there is no version"""
    last: Json | None = None
    """the last version's profile"""
    baselines: Mapping[str, Json] = {}
    """profiles by the address that a rule names"""
    read_rows: Mapping[str, str] = {}
    """why rows were read for a profile, by that address (the last version's is empty); absent: none was"""
    known: Mapping[str, Any] = {}
    """Arrow arrays by the name of the reference"""
    how: Mapping[str, str] = {}
    """how these were found, by the same name"""


def key_name(key: UniqueKey) -> str:
    """The name of the rule that a key is unique."""
    return f"{' + '.join(key.columns)} is unique"


def reference_name(reference: Reference) -> str:
    """The name of the rule that values are referred to."""
    return f"{reference.column} occurs in {reference.dataset}.{reference.to}"


def distribution_name(rule: Distribution) -> str:
    """The name of the rule that a column is spread as before."""
    by = "" if rule.measure == _USUAL else f" by {rule.measure}"
    return f"{rule.column} is spread as in {rule.baseline or 'the last version'}{by}"


def _comparison_name(rule: Comparison) -> str:
    return (
        f"{rule.of} of {rule.column} is near the last version's"
        if rule.column
        else "rows are near the last batch's"
    )


def freshness_name(rule: Freshness) -> str:
    """The name of the rule that a column is fresh."""
    return f"{rule.column} is fresh"


def key_columns(contract: Contract, keys: Sequence[str] = ()) -> tuple[str, ...]:
    """The columns that failing rows are told by: the primary key, else a unique one, else the dataset's."""
    named = sorted(contract.unique, key=lambda key: not key.primary)
    return named[0].columns if named else tuple(keys)


def plan_of(contract: Contract, before: Before, *, keys: Sequence[str] = (), unique: bool = True) -> ScanPlan:
    """The one scan that finds what every rule is about; keys may be left to the caller."""
    counted = [
        Measure(name=f"values of {rule.column}", op="count", column=rule.column)
        for rule in contract.distributions
    ]
    compared = [_measure(rule) for rule in contract.comparisons if rule.column]
    fresh = [Measure(name=freshness_name(rule), op="max", column=rule.column) for rule in contract.freshness]
    shapes = [shape for rule in contract.distributions if (shape := _shape(rule, before)) is not None]
    spread = {shape.name: shape for shape in shapes}.values()  # two limits of one measure count once
    return ScanPlan(
        rows=tuple(asked.check for asked in asked_of(contract)),
        unique=tuple(
            UniqueCheck(name=key_name(key), columns=key.columns) for key in contract.unique if unique
        ),
        references=tuple(
            ReferenceCheck(
                name=reference_name(rule), column=rule.column, known=before.known[reference_name(rule)]
            )
            for rule in contract.references
        ),
        groups=tuple(_group(rule) for rule in contract.groups),
        measures=tuple({each.name: each for each in (*counted, *compared, *fresh)}.values()),
        histograms=tuple(shape for shape in spread if isinstance(shape, Histogram)),
        levels=tuple(shape for shape in spread if isinstance(shape, Levels)),
        keys=key_columns(contract, keys),
    )


def _group(rule: GroupRule) -> GroupCheck:
    return GroupCheck(name=rule.name, by=rule.by, op=rule.of, expr=rule.expr, low=rule.min, high=rule.max)


def _measure(rule: Comparison) -> Measure:
    return Measure(name=_comparison_name(rule), op=_MEASURES[rule.of], column=rule.column)  # type: ignore[arg-type]  # of the table


def _baseline(rule: Distribution, before: Before) -> Json | None:
    profile = before.baselines.get(rule.baseline) if rule.baseline else before.last
    found: Json | None = None if profile is None else profile["columns"].get(rule.column)
    return found


def _shape(rule: Distribution, before: Before) -> Histogram | Levels | None:
    column = _baseline(rule, before)
    if column is None:
        return None
    if rule.measure == _BY_RANKS:
        edges = _ranked_edges(column)
        return Histogram(name=distribution_name(rule), column=rule.column, edges=edges) if edges else None
    if column.get("histogram"):
        edges = tuple(float(edge) for edge in column["histogram"]["edges"])
        return Histogram(name=distribution_name(rule), column=rule.column, edges=edges)
    if column.get("top"):
        values = tuple(item["value"] for item in column["top"])
        return Levels(name=distribution_name(rule), column=rule.column, values=values)
    return None


def _ranked_edges(column: Json) -> tuple[float, ...]:
    """Different values at even shares of the baseline, rising; none where it has no sketch."""
    told = column.get("sketch")
    if not told or not told["n"]:
        return ()
    shares = [(at + 0.5) / _RANKS for at in range(_RANKS)]
    return tuple(sorted({float(value) for value in quantiles(from_plain(told), shares)}))


def results_of(contract: Contract, before: Before, scanned: Scanned) -> tuple[RuleResult, ...]:
    """Each rule's answer, in the contract's order; keys and references only where the scan looked at them."""
    rows = scanned.rows
    found = [_row_result(asked, scanned) for asked in asked_of(contract)]
    found += [
        rows_result(key_name(key), key.severity, scanned.checks[key_name(key)], rows)
        for key in contract.unique
        if key_name(key) in scanned.checks
    ]
    for rule in contract.references:
        name = reference_name(rule)
        each = rows_result(name, rule.severity, scanned.checks[name], rows, mostly=rule.mostly)
        found.append(replace(each, how=before.how.get(name, "")))
    found += [_group_result(rule, scanned.groups[rule.name]) for rule in contract.groups]
    found += [_fresh(rule, before, scanned) for rule in contract.freshness]
    found += [_compared(rule, before, scanned) for rule in contract.comparisons]
    found += [_spread(rule, before, scanned) for rule in contract.distributions]
    return tuple(found)


def _row_result(asked: Asked, scanned: Scanned) -> RuleResult:
    return rows_result(
        asked.check.name,
        asked.severity,
        scanned.checks[asked.check.name],
        scanned.rows,
        limit=asked.limit,
        mostly=asked.mostly,
    )


def rows_result(
    name: str, severity: Severity, found: FailedRows, rows: int, *, limit: str = "", mostly: float = 1.0
) -> RuleResult:
    """The answer of a rule that rows break: with `mostly` it holds while enough of them do not."""
    held = found.failed == 0 or rows - found.failed >= mostly * rows
    if mostly < 1.0:
        limit = f"{limit}, of {mostly:.4%} of the rows".lstrip(", ") if limit else f"{mostly:.4%} of the rows"
    return RuleResult(
        rule=name,
        severity=severity,
        held=held,
        found=f"{found.failed:,} of {rows:,} rows break it",
        limit=limit,
        failed=found.failed,
        rows=rows,
        first=tuple({"row": each.row, **each.key} for each in found.first),
    )


def _group_result(rule: GroupRule, found: FailedGroups) -> RuleResult:
    ends = [f"at least {rule.min:g}"] if rule.min is not None else []
    ends += [f"at most {rule.max:g}"] if rule.max is not None else []
    return RuleResult(
        rule=rule.name,
        severity=rule.severity,
        held=found.failed == 0 or found.groups - found.failed >= rule.mostly * found.groups,
        found=f"{found.failed:,} of {found.groups:,} groups break it",
        limit=f"{rule.of} {' and '.join(ends)}",
        failed=found.failed,
        rows=found.groups,
        first=found.first,
    )


def _result(
    rule: str, severity: Severity, *, held: bool, found: str, limit: str, value: float | None
) -> RuleResult:
    return RuleResult(rule=rule, severity=severity, held=held, found=found, limit=limit, value=value)


def _fresh(rule: Freshness, before: Before, scanned: Scanned) -> RuleResult:
    name, limit = freshness_name(rule), f"at most {rule.within} old"
    newest = scanned.measures[name]
    if newest is None:
        return _result(
            name, rule.severity, held=not scanned.rows, found="no instant", limit=limit, value=None
        )
    age = before.now - from_micros(int(newest))
    whole = timedelta(seconds=int(age.total_seconds()))
    old = f"{format_duration(whole)} old" if whole else "under 1s old"
    said = old if age >= timedelta(0) else "in the future"
    return _result(
        name,
        rule.severity,
        held=age <= duration(rule.within),
        found=said,
        limit=limit,
        value=age.total_seconds(),
    )


def _compared(rule: Comparison, before: Before, scanned: Scanned) -> RuleResult:
    name = _comparison_name(rule)
    limit = f"within {rule.at_most:.1%}" if rule.relative else f"within {rule.at_most:g}"
    was, now = _figures(rule, before, scanned)
    if was is None or now is None:
        said = "nothing to compare with" if was is None else "no value"
        return _result(name, rule.severity, held=was is None, found=said, limit=limit, value=None)
    change, said = _change(rule, was, now)
    because = _read_rows("", before) if rule.column else ""
    figures = f"{_figure(rule, before, now)}, was {_figure(rule, before, was)}"
    value: float | None = change if isfinite(change) else None
    if rule.of in _COUNTED:
        said, value = figures, now
    result = _result(
        name, rule.severity, held=change <= rule.at_most, found=f"{said}{because}", limit=limit, value=value
    )
    return result if rule.of in _COUNTED else replace(result, figures=figures)


def _change(rule: Comparison, was: float, now: float) -> tuple[float, str]:
    """How far it went, as a share of what it was or as a difference, and that in words."""
    change = abs(now - was)
    way = "more" if now > was else "less"
    if not change:
        return 0.0, "as before"
    if not rule.relative:
        return change, f"{change:.6g} {way}"
    if not was:
        return inf, f"{way}, by no share of what it was"
    return change / abs(was), f"{change / abs(was):.2%} {way}"


def _figure(rule: Comparison, before: Before, figure: float) -> str:
    column = None if before.last is None else before.last["columns"].get(rule.column)
    if column is not None and isinstance(column.get(rule.of), str):
        return format_instant(from_micros(int(figure)))
    return f"{figure:.6g}"


def _figures(rule: Comparison, before: Before, scanned: Scanned) -> tuple[float | None, float | None]:
    """What it was, and what it is."""
    if rule.of == "rows":
        return before.last_rows, scanned.rows
    column = None if before.last is None else before.last["columns"].get(rule.column)
    now = scanned.measures[_comparison_name(rule)]
    if rule.of == "null_share":
        now = None if now is None or not scanned.rows else now / scanned.rows
        rows = 0 if before.last is None else before.last["rows"]
        return (column["nulls"] / rows if column is not None and rows else None), now
    was = None if column is None else column.get(rule.of)
    return (float(to_micros(parse_instant(was))) if isinstance(was, str) else was), now


def _spread(rule: Distribution, before: Before, scanned: Scanned) -> RuleResult:
    name, limit = distribution_name(rule), f"{rule.measure} at most {rule.at_most:g}"
    column, counts = _baseline(rule, before), scanned.counts.get(name)
    if column is None or counts is None or sum(counts) < rule.min_rows:
        said = "no baseline" if column is None or counts is None else f"only {sum(counts):,} values"
        return _result(name, rule.severity, held=True, found=said, limit=limit, value=None)
    if rule.measure == _BY_RANKS:
        value = _furthest(column, counts)
    else:
        measure = getattr(bins, rule.measure)
        value = float(measure(np.asarray(_counts(column)), np.asarray(counts)))
    return _result(
        name,
        rule.severity,
        held=value <= rule.at_most,
        found=f"{value:.4g}, of {sum(counts):,} values{_read_rows(rule.baseline, before)}",
        limit=limit,
        value=value,
    )


def _read_rows(address: str, before: Before) -> str:
    because = before.read_rows.get(address, "")
    return f"; read rows because {because}" if because else ""


def _furthest(column: Json, counts: Sequence[int]) -> float:
    """The Kolmogorov-Smirnov distance, looked for at the edges; the last bin but one has its right edge."""
    sketch, edges = from_plain(column["sketch"]), np.asarray(_ranked_edges(column))
    there = np.cumsum(counts)[:-1] / sum(counts)
    before = np.append(shares_below(sketch, edges[:-1]), shares_below(sketch, edges[-1:], or_equal=True))
    return float(np.abs(there - before).max())


def _counts(column: Json) -> list[int]:
    if column.get("histogram"):
        shape = column["histogram"]
        return [shape["below"], *shape["counts"], shape["above"]]
    listed = [item["count"] for item in column["top"]]
    return [*listed, column["count"] - sum(listed)]
