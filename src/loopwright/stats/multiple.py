"""Keeps a promise about false alarms over many tests at once, and over many days."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from loopwright.core.errors import Invalid
from loopwright.stats.samples import BoolArray, FloatArray, finite, level_between

__all__ = [
    "alpha_on_day",
    "benjamini_hochberg",
    "bonferroni",
    "e_benjamini_hochberg",
    "e_value_of_p",
    "holm",
    "p_value_of_e",
]


def bonferroni(p_values: npt.ArrayLike) -> FloatArray:
    """Adjusted p `(n,)`: rejecting those <= a keeps the chance of any false alarm <= a."""
    p = _p_values(p_values)
    return np.minimum(1.0, p * p.size)


def holm(p_values: npt.ArrayLike) -> FloatArray:
    """Adjusted p `(n,)` with Bonferroni's promise and never less power (Holm 1979)."""
    p = _p_values(p_values)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)))
    return adjusted


def benjamini_hochberg(p_values: npt.ArrayLike) -> FloatArray:
    """Adjusted p `(n,)`: rejecting those <= q keeps the expected share of false alarms <= q.

    For independent or positively dependent tests (Benjamini and Hochberg 1995; Benjamini and Yekutieli 2001).
    """
    p = _p_values(p_values)
    order = np.argsort(p, kind="stable")
    scaled = p[order] * p.size / np.arange(1, p.size + 1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return adjusted


def e_benjamini_hochberg(e_values: npt.ArrayLike, rate: float) -> BoolArray:
    """Which e-values `(n,)` to reject at that false discovery rate, however dependent (Wang, Ramdas 2022)."""
    e = finite(e_values, "e_values")
    if e.size and e.min() < 0.0:
        raise Invalid("an e-value is below 0")
    order = np.argsort(-e, kind="stable")
    passing = np.flatnonzero(np.arange(1, e.size + 1) * e[order] * level_between(rate, "rate") >= e.size)
    rejected = np.zeros(e.size, dtype=np.bool_)
    if passing.size:
        rejected[order[: passing[-1] + 1]] = True
    return rejected


def e_value_of_p(p: float) -> float:
    """An e-value from a p-value: 1 / (2 sqrt(p)) (Shafer, Shen, Vereshchagin and Vovk 2011).

    Its mean is at most 1 when nothing is going on, so that a running product or average stays a fair bet.
    """
    if not 0.0 <= p <= 1.0:
        raise Invalid(f"p is {p}, not between 0 and 1")
    return math.inf if p == 0.0 else 0.5 / math.sqrt(p)


def p_value_of_e(e: float) -> float:
    """The p that an e-value, or the highest so far of an e-process, is worth (Markov; Ville 1939)."""
    return min(1.0, 1.0 / e) if e > 0.0 else 1.0


def alpha_on_day(day: int, budget: float) -> float:
    """What the check of day 1, 2, 3… may spend so that all days together never spend more than `budget`.

    budget * 6 / (pi * day)**2: the sum over every day there will ever be is the budget.
    """
    if day < 1:
        raise Invalid(f"day {day} does not exist", hint="count days from 1")
    return level_between(budget, "budget") * 6.0 / (math.pi * day) ** 2


def _p_values(p_values: npt.ArrayLike) -> FloatArray:
    p = finite(p_values, "p_values")
    if p.size and (p.min() < 0.0 or p.max() > 1.0):
        raise Invalid("a p-value lies outside [0, 1]")
    return p
