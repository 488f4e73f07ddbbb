"""Any Python object with a `predict`, by cloudpickle: loaded only from those who are trusted."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from loopwright.adapters.frameworks import shell
from loopwright.adapters.frameworks.archives import dump_pickle, load_pickle
from loopwright.adapters.frameworks.columns import frame, scores
from loopwright.core.errors import Invalid
from loopwright.core.nouns import Json
from loopwright.ports.predictors import Grant, OpenedModel, PackedModel

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["PythonPackager"]

_FILE = "python_model.pkl"


class _Object:
    """An object of the user's own, or a Python model as MLflow saved it."""

    fast = False

    def __init__(self, pickled: Any) -> None:
        self._pickled = pickled
        self.native = getattr(pickled, "model", pickled) if _is_shell(pickled) else pickled

    def predict(self, data: pa.Table | NDArray[Any] | Mapping[str, NDArray[Any]]) -> Any:
        """What the object says; its own errors are raised as they are."""
        rows = frame(data)
        if self.native is not self._pickled:
            return getattr(self.native, "predict", self.native)(rows)
        if "context" in inspect.signature(self.native.predict).parameters:
            return self.native.predict(None, rows)
        return self.native.predict(rows)

    def score(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the object says of rows of numbers, where that is one number a row."""
        return scores(self.predict(x), len(x))


def _is_shell(pickled: Any) -> bool:
    """Whether it is our shell: a class pickled by value is another class of the same name here."""
    kind = type(pickled)
    return kind.__qualname__ == shell.Shell.__qualname__ and kind.__module__ == shell.__name__


class PythonPackager:
    """Objects that predict, pickled with the code of their classes where that is not installed."""

    flavor = "python_function"

    def pack(self, model: Any, *, form: str, example: Any) -> PackedModel:
        """An object with a `predict`, or a function of the rows."""
        import cloudpickle

        if form not in {"", "cloudpickle"}:
            raise Invalid(f"Python objects have no form {form!r}", hint="leave it out: it is cloudpickle")
        if not callable(getattr(model, "predict", model)):
            raise Invalid(
                f"a {type(model).__name__} does not predict", hint="give it a method predict(self, rows)"
            )
        cloudpickle.register_pickle_by_value(shell)
        try:
            data = dump_pickle(shell.Shell(model))  # type: ignore[no-untyped-call]  # see there
        finally:
            cloudpickle.unregister_pickle_by_value(shell)
        version = f"{sys.version_info[0]}.{sys.version_info[1]}.{sys.version_info[2]}"
        function: Json = {
            "cloudpickle_version": cloudpickle.__version__,
            "loader_module": "mlflow.pyfunc.model",
            "python_model": _FILE,
            "python_version": version,
        }
        return PackedModel(
            flavor=self.flavor,
            files={_FILE: data},
            settings=function,
            function=function,
            requirements=("cloudpickle", "numpy", "pandas"),
            runs_code=True,
        )

    def open(self, files: Mapping[str, bytes], settings: Json, grant: Grant) -> OpenedModel:
        """The object, for those who trust who made it."""
        file = str(settings.get("python_model", ""))
        if settings.get("loader_module") != "mlflow.pyfunc.model" or file not in files:
            raise Invalid(
                f"the package is loaded by the module {str(settings.get('loader_module'))[:100]!r}, "
                "which is none that is known",
                hint="known are the sections sklearn, lightgbm, xgboost, onnx, pytorch and Python models",
                where="MLmodel",
            )
        found = _Object(load_pickle(files[file], grant, file))
        if not callable(getattr(found.native, "predict", found.native)):
            raise Invalid(f"a {type(found.native).__name__} does not predict", hint="save one that does")
        return found
