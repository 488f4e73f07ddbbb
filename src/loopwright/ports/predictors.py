"""Predictors and trainers: what a slice may ask of a learning framework."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from loopwright.core.nouns import Json

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = [
    "FitRequest",
    "FitResult",
    "Framework",
    "Grant",
    "OpenedModel",
    "Packager",
    "PackedModel",
    "Predictor",
    "SearchSpace",
    "Tuner",
]


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


class PackedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model as the files of a package, with what its MLmodel file says of them."""

    flavor: str
    """the name of the framework's section in MLmodel"""
    files: Mapping[str, bytes]
    settings: Json
    """the framework's section: which file is the model, in which form"""
    function: Json
    """the section `python_function`: by which module MLflow loads it"""
    requirements: tuple[str, ...]
    """distributions that loading needs, by name"""
    runs_code: bool = False
    """whether loading runs code from the files, so that whoever loads it has to trust who made it"""


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What the loading side allows: code from the files, or only types of these names."""

    code: bool = False
    types: frozenset[str] = frozenset()
    """full names of types that may be made besides those a framework holds harmless"""


class OpenedModel(Protocol):
    """A model loaded from a package; thread safe to predict with."""

    native: Any
    """the framework's own object"""
    fast: bool
    """whether a call of a few rows takes < 1 ms and never waits"""

    def predict(self, data: pa.Table | NDArray[Any] | Mapping[str, NDArray[Any]]) -> Any:
        """What the model says of rows: columns by name, one tensor, or tensors by name.

        `Invalid` for data the framework cannot take.
        """

    def score(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """One number a row `(n,)` of rows `(n, d)` in the order of the signature: what an endpoint answers.

        For a model of two classes it is the probability of the second. `Invalid` for a model that has no one
        number to say.
        """


class Packager(Protocol):
    """Brings the models of one framework into packages and back."""

    flavor: str

    def pack(self, model: Any, *, form: str, example: Any) -> PackedModel:
        """A model as files; `form` is one of the framework's own, empty for its default.

        `Invalid` for a model or a form it does not know; `Unavailable` where the framework is not installed.
        """

    def open(self, files: Mapping[str, bytes], settings: Json, grant: Grant) -> OpenedModel:
        """Load a model from the files of a package.

        Code from the files runs only where the grant says so: else `Untrusted` is raised before any does.
        `Corrupt` or `Invalid` when the files are no model.
        """


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
