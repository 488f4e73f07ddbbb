"""A workspace of this machine that serves: models of LightGBM behind an endpoint, and how it is asked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from loopwright.engine.context import Context
from loopwright.features.verbs import define_service
from loopwright.ports.predictors import FitRequest
from loopwright.registry.nouns import ModelBody
from loopwright.registry.verbs import register
from loopwright.serving.verbs import deploy
from tests.serving.worlds import ENDPOINT, LEVELS, MODEL, SERVICE, config, row

__all__ = ["question", "serve"]

_FEATURES = tuple(output.name for output in SERVICE.outputs)
_DATATYPES = {
    "carrier": "BYTES",
    "distance": "FP64",
    "month": "INT64",
    "tailnum": "BYTES",
    "scheduled_at": "INT64",
    "is_holiday": "BOOL",
}


def serve(ctx: Context) -> None:
    """Register two versions of a model and deploy the first one."""
    define_service(ctx, SERVICE)
    for seed in (1, 2):
        _register(ctx, seed)
    deploy(ctx, ENDPOINT, config((1, 100.0)))


def _register(ctx: Context, seed: int) -> None:
    x = np.random.default_rng(seed).uniform(0.0, 3.0, (300, len(_FEATURES)))
    asked = FitRequest(objective="binary", features=_FEATURES, rounds=2, seed=seed, threads=1)
    fitted = ctx.ports.frameworks["lightgbm"].fit(x, (x[:, 1] > 1.5).astype(float), asked)
    body = ModelBody(
        flavor="lightgbm",
        service="feature_service:flights@1",
        features=_FEATURES,
        categorical={"carrier": LEVELS},
        objective="binary",
        params={},
        rounds=2,
        seed=seed,
        training_set="dataset:flights@1",
        trained_until=datetime(2013, 7, 1, tzinfo=UTC),
        code="none",
        importance={},
    )
    register(ctx, MODEL, fitted, body)


def question() -> dict[str, Any]:
    """A V2 request of one row, as JSON."""
    asked = row()
    return {
        "inputs": [
            {"name": name, "datatype": kind, "shape": [1], "data": [asked[name]]}
            for name, kind in _DATATYPES.items()
        ]
    }
