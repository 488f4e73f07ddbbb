"""Takes rows out of a dataset: parts without such rows stay as they are, the others are written anew.

A part is read a piece at a time, so memory does not grow with it: first only the columns that tell
which rows go, then, where some do, all columns of that part alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from msgspec.structs import replace

from loopwright.core.expressions import Expr, columns_of
from loopwright.core.manifests import ManifestEntry
from loopwright.core.nouns import Json
from loopwright.core.schema import Schema
from loopwright.data.conforming import ordered
from loopwright.data.matching import KeyIndex
from loopwright.data.packing import batches_of
from loopwright.data.pruning import may_hold, ranges_of
from loopwright.data.reading import SPANS, WIDTH
from loopwright.data.streams import files_of
from loopwright.data.stretches import STRETCHES, keep_stretches
from loopwright.engine.context import Context
from loopwright.ports.tables import ColumnRange

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = [
    "AtPlaces",
    "ByCondition",
    "ByKeys",
    "Chosen",
    "Cut",
    "Left",
    "any_within",
    "cut",
    "cut_places",
    "each_batch",
]

_REMEMBERED_ROWS = 100_000
_BATCH_ROWS = 65_536
_STRETCHED_ROWS = 1 << 18
"""rows of a part that is read once more, whole, for its stretches of time; larger ones go on without"""


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of the parts of a version."""

    entries: tuple[ManifestEntry, ...]
    removed: int = 0
    """rows that went"""
    gone: Any = None
    """these rows as an Arrow table where they are few; else None"""
    rewritten: int = 0
    """parts that were written anew"""
    batches: tuple[str, ...] = ()
    """names of the batches of parts that went whole"""
    is_whole: bool = False
    """whether all that was there was to go, whatever it was"""


class Chosen(Protocol):
    """Says which rows go."""

    columns: tuple[str, ...]
    """what it reads to tell"""

    def may_be_in(self, ranges: Mapping[str, ColumnRange]) -> bool:
        """Whether a part whose columns lie in these ranges can have such rows."""

    def __call__(self, table: pa.Table) -> NDArray[np.bool_]:
        """`(n,)`: which rows of a piece go."""


class ByCondition:
    """Rows that an expression is true of; those it is false or null of stay."""

    def __init__(self, ctx: Context, where: Expr) -> None:
        self._tables, self._where = ctx.ports.tables, where
        self.columns = tuple(sorted(columns_of(where)))

    def may_be_in(self, ranges: Mapping[str, ColumnRange]) -> bool:
        """Whether the condition can be true within these ranges."""
        return may_hold(self._where, ranges)

    def __call__(self, table: pa.Table) -> NDArray[np.bool_]:
        """`(n,)`: of which rows the condition is true."""
        found = self._tables.compute(table, {"hit": self._where}).column("hit")
        hit: NDArray[np.bool_] = found.fill_null(fill_value=False).to_numpy()
        return hit


class ByKeys:
    """Rows whose key is one of a table's."""

    def __init__(self, index: KeyIndex) -> None:
        self._index = index
        self.columns = index.columns

    def may_be_in(self, ranges: Mapping[str, ColumnRange]) -> bool:
        """Whether one of the keys lies within these ranges."""
        return any_within(self._index.keys, ranges)

    def __call__(self, table: pa.Table) -> NDArray[np.bool_]:
        """`(n,)`: which rows have one of the keys."""
        found: NDArray[np.bool_] = self._index.find(table) >= 0
        return found


class AtPlaces:
    """Rows of one part by their places in it; the part is always read from its beginning to its end."""

    def __init__(self, goes: NDArray[np.bool_], column: str) -> None:
        self._goes, self._at = goes, 0
        self.columns: tuple[str, ...] = (column,)

    def may_be_in(self, ranges: Mapping[str, ColumnRange]) -> bool:
        """Whether there are any."""
        del ranges
        return bool(self._goes.any())

    def __call__(self, table: pa.Table) -> NDArray[np.bool_]:
        """`(n,)`: which of the next rows go."""
        found = self._goes[self._at : self._at + table.num_rows]
        self._at = (self._at + table.num_rows) % max(1, len(self._goes))
        return found


def any_within(keys: pa.Table, ranges: Mapping[str, ColumnRange]) -> bool:
    """Whether a row of `keys` lies, in each of its columns, within the ranges that are known."""
    import pyarrow as pa
    import pyarrow.compute as pc

    held = None
    for name in keys.column_names:
        if name not in ranges:
            continue
        values, span = keys.column(name), ranges[name]
        if pa.types.is_timestamp(values.type):
            values = values.cast(pa.int64())
        if pa.types.is_boolean(values.type):
            continue
        inside = pc.and_(pc.greater_equal(values, span.low), pc.less_equal(values, span.high))
        held = inside if held is None else pc.and_(held, inside)
    return held is None or bool(pc.any(held, min_count=0).as_py())


def cut(
    ctx: Context,
    entries: Sequence[ManifestEntry],
    schema: Schema,
    chosen: Chosen,
    known: dict[str, Left],
) -> Cut:
    """Take the chosen rows out of parts. `known` keeps what came of a part, for who has to begin again."""
    for entry in entries:
        if entry.digest not in known:
            known[entry.digest] = _left(ctx, entry, schema, chosen)
    return _cut_of(entries, [known[entry.digest] for entry in entries])


def cut_places(
    ctx: Context, entries: Sequence[ManifestEntry], schema: Schema, goes: NDArray[np.bool_]
) -> Cut:
    """Take rows out of parts by their places, `(n,)` over all of them."""
    left, first = [], 0
    for entry in entries:
        rows = entry.rows or 0
        left.append(_left(ctx, entry, schema, AtPlaces(goes[first : first + rows], schema.names[0])))
        first += rows
    return _cut_of(entries, left)


def _cut_of(entries: Sequence[ManifestEntry], left: Sequence[Left]) -> Cut:
    removed = sum(each.removed for each in left)
    return Cut(
        entries=tuple(each.entry for each in left if each.entry is not None),
        removed=removed,
        gone=_together([each.gone for each in left if each.removed], removed),
        rewritten=sum(each.removed > 0 and each.entry is not None for each in left),
        batches=tuple(
            name
            for entry, each in zip(entries, left, strict=True)
            if each.entry is None
            for name in batches_of(entry)
        ),
    )


def _together(gone: Sequence[pa.Table | None], rows: int) -> pa.Table | None:
    import pyarrow as pa

    if not gone or rows > _REMEMBERED_ROWS or any(part is None for part in gone):
        return None
    return pa.concat_tables([part for part in gone if part is not None])


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """What is left of one part: the part itself, another in its place, or none."""

    entry: ManifestEntry | None
    removed: int = 0
    gone: Any = None


def _left(ctx: Context, entry: ManifestEntry, schema: Schema, chosen: Chosen) -> Left:
    if entry.rows and not chosen.may_be_in(ranges_of(ctx, entry)):
        return Left(entry=entry)
    needed = Schema(columns=tuple(schema.column(name) for name in chosen.columns))
    hits = sum(int(chosen(batch).sum()) for batch in each_batch(ctx, entry, needed))
    if not hits:
        return Left(entry=entry)
    gone: list[pa.Table] | None = [] if hits <= _REMEMBERED_ROWS else None
    if hits == entry.rows:
        rows = None if gone is None else _concatenated(each_batch(ctx, entry, schema))
        return Left(entry=None, removed=hits, gone=rows)
    made = _rewritten(ctx, entry, schema, chosen, None if gone is None else gone.append)
    return Left(entry=made, removed=hits, gone=None if gone is None else _concatenated(iter(gone)))


def _concatenated(tables: Iterator[pa.Table]) -> pa.Table:
    import pyarrow as pa

    return pa.concat_tables(list(tables))


def _rewritten(
    ctx: Context,
    entry: ManifestEntry,
    schema: Schema,
    chosen: Chosen,
    keep: Callable[[pa.Table], None] | None,
) -> ManifestEntry:
    """The part without the chosen rows; each of these is given to `keep`."""
    import pyarrow as pa

    rows = 0

    def staying() -> Iterator[pa.Table]:
        nonlocal rows
        for batch in each_batch(ctx, entry, schema):
            goes = chosen(batch)
            if keep is not None:
                keep(batch.filter(pa.array(goes)))
            stays = batch.filter(pa.array(~goes))
            rows += stays.num_rows
            yield stays

    digest, size = ctx.ports.objects.put_stream(ctx.ports.tables.write_batches(staying()))
    made = replace(entry, digest=digest, size_bytes=size, rows=rows)
    ranges = ranges_of(ctx, made)
    spans = {
        name: [ranges[name].low, ranges[name].high] for name in entry.facts.get(SPANS, {}) if name in ranges
    }
    facts: Json = {**entry.facts, WIDTH: len(schema.columns), SPANS: spans}
    before = facts.pop(STRETCHES, None)
    return replace(made, facts={**facts, **_stretches(ctx, made, before)})


def _stretches(ctx: Context, made: ManifestEntry, before: Sequence[str] | None) -> Json:
    """Which values still occur when, in a part that was written anew; not of one that is large."""
    if before is None or (made.rows or 0) > _STRETCHED_ROWS:
        return {}
    return keep_stretches(ctx, ctx.ports.tables.read(files_of(ctx, (made.digest,))), before[0])


def each_batch(
    ctx: Context, entry: ManifestEntry, schema: Schema, *, rows: int = _BATCH_ROWS
) -> Iterator[pa.Table]:
    """The rows of a part a piece at a time, with exactly the columns of the schema; what it lacks is null."""
    file = files_of(ctx, (entry.digest,))[0]
    for batch in ctx.ports.tables.batches(file, columns=schema.names, rows=rows):
        yield ordered(batch, schema)
