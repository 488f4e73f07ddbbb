"""Profiles of tables: what the columns hold, as numbers a page or a merge can work with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from loopwright.core.instants import format_instant, from_micros
from loopwright.core.nouns import Json

__all__ = ["profile_of"]

_GRID = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_BINS = 20
_TOP = 20
_FEW = 1000
_TEXT_LIMIT = 80


def profile_of(frame: pl.DataFrame) -> Json:
    """`{"rows": n, "columns": {name: {...}}}`.

    Every column has type, count (not null), nulls and distinct; numbers and instants have min, max,
    quantiles (nearest, on a fixed grid) and a histogram of 20 equal bins between the 1 % and 99 %
    quantile with what lies below and above; numbers have mean and std (of a sample); columns of at
    most 1,000 values have their 20 most frequent ones. NaN is counted apart and left out of numbers.
    Instants are written in ISO 8601, their histogram's edges in microseconds.
    """
    if not frame.width:
        return {"rows": frame.height, "columns": {}}
    asked = [part for name, dtype in frame.schema.items() for part in _aggregates(name, dtype)]
    found = frame.lazy().select(asked).collect().row(0, named=True)
    columns = {name: _column(frame[name], dtype, found) for name, dtype in frame.schema.items()}
    return {"rows": frame.height, "columns": columns}


def _numbers(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype == pl.Datetime:
        return column.dt.epoch("us")
    return column.fill_nan(None) if dtype.is_float() else column


def _is_ordered(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype == pl.Datetime


def _aggregates(name: str, dtype: pl.DataType) -> list[pl.Expr]:
    column = pl.col(name)
    found = {"nulls": column.null_count(), "distinct": column.drop_nulls().n_unique()}
    if dtype.is_float():
        found["nan"] = column.is_nan().sum()
    if _is_ordered(dtype):
        numbers = _numbers(name, dtype)
        found |= {"min": numbers.min(), "max": numbers.max()}
        found |= {f"q{q}": numbers.quantile(q, "nearest") for q in _GRID}
    if dtype.is_numeric():
        found |= {"mean": _numbers(name, dtype).mean(), "std": _numbers(name, dtype).std()}
    return [part.alias(f"{name}\x00{key}") for key, part in found.items()]


def _column(series: pl.Series, dtype: pl.DataType, found: Mapping[str, Any]) -> Json:
    def of(key: str) -> Any:
        return found[f"{series.name}\x00{key}"]

    nulls = of("nulls")
    result: Json = {"type": _type_name(dtype), "count": series.len() - nulls, "nulls": nulls}
    result["distinct"] = of("distinct")
    if dtype.is_float():
        result["nan"] = of("nan")
    if _is_ordered(dtype) and of("min") is not None:
        shown = _shown_instant if dtype == pl.Datetime else _shown_number
        result |= {"min": shown(of("min")), "max": shown(of("max"))}
        result["quantiles"] = {str(q): shown(of(f"q{q}")) for q in _GRID}
        result["histogram"] = _histogram(series, dtype, of("q0.01"), of("q0.99"))
    if dtype.is_numeric():
        result |= {"mean": _shown_number(of("mean")), "std": _shown_number(of("std"))}
    if result["distinct"] <= _FEW and dtype != pl.Datetime:
        result["top"] = _top(series)
    return result


def _type_name(dtype: pl.DataType) -> str:
    if dtype == pl.Boolean:
        return "bool"
    if dtype == pl.Datetime:
        return "instant"
    if dtype.is_numeric():
        return "float" if dtype.is_float() else "int"
    return "string"


def _shown_number(value: float | None) -> float | int | None:
    return value if value is not None and math.isfinite(value) else None


def _shown_instant(micros: int) -> str:
    return format_instant(from_micros(int(micros)))


def _histogram(series: pl.Series, dtype: pl.DataType, low: float, high: float) -> Json | None:
    """20 equal bins from `low` to `high`, one when they are the same; the last bin has its right edge."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return None
    values = series.to_frame().select(_numbers(series.name, dtype)).to_series().drop_nulls().to_numpy()
    edges = np.linspace(low, high, _BINS + 1) if high > low else np.array([low, high])
    counts, _ = np.histogram(values, edges)
    return {
        "edges": edges.tolist(),
        "counts": counts.tolist(),
        "below": int((values < low).sum()),
        "above": int((values > high).sum()),
    }


def _top(series: pl.Series) -> list[Json]:
    counted = series.drop_nulls().value_counts(name="n")
    column = pl.col(series.name)
    if series.dtype.is_float():
        counted = counted.filter(column.is_finite())
    first = counted.sort("n", column, descending=[True, False]).head(_TOP)
    return [{"value": _short(value), "count": count} for value, count in first.iter_rows()]


def _short(value: bool | float | str) -> bool | float | str:
    return value[:_TEXT_LIMIT] if isinstance(value, str) else value
