"""From one prediction back to everything that made it."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import msgspec

from loopwright.core.addresses import Address, parse_address
from loopwright.core.errors import Invalid, NotFound
from loopwright.core.expressions import col
from loopwright.core.instants import from_micros
from loopwright.core.nouns import Decision, Json, LinkRole, VersionRef
from loopwright.data.streams import read_stream
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.ports.ledger import PageRequest
from loopwright.registry.verbs import body_of

__all__ = ["Origin", "Told", "why"]

_PREFIX = "predictions/"


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """The prediction itself, as it was logged."""

    id: str
    endpoint: str
    at: datetime
    score: float
    version: int
    variant: str
    asked: Json
    """what the caller gave"""
    inputs: Json
    """what the model saw"""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a prediction came from."""

    prediction: Told
    model: VersionRef
    run: str
    code: str
    """digest of the code and settings it was trained by"""
    parameters: Json
    trained_until: datetime
    training_set: str
    service: str
    views: tuple[VersionRef, ...]
    datasets: tuple[VersionRef, ...]
    decisions: tuple[Decision, ...]


def _row(ctx: Context, wanted: str) -> Told:
    with ctx.read() as tx:
        streams = [name for name in tx.segments.streams(ctx.space) if name.startswith(_PREFIX)]
    for stream in streams:
        rows = read_stream(ctx, stream, where=col("prediction_id").eq(wanted)).to_pylist()
        live = [row for row in rows if row["variant"] != "shadow"] or rows
        if live:
            return _told(stream.removeprefix(_PREFIX), live[0])
    raise NotFound(
        f"no prediction {wanted!r} is in the log",
        hint="the reply to a request names it; what was asked in the last second may not be written yet",
    )


def _told(endpoint: str, row: dict[str, Any]) -> Told:
    at = row["at"]
    return Told(
        id=row["prediction_id"],
        endpoint=endpoint,
        at=at if isinstance(at, datetime) else from_micros(at),
        score=row["score"],
        version=row["model_version"],
        variant=row["variant"],
        asked={name[3:]: value for name, value in row.items() if name.startswith("in_")},
        inputs={name[2:]: _number(value) for name, value in row.items() if name.startswith("x_")},
    )


def _number(value: Any) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


@operation("loops.why", scope="prediction:read", route="GET /why/{address}", command="why")
def why(ctx: Context, address: str) -> Origin:
    """Say what a prediction came from: model version, run, code, definitions, data and gate decisions."""
    wanted = parse_address(address, kind="prediction")
    if wanted.kind != "prediction":
        raise Invalid(f"{address} is not a prediction", hint="write loopwright why prediction:<id>")
    told = _row(ctx, wanted.name)
    config = manifest_of(ctx, resolve(ctx, Address(kind="endpoint", name=told.endpoint))).body
    model = resolve(ctx, f"{Address(kind='model', name=config['model'])}@{told.version}")
    body = body_of(ctx, model)
    with ctx.read() as tx:
        links = tx.runs.links(model.run_id) if model.run_id else ()
        decisions = tx.decisions.page(ctx.space, PageRequest(limit=50), subject=str(model.ref)).items
    read = [link.version for link in links if link.role is LinkRole.INPUT]
    return Origin(
        prediction=told,
        model=model.ref,
        run=f"run:{model.run_id}",
        code=body.code,
        parameters=body.params,
        trained_until=body.trained_until,
        training_set=body.training_set,
        service=body.service,
        views=tuple(version for version in read if version.kind == "feature_view"),
        datasets=tuple(version for version in read if version.kind == "dataset"),
        decisions=decisions,
    )
