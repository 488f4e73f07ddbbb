"""Watches streams: verdicts that stay honest however often and whenever one looks.

Three sorts: bets against "nothing is wrong" (e-processes: they pass 1 / a with chance a at most, ever),
intervals that hold at all times at once, and control charts with a known run length.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from loopwright.core.errors import Invalid
from loopwright.stats.intervals import Estimate
from loopwright.stats.samples import FloatArray, IntArray, UndefinedStatistic, finite, level_between

__all__ = [
    "Chart",
    "EProcess",
    "bounded_mean_sequence",
    "calibration_drift",
    "cusum",
    "cusum_limit",
    "cusum_run_length",
    "mean_sequence",
    "page_hinkley",
    "rate_above",
]

_BETS = np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8])


class EProcess(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The logarithm of a bet's wealth after each step `(t,)`, and the step (from 0) of its verdict.

    The verdict falls at wealth 1 / alpha. If nothing is wrong that happens with chance alpha at most, over
    all time.
    """

    log_wealth: FloatArray
    alpha: float
    alarm_at: int | None

    @property
    def p(self) -> float:
        """An always-valid p: one over the highest wealth so far."""
        return min(1.0, math.exp(-max(0.0, float(self.log_wealth.max())))) if self.log_wealth.size else 1.0


class Chart(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The statistic of a control chart after each value `(t,)`, its limit, and the first step above it."""

    path: FloatArray
    limit: float
    alarm_at: int | None


def rate_above(
    errors: npt.ArrayLike,
    rows: npt.ArrayLike,
    baseline_errors: npt.ArrayLike,
    baseline_rows: npt.ArrayLike,
    *,
    alpha: float,
) -> EProcess:
    """A bet that a rate (a canary's errors) is above that of a baseline running beside it.

    One entry a step `(t,)` of each: how many errors and rows came in it; the two may differ in rows. A
    likelihood ratio of the rates learned from earlier steps only against one shared rate (Turner, Ly and
    Gruenwald 2024); it stands still while the canary looks no worse. Sound for rows independent of each
    other, at any rates.
    """
    k, n = _steps(errors, rows, "canary")
    kb, nb = _steps(baseline_errors, baseline_rows, "baseline")
    if k.size != kb.size:
        raise Invalid(f"{k.size} canary steps but {kb.size} baseline steps", hint="pass both for each step")
    rate, base = _rate_before(k, n), _rate_before(kb, nb)
    total = n + nb
    shared = (n * rate + nb * base) / np.where(total > 0, total, 1.0)
    betting = (rate > base) & (n > 0) & (nb > 0)
    shared = np.where(betting, shared, rate)
    own = np.where(betting, base, rate)
    gains = (
        k * np.log(rate / shared)
        + (n - k) * np.log((1.0 - rate) / (1.0 - shared))
        + kb * np.log(own / shared)
        + (nb - kb) * np.log((1.0 - own) / (1.0 - shared))
    )
    return _verdict(np.cumsum(gains), alpha)


def calibration_drift(
    labels: npt.ArrayLike, predicted: npt.ArrayLike, *, alpha: float, tolerance: float = 0.0
) -> EProcess:
    """A bet that observed rates have left the predicted ones by more than `tolerance`, either way.

    Rows in time order `(t,)`. Wealth multiplies by 1 + b (outcome - probability -+ tolerance), averaged over
    stakes b of both signs (Ville 1939; Waudby-Smith and Ramdas 2024). It needs no independence: only that,
    given the past, each outcome's chance is within the tolerance of its prediction.
    """
    truth, numbers = finite(labels, "labels"), finite(predicted, "predicted")
    if truth.size != numbers.size:
        raise Invalid(f"{truth.size} labels but {numbers.size} predictions", hint="pass one for each row")
    if not 0.0 <= tolerance < 1.0:
        raise Invalid(f"tolerance is {tolerance}, not in [0, 1)")
    gap = truth - numbers
    if gap.size and np.abs(gap).max() > 1.0:
        raise Invalid("labels or predictions lie outside [0, 1]", hint="pass 0/1 labels and probabilities")
    wealth = np.full(gap.size, -np.inf)
    for stake in _BETS / (1.0 + tolerance):
        for side in (1.0, -1.0):
            one = np.cumsum(np.log1p(stake * (side * gap - tolerance)))
            wealth = np.logaddexp(wealth, one)
    return _verdict(wealth - math.log(2 * _BETS.size), alpha)


def bounded_mean_sequence(
    values: npt.ArrayLike, *, level: float = 0.95
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Centre, low and high `(t,)` of the mean of values in [0, 1], right at all times at once.

    The predictable empirical-Bernstein confidence sequence (Waudby-Smith and Ramdas 2024, theorem 2): it
    adapts to the variance and holds at any sample size, for values with one conditional mean. The limits are
    running intersections, so they never widen.
    """
    x = finite(values, "values")
    if x.size and (x.min() < 0.0 or x.max() > 1.0):
        raise Invalid("values lie outside [0, 1]", hint="scale them first")
    alpha = 1.0 - level_between(level)
    t = np.arange(1, x.size + 1)
    means = (0.5 + np.cumsum(x)) / (t + 1.0)
    before = np.concatenate([[0.5], means[:-1]])
    variances = (0.25 + np.cumsum(np.square(x - means))) / (t + 1.0)
    variance_before = np.concatenate([[0.25], variances[:-1]])
    stake = np.minimum(0.5, np.sqrt(2.0 * math.log(2.0 / alpha) / (variance_before * t * np.log1p(t))))
    psi = (-np.log1p(-stake) - stake) / 4.0
    staked = np.cumsum(stake)
    centre = np.cumsum(stake * x) / staked
    reach = (math.log(2.0 / alpha) + np.cumsum(4.0 * np.square(x - before) * psi)) / staked
    low = np.maximum.accumulate(np.maximum(0.0, centre - reach))
    high = np.minimum.accumulate(np.minimum(1.0, centre + reach))
    return centre, low, high


def mean_sequence(mean: float, variance: float, n: int, *, level: float, tuned_for: int) -> Estimate:
    """A mean with limits that hold at all times at once, for large n: for a metric looked at every day.

    The normal-mixture sequence (Robbins 1970) with an estimated variance, as Waudby-Smith, Arbour, Sinha,
    Kennedy and Ramdas (2024) justify; it inverts the mixture sequential probability ratio test (Johari et
    al. 2022). Tightest near n = `tuned_for`.
    """
    alpha = 1.0 - level_between(level)
    if n < 2 or tuned_for < 1 or variance < 0.0:
        raise UndefinedStatistic(
            f"no sequence over {n} rows of variance {variance:g}", hint="gather two rows or more"
        )
    log_odds = -2.0 * math.log(alpha)
    rho = (log_odds + math.log(log_odds + 1.0)) / tuned_for
    reach = math.sqrt(variance * (n * rho + 1.0) / (n * n * rho) * (log_odds + math.log(n * rho + 1.0)))
    return Estimate(
        value=mean, low=mean - reach, high=mean + reach, n=n, level=level, method="confidence_sequence"
    )


def cusum(values: npt.ArrayLike, *, target: float, slack: float, limit: float) -> Chart:
    """One-sided upward CUSUM (Page 1954): S = max(0, S + x - target - slack), alarm above `limit`.

    Turn the signs of values and target to watch for a fall. O(t), without a loop: a running sum less its
    running minimum.
    """
    steps = finite(values, "values") - (target + slack)
    sums = np.concatenate([[0.0], np.cumsum(steps)])
    path = (sums - np.minimum.accumulate(sums))[1:]
    return Chart(path=path, limit=limit, alarm_at=_first(path > limit))


def page_hinkley(values: npt.ArrayLike, *, slack: float, limit: float) -> Chart:
    """As `cusum`, with the running mean of the stream itself as its target (Hinkley 1971)."""
    x = finite(values, "values")
    running = np.cumsum(x) / np.arange(1, x.size + 1)
    sums = np.concatenate([[0.0], np.cumsum(x - running - slack)])
    path = (sums - np.minimum.accumulate(sums))[1:]
    return Chart(path=path, limit=limit, alarm_at=_first(path > limit))


def cusum_run_length(limit: float, slack: float, *, shift: float = 0.0) -> float:
    """How many values a one-sided CUSUM runs before an alarm, on average.

    Limit and slack are in standard deviations. For independent normal values with their mean `shift`
    standard deviations above target; Siegmund's corrected diffusion (1985), within a few per cent for run
    lengths above 10.
    """
    drift = shift - slack
    b = limit + 1.166
    if abs(drift) < 1e-8:
        return b * b
    return (math.exp(-2.0 * drift * b) + 2.0 * drift * b - 1.0) / (2.0 * drift * drift)


def cusum_limit(run_length: float, slack: float) -> float:
    """The limit, in standard deviations, that gives a false alarm in `run_length` values on average."""
    low, high = 0.0, 1.0
    if run_length <= cusum_run_length(low, slack):
        raise Invalid(
            f"a run length of {run_length} is too short", hint="ask for more values between false alarms"
        )
    while cusum_run_length(high, slack) < run_length:
        high *= 2.0
    while high - low > 1e-12 * high:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if cusum_run_length(middle, slack) < run_length else (low, middle)
    return high


def _verdict(log_wealth: FloatArray, alpha: float) -> EProcess:
    passed = log_wealth >= -math.log(level_between(alpha, "alpha"))
    return EProcess(log_wealth=log_wealth, alpha=alpha, alarm_at=_first(passed))


def _first(flags: npt.NDArray[np.bool_]) -> int | None:
    return int(np.argmax(flags)) if flags.any() else None


def _steps(counts: npt.ArrayLike, rows: npt.ArrayLike, name: str) -> tuple[IntArray, IntArray]:
    k, n = np.asarray(counts), np.asarray(rows)
    whole = k.dtype.kind in "iu" and n.dtype.kind in "iu"
    if k.shape != n.shape or k.ndim != 1 or not whole or (k < 0).any() or (k > n).any():
        raise Invalid(
            f"{name} counts are not 0 <= errors <= rows, one of each a step", hint="pass whole numbers"
        )
    return k.astype(np.int64), n.astype(np.int64)


def _rate_before(k: IntArray, n: IntArray) -> FloatArray:
    """The rate known before each step, from the steps before it (Krichevsky-Trofimov)."""
    seen, all_rows = np.cumsum(k) - k, np.cumsum(n) - n
    return (seen + 0.5) / (all_rows + 1.0)
