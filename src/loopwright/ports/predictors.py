"""Predictors and trainers: what a slice may ask of a learning framework."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["FitRequest", "FitResult", "Framework", "Predictor", "SearchSpace", "Tuner"]


class FitRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to fit: `x` is `(n, d) float64` with NaN for null, `y` `(n,)`, in the order of `features`."""

    objective: str
    """`binary` or `regression`"""
    features: tuple[str, ...]
    categorical: tuple[str, ...] = ()
    params: Mapping[str, float | int | str | bool] = {}
    rounds: int
    seed: int
    threads: int = 2


class FitResult(msgspec.Struct, frozen=True, kw_only=True):
    """A fitted model as files (name to bytes, safe formats only) and what it says of itself."""

    flavor: str
    files: Mapping[str, bytes]
    importance: Mapping[str, float]


class Predictor(Protocol):
    """A loaded model; thread safe. `fast` says that one call of a few rows takes < 1 ms and never waits."""

    features: tuple[str, ...]
    fast: bool

    def predict(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores `(n,)` of rows `(n, d)` in the order of `features`."""


class Framework(Protocol):
    """One learning framework. Loading never runs code from the files."""

    flavor: str

    def fit(self, x: NDArray[np.float64], y: NDArray[np.float64], request: FitRequest) -> FitResult:
        """Train a model; the same input and seed give the same files."""

    def load(self, files: Mapping[str, bytes]) -> Predictor:
        """Load a model; `Corrupt` or `Invalid` when the files are not one."""


class SearchSpace(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter to search: numbers between ends (on a log scale or not) or one of choices."""

    name: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    integer: bool = False
    choices: tuple[str, ...] = ()


class Tuner(Protocol):
    """Proposes parameters; asked and told in turn. One study, seeded, deterministic."""

    def ask(self) -> Mapping[str, Any]:
        """The next trial's parameters."""

    def tell(self, score: float) -> None:
        """The score of the trial last asked, higher is better."""

    def best(self) -> tuple[Mapping[str, Any], float]:
        """The best parameters so far and their score."""


Spaces = Sequence[SearchSpace]
