"""What a prediction costs: in process, through the V2 surface, and what the payload log and a shadow add.

A workspace in a folder of its own: SQLite ledger and online store, LightGBM, a feature service of rolling
delays and request columns. Times are of this process's work: waiting does not count, but a machine shared
with others is slower all the same, so `loop_ns`, a turn of an empty loop (35 ns when quiet), is told too.
Requests have 2.5 rows on average, as the minutes of real flights have, or one. Prints JSON.

    python benchmarks/serving.py [--requests N] [--trees N] [--folder DIR]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from loopwright.core.expressions import Scalar, col
from loopwright.core.instants import to_micros
from loopwright.core.schema import Column, ColumnType, Schema
from loopwright.data.verbs import append
from loopwright.engine.context import Context
from loopwright.features.nouns import FeatureService, FeatureView, Lookup, Output
from loopwright.features.verbs import define_service, define_view, materialize, service_of
from loopwright.ports.predictors import FitRequest
from loopwright.registry.nouns import ModelBody
from loopwright.registry.verbs import register
from loopwright.serving.nouns import EndpointConfig, Route
from loopwright.serving.rules import Splitter
from loopwright.serving.runtime import Runtime
from loopwright.serving.verbs import deploy
from loopwright.surfaces.inference.application import InferenceApp
from loopwright.workspace import Workspace, load_settings

CLOCK = time.thread_time_ns
ENDPOINT, MODEL = "delays", "arrival-delay"
END = datetime(2013, 7, 1, tzinfo=UTC)
ROLLING: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "by_origin": (("origin",), ("1h", "3h", "1d")),
    "by_carrier": (("carrier",), ("2h", "6h", "7d")),
    "by_origin_carrier": (("origin", "carrier"), ("2h", "6h")),
    "by_dest": (("dest",), ("3h", "1d", "7d")),
    "by_plane": (("tailnum",), ("12h",)),
}
TEXTS = ("origin", "dest", "carrier", "tailnum")
NUMBERS = ("minute_of_day", "weekday", "distance")
LEVELS = {"origin": ("EWR", "JFK", "LGA"), "carrier": tuple(f"C{n:02}" for n in range(16))}


def flight(chance: random.Random) -> dict[str, Scalar]:
    return {
        "origin": chance.choice(LEVELS["origin"]),
        "dest": f"D{chance.randrange(105)}",
        "carrier": chance.choice(LEVELS["carrier"]),
        "tailnum": f"N{chance.randrange(4000)}",
        "minute_of_day": chance.randrange(1440),
        "weekday": chance.randrange(1, 8),
        "distance": chance.randrange(80, 4983),
    }


def source(rows: int, chance: random.Random) -> pa.Table:
    flights = [flight(chance) for _ in range(rows)]
    times = [END - timedelta(days=20) + timedelta(days=20) * place / rows for place in range(rows)]
    columns: dict[str, Any] = {name: [each[name] for each in flights] for name in TEXTS}
    columns["flight_id"] = [str(place) for place in range(rows)]
    columns["delay"] = [chance.randrange(-20, 300) for _ in flights]
    for name in ("scheduled_at", "known_at"):
        columns[name] = pa.array(times, pa.timestamp("us", tz="UTC"))
    return pa.table(columns)


def define(ctx: Context, chance: random.Random) -> FeatureService:
    append(ctx, "departures", source(20_000, chance), event_time="scheduled_at", known_at="known_at")
    outputs = [Output(name=name, expr=col(name)) for name in (*LEVELS, *NUMBERS)]
    for name, (entity, spans) in ROLLING.items():
        windows = {f"count_{span}": col("delay").count(span) for span in spans}
        windows |= {f"mean_{span}": col("delay").mean(span) for span in spans}
        view = FeatureView(
            name=name,
            entity=entity,
            source="departures",
            event_time="scheduled_at",
            known_at="known_at",
            identity=("flight_id",),
            windows=windows,
        )
        define_view(ctx, view)
        materialize(ctx, name, until=END)
        outputs += [Output(name=f"{name}_{window}", expr=col(f"{name}.{window}")) for window in windows]
    kinds = dict.fromkeys(TEXTS, ColumnType.STRING) | dict.fromkeys(NUMBERS, ColumnType.INT)
    service = FeatureService(
        name="flights",
        request=Schema(columns=tuple(Column(name=name, type=kind) for name, kind in kinds.items())),
        lookups=tuple(Lookup(view=name) for name in ROLLING),
        outputs=tuple(outputs),
        categorical=LEVELS,
    )
    define_service(ctx, service)
    return service_of(ctx, "flights")


def train(ctx: Context, service: FeatureService, trees: int, seed: int) -> int:
    names = tuple(output.name for output in service.outputs)
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(20_000, len(names)))
    x[:, :2] = rng.integers(0, 3, (len(x), 2))
    y = (x[:, 2:8].sum(axis=1) + rng.normal(size=len(x)) > 1).astype(np.float64)
    request = FitRequest(
        objective="binary",
        features=names,
        categorical=tuple(LEVELS),
        params={"num_leaves": 63, "learning_rate": 0.05},
        rounds=trees,
        seed=seed,
    )
    fitted = ctx.ports.frameworks["lightgbm"].fit(x, y, request)
    body = ModelBody(
        flavor="lightgbm",
        service="feature_service:flights@1",
        features=names,
        categorical=LEVELS,
        objective="binary",
        params={},
        rounds=trees,
        seed=seed,
        training_set="none",
        trained_until=END,
        code="none",
        importance={},
    )
    return register(ctx, MODEL, fitted, body).number


def spent(action: Callable[[int], object], times: int) -> dict[str, float]:
    """Microseconds of this thread's work per call: median, 99th percentile, mean."""
    taken = []
    for number in range(times):
        started = CLOCK()
        action(number)
        taken.append((CLOCK() - started) / 1000)
    taken.sort()
    return {
        "p50_us": round(statistics.median(taken), 1),
        "p99_us": round(taken[int(0.99 * (len(taken) - 1))], 1),
        "mean_us": round(statistics.fmean(taken), 1),
    }


def body(rows: list[dict[str, Scalar]], request_id: str) -> bytes:
    kinds = dict.fromkeys(TEXTS, "BYTES") | dict.fromkeys(NUMBERS, "INT64")
    inputs = [
        {"name": name, "datatype": kind, "shape": [len(rows)], "data": [row[name] for row in rows]}
        for name, kind in kinds.items()
    ]
    return json.dumps({"id": request_id, "inputs": inputs}).encode()


def asked(app: InferenceApp, bodies: list[bytes]) -> Callable[[int], object]:
    """One request through the whole surface but the socket, with the event loop started for each."""
    loop = asyncio.new_event_loop()
    headers = [(b"content-type", b"application/json")]
    path = f"/v2/models/{ENDPOINT}/infer"

    def ask(number: int) -> object:
        content = bodies[number % len(bodies)]
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "headers": headers,
        }
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        loop.run_until_complete(app(scope, receive, send))
        if sent[0]["status"] != 200:
            raise SystemExit(sent[1]["body"].decode())
        return sent

    return ask


def loop_ns() -> float:
    """What a turn of an empty loop takes here and now."""
    started, total = CLOCK(), 0
    for number in range(500_000):
        total += number
    return round((CLOCK() - started) / 500_000, 1)


def sizes(count: int, chance: random.Random) -> list[int]:
    """Rows of each request: as many on average as scheduled minutes hold flights."""
    return [min(1 + int(chance.expovariate(1 / 2.05)), 24) for _ in range(count)]


def measured(workspace: Workspace, requests: int, trees: int) -> dict[str, Any]:
    ctx, chance = workspace.context(), random.Random(1)
    service = define(ctx, chance)
    first, second = train(ctx, service, trees, 1), train(ctx, service, trees, 2)

    def route(*shadow: int) -> Runtime:
        routes = (Route(version=first, percent=100.0),)
        config = EndpointConfig(
            model=MODEL, routes=routes, service="flights", shadow=shadow, sticky="tailnum"
        )
        deploy(ctx, ENDPOINT, config)
        return Runtime(ctx)

    at_us = to_micros(END)
    counts = sizes(requests, chance)
    batches = [[flight(chance) for _ in range(count)] for count in counts]
    runtime = route()
    table = runtime.refresh(ENDPOINT)
    model = table.models[first]
    vectors = model.assembler.vectors([row for batch in batches[:200] for row in batch], at_us)
    singles = [[flight(chance)] for _ in range(requests)]
    found: dict[str, Any] = {
        "loop_ns": loop_ns(),
        "inputs": len(service.outputs),
        "trees": trees,
        "rows_a_request": round(statistics.fmean(counts), 2),
        "parts": {
            "read_rows": spent(lambda n: table.reader.read(batches[n]), requests),
            "vectors": spent(lambda n: model.assembler.vectors(batches[n], at_us), requests),
            "predict": spent(lambda n: model.predictor.predict(vectors[: counts[n]]), requests),
        },
        "runtime": spent(lambda n: runtime.predict(ENDPOINT, batches[n], f"r{n}", at_us=at_us), requests),
        "runtime_1_row": spent(
            lambda n: runtime.predict(ENDPOINT, singles[n], f"s{n}", at_us=at_us), requests
        ),
    }
    app = InferenceApp(runtime)
    bodies = [body(batch, f"v{n}") for n, batch in enumerate(batches)]
    found["surface"] = spent(asked(app, bodies), requests)
    found["surface_1_row"] = spent(
        asked(app, [body(each, f"w{n}") for n, each in enumerate(singles)]), requests
    )
    waiting, started = runtime.log.waiting, time.process_time_ns()
    runtime.flush()
    found["log_us_a_row"] = round((time.process_time_ns() - started) / 1000 / waiting, 2)
    shadowed = route(second)
    started = time.process_time_ns()
    for number, batch in enumerate(batches):
        shadowed.predict(ENDPOINT, batch, f"x{number}", at_us=at_us)
    half = time.process_time_ns()
    shadowed.flush()
    found["shadow"] = {
        "live_us_a_request": round((half - started) / 1000 / requests, 1),
        "behind_us_a_request": round((time.process_time_ns() - half) / 1000 / requests, 1),
    }
    splitter = Splitter(ENDPOINT, (Route(version=1, percent=95.0), Route(version=2, percent=5.0)))
    found["split_of_two"] = spent(lambda n: splitter.choose(f"N{n}"), requests)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=3000)
    parser.add_argument("--trees", type=int, default=300)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        settings = load_settings({"workspace": folder})
        with Workspace.open(settings=settings) as workspace:
            print(json.dumps(measured(workspace, given.requests, given.trees), indent=2))


if __name__ == "__main__":
    main()
