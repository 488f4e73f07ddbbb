"""Carried out by MLflow's own Python: loads the packages it is told of, or saves models of its own.

The first argument is a folder of libraries that MLflow's environment may lack; it comes behind its own.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

ROWS = [[0.5, 1.0, -1.0], [2.0, -3.0, 0.25], [-1.0, 0.0, 4.0], [0.1, 0.2, 0.3]]
NAMES = ["a", "b", "c"]


def main() -> None:
    libraries, what, *rest = sys.argv[1:]
    sys.path.append(libraries)
    found = load(rest) if what == "load" else {"save": save, "onnx": onnx}[what](Path(rest[0]))
    sys.stdout.write(json.dumps(found) + "\n")


def load(folders: list[str]) -> dict[str, Any]:
    """What MLflow says of the rows with each package: as a function, and as the framework's own object."""
    import mlflow.pyfunc
    import pandas as pd

    frame = pd.DataFrame(ROWS, columns=NAMES)
    found: dict[str, Any] = {}
    for folder in folders:
        function = mlflow.pyfunc.load_model(folder)
        flavor = next((each for each in function.metadata.flavors if each != "python_function"), None)
        native = importlib.import_module(f"mlflow.{flavor}").load_model(folder) if flavor else None
        signature = function.metadata.signature
        assert signature is not None
        found[Path(folder).name] = {
            "answers": [float(each) for each in function.predict(frame)],
            "native": type(native).__name__,
            "inputs": signature.inputs.to_dict(),
            "example": None if function.metadata.saved_input_example_info is None else _example(function),
        }
    return found


def _example(function: Any) -> list[list[float]]:
    rows: list[list[float]] = function.input_example.to_numpy(dtype=float).tolist()
    return rows


def save(folder: Path) -> dict[str, Any]:
    """Models that MLflow saves, and what they say of the rows."""
    import mlflow.pyfunc
    import mlflow.sklearn
    import numpy as np
    import pandas as pd
    from mlflow.models import infer_signature
    from sklearn.linear_model import LogisticRegression

    frame = pd.DataFrame(ROWS, columns=NAMES)
    classes = [0, 1, 0, 1]
    model = LogisticRegression().fit(frame, classes)
    told = infer_signature(frame, model.predict(frame))
    found: dict[str, Any] = {"signature": told.to_dict()}

    def kept(name: str, answers: Any) -> None:
        found[name] = [float(each) for each in answers]

    mlflow.sklearn.save_model(model, str(folder / "default"), signature=told, input_example=frame)
    kept("default", model.predict(frame))
    mlflow.sklearn.save_model(model, str(folder / "pickled"), serialization_format="cloudpickle")
    kept("pickled", model.predict(frame))

    import mlflow.lightgbm
    import mlflow.xgboost

    lightgbm, xgboost = importlib.import_module("lightgbm"), importlib.import_module("xgboost")
    params = {"objective": "binary", "verbose": -1, "min_data_in_leaf": 1, "min_data_in_bin": 1}
    booster = lightgbm.train(params, lightgbm.Dataset(frame, label=classes), num_boost_round=2)
    mlflow.lightgbm.save_model(booster, str(folder / "lightgbm"), signature=told)
    kept("lightgbm", booster.predict(frame))
    trees = xgboost.XGBClassifier(n_estimators=3).fit(frame, classes)
    mlflow.xgboost.save_model(trees, str(folder / "xgboost"), signature=told)
    kept("xgboost", trees.predict(frame))

    class Sum(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # MLflow's base has no types
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            return np.asarray(model_input).sum(axis=1)

    mlflow.pyfunc.save_model(str(folder / "function"), python_model=Sum(), signature=told)
    kept("function", np.asarray(ROWS).sum(axis=1))
    return found


def onnx(folder: Path) -> dict[str, Any]:
    """What MLflow says of the rows with the graph in `ours`, which it then saves as `theirs`."""
    import mlflow.pyfunc
    import numpy as np
    from mlflow.models import infer_signature

    rows = np.asarray(ROWS, dtype=np.float32)
    flavor, ours = importlib.import_module("mlflow.onnx"), str(folder / "ours")
    answers = mlflow.pyfunc.load_model(ours).predict(rows)["probabilities"].tolist()
    flavor.save_model(flavor.load_model(ours), str(folder / "theirs"), signature=infer_signature(rows))
    return {"ours": answers}


if __name__ == "__main__":
    main()
