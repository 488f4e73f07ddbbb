"""LightGBM: trained from arrays, kept as its own text form, which loading cannot make run code."""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
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
_FEW_ROWS = 8
"""up to so many rows one after the other is quicker (160 trees: 1 row 10 against 54 us, 8 rows 81 and 137)"""
_MANY_ROWS = 20_000
_BYTES = 8
# of LightGBM's C interface (c_api.h), which its Python package leaves unused for single rows
_LIB = lightgbm.basic._LIB  # type: ignore[attr-defined]  # the loaded C library; the package keeps it private
_PREDICT_NORMAL, _FLOAT64 = 0, 1
_score_row = _LIB.LGBM_BoosterPredictForMatSingleRowFast
# keeps the interpreter's lock: a call of microseconds must not queue for it again behind busy threads
_score_row_at_once = ctypes.PyDLL(None, handle=_LIB._handle).LGBM_BoosterPredictForMatSingleRowFast
_AT_ONCE_TREES = 2_000


def _checked(status: int) -> None:
    if status:
        raise lightgbm.basic.LightGBMError(_LIB.LGBM_GetLastError().decode())


class _OneRow:
    """A booster prepared to score single rows: reading its parameters, most of such a call, is done once."""

    def __init__(self, booster: Any, width: int) -> None:
        self._booster = booster  # keeps the trees alive that the prepared call walks through
        self._prepared = ctypes.c_void_p()
        self._width = width
        self._lock = threading.Lock()
        self._kept = ctypes.byref(ctypes.c_int64())
        _checked(
            _LIB.LGBM_BoosterPredictForMatSingleRowFastInit(
                booster._handle,
                ctypes.c_int(_PREDICT_NORMAL),
                ctypes.c_int(0),
                ctypes.c_int(booster.best_iteration),
                ctypes.c_int(_FLOAT64),
                ctypes.c_int32(width),
                b"num_threads=1",
                ctypes.byref(self._prepared),
            )
        )
        self._score = _score_row_at_once if booster.num_trees() <= _AT_ONCE_TREES else _score_row
        weakref.finalize(self, _LIB.LGBM_FastConfigFree, self._prepared)

    def predict(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """The scores of a few rows `(n, d)`, one after the other."""
        rows = np.ascontiguousarray(x, dtype=np.float64)
        found = np.empty(len(rows), dtype=np.float64)
        source, target, prepared = rows.ctypes.data, found.ctypes.data, self._prepared
        with self._lock:
            for at in range(len(rows)):
                row, score = source + at * self._width * _BYTES, target + at * _BYTES
                _checked(self._score(prepared, ctypes.c_void_p(row), self._kept, ctypes.c_void_p(score)))
        return found


class _Booster:
    """A loaded booster: few rows and middling batches on one thread, long ones on two."""

    def __init__(self, booster: Any) -> None:
        self._booster = booster
        self.features: tuple[str, ...] = tuple(booster.feature_name())
        self.fast = booster.num_trees() <= _FAST_LEAVES
        is_single = booster.num_model_per_iteration() == 1
        self._one_row = _OneRow(booster, len(self.features)) if is_single else None

    def predict(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores of rows: probabilities for `binary`, values for `regression`."""
        if x.ndim != 2 or x.shape[1] != len(self.features):
            raise Invalid(f"the model takes {len(self.features)} columns, not shape {x.shape}")
        if self._one_row is not None and len(x) <= _FEW_ROWS:
            return self._one_row.predict(x)
        threads = 1 if len(x) < _MANY_ROWS else 2
        found: NDArray[np.float64] = self._booster.predict(x, num_threads=threads, validate_features=False)
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
