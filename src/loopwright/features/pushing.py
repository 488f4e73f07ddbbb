"""Hands rows of a source to every view that lives on it, online."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from loopwright.core.expressions import columns_of
from loopwright.features.nouns import FeatureView, online_view
from loopwright.ports.online import Online, OnlineRow

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Arrival", "Pusher"]


class Arrival(NamedTuple):
    """A source row ready to be pushed: when it is known (microseconds), and its form for each view."""

    known_us: int
    rows: tuple[tuple[str, OnlineRow], ...]


class Pusher:
    """The views of one online store, by their source; definitions are made known when it is built."""

    def __init__(self, online: Online, views: Sequence[tuple[FeatureView, int]]) -> None:
        self._online = online
        self._views: dict[str, list[tuple[str, FeatureView]]] = {}
        for view, number in views:
            online.define(online_view(view, number))
            self._views.setdefault(view.source, []).append((f"{view.name}@{number}", view))
        self._columns = {view.name: _needed(view) for view, _ in views}

    @property
    def sources(self) -> tuple[str, ...]:
        """The datasets some view lives on."""
        return tuple(self._views)

    def arrivals(self, source: str, table: pa.Table) -> list[Arrival]:
        """The rows of a table in its order; rows with no known-at and no event time are left out."""
        rows = _plain(table)
        forms = [
            [_online_row(view, self._columns[view.name], row) for row in rows]
            for _, view in self._views.get(source, [])
        ]
        names = [name for name, _ in self._views.get(source, [])]
        found = []
        for row_forms in zip(*forms, strict=True):
            kept = tuple(
                (name, form) for name, form in zip(names, row_forms, strict=True) if form is not None
            )
            if kept:
                found.append(Arrival(kept[0][1].known_us, kept))
        return found

    def push(self, arrivals: Sequence[Arrival]) -> int:
        """Take arrivals in; how many rows of views were new."""
        by_view: dict[str, list[OnlineRow]] = {}
        for arrival in arrivals:
            for name, row in arrival.rows:
                by_view.setdefault(name, []).append(row)
        return sum(self._online.push(name, rows) for name, rows in by_view.items())


def _plain(table: pa.Table) -> list[dict[str, Any]]:
    """Rows as dicts, instants as microseconds."""
    import pyarrow as pa

    columns = {
        name: table[name].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
        if pa.types.is_timestamp(table[name].type)
        else table[name]
        for name in table.column_names
    }
    rows: list[dict[str, Any]] = pa.table(columns).to_pylist()
    return rows


def _needed(view: FeatureView) -> tuple[str, ...]:
    windowed = (name for window in view.windows.values() for name in columns_of(window))
    return tuple(dict.fromkeys([*view.latest, *windowed]))


def _online_row(view: FeatureView, columns: tuple[str, ...], row: dict[str, Any]) -> OnlineRow | None:
    event, known = row[view.event_time], row[view.known_at]
    key = tuple([row[name] for name in view.entity])
    if (event is None and known is None) or None in key:
        return None
    known = event if known is None else known
    event = known if event is None else event
    named = row[view.row_id] if view.row_id else f"{key}|{event}|{known}"
    return OnlineRow(
        key=key,
        event_us=event,
        known_us=known,
        values={name: row[name] for name in columns},
        row_id=str(named),
    )
