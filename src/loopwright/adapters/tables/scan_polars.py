"""The port `Scanner` by Polars: one streaming pass for all that is asked, one more to name first bad rows.

How many values of a key occur twice is found from 64-bit numbers (whole keys, else their hashes) that the
pass collects, which sort in a tenth of the time a hash table takes; only rows whose number occurs twice are
then compared by their values, so equal hashes of different keys do no harm.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
import polars as pl

from loopwright.adapters.tables.compile import Kind, compile_condition, kind_of
from loopwright.adapters.tables.memory import budget_of, spare_of
from loopwright.adapters.tables.scan_frames import INSTANT, lazy_frame, platform_schema
from loopwright.adapters.tables.scan_parted import Room, distinct_in_parts, groups_in_parts, unique_in_parts
from loopwright.adapters.tables.scan_terms import (
    GROUP_VALUE,
    ROW,
    failing_groups,
    group_value,
    measured,
    number_of,
    repeated,
    surplus,
)
from loopwright.core.errors import Invalid
from loopwright.core.expressions import columns_of, evaluate
from loopwright.core.instants import format_instant
from loopwright.core.nouns import Json
from loopwright.core.schema import Schema
from loopwright.engine.scratch import scratch
from loopwright.ports.scans import (
    FailedGroups,
    FailedRows,
    FailingRow,
    Histogram,
    Levels,
    ReferenceCheck,
    Scanned,
    ScanPlan,
)
from loopwright.ports.tables import RowCheck

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PolarsHeld", "PolarsScanner", "plain_value", "reject_unknown"]

_ROWS = "rows"
_A_KEY = 200
"""bytes that the keys and groups of a row come to at the most while they are compared"""
_FEW_ROWS = 20_000
"""up to here a pool of threads costs more than the checks"""
_FEW_KNOWN = 1_000
"""up to here a set of known values is looked through, above it is joined with"""


class PolarsScanner:
    """Scans by Polars' streaming engine. Thread safe.

    `memory_bytes` is what a scan may take where it is not told; half of the machine's by default.
    """

    def __init__(self, memory_bytes: int | None = None) -> None:
        self._memory_bytes = memory_bytes

    @contextmanager
    def open(self, source: Any, *, memory_bytes: int | None = None) -> Iterator[PolarsHeld]:
        """Make rows ready to be scanned; those that come only once are kept in a file until the end."""
        spare = spare_of(budget_of(memory_bytes or self._memory_bytes))
        with lazy_frame(source, spare) as frame:
            yield PolarsHeld(frame, spare, _few(frame, source))


def _few(frame: pl.LazyFrame, source: Any) -> pl.DataFrame | None:
    rows = getattr(source, "num_rows", getattr(source, "height", None))
    return frame.collect() if isinstance(rows, int) and rows <= _FEW_ROWS else None


class _Ask(NamedTuple):
    """A check of rows: its name and the expression that is true of a row that fails."""

    name: str
    failing: pl.Expr


class PolarsHeld:
    """A frame of the platform's types, ready to be scanned."""

    def __init__(self, frame: pl.LazyFrame, spare: int, few: pl.DataFrame | None = None) -> None:
        self._frame = frame if few is None else few.lazy()
        self._spare = spare
        self._few = few

    @property
    def schema(self) -> Schema:
        """Columns and their types."""
        return platform_schema(self._frame)

    def scan(self, plan: ScanPlan) -> Scanned:
        """All of the plan in one pass, and one more for the first of what failed.

        Keys and groups that memory does not hold are spread over files first, a pass for each.
        """
        reject_unknown(plan, tuple(self._frame.collect_schema()))
        rows = self._rows() if _is_keyed(plan) else 0
        return self._in_one(plan) if rows * _A_KEY <= self._spare else self._in_parts(plan, rows)

    def _rows(self) -> int:
        if self._few is not None:
            return self._few.height
        (found,) = self._collect([self._frame.select(pl.len())])
        return int(found.item())

    def _in_parts(self, plan: ScanPlan, rows: int) -> Scanned:
        counted = tuple(each for each in plan.measures if each.op != "distinct")
        found = self._in_one(msgspec.structs.replace(plan, unique=(), groups=(), measures=counted))
        checks, groups, measures = dict(found.checks), dict(found.groups), dict(found.measures)
        with scratch() as folder, _translated():
            room = Room(self._frame, folder, self._spare, rows)
            for check in plan.unique:
                failed, first = unique_in_parts(room, check, plan)
                checks[check.name] = FailedRows(failed=failed, first=_rows_of(first, plan.keys))
            for group in plan.groups:
                total, torn, named = groups_in_parts(room, group, plan.first)
                groups[group.name] = FailedGroups(groups=total, failed=torn, first=_groups_of(named))
            for each in plan.measures:
                if each.op == "distinct":
                    measures[each.name] = distinct_in_parts(room, each)
        return msgspec.structs.replace(found, checks=checks, groups=groups, measures=measures)

    def _in_one(self, plan: ScanPlan) -> Scanned:
        types = self._frame.collect_schema()
        frame, referred = _with_references(self._frame, plan.references, types)
        asks = [*_of_rows(plan.rows, types), *referred]
        keys = {check.name: number_of(check.columns, types) for check in plan.unique}
        groups = {
            check.name: failing_groups(frame, check, group_value(check, types)) for check in plan.groups
        }
        found, *grouped = self._collect(
            [_first_pass(frame, plan, asks, keys, types), *(_tally(each) for each in groups.values())]
        )
        numbers = {name: found[f"unique {name}"][0] for name in keys}
        row = found.drop([f"unique {name}" for name in keys]).row(0, named=True)
        twice = {name: values for name, each in numbers.items() if (values := repeated(each)).size}
        failed = [ask for ask in asks if row[f"check {ask.name}"]]
        torn = [name for name, tally in zip(groups, grouped, strict=True) if tally["failed"][0]]
        named = self._second_pass(frame, plan, failed, twice, {name: groups[name] for name in torn})
        return _scanned(plan, row, dict(zip(groups, grouped, strict=True)), named)

    def _collect(self, frames: Sequence[pl.LazyFrame]) -> list[pl.DataFrame]:
        with _translated():
            if self._few is not None:
                return [frame.collect() for frame in frames]
            return pl.collect_all(frames, engine="streaming")

    def _second_pass(
        self,
        frame: pl.LazyFrame,
        plan: ScanPlan,
        failed: Sequence[_Ask],
        twice: Mapping[str, NDArray[Any]],
        groups: Mapping[str, pl.LazyFrame],
    ) -> _Named:
        if not (failed or twice or groups):
            return _Named({}, {}, {})
        indexed = frame.with_row_index(ROW)
        wanted = [ROW, *plan.keys]
        asked = [indexed.filter(ask.failing).select(wanted).head(plan.first) for ask in failed]
        columns = {check.name: check.columns for check in plan.unique}
        types = frame.collect_schema()
        for name, values in twice.items():
            is_candidate = number_of(columns[name], types).is_in(pl.Series(values).implode())
            asked.append(
                indexed.filter(is_candidate).select(list(dict.fromkeys([ROW, *columns[name], *plan.keys])))
            )
        by = {check.name: check.by for check in plan.groups}
        asked += [
            each.filter("failed").sort(by[name], nulls_last=True).head(plan.first).drop("failed")
            for name, each in groups.items()
        ]
        found = iter(self._collect(asked))
        return _Named(
            {ask.name: next(found) for ask in failed},
            {name: surplus(next(found), columns[name]) for name in twice},
            {name: next(found) for name in groups},
        )


def _is_keyed(plan: ScanPlan) -> bool:
    """Whether memory may grow with the rows: all else is counted as they pass."""
    return bool(plan.unique or plan.groups or any(each.op == "distinct" for each in plan.measures))


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (pl.exceptions.ComputeError, pl.exceptions.InvalidOperationError) as error:
        said = str(error).splitlines()[0][:200]
        raise Invalid(f"the rows cannot be scanned: {said}", hint="write the file again") from error


class _Named(NamedTuple):
    """Of what failed: the first rows, all rows that repeat a key, the first groups."""

    rows: Mapping[str, pl.DataFrame]
    repeats: Mapping[str, pl.DataFrame]
    groups: Mapping[str, pl.DataFrame]


def reject_unknown(plan: ScanPlan, names: tuple[str, ...]) -> None:
    """Raise `Invalid` for the first column the plan names that is not among `names`."""
    wanted: list[str] = [*plan.keys]
    wanted += [name for check in plan.rows for name in sorted(columns_of(check.expr))]
    wanted += [name for unique in plan.unique for name in unique.columns]
    wanted += [check.column for check in plan.references]
    wanted += [name for group in plan.groups for name in group.by]
    wanted += [name for group in plan.groups if group.expr for name in sorted(columns_of(group.expr))]
    wanted += [measure.column for measure in plan.measures if measure.column]
    wanted += [each.column for each in plan.histograms] + [each.column for each in plan.levels]
    for name in wanted:
        if name not in names:
            raise Invalid(f"there is no column {name!r}", hint=f"the columns are {', '.join(names)}")


def _of_rows(checks: Sequence[RowCheck], types: Mapping[str, pl.DataType]) -> list[_Ask]:
    return [_Ask(check.name, _failing(check, types)) for check in checks]


def _failing(check: RowCheck, types: Mapping[str, pl.DataType]) -> pl.Expr:
    if not columns_of(check.expr):  # one value for all rows, which engines give once
        held = evaluate(check.expr, {})
        holds = not check.null_fails if held is None else bool(held)
        return pl.first().is_null() & pl.first().is_not_null() if holds else pl.first().hash().is_not_null()
    return ~compile_condition(check.expr, types).fill_null(not check.null_fails)


def _with_references(
    frame: pl.LazyFrame, checks: Sequence[ReferenceCheck], types: Mapping[str, pl.DataType]
) -> tuple[pl.LazyFrame, list[_Ask]]:
    """The frame with a mark for each large set of known values, and what fails."""
    asks = []
    for place, check in enumerate(checks):
        column, kind = pl.col(check.column), types[check.column]
        known = _known(check.known, kind, check)
        if known.len() <= _FEW_KNOWN:
            asks.append(_Ask(check.name, column.is_not_null() & ~column.is_in(known.implode())))
            continue
        mark = f"__loopwright_known_{place}"
        there = pl.LazyFrame({mark: known}).with_columns(pl.lit(value=True).alias(f"{mark}_is"))
        frame = frame.join(
            there, left_on=check.column, right_on=mark, how="left", maintain_order="left", coalesce=True
        )
        asks.append(_Ask(check.name, column.is_not_null() & pl.col(f"{mark}_is").is_null()))
    return frame, asks


def _known(values: Any, kind: pl.DataType, check: ReferenceCheck) -> pl.Series:
    known = pl.Series(pl.from_arrow(values))
    if (known.dtype == pl.String) != (kind == pl.String) and known.dtype != pl.Null:
        raise Invalid(
            f"the column {check.column!r} is of type {kind}, what it refers to of type {known.dtype}",
            hint="refer to a column of the same type",
        )
    return known.drop_nulls().cast(kind, strict=False).unique()


def _first_pass(
    frame: pl.LazyFrame,
    plan: ScanPlan,
    asks: Sequence[_Ask],
    keys: Mapping[str, pl.Expr],
    types: Mapping[str, pl.DataType],
) -> pl.LazyFrame:
    asked = [pl.len().alias(_ROWS)]
    asked += [ask.failing.sum().alias(f"check {ask.name}") for ask in asks]
    asked += [number.drop_nulls().implode().alias(f"unique {name}") for name, number in keys.items()]
    asked += [measured(each, types).alias(f"measure {each.name}") for each in plan.measures]
    for histogram in plan.histograms:
        asked += _binned(histogram, types)
    for levels in plan.levels:
        asked += _levelled(levels, types)
    return frame.select(asked)


def _binned(asked: Histogram, types: Mapping[str, pl.DataType]) -> list[pl.Expr]:
    """How many values lie below each edge, and up to the last one."""
    if kind_of(types[asked.column], asked.column) in (Kind.STRING, Kind.BOOL):
        raise Invalid(f"the column {asked.column!r} has no histogram", hint="ask one of numbers or instants")
    column = pl.col(asked.column)
    value = column.dt.epoch("us") if types[asked.column] == INSTANT else column
    value = value.cast(pl.Float64).fill_nan(None)
    found = [(value < edge).sum() for edge in asked.edges[:-1]]
    found += [(value <= asked.edges[-1]).sum(), value.count()]
    return [each.alias(f"bin {place} {asked.name}") for place, each in enumerate(found)]


def _levelled(asked: Levels, types: Mapping[str, pl.DataType]) -> list[pl.Expr]:
    term = pl.col(asked.column)
    if types[asked.column] == INSTANT:
        term = term.dt.epoch("us")
    found = [(term == pl.lit(value)).sum() for value in asked.values]
    found.append(term.count())
    return [each.alias(f"level {place} {asked.name}") for place, each in enumerate(found)]


def _tally(groups: pl.LazyFrame) -> pl.LazyFrame:
    return groups.select(pl.len().alias("groups"), pl.col("failed").sum())


def _scanned(
    plan: ScanPlan, row: Mapping[str, Any], grouped: Mapping[str, pl.DataFrame], named: _Named
) -> Scanned:
    keys = plan.keys
    names = [check.name for check in plan.rows] + [check.name for check in plan.references]
    checks = {
        name: FailedRows(failed=row[f"check {name}"] or 0, first=_rows_of(named.rows.get(name), keys))
        for name in names
    }
    for unique in plan.unique:
        repeats = named.repeats.get(unique.name)
        first = None if repeats is None else repeats.head(plan.first)
        checks[unique.name] = FailedRows(
            failed=0 if repeats is None else repeats.height, first=_rows_of(first, keys)
        )
    groups = {
        name: FailedGroups(
            groups=tally["groups"][0], failed=tally["failed"][0], first=_groups_of(named.groups.get(name))
        )
        for name, tally in grouped.items()
    }
    return Scanned(
        rows=row[_ROWS],
        checks=checks,
        groups=groups,
        measures={each.name: _finite(row[f"measure {each.name}"]) for each in plan.measures},
        counts={**_histograms(plan, row), **_levels(plan, row)},
    )


def _histograms(plan: ScanPlan, row: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    found = {}
    for each in plan.histograms:
        reached = [row[f"bin {place} {each.name}"] or 0 for place in range(len(each.edges) + 1)]
        found[each.name] = tuple(np.diff([0, *reached]).tolist())
    return found


def _levels(plan: ScanPlan, row: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    found = {}
    for each in plan.levels:
        counts = [row[f"level {place} {each.name}"] or 0 for place in range(len(each.values) + 1)]
        found[each.name] = (*counts[:-1], counts[-1] - sum(counts[:-1]))
    return found


def _rows_of(found: pl.DataFrame | None, keys: Sequence[str]) -> tuple[FailingRow, ...]:
    if found is None:
        return ()
    return tuple(
        FailingRow(row=row[ROW], key={name: plain_value(row[name]) for name in keys})
        for row in found.iter_rows(named=True)
    )


def _groups_of(found: pl.DataFrame | None) -> tuple[Json, ...]:
    if found is None:
        return ()
    return tuple(
        {name if name != GROUP_VALUE else "value": plain_value(value) for name, value in row.items()}
        for row in found.iter_rows(named=True)
    )


def plain_value(value: Any) -> Any:
    """A value as JSON has it: instants in ISO 8601, what is not finite as null."""
    if isinstance(value, datetime):
        return format_instant(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _finite(value: Any) -> float | int | None:
    return None if value is None or (isinstance(value, float) and not math.isfinite(value)) else value
