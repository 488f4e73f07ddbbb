"""scikit-learn: estimators and pipelines as skops archives, which loading cannot make run code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loopwright.adapters.frameworks.archives import dump_pickle, dump_skops, load_pickle, load_skops
from loopwright.adapters.frameworks.columns import frame, is_numeric, matrix, scores, stacked
from loopwright.core.errors import Invalid
from loopwright.core.nouns import Json
from loopwright.ports.predictors import Grant, OpenedModel, PackedModel

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SklearnPackager"]

_SKOPS, _PICKLE = "model.skops", "model.pkl"
_BINARY = 2


class _Estimator:
    """An estimator that predicts."""

    fast = False

    def __init__(self, native: Any) -> None:
        self.native = native
        names = getattr(native, "feature_names_in_", None)
        self._names = None if names is None else tuple(map(str, names))

    def predict(self, data: pa.Table | NDArray[Any] | Mapping[str, NDArray[Any]]) -> Any:
        """What the estimator's own `predict` says."""
        if not hasattr(self.native, "predict"):
            raise Invalid(
                f"a {type(self.native).__name__} does not predict", hint="use `.native`, the estimator itself"
            )
        try:
            return self.native.predict(self._rows(data))
        except (ValueError, TypeError, KeyError) as error:
            raise _misfit(error) from error

    def _rows(self, data: Any) -> Any:
        """A frame where it was fitted on one; else its numbers, where it has nothing else."""
        if self._names is None and not isinstance(data, np.ndarray) and is_numeric(data):
            return matrix(data, "the model")
        return frame(data)

    def score(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """The second class' probability of a model of two classes, else the prediction, as a number."""
        rows: Any = x if self._names is None else stacked(x, self._names)
        has_odds = hasattr(self.native, "predict_proba") and len(self.native.classes_) == _BINARY
        try:
            found = self.native.predict_proba(rows) if has_odds else self.native.predict(rows)
        except (ValueError, TypeError, KeyError) as error:
            raise _misfit(error) from error
        return scores(found, len(x))


def _misfit(error: Exception) -> Invalid:
    return Invalid(
        f"the data does not fit the model: {type(error).__name__}",
        hint="give the columns it was fitted on; saved with an example, a package checks them by name",
    )


class SklearnPackager:
    """Estimators, by skops unless asked for a pickle."""

    flavor = "sklearn"

    def pack(self, model: Any, *, form: str, example: Any) -> PackedModel:
        """An estimator; forms are `skops` (the default) and `cloudpickle`, which MLflow 2 needs."""
        import sklearn

        file = _SKOPS
        types: tuple[str, ...] = ()
        match form:
            case "" | "skops":
                data, types = dump_skops(model)
            case "cloudpickle":
                file, data = _PICKLE, dump_pickle(model)
            case _:
                raise Invalid(
                    f"scikit-learn models have no form {form!r}", hint="choose skops or cloudpickle"
                )
        is_pickle = file == _PICKLE
        settings: Json = {
            "code": None,
            "pickled_model": file,
            "serialization_format": "cloudpickle" if is_pickle else "skops",
            "sklearn_version": sklearn.__version__,
        }
        if types:
            settings["skops_trusted_types"] = list(types)
        return PackedModel(
            flavor=self.flavor,
            files={file: data},
            settings=settings,
            function={"loader_module": "mlflow.sklearn", "model_path": file, "predict_fn": "predict"},
            requirements=("scikit-learn", "numpy", "scipy", "cloudpickle" if is_pickle else "skops"),
            runs_code=is_pickle or bool(types),
        )

    def open(self, files: Mapping[str, bytes], settings: Json, grant: Grant) -> OpenedModel:
        """An estimator, by the form its settings name."""
        file = str(settings.get("pickled_model", ""))
        if settings.get("serialization_format") == "skops":
            return _Estimator(load_skops(files[file], grant, file))
        return _Estimator(load_pickle(files[file], grant, file))
