"""What the story defines: contracts, feature views, the service, the gate, the monitor and the loop."""

from __future__ import annotations

from typing import TypedDict

from loopwright.app.demo.flights import Flights
from loopwright.core.expressions import Expr, Window, col
from loopwright.core.instants import parse_instant
from loopwright.core.schema import Column, ColumnType, Schema
from loopwright.data.nouns import ColumnRule, Contract, UniqueKey
from loopwright.features.nouns import FeatureService, FeatureView, Lookup, Output
from loopwright.gates.nouns import Gate, Latency, Metric, NotWorse, Slices
from loopwright.loops.nouns import LoopSpec, RetrainRule, RolloutSpec, TrainingSpec, TuningSpec
from loopwright.monitoring.nouns import FeedWatch, Monitor
from loopwright.ports.predictors import SearchSpace

__all__ = [
    "ENDPOINT",
    "MODEL",
    "MONITOR",
    "ROLLING",
    "TIMES",
    "WEATHER",
    "contracts",
    "gate",
    "levels_of",
    "loop",
    "monitor",
    "request_schema",
    "service",
    "training",
    "views",
]

MODEL = "arrival-delay"
ENDPOINT = "delays"
MONITOR = "delays"
WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib")
_WATCHED = ("temp", "dewp", "humid", "wind_speed", "pressure", "visib")
_CATEGORICAL = ("origin", "dest", "carrier")
_REQUEST_NUMBERS = ("minute_of_day", "arrival_minute", "weekday", "distance")

ROLLING: dict[str, tuple[tuple[str, ...], str, str, tuple[str, ...]]] = {
    "origin_departures": (("origin",), "departures", "dep_delay", ("1h", "3h", "1d")),
    "carrier_departures": (("carrier",), "departures", "dep_delay", ("2h", "6h", "7d")),
    "origin_carrier_departures": (("origin", "carrier"), "departures", "dep_delay", ("2h", "6h")),
    "plane_departures": (("tailnum",), "departures", "dep_delay", ("12h",)),
    "dest_arrivals": (("dest",), "landings", "arr_delay", ("3h", "1d", "7d")),
    "origin_arrivals": (("origin",), "landings", "arr_delay", ("2h",)),
    "plane_arrivals": (("tailnum",), "landings", "arr_delay", ("12h",)),
}
"""view: its entity, the dataset and the column it sums, and its windows"""


class Times(TypedDict, total=False):
    """Which columns of a dataset are times."""

    event_time: str
    known_at: str


TIMES: dict[str, Times] = {
    "flights": {"event_time": "scheduled_at", "known_at": "scheduled_at"},
    "departures": {"event_time": "scheduled_at", "known_at": "known_at"},
    "landings": {"event_time": "scheduled_at", "known_at": "known_at"},
    "weather": {"event_time": "observed_at", "known_at": "known_at"},
    "planes": {"event_time": "known_at", "known_at": "known_at"},
}
"""which columns of a dataset are times"""


def _flight_rules(*more: ColumnRule) -> tuple[ColumnRule, ...]:
    return (
        ColumnRule(name="flight_id", type=ColumnType.STRING, nullable=False),
        ColumnRule(name="origin", type=ColumnType.STRING, nullable=False, allowed=("EWR", "JFK", "LGA")),
        ColumnRule(name="dest", type=ColumnType.STRING, nullable=False, pattern="[A-Z]{3}"),
        ColumnRule(name="carrier", type=ColumnType.STRING, nullable=False, pattern="[A-Z0-9]{2}"),
        ColumnRule(name="minute_of_day", type=ColumnType.INT, nullable=False, min=0, max=1440),
        ColumnRule(name="arrival_minute", type=ColumnType.INT, nullable=False, min=0, max=1440),
        ColumnRule(name="weekday", type=ColumnType.INT, nullable=False, min=1, max=7),
        ColumnRule(name="distance", type=ColumnType.INT, nullable=False, min=1, max=6000),
        ColumnRule(name="scheduled_at", type=ColumnType.INSTANT, nullable=False),
        *more,
    )


def _delay(name: str) -> ColumnRule:
    return ColumnRule(name=name, type=ColumnType.INT, nullable=False, min=-180, max=2880)


def _measured(name: str, least: float, greatest: float) -> ColumnRule:
    return ColumnRule(name=name, type=ColumnType.FLOAT, min=least, max=greatest)


def contracts() -> tuple[Contract, ...]:
    """What every batch of a dataset must be like."""
    known = ColumnRule(name="known_at", type=ColumnType.INSTANT, nullable=False)
    one = (UniqueKey(columns=("flight_id",), within="batch"),)
    return (
        Contract(name="flights", columns=_flight_rules(), unique=one),
        Contract(name="departures", columns=_flight_rules(_delay("dep_delay"), known), unique=one),
        Contract(
            name="landings",
            columns=_flight_rules(
                _delay("arr_delay"),
                ColumnRule(name="late", type=ColumnType.INT, nullable=False, allowed=(0, 1)),
                known,
            ),
            unique=one,
        ),
        Contract(
            name="weather",
            columns=(
                ColumnRule(
                    name="origin", type=ColumnType.STRING, nullable=False, allowed=("EWR", "JFK", "LGA")
                ),
                _measured("temp", -40, 130),
                _measured("dewp", -60, 100),
                _measured("humid", 0, 100),
                _measured("wind_dir", 0, 360),
                _measured("wind_speed", 0, 200),
                _measured("wind_gust", 0, 250),
                _measured("precip", 0, 20),
                _measured("pressure", 850, 1090),
                _measured("visib", 0, 20),
                ColumnRule(name="observed_at", type=ColumnType.INSTANT, nullable=False),
                known,
            ),
            unique=(UniqueKey(columns=("origin", "observed_at"), within="batch"),),
        ),
    )


def levels_of(flights: Flights) -> dict[str, tuple[str, ...]]:
    """The levels of the categories, as seen in the history alone."""
    import pyarrow.compute as pc

    history = flights.schedule.filter(pc.less(flights.schedule["month"], 7))
    return {name: tuple(sorted(pc.unique(history[name]).to_pylist())) for name in _CATEGORICAL}


def monitor(reference: str) -> Monitor:
    """What is watched: quality by day as labels arrive, drift of inputs, and the weather feed's units."""
    return Monitor(
        endpoint=ENDPOINT,
        labels=ENDPOINT,
        reference=reference,
        slices=("origin",),
        feeds=(FeedWatch(dataset="weather", columns=_WATCHED, trailing="365d"),),
    )


def _windows(column: str, spans: tuple[str, ...]) -> dict[str, Window]:
    found: dict[str, Window] = {}
    for span in spans:
        found[f"count_{span}"] = col(column).count(span)
        found[f"mean_{span}"] = col(column).mean(span)
    return found


def views() -> tuple[FeatureView, ...]:
    """Rolling delays by airport, carrier, destination and plane; weather and planes as of the instant."""
    rolling = tuple(
        FeatureView(
            name=name,
            entity=entity,
            source=source,
            event_time="scheduled_at",
            known_at="known_at",
            identity=("flight_id",),
            windows=_windows(column, spans),
        )
        for name, (entity, source, column, spans) in ROLLING.items()
    )
    weather = FeatureView(
        name="origin_weather",
        entity=("origin",),
        source="weather",
        event_time="observed_at",
        known_at="known_at",
        ttl="3h",
        latest=WEATHER,
    )
    plane = FeatureView(
        name="plane",
        entity=("tailnum",),
        source="planes",
        event_time="known_at",
        known_at="known_at",
        latest=("plane_year", "seats"),
    )
    return (*rolling, weather, plane)


def request_schema() -> Schema:
    """What the caller tells of a flight when asking."""
    texts = tuple(
        Column(name=name, type=ColumnType.STRING) for name in ("origin", "dest", "carrier", "tailnum")
    )
    numbers = tuple(Column(name=name, type=ColumnType.INT) for name in _REQUEST_NUMBERS)
    return Schema(columns=(*texts, *numbers))


def service(levels: dict[str, tuple[str, ...]], *, rolling: bool = True) -> FeatureService:
    """The model's inputs in order; `levels` of the categorical ones are those of the history.

    Without `rolling` it is the deliberately worse one.
    """
    chosen = [view for view in views() if rolling or view.name not in ROLLING]
    lookups = tuple(Lookup(view=view.name) for view in chosen)
    outputs: list[tuple[str, Expr]] = [(f"{name}_code", col(name)) for name in _CATEGORICAL]
    outputs += [(name, col(name)) for name in _REQUEST_NUMBERS]
    for view in chosen:
        names = (*view.latest, *view.windows)
        outputs += [(f"{view.name}_{name}", col(f"{view.name}.{name}")) for name in names]
    return FeatureService(
        name=MODEL if rolling else f"{MODEL}-without-rolling",
        request=request_schema(),
        lookups=lookups,
        outputs=tuple(Output(name=name, expr=expr) for name, expr in outputs),
        categorical={f"{name}_code": levels[name] for name in _CATEGORICAL},
    )


def gate() -> Gate:
    """What a candidate must hold before it may become champion."""
    return Gate(
        model=MODEL,
        alias="champion",
        checks=(
            Metric(metric="roc_auc", at_least=0.62),
            Slices(column="origin", metric="roc_auc", at_least=0.55),
            Slices(column="carrier", metric="roc_auc", at_least=0.5, min_rows=300),
            Latency(p99_ms=20.0),
            NotWorse(than="champion", metric="roc_auc", margin=0.01),
        ),
    )


_PARAMS = {
    "num_leaves": 31,
    "learning_rate": 0.08,
    "min_data_in_leaf": 200,
    "feature_fraction": 0.5,
    "lambda_l2": 10.0,
    "max_cat_threshold": 16,
    "cat_smooth": 50.0,
    "max_bin": 63,
    "use_quantized_grad": True,
}


def training(service_name: str = MODEL) -> TrainingSpec:
    """LightGBM on every labelled flight since January, judged on the newest week of labels."""
    return TrainingSpec(
        model=MODEL,
        service=service_name,
        spine="landings",
        row_id="flight_id",
        time="scheduled_at",
        label="late",
        label_known_at="known_at",
        since=parse_instant("2013-01-01T05:00:00Z"),
        holdout="7d",
        slices=("origin", "carrier"),
        params=dict(_PARAMS),
        rounds=160,
        seed=7,
        tuning=TuningSpec(
            spaces=(
                SearchSpace(name="num_leaves", low=24, high=64, log=True, integer=True),
                SearchSpace(name="min_data_in_leaf", low=80, high=400, log=True, integer=True),
                SearchSpace(name="feature_fraction", low=0.35, high=0.8),
                SearchSpace(name="lambda_l2", low=1.0, high=30.0, log=True),
            ),
            trials=6,
            rows=32_000,
            rounds=90,
        ),
    )


def loop() -> LoopSpec:
    """How the model is kept right."""
    return LoopSpec(
        model=MODEL,
        endpoint=ENDPOINT,
        monitor=MONITOR,
        training=training(),
        retrain=RetrainRule(window="14d", gap=0.02, auc_margin=0.03, cooldown="28d"),
        rollout=RolloutSpec(shadow="2d", steps=(5.0, 25.0, 100.0), each="1d", margin=0.02),
    )
