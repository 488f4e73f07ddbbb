"""The contract of the joins written down a second time, row by row, in plain Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from loopwright.core.expressions import Window, evaluate
from loopwright.core.instants import duration
from loopwright.core.windows import aggregate
from loopwright.ports.tables import AsOfJoin, WindowJoin

Row = Mapping[str, Any]


def rank(row: Row, place: int, event: str, known: str | None, order: str | None) -> tuple[Any, ...]:
    """What decides who is newer."""
    happened = row[event]
    learned = happened if known is None or row[known] is None else row[known]
    ordered = None if order is None else row[order]
    return (happened, learned, ordered is not None, 0 if ordered is None else ordered, place)


def same_key(a: Row, b: Row, keys: Sequence[str]) -> bool:
    return all(a[key] is not None and b[key] is not None and a[key] == b[key] for key in keys)


def winner(asked: Row, view: Sequence[Row], join: AsOfJoin) -> Row | None:
    at = asked[join.time]
    if at is None:
        return None
    best: tuple[tuple[Any, ...], Row] | None = None
    for place, row in enumerate(view):
        if not same_key(asked, row, join.keys) or row[join.event_time] is None:
            continue
        stands = rank(row, place, join.event_time, join.known_at, join.order)
        if stands[0] > at or (join.mode == "known" and stands[1] > at):
            continue
        if join.ttl and stands[0] < at - join.ttl:
            continue
        if best is None or stands > best[0]:
            best = (stands, row)
    return None if best is None else best[1]


def as_of(
    spine: Sequence[Row], view: Sequence[Row], join: AsOfJoin, columns: Sequence[str]
) -> list[dict[str, Any]]:
    """The rows that the join gives."""
    found = []
    for asked in spine:
        row = winner(asked, view, join)
        brought = {f"{join.prefix}{name}": None if row is None else row[name] for name in columns}
        found.append({**asked, **brought})
    return found


def window_value(asked: Row, view: Sequence[Row], join: WindowJoin, window: Window) -> Any:
    at, over = asked[join.time], duration(window.over)
    if at is None:
        return None
    inside = []
    for place, row in enumerate(view):
        known = row[join.known_at]
        if known is None and join.event_time is not None:
            known = row[join.event_time]
        if same_key(asked, row, join.keys) and known is not None and at - over < known <= at:
            inside.append((newness(row, place, known, join), evaluate(window.expr, row)))
    inside.sort(key=lambda pair: pair[0])
    return aggregate(window.op, [value for _, value in inside])


def newness(row: Row, place: int, known: datetime, join: WindowJoin) -> tuple[Any, ...]:
    event = known if join.event_time is None or row[join.event_time] is None else row[join.event_time]
    return (event, *rank({**row, "event": event, "known": known}, place, "event", "known", join.order)[1:])


def windows(spine: Sequence[Row], view: Sequence[Row], join: WindowJoin) -> list[dict[str, Any]]:
    """The rows that the window join gives."""
    return [
        {**row, **{name: window_value(row, view, join, window) for name, window in join.windows.items()}}
        for row in spine
    ]


def table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)


MICROSECOND = timedelta(microseconds=1)
