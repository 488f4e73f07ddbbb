"""Measures what a gate asks for; policies never measure, so this is called before."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from loopwright.core.errors import Invalid
from loopwright.core.policies import Fact
from loopwright.gates.nouns import Check, Gate, Latency, Metric, NotWorse, Slices
from loopwright.gates.rules import fact_name
from loopwright.stats.classification import auc_difference, auc_interval, brier_interval, roc_auc

__all__ = ["GateRows", "measure"]

_MIN_EACH_CLASS = 10


class GateRows(msgspec.Struct, frozen=True, kw_only=True):
    """Rows to judge a candidate by: all arrays have length n."""

    labels: NDArray[np.float64]
    candidate: NDArray[np.float64]
    references: Mapping[str, NDArray[np.float64]] = {}
    """scores of the version each alias points to, on the same rows"""
    slices: Mapping[str, NDArray[np.str_]] = {}
    latency_ms: NDArray[np.float64]
    """times of predicting one row, any length"""


def _metric(name: str, labels: NDArray[np.float64], scores: NDArray[np.float64]) -> Fact:
    n = len(labels)
    if name == "roc_auc":
        estimate = auc_interval(labels, scores)
        return Fact(name=name, value=estimate.value, low=estimate.low, high=estimate.high, n=n)
    if name == "brier":
        loss = brier_interval(labels, scores)
        return Fact(name=name, value=loss.value, low=loss.low, high=loss.high, n=n)
    raise Invalid(f"there is no metric {name!r}", hint="the metrics are roc_auc and brier")


def _worst_slice(check: Slices, rows: GateRows) -> Fact | None:
    if check.metric != "roc_auc":
        raise Invalid(f"slices are judged by roc_auc, not {check.metric!r}")
    column = rows.slices[check.column]
    worst: tuple[float, str, int] | None = None
    left_out = []
    for level in np.unique(column):
        chosen = column == level
        labels, n = rows.labels[chosen], int(chosen.sum())
        positive = int(labels.sum())
        if n < check.min_rows or min(positive, n - positive) < _MIN_EACH_CLASS:
            left_out.append(str(level))
            continue
        value = roc_auc(labels, rows.candidate[chosen])
        if worst is None or value < worst[0]:
            worst = (value, str(level), n)
    if worst is None:
        return None
    skipped = f"; too few rows in {len(left_out)} others" if left_out else ""
    detail = f"{check.column} {worst[1]}{skipped}"
    return Fact(name=fact_name(check), value=worst[0], n=worst[2], detail=detail)


def _against(check: NotWorse, rows: GateRows) -> Fact | None:
    if check.than not in rows.references:
        return None
    if check.metric != "roc_auc":
        raise Invalid(f"versions are compared by roc_auc, not {check.metric!r}")
    difference = auc_difference(rows.labels, rows.candidate, rows.references[check.than])
    return Fact(
        name=fact_name(check),
        value=difference.value,
        low=difference.low,
        high=difference.high,
        n=len(rows.labels),
        detail="paired DeLong interval, 95 %",
    )


def _measured(check: Check, rows: GateRows) -> Fact | None:
    match check:
        case Metric(metric=metric):
            return _metric(metric, rows.labels, rows.candidate)
        case Slices():
            return _worst_slice(check, rows)
        case Latency():
            times = rows.latency_ms
            return Fact(name=fact_name(check), value=float(np.quantile(times, 0.99)), n=len(times))
        case NotWorse():
            return _against(check, rows)


def measure(gate: Gate, rows: GateRows) -> tuple[Fact, ...]:
    """The facts the gate's checks are decided by; what cannot be measured is left out and does not hold."""
    found = (_measured(check, rows) for check in gate.checks)
    return tuple(fact for fact in found if fact is not None)
