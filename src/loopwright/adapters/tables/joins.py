"""Joins the row that was known at an instant: a view's history is put in order once, then searched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa

from loopwright.adapters.tables.keys import Instants, axis_of, column_of, instants_of, match_keys
from loopwright.core.errors import Invalid
from loopwright.ports.tables import AsOfJoin

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

__all__ = ["join_as_of", "newest_order"]

_MICROSECOND_S = 1_000_000


def join_as_of(spine: pa.Table, view: pa.Table, join: AsOfJoin) -> pa.Table:
    """The spine's columns, then the view's, of the newest row that was known at each spine row's instant.

    A row can be seen from max(event, known-at) on, and of what can be seen the greatest (event,
    known-at, order, place) wins. So a key's rows are sorted by that rank, then by when they are first
    seen; the running maximum of the rank says who wins from each such instant on, whatever order the
    two times stand in. O((n + m) log n); exact in microseconds.
    """
    brought = _brought(spine, view, join)
    asked = instants_of(spine, join.time, "time")
    codes, rows, row_codes = match_keys(spine, view, join.keys)
    event = instants_of(view, join.event_time, "event time")
    known = _known(view, join, event)
    there = ~event.missing[rows]
    rows, row_codes = rows[there], row_codes[there]
    order = newest_order(view, join.order, rows, row_codes, (event.micros, known))
    rows, row_codes = rows[order], row_codes[order]
    seen = np.maximum(event.micros[rows], known[rows]) if join.mode == "known" else event.micros[rows]
    found = _winners(rows, row_codes, seen, codes, asked)
    return _joined(spine, view, brought, _alive(found, event.micros, asked.micros, join))


def _brought(spine: pa.Table, view: pa.Table, join: AsOfJoin) -> dict[str, str]:
    """Output name by view column; a name the spine has already is `Invalid`."""
    apart = {*join.keys, join.event_time, join.known_at, join.order}
    names = join.columns or tuple(name for name in view.column_names if name not in apart)
    for name in names:
        column_of(view, name, "view's")
    if join.order is not None:
        column_of(view, join.order, "order")
    found = {f"{join.prefix}{name}": name for name in names}
    clash = [name for name in found if name in spine.column_names]
    if clash:
        raise Invalid(
            f"the column {clash[0]!r} is in the spine and in the view",
            hint="give the view's columns a prefix",
        )
    return found


def _known(view: pa.Table, join: AsOfJoin, event: Instants) -> Ints:
    """Known-at in microseconds, the event time where there is none."""
    if join.known_at is None:
        return event.micros
    known = instants_of(view, join.known_at, "known-at")
    return np.where(known.missing, event.micros, known.micros)


def newest_order(
    view: pa.Table, order: str | None, rows: Ints, codes: Ints, times: tuple[Ints, Ints]
) -> Ints:
    """Places among `rows` from the oldest to the newest of each key: by (key, event, known-at, order, place).

    `times` are the event times and known-ats of the whole view.
    """
    event, known = times[0][rows], times[1][rows]
    stands = axis_of(codes, event).place(codes, event)
    places = np.argsort(stands)
    standing = stands[places]
    same = np.flatnonzero(standing[1:] == standing[:-1])
    if len(same) == 0:
        return places
    tied = np.zeros(len(places), dtype=bool)
    tied[same] = tied[same + 1] = True
    among = places[tied]
    within = np.lexsort((rows[among], _order(view, order, rows[among]), known[among], stands[among]))
    places[tied] = among[within]
    return places


def _order(view: pa.Table, name: str | None, rows: Ints) -> Ints:
    """Rank of the order column at these rows; null is before all."""
    if name is None:
        return np.zeros(len(rows), dtype=np.int64)
    column = pl.from_arrow(column_of(view, name, "order").take(pa.array(rows)))
    assert isinstance(column, pl.Series)
    return column.rank("dense").cast(pl.Int64).fill_null(0).to_numpy()


def _winners(rows: Ints, row_codes: Ints, seen: Ints, codes: Ints, asked: Instants) -> Ints:
    """The view row that wins at each spine row, -1 where there is none; rows come ordered by rank."""
    axis = axis_of(row_codes, seen)
    stands = axis.place(row_codes, seen)
    if np.any(stands[1:] < stands[:-1]):
        by_seen = np.argsort(stands)
        stands, rows = stands[by_seen], rows[np.maximum.accumulate(by_seen)]
        row_codes = row_codes[by_seen]
    usable = np.flatnonzero((codes >= 0) & ~asked.missing)
    found = np.full(len(codes), -1, dtype=np.int64)
    places = axis.place(codes[usable], asked.micros[usable])
    order = np.argsort(places)
    last = np.searchsorted(stands, places[order], side="right") - 1
    usable = usable[order]
    hit = (last >= 0) & (row_codes[last] == codes[usable]) if len(rows) else np.zeros(len(usable), dtype=bool)
    found[usable[hit]] = rows[last[hit]]
    return found


def _alive(found: Ints, event: Ints, asked: Ints, join: AsOfJoin) -> Ints:
    """Winners whose event time is no more than the ttl before the instant; the others become -1."""
    ttl = join.ttl.days * 86_400 * _MICROSECOND_S + join.ttl.seconds * _MICROSECOND_S + join.ttl.microseconds
    if ttl < 0:
        raise Invalid("the ttl is negative", hint="0 means no limit")
    if ttl == 0 or len(event) == 0:
        return found
    dead = (found >= 0) & (event[found] < asked - ttl)
    return np.where(dead, -1, found)


def _joined(spine: pa.Table, view: pa.Table, brought: dict[str, str], found: Ints) -> pa.Table:
    taken = pa.array(found, mask=found < 0)
    table = spine
    for name, source in brought.items():
        table = table.append_column(
            pa.field(name, view.schema.field(source).type), view.column(source).take(taken)
        )
    return table
