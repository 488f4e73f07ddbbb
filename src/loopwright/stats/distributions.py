"""Gives tail probabilities and quantiles of the usual distributions, so that the server loads no scipy."""

from __future__ import annotations

import math
from statistics import NormalDist

from loopwright.core.errors import Invalid

__all__ = [
    "beta_cdf",
    "beta_quantile",
    "binomial_tail",
    "chi2_sf",
    "gamma_sf",
    "kolmogorov_sf",
    "normal_cdf",
    "normal_quantile",
    "normal_two_sided",
    "poisson_tail",
    "student_t_quantile",
    "student_t_two_sided",
]

_NORMAL = NormalDist()
_EPSILON = 2.0**-53
_TINY = 1e-300
_MAX_TERMS = 100_000


def normal_cdf(z: float) -> float:
    """P(Z <= z) of the standard normal, exact in both tails."""
    return 0.5 * math.erfc(-z / math.sqrt(2.0))


def normal_quantile(p: float) -> float:
    """The z with P(Z <= z) = p, 0 < p < 1 (Wichura 1988, algorithm AS 241, by the standard library)."""
    if not 0.0 < p < 1.0:
        raise Invalid(f"p is {p}, not between 0 and 1")
    return _NORMAL.inv_cdf(p)


def normal_two_sided(z: float) -> float:
    """P(|Z| >= |z|) of the standard normal."""
    return math.erfc(abs(z) / math.sqrt(2.0))


def gamma_sf(shape: float, x: float) -> float:
    """P(G >= x) for a gamma variable of that shape and scale 1: the regularised incomplete gamma Q.

    Series below shape + 1, Lentz's continued fraction above (DLMF 8.7.1 and 8.9.2).
    """
    if shape <= 0.0 or math.isnan(x):
        raise Invalid(f"gamma_sf of shape {shape} at {x} does not exist")
    if x <= 0.0:
        return 1.0
    if math.isinf(x):
        return 0.0
    weight = math.exp(-x + shape * math.log(x) - math.lgamma(shape))
    if x < shape + 1.0:
        return max(0.0, 1.0 - weight * _gamma_series(shape, x))
    return weight * _gamma_fraction(shape, x)


def chi2_sf(statistic: float, dof: float) -> float:
    """P(X >= statistic) for chi-square with `dof` degrees of freedom."""
    return gamma_sf(dof / 2.0, statistic / 2.0)


def poisson_tail(count: int, mean: float) -> float:
    """P(X >= count) for a Poisson variable of that mean."""
    if mean < 0.0:
        raise Invalid(f"a Poisson mean is {mean}, below 0")
    if count <= 0:
        return 1.0
    if mean == 0.0:
        return 0.0
    below_one = mean < count + 1.0
    weight = math.exp(-mean + count * math.log(mean) - math.lgamma(count))
    return weight * _gamma_series(count, mean) if below_one else 1.0 - weight * _gamma_fraction(count, mean)


def beta_cdf(x: float, a: float, b: float) -> float:
    """P(B <= x) for a beta(a, b) variable: the regularised incomplete beta (DLMF 8.17.22, Lentz's method)."""
    if a <= 0.0 or b <= 0.0 or math.isnan(x):
        raise Invalid(f"beta_cdf of ({a}, {b}) at {x} does not exist")
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    log_weight = a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    if x < (a + 1.0) / (a + b + 2.0):
        return math.exp(log_weight) * _beta_fraction(x, a, b) / a
    return 1.0 - math.exp(log_weight) * _beta_fraction(1.0 - x, b, a) / b


def beta_quantile(p: float, a: float, b: float, *, start: float | None = None) -> float:
    """The x with P(B <= x) = p for a beta(a, b) variable: Newton's method, halving where it would leave.

    `start` is where to begin (the mean, where it is not given): it changes the time taken, and the answer
    by no more than the tolerance.
    """
    if not 0.0 < p < 1.0:
        raise Invalid(f"p is {p}, not between 0 and 1")
    low, high, x = 0.0, 1.0, a / (a + b) if start is None or not 0.0 < start < 1.0 else start
    log_scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    while True:
        excess = beta_cdf(x, a, b) - p
        low, high = (x, high) if excess < 0.0 else (low, x)
        density = math.exp(log_scale + (a - 1.0) * math.log(x) + (b - 1.0) * math.log1p(-x))
        trial = x - excess / density if density > _TINY else low
        if low < trial < high:
            if abs(trial - x) <= 1e-9 * x:  # the next step would be the square of this one
                return trial
        else:
            trial = 0.5 * (low + high)
            if trial in (low, high):
                return trial
        x = trial


def binomial_tail(count: int, trials: int, rate: float) -> float:
    """P(X >= count) for `trials` independent trials of that rate (exact, by the incomplete beta)."""
    if trials < 0 or not 0.0 <= rate <= 1.0:
        raise Invalid(f"a binomial of {trials} trials at rate {rate} does not exist")
    if count <= 0:
        return 1.0
    if count > trials:
        return 0.0
    return beta_cdf(rate, count, trials - count + 1.0)


def student_t_two_sided(t: float, dof: float) -> float:
    """P(|T| >= |t|) for Student's t with `dof` degrees of freedom."""
    if dof <= 0.0:
        raise Invalid(f"Student's t has {dof} degrees of freedom")
    return beta_cdf(dof / (dof + t * t), dof / 2.0, 0.5)


def student_t_quantile(p: float, dof: float) -> float:
    """The t with P(T <= t) = p for Student's t with `dof` degrees of freedom."""
    if p == 0.5:
        return 0.0
    tail = 2.0 * min(p, 1.0 - p)
    if tail < 0.1:
        share = beta_quantile(tail, dof / 2.0, 0.5, start=_near_share(tail, dof))
        size = math.sqrt(dof * (1.0 - share) / share)
    else:
        share = beta_quantile(1.0 - tail, 0.5, dof / 2.0)
        size = math.sqrt(dof * share / (1.0 - share))
    return math.copysign(size, p - 0.5)


def _near_share(tail: float, dof: float) -> float:
    """About dof / (dof + t^2) of the t with that tail: the first terms of Cornish and Fisher's expansion."""
    z = normal_quantile(tail / 2.0)
    t = z + (z**3 + z) / (4.0 * dof) + (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / (96.0 * dof**2)
    return dof / (dof + t * t)


def kolmogorov_sf(x: float) -> float:
    """P(K >= x) for Kolmogorov's limit distribution, that of sqrt(n) times the KS distance (two series)."""
    if x <= 0.0:
        return 1.0
    if x < 1.18:
        head = math.fsum(math.exp(-((2 * k - 1) ** 2) * math.pi**2 / (8.0 * x * x)) for k in range(1, 5))
        return 1.0 - math.sqrt(2.0 * math.pi) / x * head
    return 2.0 * math.fsum((-1.0) ** (k - 1) * math.exp(-2.0 * (k * x) ** 2) for k in range(1, 6))


def _gamma_series(shape: float, x: float) -> float:
    term = total = 1.0 / shape
    for k in range(1, _MAX_TERMS):
        term *= x / (shape + k)
        total += term
        if term < total * _EPSILON:
            break
    return total


def _gamma_fraction(shape: float, x: float) -> float:
    b = x + 1.0 - shape
    c = 1.0 / _TINY
    d = 1.0 / b
    value = d
    for k in range(1, _MAX_TERMS):
        a = -k * (k - shape)
        b += 2.0
        d = 1.0 / _away_from_zero(a * d + b)
        c = _away_from_zero(b + a / c)
        step = c * d
        value *= step
        if abs(step - 1.0) < 16.0 * _EPSILON:
            break
    return value


def _beta_fraction(x: float, a: float, b: float) -> float:
    c = 1.0
    d = 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, _MAX_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        step = 1.0
        for part in (even, odd):
            d = 1.0 / _away_from_zero(1.0 + part * d)
            c = _away_from_zero(1.0 + part / c)
            step = c * d
            value *= step
        if abs(step - 1.0) < 16.0 * _EPSILON:
            break
    return value


def _away_from_zero(x: float) -> float:
    return x if abs(x) > _TINY else _TINY
