"""Tells whether values go missing more or less often than they did."""

from __future__ import annotations

import math

import msgspec

from loopwright.core.errors import Invalid
from loopwright.stats.distributions import normal_two_sided
from loopwright.stats.drift.categorical import CategoricalComparison
from loopwright.stats.drift.numeric import NumericComparison
from loopwright.stats.intervals import Estimate, newcombe
from loopwright.stats.samples import UndefinedStatistic

__all__ = ["MissingChange", "missing_change", "missing_rate_change"]


class MissingChange(msgspec.Struct, frozen=True, kw_only=True):
    """Current minus reference missing rate with its interval; z and p of the pooled two-proportion test."""

    change: Estimate
    reference_rate: float
    current_rate: float
    z: float
    p: float


def missing_rate_change(
    reference_missing: int,
    reference_rows: int,
    current_missing: int,
    current_rows: int,
    *,
    level: float = 0.95,
) -> MissingChange:
    """The change in missing rate: interval of Newcombe (1998), test of two pooled proportions.

    When nothing or everything is missing on both sides there is no change: z is 0 and p is 1.
    """
    if reference_rows == 0 or current_rows == 0:
        raise UndefinedStatistic("one of the samples has no rows", hint="check the volume first")
    if not (0 <= reference_missing <= reference_rows and 0 <= current_missing <= current_rows):
        raise Invalid("more rows are missing than there are", hint="pass missing and all rows")
    change = newcombe(current_missing, current_rows, reference_missing, reference_rows, level=level)
    pooled = (reference_missing + current_missing) / (reference_rows + current_rows)
    se = math.sqrt(pooled * (1.0 - pooled) * (1.0 / reference_rows + 1.0 / current_rows))
    z = change.value / se if se > 0.0 else 0.0
    return MissingChange(
        change=change,
        reference_rate=reference_missing / reference_rows,
        current_rate=current_missing / current_rows,
        z=z,
        p=normal_two_sided(z),
    )


def missing_change(pair: NumericComparison | CategoricalComparison, *, level: float = 0.95) -> MissingChange:
    """As `missing_rate_change`, of a comparison already made."""
    gone = pair.reference.missing - (pair.current_missing if pair.inside else 0)
    return missing_rate_change(
        gone,
        pair.n_reference + gone,
        pair.current_missing,
        pair.n_current + pair.current_missing,
        level=level,
    )
