"""Runs and what they log, as MLflow's clients read and write them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec

from loopwright.core.instants import from_micros, to_micros
from loopwright.core.nouns import FoundRun, Run
from loopwright.surfaces.mlflow.failures import missing
from loopwright.surfaces.mlflow.wire import Int64, Message, Needed, Pair, number, pairs
from loopwright.tracking.inputs import DatasetRead

__all__ = [
    "CONTEXT_TAG",
    "DatasetInput",
    "Info",
    "Millis",
    "ModelInput",
    "ModelOutput",
    "OfRun",
    "RunMessage",
    "info_of",
    "instant",
    "run_id_of",
    "run_of",
    "texts",
]

CONTEXT_TAG = "mlflow.data.context"
_LAST_MS = 253_402_300_799_999

Millis = Annotated[int, msgspec.Meta(ge=0, le=_LAST_MS)]
"""milliseconds since 1970, until the year 9999"""


class OfRun(Message, frozen=True, kw_only=True):
    """A run by its id, in either of the fields that clients use."""

    run_id: str = ""
    run_uuid: str = ""


class Dataset(Message, frozen=True, kw_only=True):
    """A dataset as clients describe it."""

    name: Needed
    digest: Needed
    source_type: str = ""
    source: str = ""
    schema: str | None = None
    profile: str | None = None


class DatasetInput(Message, frozen=True, kw_only=True):
    """A dataset that a run read, and what for."""

    tags: list[Pair] = []
    dataset: Dataset


class ModelInput(Message, frozen=True, kw_only=True):
    """A logged model that a run read."""

    model_id: Needed


class ModelOutput(msgspec.Struct, frozen=True):
    """A logged model that a run made."""

    model_id: Needed
    step: Int64 = 0


class Metric(msgspec.Struct, frozen=True, gc=False):
    """A point as it is told."""

    key: str
    value: float | str
    timestamp: int
    step: int


class Info(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What a run is."""

    run_uuid: str
    experiment_id: str
    run_name: str
    user_id: str
    status: str
    start_time: int
    end_time: int | None = None
    artifact_uri: str
    lifecycle_stage: str
    run_id: str


class Data(Message, frozen=True, kw_only=True):
    """What a run logged."""

    metrics: list[Metric] = []
    params: list[Pair] = []
    tags: list[Pair] = []


class Inputs(Message, frozen=True, kw_only=True):
    """What a run read."""

    dataset_inputs: list[DatasetInput] = []
    model_inputs: list[ModelInput] = []


class Outputs(Message, frozen=True, kw_only=True):
    """What a run made."""

    model_outputs: list[ModelOutput] = []


class RunMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A run as it is told."""

    info: Info
    data: Data
    inputs: Inputs
    outputs: Outputs | None = None


def run_id_of(asked: OfRun) -> str:
    """The id in either field."""
    found = asked.run_id or asked.run_uuid
    if not found:
        raise missing("run_id")
    return found


def instant(millis: int) -> datetime:
    """The instant of milliseconds."""
    return from_micros(millis * 1000)


def _millis(instant: datetime | None) -> int | None:
    return None if instant is None else to_micros(instant) // 1000


def texts(given: list[Pair]) -> tuple[tuple[str, str], ...]:
    """Tags or params in their order; one without a value is empty."""
    return tuple([(pair.key, pair.value or "") for pair in given])


def info_of(run: Run, experiment_id: str) -> Info:
    """What a run is, as it is told."""
    uri = run.facts.get("artifact_uri")
    return Info(
        run_uuid=run.id,
        experiment_id=experiment_id,
        run_name=run.name,
        user_id=run.facts.get("user_id", ""),
        status=run.state.name,
        start_time=_millis(run.started_at) or 0,
        end_time=_millis(run.ended_at),
        artifact_uri=uri if isinstance(uri, str) else f"mlflow-artifacts:/{experiment_id}/{run.id}/artifacts",
        lifecycle_stage="active" if run.deleted_at is None else "deleted",
        run_id=run.id,
    )


def run_of(found: FoundRun, experiment_id: str, *, is_new: bool = False) -> RunMessage:
    """A run as it is told; one just made says nothing of what it made."""
    run = found.run
    return RunMessage(
        info=info_of(run, experiment_id),
        data=Data(
            metrics=[Metric(p.key, number(p.value), p.at_us // 1000, p.step) for p in found.metrics],
            params=pairs(run.params),
            tags=pairs(run.tags),
        ),
        inputs=Inputs(
            dataset_inputs=[_input(each) for each in run.facts.get("datasets", ())],
            model_inputs=[
                ModelInput(model_id=each["model_id"]) for each in run.facts.get("model_inputs", ())
            ],
        ),
        outputs=None if is_new else Outputs(model_outputs=_outputs(run)),
    )


def _outputs(run: Run) -> list[ModelOutput]:
    return [ModelOutput(each["model_id"], each.get("step", 0)) for each in run.facts.get("model_outputs", ())]


def _input(read: dict[str, Any]) -> DatasetInput:
    known = msgspec.convert(read, DatasetRead)
    tags = dict(known.tags)
    if known.context is not None:
        tags.setdefault(CONTEXT_TAG, known.context)
    return DatasetInput(
        tags=pairs(tags),
        dataset=Dataset(
            name=known.name,
            digest=known.digest,
            source_type=known.source_type,
            source=known.source,
            schema=known.schema,
            profile=known.profile,
        ),
    )
