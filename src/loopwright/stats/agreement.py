"""Agreement of two who judged the same things."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from loopwright.core.errors import Invalid
from loopwright.stats.intervals import Estimate, wald, wilson
from loopwright.stats.samples import FloatArray, UndefinedStatistic

__all__ = ["cohen_kappa"]


def cohen_kappa(first: npt.ArrayLike, second: npt.ArrayLike, *, level: float = 0.95) -> Estimate:
    """How much more two raters agree than by chance, 1 for always (Cohen 1960), with its interval.

    `first` and `second` `(n,)` are what each chose of the same n things, texts or numbers. The standard
    error is that of Fleiss, Cohen and Everitt (1969), for large n; where all agree or none does it is 0,
    and the interval is that of the observed agreement (Wilson) with chance taken as it is. It ends at -1
    and 1. Raises `UndefinedStatistic` without things, and where one of the two chose the same all the time:
    kappa is 0 then by its form, whatever the other chose, and its large-sample error too.
    """
    shares, n = _shares(first, second)
    rows, columns = shares.sum(axis=1), shares.sum(axis=0)
    observed, chance = float(np.trace(shares)), float(rows @ columns)
    if math.isclose(chance, 1.0):
        raise UndefinedStatistic(
            "both chose one and the same every time", hint="judge things of which some are otherwise"
        )
    if np.count_nonzero(rows) == 1 or np.count_nonzero(columns) == 1:
        raise UndefinedStatistic(
            "one of them chose the same every time, so that kappa is 0 whatever the other chose",
            hint="judge things of which both find some otherwise",
        )
    kappa = (observed - chance) / (1.0 - chance)
    agreed = round(observed * n)
    if agreed in (0, n):
        around = wilson(agreed, n, level=level)
        low, high = ((end - chance) / (1.0 - chance) for end in (around.low, around.high))
        return Estimate(value=kappa, low=max(-1.0, low), high=high, n=n, level=level, method="wilson")
    variance = _variance(shares, kappa, chance) / n
    found = wald(kappa, math.sqrt(max(0.0, variance)), n=n, level=level, method="fleiss-cohen-everitt")
    return Estimate(
        value=kappa,
        low=max(-1.0, found.low),
        high=min(1.0, found.high),
        n=n,
        level=level,
        method=found.method,
    )


def _shares(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[FloatArray, int]:
    """The share of things of each pair of choices `(k, k)`, over all choices anybody made."""
    one, other = np.asarray(first), np.asarray(second)
    if one.ndim != 1 or one.shape != other.shape:
        raise Invalid(
            f"the choices have the shapes {one.shape} and {other.shape}",
            hint="pass two vectors of equal length",
        )
    if not len(one):
        raise UndefinedStatistic("nothing was judged by both", hint="let both judge the same things")
    kinds, codes = np.unique(np.concatenate([one, other]), return_inverse=True)
    pairs = codes[: len(one)] * len(kinds) + codes[len(one) :]
    counts = np.bincount(pairs, minlength=len(kinds) ** 2).reshape(len(kinds), len(kinds))
    return counts / len(one), len(one)


def _variance(shares: FloatArray, kappa: float, chance: float) -> float:
    """The large-sample variance of kappa, times n: Fleiss, Cohen and Everitt (1969), without weights."""
    rows, columns = shares.sum(axis=1), shares.sum(axis=0)
    agreed = np.diag(shares)
    same = float(agreed @ (1.0 - (rows + columns) * (1.0 - kappa)) ** 2)
    apart = shares * (columns[:, None] + rows[None, :]) ** 2
    others = float(apart.sum() - np.trace(apart)) * (1.0 - kappa) ** 2
    middle = (kappa - chance * (1.0 - kappa)) ** 2
    return (same + others - middle) / (1.0 - chance) ** 2
