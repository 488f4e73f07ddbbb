"""Lists the drift measures: name, kind, range, how its noise shrinks with rows, and source."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Generic, Literal, TypeVar

import msgspec

from loopwright.core.errors import Invalid
from loopwright.stats.drift import categorical, numeric
from loopwright.stats.drift.categorical import CategoricalComparison
from loopwright.stats.drift.numeric import NumericComparison
from loopwright.stats.samples import UndefinedStatistic

__all__ = [
    "CATEGORICAL_MEASURES",
    "NUMERIC_MEASURES",
    "Measure",
    "Reading",
    "categorical_readings",
    "numeric_readings",
]

Pair = TypeVar("Pair", NumericComparison, CategoricalComparison)


class Measure(msgspec.Struct, Generic[Pair], frozen=True, kw_only=True):
    """One way to tell two samples apart; larger is further, but for `mean_shift`, which has a sign.

    Under no change `value * effective_size ** noise_power` has about the same distribution at every size.
    `tail`, where there is one, turns the value into an asymptotic p.
    """

    name: str
    kind: Literal["numeric", "categorical"]
    of: Callable[[Pair], float]
    tail: Callable[[Pair, float], float] | None = None
    low: float = 0.0
    high: float
    noise_power: float
    source: str


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One measure of one pair: its value and p, or `undefined`, the reason why it has no value."""

    measure: str
    value: float | None
    p: float | None = None
    undefined: str = ""


def _numeric(
    of: Callable[[NumericComparison], float], high: float, noise_power: float, source: str
) -> Measure[NumericComparison]:
    return Measure(name=of.__name__, kind="numeric", of=of, high=high, noise_power=noise_power, source=source)


def _categorical(
    of: Callable[[CategoricalComparison], float], high: float, noise_power: float, source: str
) -> Measure[CategoricalComparison]:
    return Measure(
        name=of.__name__, kind="categorical", of=of, high=high, noise_power=noise_power, source=source
    )


NUMERIC_MEASURES: Mapping[str, Measure[NumericComparison]] = MappingProxyType(
    {
        row.name: row
        for row in (
            Measure(
                name="kolmogorov_smirnov",
                kind="numeric",
                of=numeric.kolmogorov_smirnov,
                tail=numeric.kolmogorov_smirnov_p,
                high=1.0,
                noise_power=0.5,
                source="Smirnov 1939",
            ),
            _numeric(numeric.wasserstein, math.inf, 0.5, "Vallender 1974"),
            _numeric(numeric.normed_wasserstein, math.inf, 0.5, "Vallender 1974, over the reference's sd"),
            Measure(
                name="mean_shift",
                kind="numeric",
                of=numeric.mean_shift,
                low=-math.inf,
                high=math.inf,
                noise_power=0.5,
                source="Cohen 1988, with the reference's sd",
            ),
            _numeric(numeric.population_stability, math.inf, 1.0, "Jeffreys 1946"),
            _numeric(numeric.jensen_shannon, 1.0, 0.5, "Endres and Schindelin 2003"),
            _numeric(numeric.hellinger, 1.0, 0.5, "Hellinger 1909"),
        )
    }
)
"""Every numeric measure by name."""

CATEGORICAL_MEASURES: Mapping[str, Measure[CategoricalComparison]] = MappingProxyType(
    {
        row.name: row
        for row in (
            Measure(
                name="chi_square",
                kind="categorical",
                of=categorical.chi_square,
                tail=categorical.chi_square_p,
                high=math.inf,
                noise_power=0.0,
                source="Pearson 1900",
            ),
            _categorical(categorical.cramers_v, 1.0, 0.5, "Cramer 1946"),
            _categorical(categorical.jensen_shannon, 1.0, 0.5, "Endres and Schindelin 2003"),
            _categorical(categorical.population_stability, math.inf, 1.0, "Jeffreys 1946"),
            _categorical(categorical.largest_change, 1.0, 0.5, "the largest norm of the change in shares"),
            _categorical(
                categorical.total_variation, 1.0, 0.5, "half the absolute norm of the change in shares"
            ),
            _categorical(categorical.hellinger, 1.0, 0.5, "Hellinger 1909"),
        )
    }
)
"""Every categorical measure by name."""


def numeric_readings(pair: NumericComparison, names: Iterable[str] | None = None) -> tuple[Reading, ...]:
    """Read the named measures, or all; one that has no value says why instead of raising."""
    return tuple(_read(row, pair) for row in _chosen(NUMERIC_MEASURES, names))


def categorical_readings(
    pair: CategoricalComparison, names: Iterable[str] | None = None
) -> tuple[Reading, ...]:
    """Read the named measures, or all; one that has no value says why instead of raising."""
    return tuple(_read(row, pair) for row in _chosen(CATEGORICAL_MEASURES, names))


def _read(row: Measure[Pair], pair: Pair) -> Reading:
    try:
        value = row.of(pair)
    except UndefinedStatistic as error:
        return Reading(measure=row.name, value=None, undefined=error.message)
    return Reading(measure=row.name, value=value, p=row.tail(pair, value) if row.tail else None)


def _chosen(table: Mapping[str, Measure[Pair]], names: Iterable[str] | None) -> list[Measure[Pair]]:
    if names is None:
        return list(table.values())
    wanted = list(names)
    unknown = [name for name in wanted if name not in table]
    if unknown:
        raise Invalid(f"no measure is called {', '.join(unknown)}", hint=f"choose of {', '.join(table)}")
    return [table[name] for name in wanted]
