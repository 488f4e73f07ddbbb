"""Keeps what a view said at past instants as rows of a dataset, one for each entity it knew of."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from loopwright.core.addresses import Address, parse_address
from loopwright.core.errors import Invalid
from loopwright.core.expressions import Window, col
from loopwright.core.instants import format_duration, from_micros, to_micros
from loopwright.core.nouns import LinkRole, Version
from loopwright.data.nouns import DATASET
from loopwright.data.reading import permitted, read_version
from loopwright.data.rewriting import upsert
from loopwright.engine.context import Context
from loopwright.engine.publishing import resolve
from loopwright.features.nouns import Backfill, FeatureView
from loopwright.features.offline import view_features, view_of
from loopwright.features.rules import (
    as_of_join,
    columns_read,
    known_within,
    longest_window,
    window_join,
)
from loopwright.features.thinning import entities_at, read_seen_from

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["AT", "keep_values"]

AT = "at"
"""the column of the instant that the values are of"""
_SEEN = "loopwright_seen"


def keep_values(ctx: Context, asked: Backfill, at: datetime) -> int:
    """Keep a view's values at an instant, in the place of those there are; how many rows are new."""
    view, version = view_of(ctx, parse_address(asked.view))
    dataset = resolve(ctx, Address(kind=DATASET, name=view.source))
    if AT in (*view.features, *view.entity):
        raise Invalid(
            f"the view {view.name!r} has a column {AT!r}, which is what the instants are called",
            hint="rename it to keep the values in a dataset",
        )
    permitted(ctx, dataset, columns_read(view))
    rows = _rows_seen(ctx, view, dataset, at)
    if not rows.num_rows:
        return 0
    table = _values(ctx, view, rows, at)
    if not table.num_rows:
        return 0
    keys = (*view.entity, AT)
    facts = {"view": str(version.ref), "digest": version.digest}
    if ctx.run_id is not None:
        ctx.write(lambda tx: ctx.touch(tx, LinkRole.INPUT, version.ref))
    return upsert(ctx, asked.into, table, keys=keys, facts=facts).rows


def _rows_seen(ctx: Context, view: FeatureView, dataset: Version, at: datetime) -> pa.Table:
    """The rows that a question at the instant can see, and perhaps some more that were known by then."""
    at_us = to_micros(at)
    if view.newest:
        return read_seen_from(ctx, view, dataset, known_within(view, None, at_us), at)
    first = at_us - longest_window(view)
    return read_version(ctx, dataset, columns=columns_read(view), where=known_within(view, first, at_us))


def _values(ctx: Context, view: FeatureView, rows: pa.Table, at: datetime) -> pa.Table:
    """`entity, at, features` of each entity that has a row which is seen."""
    rows = rows.filter(rows.column(view.event_time).is_valid())
    asked = entities_at(rows, view.entity, at).drop_null()
    asked = asked.filter(_is_seen(ctx, view, asked, rows))
    found = view_features(ctx, view, asked, rows, view.features)
    table = asked.rename_columns([*view.entity, AT])
    for name in view.features:
        table = table.append_column(name, found.column(name))
    return table


def _is_seen(ctx: Context, view: FeatureView, asked: pa.Table, rows: pa.Table) -> pa.ChunkedArray:
    """Whether an entity has a newest row, or one in a window."""
    import pyarrow as pa
    import pyarrow.compute as pc

    is_seen = pa.chunked_array([pa.repeat(pa.scalar(False), asked.num_rows)])
    if view.newest:
        join = replace(as_of_join(view), columns=(_SEEN,))
        marked = rows.append_column(_SEEN, pa.repeat(pa.scalar(True), rows.num_rows))
        newest = ctx.ports.tables.join_as_of(asked, marked, join).column(_SEEN)
        is_seen = pc.or_(is_seen, pc.fill_null(newest, False))
    if view.windows:
        over = format_duration(from_micros(longest_window(view)) - from_micros(0))
        counted: dict[str, Window] = {_SEEN: col(view.event_time).is_null().count(over)}
        join_of = replace(window_join(view), windows=counted)
        counts = ctx.ports.tables.join_windows(asked, rows, join_of).column(_SEEN)
        is_seen = pc.or_(is_seen, pc.greater(counts, 0))
    return is_seen
