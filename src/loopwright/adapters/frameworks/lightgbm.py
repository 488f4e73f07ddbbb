"""LightGBM: trained from arrays, kept as its own text form, which loading cannot make run code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

# Read when the OpenMP runtime is loaded: threads that spin at barriers make a training many times slower
# on a machine that does anything else (measured: 14.9 s against 4.0 s for 60 rounds on 2 busy cores).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import lightgbm
import numpy as np
from numpy.typing import NDArray

from loopwright.core.errors import Corrupt, Invalid
from loopwright.ports.predictors import FitRequest, FitResult, Predictor

__all__ = ["LightGBM"]

_FILE = "model.txt"
_FAST_LEAVES = 200_000


class _Booster:
    """A loaded booster on one thread."""

    def __init__(self, booster: Any) -> None:
        self._booster = booster
        self.features: tuple[str, ...] = tuple(booster.feature_name())
        self.fast = booster.num_trees() <= _FAST_LEAVES

    def predict(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores of rows: probabilities for `binary`, values for `regression`."""
        if x.ndim != 2 or x.shape[1] != len(self.features):
            raise Invalid(f"the model takes {len(self.features)} columns, not shape {x.shape}")
        found: NDArray[np.float64] = self._booster.predict(x, num_threads=1, validate_features=False)
        return found


class LightGBM:
    """Gradient boosted trees. The same input, seed and thread count give the same bytes."""

    flavor = "lightgbm"

    def fit(self, x: NDArray[np.float64], y: NDArray[np.float64], request: FitRequest) -> FitResult:
        """Train `request.rounds` trees on `x (n, d)`, `y (n,)`."""
        if len(x) != len(y) or x.shape[1] != len(request.features):
            raise Invalid(
                f"x has shape {x.shape}, y {y.shape}, and {len(request.features)} features are named"
            )
        data = lightgbm.Dataset(
            x,
            label=y,
            feature_name=list(request.features),
            categorical_feature=[request.features.index(name) for name in request.categorical],
            params={"verbose": -1},
            free_raw_data=True,
        )
        params = {
            **request.params,
            "objective": request.objective,
            "seed": request.seed,
            "num_threads": request.threads,
            "deterministic": True,
            "force_row_wise": True,
            "verbose": -1,
        }
        try:
            booster = lightgbm.train(params, data, num_boost_round=request.rounds)
        except lightgbm.basic.LightGBMError as error:
            raise Invalid(f"LightGBM refused: {error}", hint="check the parameters and the data") from error
        gains = booster.feature_importance("gain")
        total = float(gains.sum()) or 1.0
        return FitResult(
            flavor=self.flavor,
            files={_FILE: booster.model_to_string().encode()},
            importance={
                name: float(gain) / total for name, gain in zip(request.features, gains, strict=True)
            },
        )

    def load(self, files: Mapping[str, bytes]) -> Predictor:
        """Load the text form."""
        if _FILE not in files:
            raise Invalid(f"the package has no {_FILE}", hint="it was not saved by LightGBM")
        try:
            return _Booster(lightgbm.Booster(model_str=files[_FILE].decode()))
        except (lightgbm.basic.LightGBMError, UnicodeDecodeError) as error:
            raise Corrupt(f"{_FILE} is not a LightGBM model", hint="save the model again") from error
