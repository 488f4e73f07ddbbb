"""Windowed aggregates at many instants: two searches a window, then differences of running sums."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from loopwright.adapters.tables.compile import compile_expression
from loopwright.adapters.tables.joins import newest_order
from loopwright.adapters.tables.keys import Axis, axis_of, instants_of, match_keys
from loopwright.core.errors import Invalid
from loopwright.core.expressions import Window, columns_of
from loopwright.core.instants import duration
from loopwright.core.windows import exact_std, exact_sum, std_of_sums
from loopwright.ports.tables import WindowJoin

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = ["join_windows"]

_EXACT = float(1 << 53)
_WORD = float(1 << 63)


class _History(NamedTuple):
    """The view's rows by (key, known-at): where each stands on the axis, and its row."""

    axis: Axis
    stands: Ints
    rows: Ints
    newest: Ints
    """places of the rows here from the oldest to the newest of each key; empty unless a window asks for it"""


class _Asked(NamedTuple):
    """The spine in the order of its places on the axis, which keeps searches in the cache."""

    order: Ints
    codes: Ints
    micros: Ints
    usable: Bools


class _Ranges(NamedTuple):
    """A window's rows of each question: `history[low:high]`; `unknown` where no instant was asked for."""

    low: Ints
    high: Ints
    unknown: Bools

    @property
    def empty(self) -> Bools:
        return self.low >= self.high

    def among(self, there: Bools) -> _Ranges:
        """The same rows by their places among those that are there."""
        running = _running(there.astype(np.int64))
        return _Ranges(running[self.low], running[self.high], self.unknown)


class _Values(NamedTuple):
    """An expression over the history, row for row."""

    numbers: NDArray[Any]
    """the values, or for strings their places in `texts`"""
    there: Bools
    type: pa.DataType
    texts: pa.Array | None
    whole: bool
    """whether sums of them are exact as 64-bit integers"""


def join_windows(spine: pa.Table, view: pa.Table, join: WindowJoin) -> pa.Table:
    """The spine's columns, then one column per window, to the last bit as `core.windows.aggregate` says.

    Sums, counts and means cost two searches a row whatever the window holds; sums of floats that are
    not whole, and `distinct`, cost the rows in the window, once for each different window.
    """
    clash = [name for name in join.windows if name in spine.column_names]
    if clash:
        raise Invalid(f"the spine has a column {clash[0]!r} already", hint="name the feature differently")
    asked = instants_of(spine, join.time, "time")
    codes, rows, row_codes = match_keys(spine, view, join.keys)
    history = _history(view, join, rows, row_codes)
    order = np.argsort(history.axis.place(codes, asked.micros))
    questions = _Asked(order, codes[order], asked.micros[order], ~asked.missing[order])
    table = spine
    for name, column in _columns(view, join.windows, history, questions).items():
        back = np.empty(len(order), dtype=np.int64)
        back[order] = np.arange(len(order))
        table = table.append_column(name, column.take(pa.array(back)))
    return table


def _history(view: pa.Table, join: WindowJoin, rows: Ints, codes: Ints) -> _History:
    known = instants_of(view, join.known_at, "known-at")
    event = known if join.event_time is None else instants_of(view, join.event_time, "event time")
    micros = np.where(known.missing, event.micros, known.micros)
    missing = known.missing & event.missing
    there = ~missing[rows]
    rows, codes = rows[there], codes[there]
    axis = axis_of(codes, micros[rows])
    stands = axis.place(codes, micros[rows])
    order = np.argsort(stands, kind="stable")
    rows, codes, stands = rows[order], codes[order], stands[order]
    newest = np.empty(0, dtype=np.int64)
    if any(window.op == "last" for window in join.windows.values()):
        newest = newest_order(
            view, join.order, rows, codes, (np.where(event.missing, micros, event.micros), micros)
        )
    return _History(axis, stands, rows, newest)


def _columns(
    view: pa.Table, windows: Mapping[str, Window], history: _History, asked: _Asked
) -> dict[str, pa.Array]:
    """One column per window, in the order of the questions."""
    frame = pl.from_arrow(view)
    assert isinstance(frame, pl.DataFrame)
    high = _ends(history, asked, 0)
    lows: dict[int, Ints] = {}
    values: dict[str, _Values] = {}
    found: dict[str, pa.Array] = {}
    for name, window in windows.items():
        over = duration(window.over) // duration("1us")
        if over <= 0:
            raise Invalid(f"the window {name!r} is empty", hint="give it a duration such as 1h")
        if over not in lows:
            lows[over] = _ends(history, asked, over)
        text = repr(window.expr)
        if text not in values:
            values[text] = _evaluated(frame, window, history)
        found[name] = _aggregated(window, values[text], history, _Ranges(lows[over], high, ~asked.usable))
    return found


def _ends(history: _History, asked: _Asked, back: int) -> Ints:
    """How many rows of the history stand no later than (key, T - back); 0 for an entity without rows."""
    places = history.axis.place(asked.codes, asked.micros - back)
    found = np.searchsorted(history.stands, places, side="right")
    return np.where(asked.usable & (asked.codes >= 0), found, 0)


def _evaluated(frame: pl.DataFrame, window: Window, history: _History) -> _Values:
    for name in columns_of(window.expr):
        if name not in frame.columns:
            raise Invalid(f"there is no column {name!r}", hint=f"the columns are {', '.join(frame.columns)}")
    wanted = frame.select(sorted(columns_of(window.expr)) or frame.columns[:1])[history.rows]
    value = compile_expression(window.expr, frame.schema).alias("value")
    series = wanted.lazy().with_columns(value).select("value").collect()["value"]
    there = series.is_not_null().to_numpy()
    if series.dtype == pl.String:
        return _texts(series, there)
    if series.dtype == pl.Float64:
        numbers = series.fill_null(0.0).to_numpy()
        return _Values(numbers, there, pa.float64(), None, _sums_exactly(numbers))
    kind = pa.bool_() if series.dtype == pl.Boolean else pa.int64()
    return _Values(series.cast(pl.Int64).fill_null(0).to_numpy(), there, kind, None, True)


def _texts(series: pl.Series, there: Bools) -> _Values:
    texts = series.drop_nulls().unique().sort()
    ranks = texts.search_sorted(series.fill_null("")).to_numpy().astype(np.int64)
    return _Values(ranks, there, pa.string(), texts.to_arrow().cast(pa.string()), False)


def _sums_exactly(numbers: NDArray[np.float64]) -> bool:
    """Whether floats are whole and small enough that every partial sum is exact."""
    with np.errstate(all="ignore"):
        total = np.abs(numbers).sum()
        return bool(total < _EXACT and np.all(numbers == np.floor(numbers)))


def _aggregated(window: Window, values: _Values, history: _History, ranges: _Ranges) -> pa.Array:
    if window.op in ("sum", "mean", "std") and values.texts is not None:
        raise Invalid(f"a {window.op} needs numbers, not strings", hint="aggregate a column of numbers")
    match window.op:
        case "count":
            return pa.array(_counts(values, ranges), mask=ranges.unknown)
        case "sum":
            return pa.array(_sums(values, ranges), mask=ranges.unknown)
        case "mean":
            return _means(values, ranges)
        case "std":
            return _stds(values, ranges)
        case "distinct":
            return pa.array(_distinct(values, ranges), mask=ranges.unknown)
        case "last":
            return _last(values, history.newest, ranges)
        case "min" | "max":
            return _extremes(np.minimum if window.op == "min" else np.maximum, values, ranges)


def _running(numbers: Ints) -> Ints:
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(numbers)])


def _counts(values: _Values, ranges: _Ranges) -> Ints:
    if values.there.all():
        return ranges.high - ranges.low
    among = ranges.among(values.there)
    return among.high - among.low


def _sums(values: _Values, ranges: _Ranges) -> NDArray[Any]:
    if not values.whole:
        kept = values.numbers[values.there].tolist()
        return _each(ranges.among(values.there), lambda low, high: exact_sum(kept[low:high]))
    if np.abs(values.numbers.astype(np.float64)).sum() >= _WORD:
        raise Invalid("the sum of the integers is over 64 bits", hint="sum floats instead")
    running = _running(values.numbers.astype(np.int64))
    found = running[ranges.high] - running[ranges.low]
    return found.astype(np.float64) if values.type == pa.float64() else found


def _means(values: _Values, ranges: _Ranges) -> pa.Array:
    counts = _counts(values, ranges)
    empty = counts == 0
    means = _sums(values, ranges).astype(np.float64) / np.where(empty, 1, counts)
    return pa.array(means, mask=ranges.unknown | empty)


def _stds(values: _Values, ranges: _Ranges) -> pa.Array:
    among = ranges.among(values.there)
    numbers = values.numbers[values.there]
    if values.whole and np.square(numbers.astype(np.float64)).sum() < _EXACT:
        found = _each(among, _by_running_sums(numbers.astype(np.int64)))
    else:
        kept = numbers.tolist()
        found = _each(among, lambda low, high: _or_nan(exact_std(kept[low:high])))
    return pa.array(found, mask=ranges.unknown | (among.high - among.low < 2))


def _by_running_sums(numbers: Ints) -> Callable[[int, int], float]:
    sums, squares = _running(numbers).tolist(), _running(numbers * numbers).tolist()

    def std(low: int, high: int) -> float:
        return _or_nan(std_of_sums(high - low, sums[high] - sums[low], squares[high] - squares[low]))

    return std


def _or_nan(number: float | None) -> float:
    return float("nan") if number is None else number


def _last(values: _Values, newest: Ints, ranges: _Ranges) -> pa.Array:
    """The value of the newest row of each window."""
    if not len(newest):
        return _typed(
            values, np.zeros(len(ranges.low), dtype=values.numbers.dtype), ranges.unknown | ranges.empty
        )
    newness = np.empty(len(newest), dtype=np.int64)
    newness[newest] = np.arange(len(newest))
    places = newest[_range_best(np.maximum, newness, ranges)]
    return _typed(values, values.numbers[places], ranges.unknown | ranges.empty | ~values.there[places])


def _extremes(best: np.ufunc, values: _Values, ranges: _Ranges) -> pa.Array:
    """The least or the greatest value that is not null of each window."""
    among = ranges.among(values.there)
    found = _range_best(best, values.numbers[values.there], among)
    if found.dtype == np.float64:
        found = np.where(np.isnan(found), np.nan, found + 0.0)
    return _typed(values, found, ranges.unknown | among.empty)


def _typed(values: _Values, found: NDArray[Any], missing: Bools) -> pa.Array:
    if values.texts is not None:
        return values.texts.take(pa.array(found, mask=missing))
    return pa.array(found, mask=missing).cast(values.type)


def _range_best(best: np.ufunc, numbers: NDArray[Any], ranges: _Ranges) -> NDArray[Any]:
    """The least or greatest of `numbers[low:high]` for each pair, NaN if one is; 0 for an empty range.

    Two overlapping blocks of a power of two cover a range; one level of blocks is kept at a time.
    """
    length = ranges.high - ranges.low
    found = np.zeros(len(length), dtype=numbers.dtype)
    level = np.frexp(np.maximum(length, 1).astype(np.float64))[1] - 1
    blocks = numbers
    for k in range(int(level.max(initial=-1)) + 1):
        here = np.flatnonzero((level == k) & (length > 0))
        found[here] = best(blocks[ranges.low[here]], blocks[ranges.high[here] - (1 << k)])
        blocks = best(blocks[: -(1 << k)], blocks[1 << k :])
    return found


def _distinct(values: _Values, ranges: _Ranges) -> Ints:
    """How many different values: those whose last occurrence before is outside the window."""
    _, codes = np.unique(values.numbers[values.there], return_inverse=True)
    order = np.argsort(codes, kind="stable")
    before = np.full(len(codes), -1, dtype=np.int64)
    again = codes[order][1:] == codes[order][:-1]
    before[order[1:][again]] = order[:-1][again]
    among = ranges.among(values.there)
    return _each(among, lambda low, high: int(np.count_nonzero(before[low:high] < low))).astype(np.int64)


def _each(ranges: _Ranges, of: Callable[[int, int], float]) -> NDArray[np.float64]:
    """The function of each pair of ends, called once for each different pair."""
    pairs, back = np.unique(np.stack([ranges.low, ranges.high], axis=1), axis=0, return_inverse=True)
    return np.array([of(a, b) for a, b in pairs.tolist()], dtype=np.float64)[back.reshape(-1)]
