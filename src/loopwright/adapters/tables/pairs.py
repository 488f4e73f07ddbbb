"""How numbers of a table go together: sums over pairs of columns, which can be added and taken away."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from loopwright.core.nouns import Json

__all__ = ["PAIRED_COLUMNS", "pair_sums"]

PAIRED_COLUMNS = 32
"""the first so many columns of numbers are paired: the sums are kept in every version"""


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
    shift = np.where(counts, np.where(there, values, 0.0).sum(axis=1) / np.maximum(counts, 1), 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        centred = np.where(there, values - shift[:, None], 0.0)
        mask = there.astype(np.float64)
        found = {
            "count": mask @ mask.T,
            "sum": centred @ mask.T,
            "square": (centred * centred) @ mask.T,
            "product": centred @ centred.T,
        }
    if not all(np.isfinite(each).all() for each in (*found.values(), shift)):
        return None
    return {"columns": names, "shift": shift.tolist(), **{key: each.tolist() for key, each in found.items()}}


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
