"""Correlations that are kept up to date by what is added and taken away: sums over pairs of columns.

With n, sums S and squares Q about shifts, and products P, Pearson's r of a pair is
(P - S_ij S_ji / n) / sqrt((Q_ij - S_ij^2 / n) (Q_ji - S_ji^2 / n)), over the rows that have both values. Sums
are merged by moving one part's to the other's shifts (Chan, Golub and LeVeque 1983, *Algorithms for computing
the sample variance*; for pairs Pébay 2008, SAND2008-6212, eq. 3.11).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from loopwright.core.nouns import Json

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["correlations", "joined_pairs"]

_LEAST = 1e-12
"""the share of a column's squares that must be left of its deviations, or rounding is all there is"""


def joined_pairs(whole: Json | None, part: Json | None, sign: Literal[1, -1] = 1) -> Json | None:
    """The sums of both together, or of `whole` without `part`; None where they are of different columns."""
    if whole is None or part is None or whole["columns"] != part["columns"]:
        return None
    import numpy as np

    shift = np.asarray(whole["shift"])
    gap = np.asarray(part["shift"]) - shift
    count, sums, squares, products = _read(part)
    moved = {
        "count": count,
        "sum": sums + count * gap[:, None],
        "square": squares + 2 * gap[:, None] * sums + count * (gap * gap)[:, None],
        "product": products + gap[:, None] * sums.T + sums * gap + count * np.outer(gap, gap),
    }
    found = {key: (np.asarray(whole[key]) + sign * each).tolist() for key, each in moved.items()}
    return {"columns": whole["columns"], "shift": whole["shift"], **found}


def _read(pairs: Json) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    import numpy as np

    count, sums, squares, products = (np.asarray(pairs[key]) for key in ("count", "sum", "square", "product"))
    return count, sums, squares, products


def correlations(pairs: Json | None) -> Json | None:
    """`{"columns": [...], "values": [[...]]}`; null for under three rows, or without a deviation."""
    if pairs is None:
        return None
    import numpy as np

    count, sums, squares, products = _read(pairs)
    n = np.maximum(count, 1)
    spread = squares - sums * sums / n
    is_known = (count >= 3) & (spread > _LEAST * np.maximum(squares, 1e-300))
    is_known &= is_known.T
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (products - sums * sums.T / n) / np.sqrt(spread * spread.T)
    found = np.clip(found, -1.0, 1.0)
    values = [
        [float(r) if known else None for r, known in zip(row, there, strict=True)]
        for row, there in zip(found, is_known, strict=True)
    ]
    return {"columns": pairs["columns"], "values": values}
