"""The rows that views are made of: in memory where they fit, else spread over files and joined in parts.

The parts go by a hash of the entity, so that all rows of an entity are in one, and each is joined as the
whole would be: the answers are the same. The questions and what is found for them stay in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from loopwright.core.expressions import Expr
from loopwright.core.nouns import Version
from loopwright.core.schema import Schema
from loopwright.data.conforming import arrow_type
from loopwright.data.cutting import each_batch
from loopwright.data.reading import permitted, read_version, schema_of, spans_of
from loopwright.data.rules import needs_part
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of
from loopwright.engine.scratch import scratch
from loopwright.features.joins import view_features
from loopwright.features.nouns import FeatureView
from loopwright.features.rules import TIME, columns_for, known_within
from loopwright.features.shelves import Shelves

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Histories"]

_COPIES = 4
"""how often the rows of a view are in memory while they are joined, their numbers and sorts counted"""
_BUFFERS = 8
_MOST_PARTS = 256
_LOOKED_AT = 4096
_LEAST_ROWS, _MOST_ROWS = 1 << 10, 1 << 17
_MOST_KEYS = 1 << 20
"""keys up to which rows of other keys are left out before they are spread"""


class Histories:
    """What a build reads of the versions of datasets that some features of its views are made of.

    `Denied` where one of their columns may not be read for the purpose.
    """

    def __init__(
        self,
        ctx: Context,
        views: Sequence[tuple[FeatureView, Version, Sequence[str]]],
        purpose: str = "",
    ) -> None:
        self._ctx = ctx
        self._wanted: dict[str, set[str]] = {}
        self._held: dict[str, pa.Table] = {}
        for view, _, names in views:
            self._wanted.setdefault(view.source, set()).update(columns_for(view, names))
        for source, dataset in {view.source: dataset for view, dataset, _ in views}.items():
            permitted(ctx, dataset, sorted(self._wanted[source]), purpose=purpose)

    def features(
        self, view: FeatureView, dataset: Version, asked: pa.Table, names: tuple[str, ...]
    ) -> pa.Table:
        """The named features of a view for each question: its entity, and the instant in `TIME`."""
        columns = tuple(sorted(self._wanted[view.source]))
        if view.source not in self._held:
            spare = self._ctx.ports.tables.spare_bytes
            if _bytes_of(self._ctx, dataset, columns) * _COPIES > spare:
                return _in_parts(self._ctx, view, dataset, asked, names)
            self._held[view.source] = read_version(self._ctx, dataset, columns=columns)
        return view_features(self._ctx, view, asked, self._held[view.source], names)


def _bytes_of(ctx: Context, dataset: Version, columns: Sequence[str]) -> int:
    """What some columns of a version take in memory, by its first rows."""
    manifest = manifest_of(ctx, dataset)
    if not manifest.entries:
        return 0
    first = next(
        each_batch(ctx, manifest.entries[0], _among(schema_of(manifest), columns), rows=_LOOKED_AT), None
    )
    return 0 if first is None or not first.num_rows else first.nbytes * (manifest.rows or 0) // first.num_rows


def _among(schema: Schema, columns: Sequence[str]) -> Schema:
    return Schema(columns=tuple(column for column in schema.columns if column.name in columns))


def _in_parts(
    ctx: Context, view: FeatureView, dataset: Version, asked: pa.Table, names: tuple[str, ...]
) -> pa.Table:
    """The features of a view whose rows do not fit; the rows of one entity have to."""
    import numpy as np
    import pyarrow as pa

    columns = columns_for(view, names)
    spare, whole = ctx.ports.tables.spare_bytes, _bytes_of(ctx, dataset, columns)
    parts = min(_MOST_PARTS, max(2, -(-whole * _COPIES * 2 // max(spare, 1))))
    asked = _in_types(asked, _among(schema_of(manifest_of(ctx, dataset)), view.entity))
    numbers = ctx.ports.tables.buckets(asked.select(list(view.entity)), view.entity, parts)
    found, places = list[pa.Table](), list[np.ndarray]()
    with _spread(ctx, view, dataset, asked, names, parts) as shelves:
        for part in range(parts):
            of_part = np.flatnonzero(numbers == part)
            if part == 0 or len(of_part):  # the first one says which columns there are
                rows = shelves.taken(part)
                found.append(view_features(ctx, view, asked.take(pa.array(of_part)), rows, names))
                places.append(of_part)
                del rows
    back = np.argsort(np.concatenate(places))
    return pa.concat_tables(found).combine_chunks().take(pa.array(back))


def _in_types(asked: pa.Table, wanted: Schema) -> pa.Table:
    """The questions with keys as the dataset has them: only then equal ones fall into one part."""
    for column in wanted.columns:
        place = asked.schema.get_field_index(column.name)
        values = asked.column(place).cast(arrow_type(column.type))
        asked = asked.set_column(place, column.name, values)
    return asked


@contextmanager
def _spread(  # noqa: PLR0917 - a view's rows, what is asked of them, and in how many parts
    ctx: Context, view: FeatureView, dataset: Version, asked: pa.Table, names: tuple[str, ...], parts: int
) -> Iterator[Shelves]:
    """The rows of a view that some question may see, by parts, in files that go at the end."""
    schema = _among(schema_of(manifest_of(ctx, dataset)), columns_for(view, names))
    kinds = [(column.name, arrow_type(column.type)) for column in schema.columns]
    within, keys = _seen(view, asked), _keys(asked, view.entity)
    with scratch() as folder, Shelves(folder, kinds, parts) as shelves:
        for batch in _batches(ctx, dataset, schema, within):
            some = _of_keys(batch if within is None else ctx.ports.tables.select(batch, within), keys)
            if some.num_rows:
                shelves.add(some, ctx.ports.tables.buckets(some, view.entity, parts))
        yield shelves


def _batches(ctx: Context, dataset: Version, schema: Schema, within: Expr | None) -> Iterator[pa.Table]:
    """The rows of a version a portion at a time, of parts that can hold what is seen."""
    manifest, spare = manifest_of(ctx, dataset), ctx.ports.tables.spare_bytes
    rows = spare // _BUFFERS * (manifest.rows or 1) // max(_bytes_of(ctx, dataset, schema.names), 1)
    rows = min(max(rows, _LEAST_ROWS), _MOST_ROWS)
    for entry in manifest.entries:
        if needs_part(within, spans_of(entry)):
            yield from each_batch(ctx, entry, schema, rows=rows)


def _seen(view: FeatureView, asked: pa.Table) -> Expr | None:
    """Known by the last of the questions; None where nothing is asked, or not by instants."""
    import pyarrow as pa
    import pyarrow.compute as pc

    times = asked.column(TIME)
    if not pa.types.is_timestamp(times.type):
        return None
    last = pc.max(times.cast(pa.timestamp("us", "UTC"), safe=False).cast(pa.int64())).as_py()
    return None if last is None else known_within(view, None, last)


def _keys(asked: pa.Table, entity: Sequence[str]) -> dict[str, pa.Array]:
    """The different values of each part of the entity, of those that have not too many."""
    found = {name: asked.column(name).drop_null().unique() for name in entity}
    return {name: values for name, values in found.items() if len(values) <= _MOST_KEYS}


def _of_keys(rows: pa.Table, keys: dict[str, pa.Array]) -> pa.Table:
    """The rows whose key may be asked about."""
    import pyarrow.compute as pc

    for name, values in keys.items():
        rows = rows.filter(pc.is_in(rows.column(name), value_set=values))
    return rows
