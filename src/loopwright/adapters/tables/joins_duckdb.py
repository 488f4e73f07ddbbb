"""Joins the row that was known at an instant, by DuckDB: a running newest row, then one as-of join."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from loopwright.adapters.tables.joins import brought_of, rank_of
from loopwright.adapters.tables.keys import column_of, instants_of, match_keys, micros_of
from loopwright.adapters.tables.scan_duckdb import database, fetched
from loopwright.core.errors import Invalid
from loopwright.ports.tables import AsOfJoin

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["join_as_of"]

_NEWEST = """
WITH ranked AS (
    SELECT *, row_number() OVER (ORDER BY event, known, ord, place) AS newness FROM view
), standing AS (
    SELECT k, seen, arg_max(struct_pack(place := place, event := event), newness) OVER (
        PARTITION BY k ORDER BY seen RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS newest
    FROM ranked
), different AS (
    SELECT k, seen, any_value(newest) AS newest FROM standing GROUP BY k, seen
)
SELECT
    spine.place,
    CASE WHEN $ttl = 0 OR newest.event >= spine.t - $ttl THEN newest.place ELSE -1 END AS winner
FROM spine ASOF JOIN different ON spine.k = different.k AND spine.t >= different.seen
"""
"""equal instants of being seen have one newest row, so it does not matter which of them the join picks"""


def join_as_of(spine: pa.Table, view: pa.Table, join: AsOfJoin) -> pa.Table:
    """The spine's columns, then the view's, of the newest row that was known at each spine row's instant."""
    brought = brought_of(spine, view.schema, join)
    winners = _winners(spine, view, join)
    places = pa.array(winners, mask=winners < 0)
    table = spine
    for name, source in brought.items():
        column = view.column(source).take(places)
        table = table.append_column(pa.field(name, view.schema.field(source).type), column)
    return table


def _winners(spine: pa.Table, view: pa.Table, join: AsOfJoin) -> NDArray[np.int64]:
    """The place in the view that each row of the spine gets, -1 for none."""
    if join.ttl < type(join.ttl)(0):
        raise Invalid("the ttl is negative", hint="0 means no limit")
    asked = instants_of(spine, join.time, "time", join.zone)
    codes, rows, row_codes = match_keys(spine, view, join.keys)
    usable = np.flatnonzero((codes >= 0) & ~asked.missing)
    questions = pa.table({"place": usable, "k": codes[usable], "t": asked.micros[usable]})
    found = np.full(spine.num_rows, -1, dtype=np.int64)
    with database() as connection:
        connection.register("spine", questions)
        connection.register("view", _candidates(view, join, rows, row_codes))
        won = fetched(connection, _NEWEST, {"ttl": micros_of(join.ttl)})
    found[won.column("place").to_numpy()] = won.column("winner").to_numpy()
    return found


def _candidates(
    view: pa.Table, join: AsOfJoin, rows: NDArray[np.int64], codes: NDArray[np.int64]
) -> pa.Table:
    event = instants_of(view, join.event_time, "event time", join.zone)
    known = event.micros
    if join.known_at is not None:
        learned = instants_of(view, join.known_at, "known-at", join.zone)
        known = np.where(learned.missing, event.micros, learned.micros)
    there = ~event.missing[rows]
    rows, codes = rows[there], codes[there]
    happened, learned_at = event.micros[rows], known[rows]
    order = np.zeros(len(rows), dtype=np.int64)
    if join.order is not None:
        order = rank_of(column_of(view, join.order, "order").take(pa.array(rows)))
    seen = np.maximum(happened, learned_at) if join.mode == "known" else happened
    columns = {"place": rows, "k": codes, "event": happened, "known": learned_at, "ord": order, "seen": seen}
    return pa.table(columns)
