"""From one prediction back to everything that made it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from loopwright.core.addresses import Address, parse_address
from loopwright.core.errors import Invalid, NotFound
from loopwright.core.expressions import col
from loopwright.core.instants import from_micros
from loopwright.core.nouns import Decision, Json, LinkRole, Version, VersionRef
from loopwright.data.allowing import refusals
from loopwright.data.streams import read_stream
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.engine.renaming import names_of
from loopwright.features.nouns import VECTOR_PREFIX, Purpose
from loopwright.features.rules import reads_of
from loopwright.features.verbs import service_of
from loopwright.ports.ledger import PageRequest
from loopwright.registry.nouns import ModelBody
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
    withheld: Mapping[str, str] = {}
    """what was asked, and inputs, that may not be read for the purpose: why, and whom to ask"""


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


def _permitted(ctx: Context, told: Told, body: ModelBody, purpose: str) -> Told:
    """The prediction without what may not be read: as columns of the training set are told of.

    What the caller gave is told of by its own column there, and by the inputs that are made of nothing else.
    """
    trained = _trained_on(ctx, parse_address(body.training_set))
    inputs = {f"{VECTOR_PREFIX}{name}": name for name in told.inputs}
    refused = refusals(ctx, trained, {*inputs, *told.asked}, purpose)
    if not refused:
        return told
    why = {column: f"{each.message}: {each.hint}" for column, each in refused.items()}
    withheld = {inputs.get(column, column): text for column, text in why.items()}
    for output in service_of(ctx, body.service).outputs:
        reads = reads_of(output.expr)
        if output.name in withheld and reads <= told.asked.keys():
            withheld |= dict.fromkeys(reads - withheld.keys(), withheld[output.name])
    return replace(
        told,
        asked={name: value for name, value in told.asked.items() if name not in withheld},
        inputs={name: value for name, value in told.inputs.items() if name not in withheld},
        withheld=withheld,
    )


def _trained_on(ctx: Context, told: Address) -> Version | str:
    """The training set; where retention let it go the newest one, which is made of the same, or its name."""
    with ctx.read() as tx:
        names = tuple(names_of(tx, ctx.space, told.kind, told.name))
    for selector in (told.selector, None):
        for name in names:
            with suppress(NotFound):
                found: Version = resolve(ctx, replace(told, name=name, selector=selector))
                return found
    return told.name


def _number(value: Any) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


@operation("loops.why", scope="prediction:read", route="GET /why/{address}", command="why")
def why(ctx: Context, address: str, *, purpose: Purpose = "") -> Origin:
    """Say what a prediction came from: model version, run, code, definitions, data and gate decisions.

    Inputs, and what the caller gave, that are columns that may not be read for the purpose, or are made of
    them, are not told, and whom to ask is.
    """
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
        prediction=_permitted(ctx, told, body, purpose),
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
