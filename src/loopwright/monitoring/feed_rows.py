"""Rows of a feed in order of time: as read, or as the stretches of time beside its parts tell them.

Values of a stretch of several instants are known to lie between its first and its last one: who cuts in
between is told `NotTold`, and reads rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from loopwright.core.addresses import Address
from loopwright.core.errors import Corrupt, Invalid, NotFound
from loopwright.core.expressions import Expr, col
from loopwright.core.instants import duration, from_micros, to_micros
from loopwright.core.manifests import Manifest, ManifestEntry
from loopwright.core.nouns import Version
from loopwright.core.schema import ColumnType
from loopwright.data.reading import body_of, read_version, schema_of, spans_of
from loopwright.data.rules import needs_part
from loopwright.data.stretches import Stretches, stretches_in
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.monitoring.nouns import FeedWatch

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Feed", "FeedRows", "NotTold", "feed_of", "read_whole", "stretched", "told_rows", "why_read"]

_KEPT = {ColumnType.INT, ColumnType.FLOAT, ColumnType.BOOL, ColumnType.STRING}


class NotTold(Exception):
    """Stretches of time do not prove what is asked of a feed."""


def _inside(time: str, begin: datetime, until: datetime) -> Expr:
    """The condition that a time lies in `(begin, until]`."""
    return (col(time) > to_micros(begin)) & (col(time) <= to_micros(until))


class _Piece:
    """Some rows in order: times, how much later each may be, and columns; texts are places among words."""

    def __init__(self, first: NDArray[np.int64], last: NDArray[np.int64]) -> None:
        self.first, self.last = first, last
        self.columns: dict[str, NDArray[np.float64]] = {}


class FeedRows:
    """A feed's rows in order of time: microseconds `(n,)` and columns; texts are codes of their levels."""

    def __init__(self, pieces: Sequence[_Piece], columns: Sequence[str], categories: frozenset[str]) -> None:
        times = np.concatenate([piece.first for piece in pieces] or [np.empty(0, np.int64)])
        last = np.concatenate([piece.last for piece in pieces] or [np.empty(0, np.int64)])
        order = np.argsort(times, kind="stable")
        self.times_us: NDArray[np.int64] = times[order]
        self.columns = {
            name: np.concatenate([piece.columns[name] for piece in pieces] or [np.empty(0)])[order]
            for name in columns
        }
        self.categories = categories
        is_long = times < last
        self._loose = np.unique(np.stack([times[is_long], last[is_long]], axis=1), axis=0)
        self._orders: dict[str, NDArray[np.int64]] = {}

    @classmethod
    def read(cls, table: pa.Table, time: str, columns: Sequence[str]) -> Self:
        """Of rows, in whatever order."""
        import pyarrow as pa

        words: dict[str, dict[Any, float]] = {}
        texts = frozenset(name for name in columns if pa.types.is_string(table.schema.field(name).type))
        return cls([_piece_of(table, time, columns, words)], columns, texts)

    def check_cuts(self, cuts: Sequence[int]) -> None:
        """Raise `NotTold` where one of these microseconds has rows of a stretch before and after it."""
        for cut in cuts:
            if ((self._loose[:, 0] <= cut) & (cut < self._loose[:, 1])).any():
                raise NotTold(
                    f"{from_micros(cut):%Y-%m-%d %H:%M} lies within a stretch of time that was counted"
                )

    def check_grid(self, begin: int, width: int, since: int) -> None:
        """Raise `NotTold` where a stretch that is later than an instant lies across an edge of a grid."""
        loose = self._loose[(self._loose[:, 0] > since) & (self._loose[:, 1] <= begin)]
        if (np.diff((loose - begin - 1) // width, axis=1) != 0).any():
            raise NotTold("a window of the past ends within a stretch of time that was counted")

    def order_of(self, name: str, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        """What sorts a column's values at these rising places, stably; the column is sorted once for all."""
        if name not in self._orders:
            self._orders[name] = np.argsort(self.columns[name], kind="stable")
        places = np.full(len(self.times_us), -1)
        places[chosen] = np.arange(len(chosen))
        found = places[self._orders[name]]
        return found[found >= 0]

    def time_of_newest(self, rows: int, end: datetime) -> datetime | None:
        """Just before the time of the so-many-th newest row until `end`; None where there are fewer."""
        self.check_cuts([to_micros(end)])
        at = int(np.searchsorted(self.times_us, to_micros(end), side="right")) - rows
        if at < 0:
            return None
        before = int(self.times_us[at]) - 1
        if len(self._loose) and before < int(self._loose[:, 1].max()):
            raise NotTold(f"the {rows} newest rows lie in a stretch of time that was counted")
        return from_micros(before)

    def count(self, start: datetime, end: datetime) -> int:
        """Rows with a time in `(start, end]`."""
        self.check_cuts([to_micros(start), to_micros(end)])
        low, high = np.searchsorted(self.times_us, [to_micros(start), to_micros(end)], side="right")
        return int(high - low)


def _piece_of(
    table: pa.Table, time: str, columns: Sequence[str], words: dict[str, dict[Any, float]]
) -> _Piece:
    import pyarrow as pa

    times = np.asarray(table[time].cast(pa.int64()).to_numpy())
    found = _Piece(times, times)
    found.columns = {name: _numbers(table[name], words.setdefault(name, {})) for name in columns}
    return found


def _numbers(column: pa.ChunkedArray, words: dict[Any, float]) -> NDArray[np.float64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_string(column.type):
        known = pc.unique(column.drop_null())
        codes = np.array([_code(word, words) for word in known.to_pylist()] or [np.nan])
        places = pc.index_in(column, value_set=known, skip_nulls=True)
        at = pc.fill_null(places, -1).to_numpy()
        return np.where(at < 0, np.nan, codes[at])
    found: NDArray[np.float64] = pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy()
    return found


def _code(word: Any, words: dict[Any, float]) -> float:
    return words.setdefault(word, float(len(words)))


class Feed(NamedTuple):
    """The newest version of a watched dataset, and the column that says when rows came."""

    version: Version
    manifest: Manifest
    time: str


def told_rows(
    ctx: Context, feed: Feed, columns: Sequence[str], span: Sequence[datetime]
) -> tuple[FeedRows, str]:
    """A feed's rows in `(span[0], span[2]]` by the stretches of its parts; and why some were read, or "".

    From `span[1]` on it matters which of the rows of a stretch came first: where that is not told, the rows
    from then on are read, and no others. `NotTold` where stretches do not say what is asked.
    """
    version, manifest, time = feed
    begin, recent, until = span
    types = {column.name: column.type for column in schema_of(manifest).columns}
    if other := next((name for name in columns if types.get(name) not in _KEPT), None):
        raise NotTold(f"{other} is no number, text or truth")
    within, words = _inside(time, begin, until), dict[str, dict[Any, float]]()
    parts = [entry for entry in manifest.entries if entry.rows and needs_part(within, spans_of(entry))]
    stretched = [_stretched(ctx, entry, time, columns) for entry in parts]
    low, middle, high = map(to_micros, span)
    is_read = any(_is_loose(each, middle, high) for each in stretched)
    pieces = [_piece(each, columns, words, low, middle if is_read else high) for each in stretched]
    because = ""
    if is_read:
        because = f"stretches of time do not tell which row since {recent:%Y-%m-%d %H:%M} came first"
        rows = read_version(ctx, version, columns=[time, *columns], where=_inside(time, recent, until))
        pieces.append(_piece_of(rows, time, columns, words))
    texts = frozenset(name for name in columns if types[name] is ColumnType.STRING)
    return FeedRows(pieces, columns, texts), because


def _stretched(ctx: Context, entry: ManifestEntry, time: str, columns: Sequence[str]) -> Stretches:
    path = entry.path
    try:
        found = stretches_in(ctx, entry, columns)
    except (NotFound, Corrupt) as error:
        raise NotTold(f"the counts of {path} by stretch of time are damaged") from error
    if found is None:
        raise NotTold(f"{path} has no counts by stretch of time")
    if found.time != time:
        raise NotTold(f"{path} is counted by stretches of {found.time}, not of {time}")
    if left_out := next((name for name in columns if name in found.left_out), None):
        raise NotTold(f"{left_out} is not counted by stretches of time: {found.left_out[left_out]}")
    return found


def _is_loose(found: Stretches, middle: int, high: int) -> bool:
    """Whether a stretch later than `middle` has several instants."""
    return bool(((found.first < found.last) & (found.last > middle) & (found.first <= high)).any())


def _piece(
    found: Stretches, columns: Sequence[str], words: dict[str, dict[Any, float]], low: int, high: int
) -> _Piece:
    """The rows in `(low, high]`."""
    chosen = (found.last > low) & (found.first <= high)
    if ((found.first[chosen] <= low) | (found.last[chosen] > high)).any():
        raise NotTold("the time that is asked for ends within a stretch of time that was counted")
    rows = found.rows
    is_chosen = np.repeat(chosen, rows)
    piece = _Piece(np.repeat(found.first, rows)[is_chosen], np.repeat(found.last, rows)[is_chosen])
    for name in columns:
        values, codes = found.columns.get(name, ([], np.full(int(rows.sum()), -1)))
        known = words.setdefault(name, {})
        plain = [_code(value, known) if isinstance(value, str) else value for value in values]
        piece.columns[name] = np.append(np.array(plain, np.float64), np.nan)[codes[is_chosen]]
    return piece


def feed_of(ctx: Context, watch: FeedWatch) -> Feed:
    """The newest version of what is watched; `Invalid` where it has no times."""
    version = resolve(ctx, Address(kind="dataset", name=watch.dataset))
    manifest = manifest_of(ctx, version)
    body = body_of(manifest)
    time = body.known_at or body.event_time
    if time is None:
        raise Invalid(f"{version.ref} has no time column", hint="append it with event_time or known_at")
    return Feed(version, manifest, time)


def stretched(ctx: Context, watch: FeedWatch, until: datetime) -> tuple[FeedRows, str]:
    """The window that ends at `until` and the time it is held against, by stretches: see `told_rows`."""
    start = until - duration(watch.window)
    span = (start - duration(watch.trailing), start, until)
    return told_rows(ctx, feed_of(ctx, watch), watch.columns, span)


def read_whole(ctx: Context, watch: FeedWatch, until: datetime) -> FeedRows:
    """The same, by the rows themselves."""
    version, _, time = feed_of(ctx, watch)
    begin = until - duration(watch.window) - duration(watch.trailing)
    where = _inside(time, begin, until)
    return FeedRows.read(
        read_version(ctx, version, columns=[time, *watch.columns], where=where), time, watch.columns
    )


def why_read(ctx: Context, watch: FeedWatch) -> str:
    """Why a check that is made now would read rows; empty where stretches of time tell all, or none is."""
    try:
        return stretched(ctx, watch, ctx.now())[1]
    except NotTold as why:
        return str(why)
    except (NotFound, Invalid):  # a dataset that is not there, or has no times, is not checked at all
        return ""
