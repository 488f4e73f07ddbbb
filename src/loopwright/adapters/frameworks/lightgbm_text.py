"""LightGBM in packages: a booster's own text form; what MLflow saved of the wrappers is a skops archive."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

# As where it trains: threads that spin at barriers slow down whatever else the machine does.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import lightgbm
import numpy as np
from numpy.typing import NDArray

from loopwright.adapters.frameworks.archives import load_pickle, load_skops
from loopwright.adapters.frameworks.columns import frame, matrix, scores
from loopwright.adapters.frameworks.trees import check_lightgbm
from loopwright.core.errors import Corrupt, Invalid
from loopwright.core.nouns import Json
from loopwright.ports.predictors import Grant, OpenedModel, PackedModel

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["LightGBMPackager"]

_FILE = "model.lgb"
_BOOSTER = "lightgbm.basic.Booster"


class _Booster:
    """A booster; `predict` gives what it was trained for: probabilities for classes, else values."""

    fast = True

    def __init__(self, native: Any) -> None:
        self.native = native

    def predict(self, data: pa.Table | NDArray[Any] | Mapping[str, NDArray[Any]]) -> Any:
        """Scores `(n,)`, `(n, classes)` for more than two classes."""
        return self._asked(matrix(data, "LightGBM"))

    def score(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """The same, where it is one number a row."""
        return scores(self._asked(x), len(x))

    def _asked(self, x: NDArray[Any]) -> NDArray[np.float64]:
        if x.ndim != 2 or x.shape[1] != self.native.num_feature():
            raise Invalid(f"the model takes {self.native.num_feature()} columns, not shape {x.shape}")
        found: NDArray[np.float64] = self.native.predict(x, num_threads=1, validate_features=False)
        return found


class _Wrapper:
    """A scikit-learn wrapper of LightGBM, as MLflow saved it."""

    fast = False

    def __init__(self, native: Any) -> None:
        self.native = native

    def predict(self, data: pa.Table | NDArray[Any] | Mapping[str, NDArray[Any]]) -> Any:
        """What the wrapper's own `predict` says."""
        try:
            return self.native.predict(frame(data))
        except (ValueError, TypeError, KeyError) as error:
            raise Invalid(f"the data does not fit the model: {type(error).__name__}") from error

    def score(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """What its booster says."""
        return _Booster(self.native.booster_).score(x)


class LightGBMPackager:
    """Boosters and what is in LightGBM's scikit-learn wrappers, as text."""

    flavor = "lightgbm"

    def pack(self, model: Any, *, form: str, example: Any) -> PackedModel:
        """A booster; of a scikit-learn wrapper its booster, which gives probabilities for classes."""
        if form not in {"", "text"}:
            raise Invalid(f"LightGBM models have no form {form!r}", hint="leave it out: it is text")
        try:
            booster = model if isinstance(model, lightgbm.Booster) else model.booster_
            text = booster.model_to_string()
        except (AttributeError, lightgbm.basic.LightGBMError) as error:
            raise Invalid(f"this {type(model).__name__} is not trained yet", hint="fit it first") from error
        return PackedModel(
            flavor=self.flavor,
            files={_FILE: text.encode()},
            settings={
                "code": None,
                "data": _FILE,
                "lgb_version": lightgbm.__version__,
                "model_class": _BOOSTER,
            },
            function={"loader_module": "mlflow.lightgbm", "data": _FILE},
            requirements=("lightgbm", "numpy", "scipy"),
        )

    def open(self, files: Mapping[str, bytes], settings: Json, grant: Grant) -> OpenedModel:
        """A booster from its text; a wrapper that MLflow saved by the form its settings name."""
        file = str(settings.get("data", ""))
        if settings.get("model_class", _BOOSTER) == _BOOSTER:
            if not grant.code:
                check_lightgbm(files[file], file)
            return _Booster(_read(files[file], file))
        if settings.get("serialization_format") == "skops":
            return _Wrapper(load_skops(files[file], grant, file))
        return _Wrapper(load_pickle(files[file], grant, file))


def _read(data: bytes, file: str) -> Any:
    try:
        return lightgbm.Booster(model_str=data.decode())
    except (lightgbm.basic.LightGBMError, UnicodeDecodeError) as error:
        raise Corrupt(f"{file} is not a LightGBM model", hint="save the model again") from error
