"""A small world to serve in: everything in memory, a feature service of request columns, linear models."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from loopwright.core.expressions import Scalar, col
from loopwright.core.schema import Column, ColumnType, Schema
from loopwright.engine.context import Context
from loopwright.features.nouns import FeatureService, Output
from loopwright.features.verbs import define_service
from loopwright.ports.online import Online
from loopwright.ports.predictors import FitRequest, FitResult, Predictor
from loopwright.registry.nouns import ModelBody
from loopwright.registry.verbs import register
from loopwright.serving.nouns import EndpointConfig, Route
from loopwright.serving.verbs import deploy
from loopwright.testing.builders import MemoryPorts, memory_context, memory_ports

ENDPOINT = "delays"
MODEL = "arrival-delay"
LEVELS = ("AA", "B6", "UA")
COLUMNS = (
    Column(name="carrier", type=ColumnType.STRING, nullable=False),
    Column(name="distance", type=ColumnType.FLOAT),
    Column(name="month", type=ColumnType.INT, nullable=False),
    Column(name="tailnum", type=ColumnType.STRING),
    Column(name="scheduled_at", type=ColumnType.INSTANT, nullable=False),
    Column(name="is_holiday", type=ColumnType.BOOL, nullable=False),
)
SERVICE = FeatureService(
    name="flights",
    request=Schema(columns=COLUMNS),
    lookups=(),
    outputs=(
        Output(name="carrier", expr=col("carrier")),
        Output(name="distance", expr=col("distance")),
        Output(name="late_month", expr=col("month") * 2),
    ),
    categorical={"carrier": LEVELS},
)


class LinearPredictor:
    """Scores are 1 / (1 + exp(-x w)), NaN taken as 0."""

    def __init__(
        self, weights: list[float], features: tuple[str, ...], *, gate: threading.Event | None = None
    ) -> None:
        self.features = features
        self.fast = gate is None
        self._gate = gate
        self._weights = np.array(weights)

    def predict(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._gate is not None:
            self._gate.wait(10)
        found: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-np.nan_to_num(x) @ self._weights))
        return found


class Linear:
    """A framework whose file is the weights as JSON."""

    flavor = "linear"

    def __init__(self) -> None:
        self.loads = 0
        self.gate: threading.Event | None = None
        """what predictors loaded from now on wait for"""

    def fit(self, x: NDArray[np.float64], y: NDArray[np.float64], request: FitRequest) -> FitResult:
        weights = np.linalg.lstsq(np.nan_to_num(x), y, rcond=None)[0]
        return fitted(weights.tolist())

    def load(self, files: Mapping[str, bytes]) -> Predictor:
        self.loads += 1
        weights = msgspec.json.decode(files["weights.json"], type=list[float])
        return LinearPredictor(weights, tuple(output.name for output in SERVICE.outputs), gate=self.gate)


def fitted(weights: list[float]) -> FitResult:
    return FitResult(flavor="linear", files={"weights.json": msgspec.json.encode(weights)}, importance={})


def world(*, ports: MemoryPorts | None = None) -> Context:
    """A context with the service defined and two model versions registered."""
    made = ports or memory_ports()
    made.frameworks = {"linear": Linear()}
    ctx = memory_context(_with_online(made))
    define_service(ctx, SERVICE)
    for weights in ([0.1, 0.001, 0.01], [0.2, -0.001, 0.02]):
        add_version(ctx, weights)
    return ctx


def _with_online(ports: MemoryPorts) -> MemoryPorts:
    return memory_ports(
        ledger=ports.ledger,
        objects=ports.objects,
        clock=ports.clock,
        online=cast(Online, _NoOnline()),
        frameworks=ports.frameworks,
    )


class _NoOnline:
    """A service without lookups asks nothing of it."""

    def __getattr__(self, name: str) -> Callable[..., object]:
        def refuse(*_: object) -> object:
            raise AssertionError(f"the online store was asked: {name}")

        return refuse


def add_version(ctx: Context, weights: list[float], *, service: str = "feature_service:flights@1") -> int:
    body = ModelBody(
        flavor="linear",
        service=service,
        features=tuple(output.name for output in SERVICE.outputs),
        categorical={"carrier": LEVELS},
        objective="binary",
        params={},
        rounds=1,
        seed=0,
        training_set="dataset:flights@1",
        trained_until=datetime(2013, 7, 1, tzinfo=UTC),
        code="none",
        importance={},
    )
    return register(ctx, MODEL, fitted(weights), body).number


def config(*routes: tuple[int, float], shadow: tuple[int, ...] = (), sticky: str = "") -> EndpointConfig:
    return EndpointConfig(
        model=MODEL,
        routes=tuple(Route(version=version, percent=percent) for version, percent in routes),
        service="flights",
        shadow=shadow,
        sticky=sticky,
    )


def deployed(*routes: tuple[int, float], shadow: tuple[int, ...] = (), sticky: str = "") -> Context:
    ctx = world()
    deploy(ctx, ENDPOINT, config(*routes, shadow=shadow, sticky=sticky))
    return ctx


def row(**changed: Scalar) -> dict[str, Scalar]:
    """A request row, with some columns changed."""
    return {
        "carrier": "B6",
        "distance": 1005.0,
        "month": 7,
        "tailnum": "N14228",
        "scheduled_at": 1_372_680_000_000_000,
        "is_holiday": False,
        **changed,
    }


def expected(weights: list[float], *rows: Mapping[str, Scalar]) -> list[float]:
    """The scores by hand, from rows as they are sent."""
    found = []
    for each in rows:
        level = LEVELS.index(str(each["carrier"])) if each["carrier"] in LEVELS else 0
        distance = each["distance"]
        x = [float(level), 0.0 if distance is None else float(str(distance)), 2.0 * int(str(each["month"]))]
        found.append(float(1.0 / (1.0 + np.exp(-sum(a * b for a, b in zip(x, weights, strict=True))))))
    return found
