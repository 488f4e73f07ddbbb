"""XGBoost: boosters and scikit-learn wrappers in UBJSON or JSON, which loading cannot make run code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loopwright.adapters.frameworks.columns import matrix, scores
from loopwright.adapters.frameworks.trees import check_xgboost
from loopwright.core.errors import Corrupt, Invalid
from loopwright.core.nouns import Json
from loopwright.ports.predictors import Grant, OpenedModel, PackedModel

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["XGBoostPackager"]

_BOOSTER = "xgboost.core.Booster"
_WRAPPERS = tuple(
    f"xgboost.sklearn.{name}"
    for name in (
        "XGBModel",
        "XGBClassifier",
        "XGBRegressor",
        "XGBRanker",
        "XGBRFClassifier",
        "XGBRFRegressor",
    )
)
_FORMS = {"": "ubj", "ubj": "ubj", "json": "json"}
_BINARY = 2


class _Booster:
    """A booster; `predict` gives what it was trained for: probabilities for classes, else values."""

    fast = True

    def __init__(self, native: Any) -> None:
        self.native = native
        native.set_param({"nthread": 1})

    def predict(self, data: pa.Table | NDArray[Any] | Mapping[str, NDArray[Any]]) -> Any:
        """Scores `(n,)`, `(n, classes)` for more than two classes."""
        return self._asked(matrix(data, "XGBoost"))

    def score(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """The same, where it is one number a row."""
        return scores(self._asked(x), len(x))

    def _asked(self, x: NDArray[Any]) -> Any:
        if x.ndim != 2 or x.shape[1] != self.native.num_features():
            raise Invalid(f"the model takes {self.native.num_features()} columns, not shape {x.shape}")
        return self.native.inplace_predict(x, validate_features=False)


class _Wrapper:
    """A scikit-learn wrapper of XGBoost."""

    fast = True

    def __init__(self, native: Any) -> None:
        self.native = native
        self._booster = _Booster(native.get_booster())

    def predict(self, data: pa.Table | NDArray[Any] | Mapping[str, NDArray[Any]]) -> Any:
        """What the wrapper's own `predict` says: classes, or values."""
        x = matrix(data, "XGBoost")
        try:
            return self.native.predict(x)
        except (ValueError, TypeError) as error:
            raise Invalid(
                f"the data of shape {x.shape} does not fit the model",
                hint="give the columns it was fitted on",
            ) from error

    def score(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """The second class' probability of a model of two classes, else the value."""
        return self._booster.score(x)


class XGBoostPackager:
    """Boosters and scikit-learn wrappers."""

    flavor = "xgboost"

    def pack(self, model: Any, *, form: str, example: Any) -> PackedModel:
        """A model; forms are `ubj` (the default) and `json`."""
        import xgboost

        if form not in _FORMS:
            raise Invalid(f"XGBoost models have no form {form!r}", hint="choose ubj or json")
        kind, file = _class_of(model), f"model.{_FORMS[form]}"
        try:
            booster = model if kind == _BOOSTER else model.get_booster()
            data = bytes(booster.save_raw(raw_format=_FORMS[form]))
        except (ValueError, xgboost.core.XGBoostError) as error:
            raise Invalid(f"this {type(model).__name__} is not trained yet", hint="fit it first") from error
        return PackedModel(
            flavor=self.flavor,
            files={file: data},
            settings={
                "code": None,
                "data": file,
                "model_class": kind,
                "model_format": _FORMS[form],
                "xgb_version": xgboost.__version__,
            },
            function={"loader_module": "mlflow.xgboost", "data": file},
            requirements=("xgboost", "numpy", "scipy"),
        )

    def open(self, files: Mapping[str, bytes], settings: Json, grant: Grant) -> OpenedModel:
        """A model of one of XGBoost's own classes; no other name is ever looked up."""
        import xgboost

        file, kind = str(settings.get("data", "")), settings.get("model_class", _BOOSTER)
        if kind != _BOOSTER and kind not in _WRAPPERS:
            raise Invalid(
                f"XGBoost has no class {str(kind)[:100]!r}", hint="load it by what made it", where="MLmodel"
            )
        if not grant.code:
            check_xgboost(files[file], file)
        name = str(kind).rpartition(".")[2]
        try:
            native = xgboost.Booster() if kind == _BOOSTER else getattr(xgboost, name)()
            native.load_model(bytearray(files[file]))
            return _Booster(native) if kind == _BOOSTER else _Wrapper(native)
        except (ValueError, TypeError, KeyError, xgboost.core.XGBoostError) as error:
            raise Corrupt(f"{file} is not an XGBoost model", hint="save the model again") from error


def _class_of(model: Any) -> str:
    """The nearest class of XGBoost's own: what a subclass adds is not kept."""
    for kind in type(model).__mro__:
        name = f"{kind.__module__}.{kind.__qualname__}"
        if name == _BOOSTER or name in _WRAPPERS:
            return name
    raise Invalid(f"a {type(model).__name__} is no XGBoost model that can be saved", hint="give the booster")
