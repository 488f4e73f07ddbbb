"""Compares two vectors of counts over the same bins or levels."""

from __future__ import annotations

import math

import numpy as np

from loopwright.stats.samples import FloatArray, IntArray, UndefinedStatistic

__all__ = [
    "chi_square",
    "chi_square_dof",
    "count_sorted",
    "cramers_v",
    "hellinger",
    "jensen_shannon",
    "largest_change",
    "population_stability",
    "total_variation",
]

_PSEUDO_COUNT = 0.5


def count_sorted(rising: FloatArray, edges: FloatArray) -> IntArray:
    """How many rising values fall before, between and after `edges`; an edge is in the bin above."""
    upto = np.searchsorted(rising, edges, "left")
    return np.diff(upto, prepend=0, append=rising.size)


def population_stability(reference: IntArray, current: IntArray) -> float:
    """Population stability index: the sum of (q - p) ln(q / p), 0 when equal, without an upper end.

    It is the symmetric Kullback-Leibler divergence (Jeffreys 1946). Half a row is added to every bin of
    both, so that an empty bin weighs by how many rows could have been in it (Krichevsky and Trofimov 1981).
    """
    _some(reference, current)
    p = (reference + _PSEUDO_COUNT) / (reference.sum() + _PSEUDO_COUNT * reference.size)
    q = (current + _PSEUDO_COUNT) / (current.sum() + _PSEUDO_COUNT * current.size)
    return float(((q - p) * np.log(q / p)).sum())


def jensen_shannon(reference: IntArray, current: IntArray) -> float:
    """Jensen-Shannon distance, base 2, in [0, 1]: the root of the divergence (Endres and Schindelin 2003)."""
    p, q = _shares(reference, current)
    middle = 0.5 * (p + q)
    divergence = 0.5 * (_relative_entropy(p, middle) + _relative_entropy(q, middle))
    return math.sqrt(min(1.0, max(0.0, divergence)))


def hellinger(reference: IntArray, current: IntArray) -> float:
    """Hellinger distance, in [0, 1] (Hellinger 1909)."""
    p, q = _shares(reference, current)
    roots = np.sqrt(p) - np.sqrt(q)
    return min(1.0, math.sqrt(0.5 * float(roots @ roots)))


def total_variation(reference: IntArray, current: IntArray) -> float:
    """Half the sum of changes in share, in [0, 1]: the share of rows that would have to change level."""
    p, q = _shares(reference, current)
    return min(1.0, 0.5 * float(np.abs(p - q).sum()))


def largest_change(reference: IntArray, current: IntArray) -> float:
    """The largest change in any one level's share (L-infinity), in [0, 1]."""
    p, q = _shares(reference, current)
    return float(np.abs(p - q).max())


def chi_square(reference: IntArray, current: IntArray) -> float:
    """Pearson's chi-square of the 2 x k table, no continuity correction; levels empty in both left out."""
    _some(reference, current)
    n, m = int(reference.sum()), int(current.sum())
    total = reference + current
    filled = total > 0
    off = (reference * m - current * n)[filled].astype(np.float64)
    return float((off * off / total[filled]).sum()) / (float(n) * float(m))


def chi_square_dof(reference: IntArray, current: IntArray) -> int:
    """Degrees of freedom of `chi_square`: levels seen in either, less one."""
    return max(0, int(np.count_nonzero(reference + current)) - 1)


def cramers_v(reference: IntArray, current: IntArray) -> float:
    """Cramer's V of the 2 x k table with both samples weighing alike, in [0, 1] (Cramer 1946).

    With equal numbers of rows it is the usual V. The usual one falls towards 0 as a reference outgrows the
    current sample, whatever the change; this one does not depend on how many rows either has.
    """
    p, q = _shares(reference, current)
    both = p + q
    filled = both > 0.0
    gaps = (p - q)[filled]
    return min(1.0, math.sqrt(0.5 * float((gaps * gaps / both[filled]).sum())))


def _shares(reference: IntArray, current: IntArray) -> tuple[FloatArray, FloatArray]:
    _some(reference, current)
    return reference / reference.sum(), current / current.sum()


def _some(reference: IntArray, current: IntArray) -> None:
    for name, counts in (("reference", reference), ("current sample", current)):
        if counts.sum() <= 0:
            raise UndefinedStatistic(f"the {name} has no value", hint="see missing rates")


def _relative_entropy(p: FloatArray, q: FloatArray) -> float:
    there = p > 0.0
    return float((p[there] * np.log2(p[there] / q[there])).sum())
