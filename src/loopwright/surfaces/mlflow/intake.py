"""MLflow's calls by which runs log: points, params, tags, and what they read and made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.nouns import MetricPoint
from loopwright.engine.context import Context
from loopwright.surfaces.mlflow.logged_models import measured
from loopwright.surfaces.mlflow.messages import (
    CONTEXT_TAG,
    DatasetInput,
    Millis,
    ModelInput,
    ModelOutput,
    OfRun,
    run_id_of,
    texts,
)
from loopwright.surfaces.mlflow.routing import BODY_LIMIT, Route
from loopwright.surfaces.mlflow.wire import Int64, Needed, Pair
from loopwright.tracking import inputs, intake
from loopwright.tracking.inputs import DatasetRead, ModelUse
from loopwright.tracking.intake import Batch

__all__ = ["Point", "point_of", "routes"]

_BATCH_LIMIT = 1_000_000
_INPUTS_LIMIT = 20_000_000
"""profiles of datasets are long"""


class LogMetric(OfRun, frozen=True, kw_only=True):
    """One point."""

    key: Needed
    value: float
    timestamp: Millis
    step: Int64 = 0
    model_id: str = ""
    dataset_name: str = ""
    dataset_digest: str = ""


class Point(msgspec.Struct, frozen=True, gc=False):
    """A point in a batch."""

    key: Needed
    value: float
    timestamp: Millis
    step: Int64 = 0
    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None


class LogParam(OfRun, frozen=True, kw_only=True):
    """One param or tag."""

    key: Needed
    value: str | None = None


class DeleteTag(OfRun, frozen=True, kw_only=True):
    """The tag to take away."""

    key: Needed


class LogBatch(OfRun, frozen=True, kw_only=True):
    """Points, params and tags at once."""

    metrics: list[Point] = []
    params: list[Pair] = []
    tags: list[Pair] = []


class LogInputs(OfRun, frozen=True, kw_only=True):
    """What a run read."""

    datasets: list[DatasetInput] = []
    models: list[ModelInput] = []


class LogOutputs(OfRun, frozen=True, kw_only=True):
    """What a run made."""

    models: list[ModelOutput]


class LogModel(OfRun, frozen=True, kw_only=True):
    """The older way of telling of a model."""

    model_json: Needed


def routes() -> tuple[Route, ...]:
    """All calls by which runs log."""
    return (
        _post("runs/log-metric", LogMetric, _log_metric),
        _post("runs/log-parameter", LogParam, _log_param),
        _post("runs/log-batch", LogBatch, _log_batch, _BATCH_LIMIT),
        _post("runs/set-tag", LogParam, _set_tag),
        _post("runs/delete-tag", DeleteTag, _delete_tag),
        _post("runs/log-inputs", LogInputs, _log_inputs, _INPUTS_LIMIT),
        _post("runs/outputs", LogOutputs, _log_outputs),
        _post("runs/log-model", LogModel, _log_model),
    )


def _post(
    path: str, takes: type[OfRun], answer: Callable[[Context, Any], None], limit: int = BODY_LIMIT
) -> Route:
    return Route(
        method="POST",
        path=path,
        scope="run:write",
        takes=takes,
        answer=answer,
        writes=True,
        body_limit=limit,
    )


def point_of(asked: Point | LogMetric) -> MetricPoint:
    """A point as it is kept; `Invalid` for a dataset that is half named."""
    if bool(asked.dataset_name) != bool(asked.dataset_digest):
        raise Invalid("Both dataset_name and dataset_digest must be provided if one is provided")
    value = intake.storable(asked.value)
    return MetricPoint(key=asked.key, value=value, step=asked.step, at_us=asked.timestamp * 1000)


def _log_metric(ctx: Context, asked: LogMetric) -> None:
    run_id = run_id_of(asked)
    of_models = measured(ctx, run_id, [asked])
    intake.log_batch(ctx, run_id, Batch(points=[point_of(asked)]), also=of_models)


def _log_batch(ctx: Context, asked: LogBatch) -> None:
    batch = Batch(
        points=[point_of(point) for point in asked.metrics],
        params=texts(asked.params),
        tags=texts(asked.tags),
    )
    run_id = run_id_of(asked)
    intake.log_batch(ctx, run_id, batch, also=measured(ctx, run_id, asked.metrics))


def _log_param(ctx: Context, asked: LogParam) -> None:
    intake.log_param(ctx, run_id_of(asked), asked.key, asked.value or "")


def _set_tag(ctx: Context, asked: LogParam) -> None:
    intake.set_tag(ctx, run_id_of(asked), asked.key, asked.value or "")


def _delete_tag(ctx: Context, asked: DeleteTag) -> None:
    intake.unset_tag(ctx, run_id_of(asked), asked.key)


def _log_inputs(ctx: Context, asked: LogInputs) -> None:
    datasets = [_read(each) for each in asked.datasets]
    models = [ModelUse(model_id=each.model_id) for each in asked.models]
    inputs.log_inputs(ctx, run_id_of(asked), datasets, models)


def _read(told: DatasetInput) -> DatasetRead:
    tags = dict(texts(told.tags))
    return DatasetRead(
        name=told.dataset.name,
        digest=told.dataset.digest,
        source_type=told.dataset.source_type,
        source=told.dataset.source,
        schema=told.dataset.schema,
        profile=told.dataset.profile,
        context=tags.get(CONTEXT_TAG),
        tags=tags,
    )


def _log_outputs(ctx: Context, asked: LogOutputs) -> None:
    models = [ModelUse(model_id=each.model_id, step=each.step) for each in asked.models]
    inputs.log_outputs(ctx, run_id_of(asked), models)


def _log_model(ctx: Context, asked: LogModel) -> None:
    inputs.log_model(ctx, run_id_of(asked), asked.model_json)
