"""Compares the rows of two versions of a table: by key, or as what they are; in flat memory.

Parts that both versions have are not read. The rows of the others are put into buckets by their key (or
by all they hold), on disk where they are many, and the two sides of a bucket are compared in memory.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from loopwright.core.manifests import Manifest, ManifestEntry
from loopwright.core.schema import Schema
from loopwright.data.conforming import arrow_type
from loopwright.data.cutting import each_batch
from loopwright.data.matching import KeyIndex, same_values
from loopwright.data.reading import schema_of
from loopwright.engine.context import Context

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["RowChanges", "alike_columns", "changed_rows", "unshared"]

_BUCKET_ROWS = 500_000
_MOST_BUCKETS = 256
_SIGN, _TIMES = "__loopwright_sign", "__loopwright_sign_sum"


class RowChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What differs among some rows: Arrow tables; `before` and `after` are of the same keys, in order."""

    added: Any
    removed: Any
    before: Any
    after: Any
    columns: dict[str, int] = {}
    """in how many of the changed rows each column differs"""


def unshared(before: Manifest, after: Manifest) -> tuple[list[ManifestEntry], list[ManifestEntry]]:
    """The parts of either version that the other does not have."""
    old, new = (Counter(entry.digest for entry in side.entries) for side in (before, after))
    return _without(before.entries, old & new), _without(after.entries, old & new)


def _without(entries: Iterable[ManifestEntry], shared: Counter[str]) -> list[ManifestEntry]:
    left, found = Counter(shared), list[ManifestEntry]()
    for entry in entries:
        if left[entry.digest]:
            left[entry.digest] -= 1
        else:
            found.append(entry)
    return found


def alike_columns(before: Schema, after: Schema) -> tuple[str, ...]:
    """The columns that both have, of one type."""
    types = {column.name: column.type for column in after.columns}
    return tuple(column.name for column in before.columns if types.get(column.name) is column.type)


def changed_rows(
    ctx: Context, before: Manifest, after: Manifest, keys: Sequence[str] = ()
) -> Iterator[RowChanges]:
    """The differences, a bucket at a time; without `keys` a row that changed is one removed and one added.

    Compared are the columns that both have, of one type; where there is none, each row is in its own
    version alone. A key that names no row (a null, or two rows that have it) is `Invalid`.
    """
    old, new = unshared(before, after)
    schemas = schema_of(before), schema_of(after)
    columns = alike_columns(*schemas)
    if not columns:
        yield from _apart(*(_batches(ctx, side, own) for side, own in zip((old, new), schemas, strict=True)))
        return
    if not keys:
        narrow = Schema(columns=tuple(schemas[0].column(name) for name in columns))
        schemas = narrow, narrow
    sides = _batches(ctx, old, schemas[0]), _batches(ctx, new, schemas[1])
    rows = sum(entry.rows or 0 for entry in (*old, *new))
    count = min(_MOST_BUCKETS, rows // _BUCKET_ROWS + 1)
    for left, right in _bucketed(ctx, sides, schemas, keys or columns, count):
        yield _by_key(left, right, keys, columns) if keys else _by_rows(left, right, columns)


def _apart(before: Iterator[pa.Table], after: Iterator[pa.Table]) -> Iterator[RowChanges]:
    """Of versions that have no column in common: all rows of one went, all of the other came."""
    for batch in before:
        none = batch.slice(0, 0)
        yield RowChanges(added=none, removed=batch, before=none, after=none)
    for batch in after:
        none = batch.slice(0, 0)
        yield RowChanges(added=batch, removed=none, before=none, after=none)


def _batches(ctx: Context, entries: Iterable[ManifestEntry], schema: Schema) -> Iterator[pa.Table]:
    return (batch for entry in entries for batch in each_batch(ctx, entry, schema))


def _bucketed(
    ctx: Context,
    sides: tuple[Iterator[pa.Table], Iterator[pa.Table]],
    schemas: tuple[Schema, Schema],
    by: Sequence[str],
    count: int,
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Both sides of each bucket; equal values of `by` are in one bucket."""
    import pyarrow as pa

    from_schemas = [_empty(schema) for schema in schemas]
    if count == 1:
        left, right = (
            pa.concat_tables([none, *side]) for none, side in zip(from_schemas, sides, strict=True)
        )
        yield left, right
        return
    with tempfile.TemporaryDirectory(prefix="loopwright-") as name:
        folder = Path(name)
        for place, side in enumerate(sides):
            _spill(ctx, side, by, count, folder / str(place))
        for bucket in range(count):
            found = [_spilled(folder / f"{place}.{bucket}", none) for place, none in enumerate(from_schemas)]
            yield found[0], found[1]


def _empty(schema: Schema) -> pa.Table:
    import pyarrow as pa

    return pa.schema([pa.field(item.name, arrow_type(item.type)) for item in schema.columns]).empty_table()


def _spill(ctx: Context, side: Iterator[pa.Table], by: Sequence[str], count: int, prefix: Path) -> None:
    """Put the rows of a side into a file for each bucket."""
    import pyarrow as pa

    with ExitStack() as stack:
        files: dict[int, Any] = {}
        for bucket, rows in _split(ctx, side, by, count):
            if bucket not in files:
                options = pa.ipc.IpcWriteOptions(compression="lz4")
                file = stack.enter_context(prefix.with_suffix(f".{bucket}").open("wb"))
                files[bucket] = stack.enter_context(pa.ipc.new_stream(file, rows.schema, options=options))
            files[bucket].write_table(rows)


def _split(
    ctx: Context, side: Iterator[pa.Table], by: Sequence[str], count: int
) -> Iterator[tuple[int, pa.Table]]:
    """The rows of a side by bucket, a batch at a time."""
    import numpy as np

    for batch in side:
        places = ctx.ports.tables.buckets(batch, by, count)
        order = np.argsort(places, kind="stable")
        ends = np.searchsorted(places[order], np.arange(count + 1)).tolist()
        ordered = batch.take(order)
        for bucket in np.unique(places).tolist():
            yield bucket, ordered.slice(ends[bucket], ends[bucket + 1] - ends[bucket])


def _spilled(path: Path, none: pa.Table) -> pa.Table:
    import pyarrow as pa

    found = none
    with suppress(FileNotFoundError), path.open("rb") as file, pa.ipc.open_stream(file) as reader:
        found = reader.read_all()
    path.unlink(missing_ok=True)
    return found


def _by_key(left: pa.Table, right: pa.Table, keys: Sequence[str], columns: Sequence[str]) -> RowChanges:
    import numpy as np
    import pyarrow as pa

    index = KeyIndex(left, keys)
    KeyIndex(right, keys)
    at = index.find(right)
    is_new = at < 0
    there = np.zeros(left.num_rows, dtype=np.bool_)
    there[at[~is_new]] = True
    before, after = left.take(pa.array(at[~is_new])), right.filter(pa.array(~is_new))
    differs = {name: ~same_values(before.column(name), after.column(name)) for name in columns}
    changed = np.zeros(after.num_rows, dtype=np.bool_)
    for mask in differs.values():
        changed |= mask
    return RowChanges(
        added=right.filter(pa.array(is_new)),
        removed=left.filter(pa.array(~there)),
        before=before.filter(pa.array(changed)),
        after=after.filter(pa.array(changed)),
        columns={name: found for name, mask in differs.items() if (found := int(mask.sum()))},
    )


def _by_rows(left: pa.Table, right: pa.Table, columns: Sequence[str]) -> RowChanges:
    """Rows as they are, each as often as it is there."""
    import numpy as np
    import pyarrow as pa

    signed = [
        side.append_column(_SIGN, pa.array(np.full(side.num_rows, sign, dtype=np.int64)))
        for side, sign in ((left, -1), (right, 1))
    ]
    grouped = pa.concat_tables(signed).group_by(list(columns), use_threads=False)
    groups = grouped.aggregate([(_SIGN, "sum")])
    times = groups.column(_TIMES).to_numpy().astype(np.int64)  # of no rows they are floats
    rows = groups.select(list(columns))
    added, removed = (
        rows.take(pa.array(np.repeat(np.arange(times.size), np.maximum(sign * times, 0)))) for sign in (1, -1)
    )
    return RowChanges(added=added, removed=removed, before=rows.slice(0, 0), after=rows.slice(0, 0))
