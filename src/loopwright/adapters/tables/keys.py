"""Puts keys and instants of two tables on one axis of integers, so that joins are sorts and searches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from loopwright.core.errors import Invalid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

__all__ = ["Axis", "Instants", "axis_of", "column_of", "instants_of", "match_keys"]

_PER_UNIT = {"s": (1_000_000, 1), "ms": (1_000, 1), "us": (1, 1), "ns": (1, 1_000)}
_LIMIT = 1 << 62


class Instants(NamedTuple):
    """Microseconds since 1970, and where there is no value (there the number means nothing)."""

    micros: Ints
    missing: Bools


class Axis(NamedTuple):
    """One order of (key, instant), by a key's code times `span` plus the instant's step.

    Steps are microseconds after `base`, or, where 63 bits are too few for those, places among `levels`.
    """

    base: int
    span: int
    levels: Ints | None = None

    def place(self, codes: Ints, micros: Ints) -> Ints:
        """Where each (key, instant) stands; what is before the first instant stands before all of its key."""
        if self.levels is None:
            steps = np.clip(micros, self.base, self.base + self.span - 1) - self.base
        else:
            steps = np.searchsorted(self.levels, micros, side="right")
        return codes * self.span + steps


def column_of(table: pa.Table, name: str, what: str) -> pa.ChunkedArray:
    """The column of that name, else `Invalid` that says what it was wanted for."""
    if table.column_names.count(name) != 1:
        raise Invalid(
            f"the {what} column {name!r} is not there, or there twice",
            hint=f"the columns are {', '.join(table.column_names)}",
        )
    return table.column(name)


def instants_of(table: pa.Table, name: str, what: str) -> Instants:
    """An instant column in microseconds (what is finer is cut off); a time without a zone is `Invalid`."""
    column = column_of(table, name, what)
    kind = column.type
    if not pa.types.is_timestamp(kind):
        raise Invalid(
            f"the {what} column {name!r} holds {kind}, not instants",
            hint="give timestamps with a zone, such as timestamp[us, UTC]",
        )
    if kind.tz is None:
        raise Invalid(
            f"the times of the {what} column {name!r} have no zone",
            hint="declare the zone they are written in: an instant is needed, not a clock's reading",
        )
    missing = column.is_null().to_numpy().astype(bool)
    raw = column.cast(pa.int64()).fill_null(0).to_numpy().astype(np.int64, copy=False)
    times, parts = _PER_UNIT[kind.unit]
    return Instants(raw * times if parts == 1 else raw // parts, missing)


def match_keys(spine: pa.Table, view: pa.Table, keys: Sequence[str]) -> tuple[Ints, Ints, Ints]:
    """Codes of the spine's keys (-1: a part is null), the rows of the view that have such a key, their codes.

    A null part never matches, nor does NaN; rows of the view come in their order.
    """
    if not keys:
        raise Invalid(
            "a join needs at least one key column", hint="name the columns that identify the entity"
        )
    left, right = _alike(_key_frame(spine, keys, "spine"), _key_frame(view, keys, "view"))
    known = left.unique(maintain_order=True).drop_nulls().with_row_index("code")
    codes = _coded(left.with_row_index("row"), known, "left")
    found = _coded(right.with_row_index("row"), known, "inner")
    return (
        codes["code"].cast(pl.Int64).fill_null(-1).to_numpy(),
        found["row"].cast(pl.Int64).to_numpy(),
        found["code"].cast(pl.Int64).to_numpy(),
    )


def _key_frame(table: pa.Table, keys: Sequence[str], side: str) -> pl.DataFrame:
    columns = [_key_series(column_of(table, key, f"{side}'s key"), key) for key in keys]
    return pl.DataFrame([series.alias(f"k{i}") for i, series in enumerate(columns)])


def _key_series(column: pa.ChunkedArray, name: str) -> pl.Series:
    kind = column.type
    if pa.types.is_timestamp(kind) and kind.tz is None:
        raise Invalid(f"the key {name!r} is a time without a zone", hint="declare its zone")
    found = pl.from_arrow(column)
    assert isinstance(found, pl.Series)
    dtype = found.dtype
    if dtype.is_integer() and dtype != pl.UInt64:
        return found.cast(pl.Int64)
    if dtype.is_float():
        return found.cast(pl.Float64).fill_nan(None)
    if dtype in (pl.Categorical, pl.Enum):
        return found.cast(pl.String)
    return found.dt.cast_time_unit("us") if dtype == pl.Datetime else found


def _alike(left: pl.DataFrame, right: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both sides' keys as the same types: integers are floats where the other side has floats."""
    for a, b in zip(left.get_columns(), right.get_columns(), strict=True):
        if {a.dtype, b.dtype} == {pl.Int64(), pl.Float64()}:
            number = pl.col(a.name).cast(pl.Float64)
            left, right = left.with_columns(number), right.with_columns(number)
            continue
        same = a.dtype == b.dtype or (a.dtype == pl.Datetime and b.dtype == pl.Datetime)
        if not same and pl.Null not in (a.dtype, b.dtype):
            raise Invalid(
                f"a key is {a.dtype} in the spine and {b.dtype} in the view",
                hint="give the key the same type on both sides",
            )
    return left, right


def _coded(frame: pl.DataFrame, known: pl.DataFrame, how: str) -> pl.DataFrame:
    names = [name for name in frame.columns if name != "row"]
    casts = [pl.col(name).cast(known[name].dtype) for name in names]
    joined = frame.with_columns(casts).join(
        known, on=names, how="left" if how == "left" else "inner", maintain_order="left"
    )
    return joined.select("row", "code")


def axis_of(codes: Ints, micros: Ints) -> Axis:
    """The axis that the rows of these keys and instants stand on."""
    if len(micros) == 0:
        return Axis(0, 1)
    low, keys = int(micros.min()), int(codes.max()) + 2
    span = int(micros.max()) - low + 2
    if keys * span < _LIMIT:
        return Axis(low - 1, span)
    levels = np.unique(micros)
    return Axis(0, len(levels) + 1, levels)
