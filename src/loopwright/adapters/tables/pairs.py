"""How numbers of a table go together: sums over pairs of columns, which can be added and taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from loopwright.core.nouns import Json

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

__all__ = ["PAIRED_COLUMNS", "pair_sums"]

PAIRED_COLUMNS = 32
"""the first so many columns of numbers are paired: the sums are kept in every version"""
_AT_ONCE = 1 << 13


def pair_sums(table: pa.Table) -> Json | None:
    """Of columns of numbers, over the rows that have both of a pair: how many, sums, squares and products.

    All about a shift for each column, near its mean, which keeps the sums small. None for fewer than two.
    """
    names = [name for name in table.column_names if _is_number(table.column(name).type)][:PAIRED_COLUMNS]
    if len(names) < 2 or not table.num_rows:
        return None
    values = np.empty((len(names), table.num_rows))
    for at, name in enumerate(names):
        values[at] = table.column(name).cast(pa.float64(), safe=False).to_numpy()
    there = np.isfinite(values)
    counts = there.sum(axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        shift = np.where(counts, np.sum(values, axis=1, where=there) / np.maximum(counts, 1), 0.0)
        found = _sums(values, there, shift)
    if not all(np.isfinite(each).all() for each in (*found.values(), shift)):
        return None
    return {"columns": names, "shift": shift.tolist(), **{key: each.tolist() for key, each in found.items()}}


def _sums(values: Floats, there: Flags, shift: Floats) -> dict[str, Floats]:
    """Some rows at a time, which stay near the core; columns with the same gaps share a mask."""
    gaps: dict[bytes, int] = {}
    of = [gaps.setdefault(row.tobytes(), at) for at, row in enumerate(np.packbits(there, axis=1))]
    kinds = sorted(gaps.values())
    mask_of = np.searchsorted(kinds, of)
    columns, has_gaps = len(values), not there.all()
    count, sums, squares = (np.zeros((rows, len(kinds))) for rows in (len(kinds), columns, columns))
    product = np.zeros((columns, columns))
    for first in range(0, values.shape[1], _AT_ONCE):
        at = slice(first, first + _AT_ONCE)
        centred, mask = values[:, at] - shift[:, None], there[kinds, at].astype(np.float64)
        if has_gaps:
            centred[~there[:, at]] = 0.0
        count += mask @ mask.T
        sums += centred @ mask.T
        product += centred @ centred.T
        squares += np.square(centred, out=centred) @ mask.T
    return {
        "count": count[np.ix_(mask_of, mask_of)],
        "sum": sums[:, mask_of],
        "square": squares[:, mask_of],
        "product": product,
    }


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
