"""Keys, groups and different values of more rows than memory holds: spread over files, then part by part.

Each is the same question asked of every part: rows of equal values are in one part. A part that is too large
all the same, since one value has most rows, is read a number of rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pyarrow as pa

from loopwright.adapters.tables.compile import Kind, kind_of
from loopwright.adapters.tables.scan_terms import (
    ROW,
    failing_groups,
    group_value,
    hash_of,
    number_of,
    repeated,
    surplus,
)
from loopwright.adapters.tables.spill import Spill
from loopwright.core.expressions import columns_of
from loopwright.ports.scans import GroupCheck, Measure, ScanPlan, UniqueCheck

__all__ = ["Room", "distinct_in_parts", "groups_in_parts", "unique_in_parts"]

_PART = "__loopwright_part"
_A_ROW = 160
"""bytes that a row of a part comes to beside its values while it is compared"""
_WIDTH = 64
"""bytes of a row's values, about"""
_MOST_PARTS = 512
_LEAST_ROWS = 1 << 3
_MOST_ROWS = 1 << 17


class Room(NamedTuple):
    """Rows, where their parts may lie, the bytes of memory that are free for one part, and how many rows."""

    frame: pl.LazyFrame
    folder: Path
    spare: int
    rows: int

    @property
    def part_rows(self) -> int:
        """How many rows of a part are held at once."""
        return max(_LEAST_ROWS, self.spare // 3 // (_A_ROW + _WIDTH))

    @property
    def parts(self) -> int:
        """How many parts there are, a quarter more than would just do."""
        return min(_MOST_PARTS, -(-self.rows * 5 // (self.part_rows * 4)))


def unique_in_parts(room: Room, check: UniqueCheck, plan: ScanPlan) -> tuple[int, pl.DataFrame]:
    """How many rows repeat a key, and the first of them with their key columns."""
    names = list(dict.fromkeys([*check.columns, *plan.keys]))
    there = pl.all_horizontal(pl.col(check.columns).is_not_null())
    rows = room.frame.with_row_index(ROW).select(ROW, *names).filter(there)
    failed, first = 0, rows.select(ROW, *plan.keys).head(0).collect()
    with _spread(room, rows, check.columns) as spill:
        for part in range(spill.buckets):
            is_whole = spill.rows(part) <= room.part_rows
            for again in _repeats(spill.tables(part, room.part_rows), check.columns, is_whole=is_whole):
                failed += again.height
                first = pl.concat([first, again.select(first.columns)]).sort(ROW).head(plan.first)
    return failed, first


def _repeats(tables: Iterator[pa.Table], columns: Sequence[str], *, is_whole: bool) -> Iterator[pl.DataFrame]:
    """The rows that have a row of the same key before them; keys are remembered unless all come at once."""
    seen: pl.DataFrame | None = None
    for table in tables:
        rows = _frame(table)
        again = _again(rows, columns)
        yield again
        if is_whole:
            return
        fresh = rows.join(again, on=ROW, how="anti")
        if seen is not None:
            yield fresh.join(seen, on=list(columns), how="semi")
            fresh = fresh.join(seen, on=list(columns), how="anti")
        seen = _together(seen, fresh.select(columns))


def _again(rows: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """As in one piece: numbers are sorted, and only rows whose number occurs twice are compared by values."""
    number = number_of(columns, rows.schema)
    twice = repeated(rows.select(number.drop_nulls()).to_series())
    if not twice.size:
        return rows.clear()
    return surplus(rows.filter(number.is_in(pl.Series(twice).implode())), columns)


def groups_in_parts(room: Room, check: GroupCheck, first: int) -> tuple[int, int, pl.DataFrame]:
    """How many groups there are, how many of them fail, and the first of those with the aggregate."""
    types = room.frame.collect_schema()
    inputs = sorted(columns_of(check.expr)) if check.expr is not None else []
    names = list(dict.fromkeys([*check.by, *inputs]))
    total, failed, named = 0, 0, None
    with _spread(room, room.frame.select(names), check.by) as spill:
        for part in range(spill.buckets):
            with _lazily(room, spill, part) as rows:
                found = failing_groups(rows, check, group_value(check, types)).collect(engine="streaming")
            torn = found.filter("failed").drop("failed")
            total, failed = total + found.height, failed + torn.height
            named = _together(named, torn).sort(check.by, nulls_last=True).head(first)
    assert named is not None  # there is at least one part
    return total, failed, named


def distinct_in_parts(room: Room, measure: Measure) -> int:
    """How many different values a column has, null and NaN left out."""
    kind = kind_of(room.frame.collect_schema()[measure.column], measure.column)
    column = pl.col(measure.column)
    value = column.fill_nan(None) if kind is Kind.FLOAT else column
    found = 0
    with _spread(room, room.frame.select(value).drop_nulls(), [measure.column]) as spill:
        for part in range(spill.buckets):
            seen: pl.DataFrame | None = None
            for table in spill.tables(part, room.part_rows):
                seen = _together(seen, _frame(table).unique()).unique()
            found += 0 if seen is None else seen.height
    return found


@contextmanager
def _spread(room: Room, rows: pl.LazyFrame, by: Sequence[str]) -> Iterator[Spill]:
    """The rows by a hash of these columns, in their order."""
    types = rows.collect_schema()
    plain = [pl.col(name) + 0.0 for name in by if types[name] == pl.Float64]  # zero without a sign
    number = (hash_of(by) % room.parts).cast(pl.Int64).alias(_PART)
    numbered = rows.with_columns(plain).with_columns(number)
    batches = numbered.collect_batches(chunk_size=_MOST_ROWS, maintain_order=True, engine="streaming")
    schema = _arrow(types.to_frame()).schema
    with Spill(room.folder / "parts", schema, room.parts, buffer_bytes=room.spare // 12) as spill:
        for batch in batches:
            spill.add(_arrow(batch.drop(_PART)), batch[_PART].to_numpy())
        spill.finish()
        yield spill


@contextmanager
def _lazily(room: Room, spill: Spill, part: int) -> Iterator[pl.LazyFrame]:
    """The rows of a part: from memory, or from a file of its own where they are too many."""
    if spill.rows(part) <= room.part_rows:
        yield _frame(spill.table(part)).lazy()
        return
    path = room.folder / "part"
    with pa.ipc.new_file(path, spill.schema) as file:
        for table in spill.pieces(part):
            file.write_table(table)
    yield pl.scan_ipc(path)
    path.unlink()


def _arrow(frame: pl.DataFrame) -> pa.Table:
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())


def _frame(table: pa.Table) -> pl.DataFrame:
    found = pl.from_arrow(table)
    assert isinstance(found, pl.DataFrame)
    return found


def _together(before: pl.DataFrame | None, after: pl.DataFrame) -> pl.DataFrame:
    return after if before is None else pl.concat([before, after])
