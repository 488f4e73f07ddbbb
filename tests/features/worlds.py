"""A small world: flights that left, the weather, planes, and a service over them."""

from __future__ import annotations

import random
import shutil
import tempfile
import weakref
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from loopwright.adapters.online import SqliteOnline
from loopwright.core.expressions import Window, col, when
from loopwright.core.schema import Column, ColumnType, Schema
from loopwright.data.verbs import append
from loopwright.engine.context import Context
from loopwright.features.nouns import FeatureService, FeatureView, Lookup, Output
from loopwright.features.verbs import define_service, define_view
from loopwright.testing.builders import memory_context, memory_ports

START = datetime(2013, 6, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
UTC_TIME = pa.timestamp("us", "UTC")
ORIGINS = ("EWR", "JFK", "LGA")
CARRIERS = ("AA", "B6", "UA", "ZZ")
TAILS = ("N1", "N2", "N3", None)

DEPARTURES = pa.schema(
    {
        "flight_id": pa.int64(),
        "origin": pa.string(),
        "carrier": pa.string(),
        "tailnum": pa.string(),
        "scheduled_at": UTC_TIME,
        "known_at": UTC_TIME,
        "delay": pa.int64(),
        "taxi": pa.float64(),
    }
)
WEATHER = pa.schema(
    {
        "origin": pa.string(),
        "observed_at": UTC_TIME,
        "known_at": UTC_TIME,
        "wind": pa.float64(),
        "visib": pa.float64(),
        "sky": pa.string(),
    }
)


def context() -> Context:
    """Fakes in memory, the real tables and the real online store."""
    folder = tempfile.mkdtemp(prefix="loopwright-test-")
    online = SqliteOnline(Path(folder) / "online.db")
    weakref.finalize(online, shutil.rmtree, folder, ignore_errors=True)
    return memory_context(memory_ports(online=online))


def departures(count: int, seed: int = 1, hours: int = 48) -> pa.Table:
    chance = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for number in range(count):
        scheduled = START + chance.randrange(hours * 60) * MINUTE
        delay = chance.choice([None, *range(-10, 120, 7)])
        rows.append(
            {
                "flight_id": number,
                "origin": chance.choice(ORIGINS),
                "carrier": chance.choice(CARRIERS),
                "tailnum": chance.choice(TAILS),
                "scheduled_at": scheduled,
                "known_at": None if chance.random() < 0.05 else scheduled + max(delay or 0, 1) * MINUTE,
                "delay": delay,
                "taxi": chance.choice([None, 1.0, 7.0, 0.1 * chance.randrange(100)]),
            }
        )
    rows.sort(key=lambda row: row["known_at"] or row["scheduled_at"])
    return pa.Table.from_pylist(rows, schema=DEPARTURES)


def weather(seed: int = 2, hours: int = 48) -> pa.Table:
    chance = random.Random(seed)
    rows = [
        {
            "origin": origin,
            "observed_at": START + hour * HOUR,
            "known_at": START + hour * HOUR + chance.choice([HOUR, HOUR, 4 * HOUR]),
            "wind": chance.choice([None, 3.45234, 10.35702, 17.2617]),
            "visib": chance.choice([10.0, 0.25]),
            "sky": chance.choice(["clear", "fog", None, "new"]),
        }
        for hour in range(hours)
        for origin in ORIGINS
        if chance.random() < 0.8
    ]
    return pa.Table.from_pylist(rows, schema=WEATHER)


def rolling(column: str, *spans: str) -> dict[str, Window]:
    found: dict[str, Window] = {}
    for span in spans:
        found[f"n_{span}"] = col(column).count(span)
        found[f"mean_{span}"] = col(column).mean(span)
    return found


def views() -> tuple[FeatureView, ...]:
    shared: dict[str, Any] = {"source": "departures", "event_time": "scheduled_at", "known_at": "known_at"}
    return (
        FeatureView(
            name="origin_departures",
            entity=("origin",),
            windows={
                **rolling("delay", "1h", "6h"),
                "late": when(col("delay") >= 15, 1, 0).sum("3h"),
                "taxi": col("taxi").mean("6h"),
                "kinds": col("carrier").distinct("2h"),
            },
            **shared,
        ),
        FeatureView(
            name="route", entity=("origin", "carrier"), windows=rolling("delay", "2h", "1d"), **shared
        ),
        FeatureView(
            name="plane",
            entity=("tailnum",),
            windows={"worst": col("delay").max("12h"), "last_delay": col("delay").last("12h")},
            latest=("delay", "taxi"),
            ttl="1d",
            **shared,
        ),
        FeatureView(
            name="origin_weather",
            entity=("origin",),
            source="weather",
            event_time="observed_at",
            known_at="known_at",
            ttl="3h",
            latest=("wind", "visib", "sky"),
        ),
    )


def request_schema() -> Schema:
    texts = [Column(name=name, type=ColumnType.STRING) for name in ("origin", "carrier", "tailnum")]
    return Schema(columns=(*texts, Column(name="distance", type=ColumnType.INT)))


def service() -> FeatureService:
    outputs = [
        Output(name="origin", expr=col("origin")),
        Output(name="sky", expr=col("origin_weather.sky")),
        Output(name="distance", expr=col("distance")),
        Output(name="miles_per_wind", expr=col("distance") / (col("origin_weather.wind") + 1)),
        Output(name="is_blind", expr=col("origin_weather.visib") < 1),
        Output(name="excess", expr=col("route.mean_2h") - col("origin_departures.mean_1h")),
    ]
    for view in views():
        outputs += [
            Output(name=f"{view.name}_{feature}", expr=col(f"{view.name}.{feature}"))
            for feature in view.features
            if feature != "sky"
        ]
    return FeatureService(
        name="delays",
        request=request_schema(),
        lookups=tuple(Lookup(view=view.name) for view in views()),
        outputs=tuple(outputs),
        categorical={"origin": ("EWR", "JFK"), "sky": ("clear", "fog")},
    )


def published(ctx: Context, *, flights: int = 300) -> FeatureService:
    """The datasets, the views and the service, published."""
    append(
        ctx,
        "departures",
        departures(flights),
        event_time="scheduled_at",
        known_at="known_at",
        keys=("flight_id",),
    )
    append(ctx, "weather", weather(), event_time="observed_at", known_at="known_at")
    for view in views():
        define_view(ctx, view)
    define_service(ctx, service())
    return service()


def questions(count: int, seed: int = 3, hours: int = 50) -> pa.Table:
    chance = random.Random(seed)
    rows = [
        {
            "origin": chance.choice([*ORIGINS, None, "SFO"]),
            "carrier": chance.choice(CARRIERS),
            "tailnum": chance.choice(TAILS),
            "distance": chance.choice([None, 200, 1400]),
            "asked_at": START + chance.randrange(-60, hours * 60) * MINUTE,
            "label": number % 2,
        }
        for number in range(count)
    ]
    schema = pa.schema(
        {
            "origin": pa.string(),
            "carrier": pa.string(),
            "tailnum": pa.string(),
            "distance": pa.int64(),
            "asked_at": UTC_TIME,
            "label": pa.int64(),
        }
    )
    return pa.Table.from_pylist(rows, schema=schema)
