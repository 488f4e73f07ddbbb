"""Takes rows out of the profile of a dataset: a delete costs what it removes, as an append what it adds.

Exact: counts, nulls, mean, deviation, histogram, and least and greatest, which the files' footers say. A
sketch keeps the values that are certainly still there; where its bounds are too wide then, all is made anew.
`distinct` may have become less where the list of frequent values is not of all values: `bounds` says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from loopwright.core.instants import format_instant, from_micros
from loopwright.core.nouns import Json
from loopwright.data.pairing import joined_pairs
from loopwright.data.profiles import added_shape, missing_told, quantiles_of, told_by
from loopwright.ports.tables import ColumnRange
from loopwright.stats.sketches import ERROR, error_of, from_plain, without

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["shrunk_profile"]

_COUNTED = ("count", "nulls", "nan")
_KNOWN = {
    *_COUNTED,
    "type",
    "distinct",
    "bounds",
    "top",
    "min",
    "max",
    "mean",
    "std",
    "histogram",
    "quantiles",
    "rank_error",
    "sketch",
}
_SHOWN = 80
_WORN = 1.5
"""so much of its error a sketch may have before it is made anew: what went weighs on what stays"""
_MOST_TAKEN = 0.5
"""a share of rows above which differences of squares lose too much, and the rest is profiled anew"""


def shrunk_profile(whole: Json, part: Json, rows: pa.Table, ranges: Mapping[str, ColumnRange]) -> Json | None:
    """The profile of `whole` without `rows`, whose profile is `part`, made like the whole.

    `ranges` are those of the columns of what stays. None where the profile has to be made anew: it holds
    what cannot be taken out of it, or most of the rows go.
    """
    columns: Mapping[str, Json] = whole["columns"]
    if rows.num_rows > _MOST_TAKEN * whole["rows"] or not {"rows", "columns", "pairs"} >= whole.keys():
        return None
    if any(not _KNOWN.issuperset(column) for column in columns.values()):
        return None
    found = {
        name: _column(before, part["columns"][name], rows.column(name), ranges.get(name))
        if name in part["columns"]
        else before
        for name, before in columns.items()
    }
    count = whole["rows"] - rows.num_rows
    told = {name: missing_told(column, count) for name, column in found.items() if column is not None}
    if len(told) < len(found):
        return None
    left: Json = {"rows": count, "columns": told}
    pairs = joined_pairs(whole.get("pairs"), part.get("pairs"), -1)
    return left if pairs is None else {**left, "pairs": pairs}


def _column(before: Json, gone: Json, values: pa.ChunkedArray, span: ColumnRange | None) -> Json | None:
    found = {**before, **{key: before[key] - gone.get(key, 0) for key in _COUNTED if key in before}}
    found |= _values(before, values)
    if "min" not in before or "min" not in gone:
        return found
    if span is None or found["count"] - found.get("nan", 0) <= 0:
        return None
    is_instant = before["type"] == "instant"
    ends = [_shown(end, is_instant=is_instant) for end in (span.low, span.high)]
    found["min"], found["max"] = ends
    if "mean" in before:
        moments = _moments(before, gone)
        if moments is None:
            return None
        found |= moments
    if before.get("histogram"):
        found["histogram"] = added_shape(before["histogram"], gone["histogram"], -1)
    ranks = _ranks(before, found, values)
    return None if ranks is None else {**found, **ranks}


def _ranks(before: Json, found: Json, values: pa.ChunkedArray) -> Json | None:
    """Sketch and quantiles of what stays; None where the sketch cannot prove its error any more."""
    if "sketch" not in before:
        return {"quantiles": quantiles_of(found)} if found.get("histogram") else {}
    import numpy as np
    import pyarrow as pa

    plain = values.cast(pa.int64()) if pa.types.is_timestamp(values.type) else values
    gone = np.sort(plain.drop_null().to_numpy())
    left = without(from_plain(before["sketch"]), gone[np.isfinite(gone)])
    return None if left is None or error_of(left) > _WORN * ERROR else told_by(left, found)


def _shown(value: Any, *, is_instant: bool) -> Any:
    if is_instant:
        return format_instant(from_micros(value))
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _values(before: Json, values: pa.ChunkedArray) -> Json:
    """Different values and the most frequent ones; exact where the list had all values there were."""
    if "top" not in before:
        return {"bounds": True}
    import pyarrow.compute as pc

    gone: dict[Any, int] = {}
    for item in pc.value_counts(values.drop_null()).to_pylist():
        value = item["values"][:_SHOWN] if isinstance(item["values"], str) else item["values"]
        gone[value] = gone.get(value, 0) + item["counts"]
    is_whole = before["distinct"] == len(before["top"]) and not before.get("bounds")
    left = [(item["value"], item["count"] - gone.get(item["value"], 0)) for item in before["top"]]
    left = sorted(((value, count) for value, count in left if count > 0), key=lambda at: (-at[1], str(at[0])))
    found: Json = {"top": [{"value": value, "count": count} for value, count in left]}
    return {**found, "distinct": len(left)} if is_whole else {**found, "bounds": True}


def _moments(before: Json, gone: Json) -> Json | None:
    """Mean and deviation of what stays: the equation of two samples together, solved for one of them."""
    n, k = (part["count"] - part.get("nan", 0) for part in (before, gone))
    if before["mean"] is None or (k and gone["mean"] is None):
        return None
    if not k:
        return {"mean": before["mean"], "std": before["std"]}
    left = n - k
    mean = (before["mean"] * n - gone["mean"] * k) / left
    if left < 2:
        return {"mean": mean, "std": None}
    gap = gone["mean"] - mean
    squares = (before["std"] or 0.0) ** 2 * (n - 1) - (gone["std"] or 0.0) ** 2 * max(k - 1, 0)
    squares -= gap * gap * left * k / n
    return {"mean": mean, "std": math.sqrt(max(squares, 0.0) / (left - 1))}
