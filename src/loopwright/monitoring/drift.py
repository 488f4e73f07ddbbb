"""Holds a day's inputs against trailing healthy days, by counts in fixed bins; such days set the limit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from loopwright.core.nouns import Json
from loopwright.monitoring.nouns import ColumnDrift, DriftLimits
from loopwright.stats.distributions import student_t_two_sided
from loopwright.stats.drift.bins import population_stability
from loopwright.stats.multiple import benjamini_hochberg
from loopwright.stats.sketches import error_of, from_plain, quantiles

__all__ = ["ColumnBins", "DayCounts", "compare", "count_day", "discoveries", "fit_bins", "profiled_bins"]

_BINS = 10
_FEW_LEVELS = 16
_LISTED = 20
"""frequent values that a profile lists at most: of a column with fewer it lists all"""
_BEFORE = "the monitor was defined before bins were fitted by profiles"


class ColumnBins(msgspec.Struct, frozen=True, kw_only=True):
    """The inner edges of a column's bins, rising; a value on an edge is in the bin above, NaN in its own."""

    column: str
    edges: tuple[float, ...]
    because: str = _BEFORE
    """why rows of the reference were read for the edges; empty: its profile said where they are"""
    rank_error: float = 0.0
    """by which share of the reference's values an edge may lie off its decile, as the sketch proves"""


class DayCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many of a window's rows fell in each bin of each column, missing ones last; the index it had."""

    counts: dict[str, tuple[int, ...]]
    index: dict[str, float] = {}
    drifted: tuple[str, ...] = ()
    """columns called drifted, whose day is no measure of health"""
    predictions: int = 0
    labelled: int = 0
    checked_at: datetime | None = None
    told: str = ""
    """digest of the readings of drift that stand as signals: a later check that finds the same adds none"""


def fit_bins(column: str, values: NDArray[np.float64], *, because: str) -> ColumnBins:
    """Bins of about equal counts; of a column of few levels, one bin a level. `because`: why of rows."""
    there = values[np.isfinite(values)]
    levels = np.unique(there) if len(there) else np.zeros(0)
    if len(levels) <= _FEW_LEVELS:
        edges = (levels[1:] + levels[:-1]) / 2.0
    else:
        edges = np.unique(np.quantile(there, np.arange(1, _BINS) / _BINS, method="higher"))
    return ColumnBins(column=column, edges=tuple(float(edge) for edge in edges), because=because)


def profiled_bins(column: str, told: Json) -> ColumnBins | None:
    """The bins that `fit_bins` makes of the rows, by a column's profile; None where it does not say.

    The same to the bit where the profile lists all levels, or its sketch is exact (few values, or few
    different ones). Else an edge lies off its decile by at most `rank_error` of the values and half a rank:
    0.01 by the sketches there are (`stats.sketches`), so that a bin holds 8 % to 12 % of the reference.
    """
    levels = _listed(told)
    if levels is not None:
        edges = (levels[1:] + levels[:-1]) / 2.0
        return ColumnBins(column=column, edges=tuple(edges.tolist()), because="")
    if "sketch" not in told:
        return None
    sketch = from_plain(told["sketch"])
    error = error_of(sketch)
    levels = np.unique(sketch.values.astype(np.float64))
    if error == 0.0 and len(levels) <= _FEW_LEVELS:
        edges = (levels[1:] + levels[:-1]) / 2.0
    else:
        edges = np.unique(np.asarray(quantiles(sketch, _deciles(sketch.n)), dtype=np.float64))
    return ColumnBins(column=column, edges=tuple(edges.tolist()), because="", rank_error=error)


def _listed(told: Json) -> NDArray[np.float64] | None:
    """All levels, rising, of a column that has few; None where the profile does not list all, or many."""
    if told["count"] == told.get("nan", 0):
        return np.zeros(0)
    top = told.get("top")
    if top is None or len(top) >= _LISTED or told.get("bounds"):
        return None
    levels = np.unique(np.asarray([float(item["value"]) for item in top]))
    return levels if len(levels) <= _FEW_LEVELS else None


def _deciles(n: int) -> list[float]:
    """Shares whose nearest rank is the higher one of the two ranks that a decile lies between."""
    ranks = np.ceil(np.arange(1, _BINS) / _BINS * (n - 1))
    found: list[float] = (ranks / max(n - 1, 1)).tolist()
    return found


def count_day(
    bins: Sequence[ColumnBins], columns: Mapping[str, NDArray[np.float64]]
) -> dict[str, tuple[int, ...]]:
    """Counts by column of those columns that are there."""
    return {each.column: _count(each, columns[each.column]) for each in bins if each.column in columns}


def _count(bins: ColumnBins, values: NDArray[np.float64]) -> tuple[int, ...]:
    there = values[np.isfinite(values)]
    places = np.searchsorted(np.array(bins.edges), there, side="right")
    found = np.bincount(places, minlength=len(bins.edges) + 1)
    return (*(int(count) for count in found), len(values) - len(there))


def compare(
    today: Mapping[str, tuple[int, ...]], healthy: Sequence[DayCounts], limits: DriftLimits
) -> tuple[ColumnDrift, ...]:
    """Every column of today against the sum of the healthy days before it.

    The index of a healthy day against its own past is log-normal enough for a prediction interval:
    today's p is that of Student's t for one more observation. It needs `min_days` days with an index. A
    column's drifted days are left out, until too few others remain: then they are the new normal.
    """
    asked = (_compared(column, counts, healthy, limits) for column, counts in today.items())
    found = [each for each in asked if each is not None]
    chosen = discoveries([each.p_value for each in found], limits.rate)
    return tuple(
        msgspec.structs.replace(each, drifted=hit and each.stability_index >= limits.floor)
        for each, hit in zip(found, chosen, strict=True)
    )


def _compared(
    column: str, counts: tuple[int, ...], healthy: Sequence[DayCounts], limits: DriftLimits
) -> ColumnDrift | None:
    counted = [day for day in healthy if len(day.counts.get(column, ())) == len(counts)]
    calm = [day for day in counted if column not in day.drifted]
    past = calm if len(calm) >= limits.min_days else counted
    n = sum(counts)
    if len(past) < limits.min_days or n == 0:
        return None
    reference = np.array([sum(bins) for bins in zip(*(day.counts[column] for day in past), strict=True)])
    index = population_stability(reference, np.array(counts))
    history = [day.index[column] for day in past if column in day.index]
    return ColumnDrift(
        column=column,
        stability_index=index,
        p_value=_surprise(index, history) if len(history) >= limits.min_days else None,
        missing_share=counts[-1] / n,
        n=n,
        reference_days=len(past),
        drifted=False,
    )


def _surprise(index: float, history: Sequence[float]) -> float:
    """P of an index as large, one-sided, were it one more of its history."""
    logs = [math.log(max(value, 1e-9)) for value in history]
    today, n = math.log(max(index, 1e-9)), len(logs)
    mean = math.fsum(logs) / n
    variance = math.fsum((each - mean) ** 2 for each in logs) / (n - 1)
    spread = math.sqrt(variance * (1.0 + 1.0 / n))
    if spread == 0.0:
        return 1.0 if today <= logs[0] else 0.0
    t = (today - mean) / spread
    two_sided = student_t_two_sided(t, n - 1.0)
    return two_sided / 2.0 if t > 0 else 1.0 - two_sided / 2.0


def discoveries(p_values: Sequence[float | None], rate: float) -> list[bool]:
    """Which are rejected at this false discovery rate (Benjamini and Hochberg 1995); None never is."""
    known = [at for at, p in enumerate(p_values) if p is not None]
    adjusted = benjamini_hochberg([p for p in p_values if p is not None])
    chosen = {at for at, q in zip(known, adjusted, strict=True) if q <= rate}
    return [at in chosen for at in range(len(p_values))]
