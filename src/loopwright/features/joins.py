"""Joins a view's rows in memory to questions: the newest row, what is derived of it, and windows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from loopwright.engine.context import Context
from loopwright.features.formulas import computed
from loopwright.features.nouns import FeatureView, Formula
from loopwright.features.rules import as_of_join, window_join

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

__all__ = ["view_features"]

_PREFIX = "loopwright:"
"""before the features in the joins, where their names might be those of the spine"""
_PLACE = "loopwright_place"


def view_features(
    ctx: Context, view: FeatureView, asked: pa.Table, rows: pa.Table, names: tuple[str, ...]
) -> pa.Table:
    """The named features of the view for each question; rows without an event time do not count."""
    import pyarrow as pa

    tables = ctx.ports.tables
    if rows.column(view.event_time).null_count:
        rows = rows.filter(rows.column(view.event_time).is_valid())
    latest = tuple(name for name in names if name in view.latest)
    derived = {name: view.derived[name] for name in names if name in view.derived}
    windows = {name: view.windows[name] for name in names if name in view.windows}
    only = replace(view, latest=latest, windows=windows)
    found: dict[str, pa.ChunkedArray] = {}
    if derived:
        found |= _derived(ctx, only, asked, rows, derived)
    elif latest:
        joined = tables.join_as_of(asked, rows, as_of_join(only, _PREFIX))
        found |= {name: joined.column(f"{_PREFIX}{name}") for name in latest}
    if windows:
        joined = tables.join_windows(asked, rows, window_join(only, _PREFIX))
        found |= {name: joined.column(f"{_PREFIX}{name}") for name in windows}
    return pa.table(found)


def _derived(
    ctx: Context, view: FeatureView, asked: pa.Table, rows: pa.Table, formulas: Mapping[str, Formula]
) -> dict[str, pa.ChunkedArray]:
    """Columns of each question's newest row, and what is derived of it: computed once for each such row."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    numbered = rows.append_column(_PLACE, pa.array(np.arange(rows.num_rows)))
    join = replace(as_of_join(view, _PREFIX), columns=(_PLACE,))
    places = ctx.ports.tables.join_as_of(asked, numbered, join).column(f"{_PREFIX}{_PLACE}")
    different = pc.unique(places.drop_null())
    won = rows.take(different)
    at = pc.index_in(places, value_set=different, skip_nulls=True)
    made = computed(ctx.ports.tables, ctx.ports.functions, won, formulas)
    return {name: won.column(name).take(at) for name in view.latest} | {
        name: values.take(at) for name, values in made.items()
    }
