"""Leaves out the rows of a history that no question from an instant on can see."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from loopwright.core.expressions import Expr, col
from loopwright.core.instants import to_micros
from loopwright.core.nouns import Version
from loopwright.data.reading import read_version, rows_at
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of
from loopwright.features.nouns import FeatureView
from loopwright.features.rules import TIME, as_of_join, columns_read, longest_window

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["entities_at", "read_seen_from", "seen_from"]

_PLACE = "loopwright_place"
_FEW = 10_000
"""rows up to which it is quicker to hand them all on"""


def seen_from(
    ctx: Context, view: FeatureView, table: pa.Table, horizon: datetime, *, few: int = _FEW
) -> pa.Table:
    """The rows that some question from the horizon on can see, in their order.

    Those that are seen later or that a window reaches, and of the others the one of each entity that
    is the newest at the horizon: what the online store would keep of all of them, found by one join.
    """
    if not view.newest or table.num_rows < few:
        return table
    import numpy as np
    import pyarrow as pa

    numbered = table.append_column(_PLACE, pa.array(np.arange(table.num_rows)))
    return table.take(_places(ctx, view, numbered, horizon))


def read_seen_from(
    ctx: Context, view: FeatureView, dataset: Version, within: Expr, horizon: datetime, *, few: int = _FEW
) -> pa.Table:
    """Those of a dataset version's rows within a condition that `seen_from` would hand on.

    Keys and times are read first, and of the other columns no more than one at a time is in memory.
    """
    if not view.newest or (manifest_of(ctx, dataset).rows or 0) < few:
        return read_version(ctx, dataset, columns=columns_read(view), where=within)
    import numpy as np
    import pyarrow as pa

    deciding = _deciding(view)
    narrow = read_version(ctx, dataset, columns=deciding)
    numbered = narrow.append_column(_PLACE, pa.array(np.arange(narrow.num_rows)))
    places = _places(ctx, view, numbered, horizon, within)
    others = [name for name in columns_read(view) if name not in deciding]
    rest = rows_at(ctx, dataset, places, others)
    table = narrow.take(places)
    for name in others:
        table = table.append_column(name, rest.column(name))
    return table


def _deciding(view: FeatureView) -> tuple[str, ...]:
    """The columns that decide which rows are seen."""
    times = [name for name in (view.event_time, view.known_at, view.order) if name is not None]
    return tuple(dict.fromkeys([*view.entity, *times]))


def _places(
    ctx: Context, view: FeatureView, numbered: pa.Table, horizon: datetime, within: Expr | None = None
) -> pa.Array:
    """The numbers of the rows that are seen, ascending; those that come later only within the condition."""
    import numpy as np
    import pyarrow as pa

    asked = entities_at(numbered, view.entity, horizon)
    newest = ctx.ports.tables.join_as_of(asked, numbered, replace(as_of_join(view), columns=(_PLACE,)))
    reached = _reached(view, to_micros(horizon))
    later = ctx.ports.tables.select(numbered, reached if within is None else reached & within)
    places = [found.column(_PLACE).drop_null().to_numpy() for found in (newest, later)]
    return pa.array(np.unique(np.concatenate(places)))


def entities_at(table: pa.Table, entity: tuple[str, ...], at: datetime) -> pa.Table:
    """Each entity once, asked about at one instant."""
    import pyarrow as pa

    different = table.select(list(entity)).group_by(list(entity)).aggregate([])
    instant = pa.scalar(to_micros(at), pa.int64()).cast(pa.timestamp("us", "UTC"))
    return different.append_column(TIME, pa.repeat(instant, different.num_rows))


def _reached(view: FeatureView, horizon_us: int) -> Expr:
    """Seen after the horizon, or within the longest window that ends there."""
    first = horizon_us - longest_window(view)
    event = col(view.event_time)
    if view.known_at is None or view.known_at == view.event_time:
        return event > first
    known = col(view.known_at)
    return (event > horizon_us) | (known > first) | (known.is_null() & (event > first))
