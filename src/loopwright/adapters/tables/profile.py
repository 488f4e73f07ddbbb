"""Profiles of tables: what the columns hold, as numbers a page or a merge can work with.

Each column is sorted once, and everything else is read off the sorted values: in one thread, since a
profile of a small batch must not wait for a pool of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from loopwright.adapters.tables.pairs import pair_sums
from loopwright.core.instants import format_instant, from_micros
from loopwright.core.nouns import Json
from loopwright.stats.sketches import plain, sketch_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["profile_of"]

_GRID = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_BINS = 20
_TOP = 20
_FEW = 1000
_TEXT_LIMIT = 80


def profile_of(table: pa.Table, like: Json | None = None) -> Json:
    """`{"rows": n, "columns": {name: {...}}}`.

    Every column has type, count (not null), nulls and distinct; numbers and instants have min, max,
    quantiles (nearest, on a fixed grid), the sketch by which quantiles are merged (of what is finite) and a
    histogram of 20 equal bins between the 1 % and 99 % quantile with what lies below and above; numbers
    have mean and std (of a sample); columns of at most 1,000 values have their 20 most frequent ones. NaN is
    counted apart and left out of numbers. Instants are written in ISO 8601, but in the histogram's edges and
    the sketch in microseconds. `pairs` holds the sums over pairs of columns of numbers that correlations
    are made of. Where `like`, another profile, has a histogram of a column, it is made on the same edges.
    """
    known = {} if like is None else like["columns"]
    columns = {name: _column(table.column(name), _edges(known.get(name))) for name in table.column_names}
    found: Json = {"rows": table.num_rows, "columns": columns}
    pairs = pair_sums(table)
    return found if pairs is None else {**found, "pairs": pairs}


def _edges(column: Json | None) -> Floats | None:
    shape = None if column is None else column.get("histogram")
    return None if shape is None else np.asarray(shape["edges"])


def _column(values: pa.ChunkedArray, edges: Floats | None) -> Json:
    kind = values.type
    if pa.types.is_timestamp(kind):
        return _instants(values, edges)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _numbers(values, edges)
    return _words(values, "bool" if pa.types.is_boolean(kind) else "string")


def _counts(values: pa.ChunkedArray, kind: str) -> Json:
    return {"type": kind, "count": len(values) - values.null_count, "nulls": values.null_count}


def _words(values: pa.ChunkedArray, kind: str) -> Json:
    there = values.drop_null()
    distinct = pl.Series(there).n_unique()  # many are counted by it in a fifth of the time
    found: Json = {**_counts(values, kind), "distinct": distinct}
    if distinct <= _FEW:
        counted = pc.value_counts(there)
        found["top"] = _top(counted.field(0).to_pylist(), counted.field(1).to_numpy())
    return found


def _instants(values: pa.ChunkedArray, edges: Floats | None) -> Json:
    micros = values.cast(pa.timestamp("us", values.type.tz), safe=False).cast(pa.int64())
    ordered = np.sort(micros.drop_null().to_numpy())
    found: Json = {**_counts(values, "instant"), "distinct": _distinct(ordered)}
    if ordered.size:
        found |= _range(ordered, lambda at: format_instant(from_micros(int(at))), edges)
    return found


def _numbers(values: pa.ChunkedArray, edges: Floats | None) -> Json:
    is_float = pa.types.is_floating(values.type)
    found = _counts(values, "float" if is_float else "int")
    ordered = np.sort(values.drop_null().to_numpy())
    if is_float:
        known = ordered[: ordered.size - int(np.isnan(ordered).sum())]
        found["nan"] = ordered.size - known.size
        ordered = known
    found["distinct"] = _distinct(ordered)
    if ordered.size:
        found |= _range(ordered, _shown, edges)
    found |= _moments(ordered)
    if found["distinct"] <= _FEW:
        finite = ordered[np.isfinite(ordered)]
        starts = _starts(finite)
        counts = np.diff(np.append(starts, finite.size))
        found["top"] = _top(finite[starts].tolist(), counts)
    return found


def _starts(ordered: NDArray[Any]) -> NDArray[np.int64]:
    """Where each run of equal values begins."""
    if not ordered.size:
        return np.empty(0, dtype=np.int64)
    return np.append(0, np.flatnonzero(ordered[1:] != ordered[:-1]) + 1)


def _distinct(ordered: NDArray[Any]) -> int:
    return int(_starts(ordered).size)


def _range(ordered: NDArray[Any], shown: Any, edges: Floats | None) -> Json:
    places = {q: math.floor(q * (ordered.size - 1) + 0.5) for q in _GRID}
    if edges is None:
        edges = _spanned(*(float(ordered[places[share]]) for share in (_GRID[0], _GRID[-1])))
    return {
        "min": shown(ordered[0]),
        "max": shown(ordered[-1]),
        "quantiles": {str(q): shown(ordered[at]) for q, at in places.items()},
        "sketch": plain(sketch_of(_finite(ordered))),
        "histogram": None if edges is None else _histogram(ordered, edges),
    }


def _finite(ordered: NDArray[Any]) -> NDArray[Any]:
    is_whole = ordered.dtype.kind != "f" or (math.isfinite(ordered[0]) and math.isfinite(ordered[-1]))
    return ordered if is_whole else ordered[np.isfinite(ordered)]


def _spanned(low: float, high: float) -> Floats | None:
    """The edges of 20 equal bins from `low` to `high`, of one when they are the same.

    None where one is infinite, or they are too far apart to be told in numbers of 64 bits.
    """
    if not math.isfinite(high - low):
        return None
    return np.linspace(low, high, _BINS + 1) if high > low else np.array([low, high])


def _histogram(ordered: NDArray[Any], edges: Floats) -> Json:
    """How many values are in each bin, below and above; the last bin has its right edge."""
    inner = np.searchsorted(ordered, edges[:-1], side="left")
    end = np.searchsorted(ordered, edges[-1], side="right")
    return {
        "edges": edges.tolist(),
        "counts": np.diff(np.append(inner, end)).tolist(),
        "below": int(inner[0]),
        "above": int(ordered.size - end),
    }


def _moments(ordered: NDArray[Any]) -> Json:
    with np.errstate(invalid="ignore", over="ignore"):
        mean = ordered.mean() if ordered.size else math.nan
        std = ordered.std(ddof=1) if ordered.size > 1 else math.nan
    return {"mean": _shown(mean), "std": _shown(std)}


def _shown(value: Any) -> float | int | None:
    plain: float | int = value.item() if isinstance(value, np.generic) else value
    return plain if math.isfinite(plain) else None


def _top(values: Sequence[Any], counts: NDArray[np.int64]) -> list[Json]:
    """The most frequent values, those of one count in their order."""
    often = np.flatnonzero(counts >= np.sort(counts)[-_TOP:][0]) if counts.size else counts
    found = sorted(
        ((values[at], int(counts[at])) for at in often.tolist()), key=lambda item: (-item[1], item[0])
    )
    return [{"value": _short(value), "count": count} for value, count in found[:_TOP]]


def _short(value: bool | float | str) -> bool | float | str:
    return value[:_TEXT_LIMIT] if isinstance(value, str) else value
