"""MLflow's calls about runs: made, read, changed, found, and what they log."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.instants import from_micros, to_micros
from loopwright.core.nouns import FoundRun, MetricPoint, Run, RunState
from loopwright.engine.context import Context
from loopwright.ports.ledger import PageRequest
from loopwright.surfaces.mlflow.experiments import LIFECYCLES, View
from loopwright.surfaces.mlflow.failures import missing
from loopwright.surfaces.mlflow.logged_models import measured
from loopwright.surfaces.mlflow.routing import Route
from loopwright.surfaces.mlflow.wire import Int64, Message, Needed, Pair, number, pairs
from loopwright.tracking import inputs, intake, lifecycle, searching
from loopwright.tracking.inputs import DatasetRead, ModelUse
from loopwright.tracking.intake import Batch
from loopwright.tracking.lifecycle import NewRun
from loopwright.tracking.limits import check_size

__all__ = ["Millis", "Point", "point_of", "routes", "run_of"]

_MOST = 50_000
_PAGE = 1_000
_LAST_MS = 253_402_300_799_999
_MEGABYTE = 1_000_000
_WITH_PROFILES = 20_000_000

Millis = Annotated[int, msgspec.Meta(ge=0, le=_LAST_MS)]
"""milliseconds since 1970, until the year 9999"""

_STATES = {
    "RUNNING": RunState.RUNNING,
    "SCHEDULED": RunState.SCHEDULED,
    "FINISHED": RunState.FINISHED,
    "FAILED": RunState.FAILED,
    "KILLED": RunState.KILLED,
}
_NUMBERED = dict(enumerate(_STATES.values(), start=1))
_CONTEXT_TAG = "mlflow.data.context"


# -- what is asked -------------------------------------------------------------------------


class OfRun(Message, frozen=True, kw_only=True):
    """A run by its id, in either of the fields that clients use."""

    run_id: str = ""
    run_uuid: str = ""


class Create(Message, frozen=True, kw_only=True):
    """A new run."""

    experiment_id: str = ""
    user_id: str = ""
    run_name: str = ""
    start_time: Millis = 0
    tags: list[Pair] = []


class Update(OfRun, frozen=True, kw_only=True):
    """What of a run is to change."""

    status: str | int | None = None
    end_time: Millis | None = None
    run_name: str = ""


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


class Search(Message, frozen=True, kw_only=True):
    """Which runs."""

    experiment_ids: list[str] = []
    filter: str = ""
    run_view_type: View = "ACTIVE_ONLY"
    max_results: Int64 = _PAGE
    order_by: list[str] = []
    page_token: str = ""


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


# -- what is told ----------------------------------------------------------------------------


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


class Got(Message, frozen=True, kw_only=True):
    """One run."""

    run: RunMessage


class Updated(Message, frozen=True, kw_only=True):
    """What a run has become."""

    run_info: Info


class Found(Message, frozen=True, kw_only=True):
    """Runs of one page."""

    runs: list[RunMessage] = []
    next_page_token: str = ""


# -- routes ----------------------------------------------------------------------------------


def routes() -> tuple[Route, ...]:
    """All calls about runs."""
    read, write = "run:read", "run:write"
    batch, read_by = "runs/log-batch", "runs/log-inputs"
    return (
        Route(method="POST", path="runs/create", scope=write, takes=Create, answer=_create, writes=True),
        Route(method="GET", path="runs/get", scope=read, takes=OfRun, answer=_get),
        Route(method="POST", path="runs/update", scope=write, takes=Update, answer=_update, writes=True),
        Route(method="POST", path="runs/delete", scope=write, takes=OfRun, answer=_delete, writes=True),
        Route(method="POST", path="runs/restore", scope=write, takes=OfRun, answer=_restore, writes=True),
        Route(method="POST", path="runs/search", scope=read, takes=Search, answer=_search),
        Route(
            method="POST",
            path="runs/log-metric",
            scope=write,
            takes=LogMetric,
            answer=_log_metric,
            writes=True,
        ),
        Route(
            method="POST",
            path="runs/log-parameter",
            scope=write,
            takes=LogParam,
            answer=_log_param,
            writes=True,
        ),
        Route(method="POST", path="runs/set-tag", scope=write, takes=LogParam, answer=_set_tag, writes=True),
        Route(
            method="POST",
            path="runs/delete-tag",
            scope=write,
            takes=DeleteTag,
            answer=_delete_tag,
            writes=True,
        ),
        Route(
            method="POST",
            path=batch,
            scope=write,
            takes=LogBatch,
            answer=_log_batch,
            writes=True,
            body_limit=_MEGABYTE,
        ),
        Route(
            method="POST",
            path=read_by,
            scope=write,
            takes=LogInputs,
            answer=_log_inputs,
            writes=True,
            body_limit=_WITH_PROFILES,
        ),
        Route(
            method="POST",
            path="runs/outputs",
            scope=write,
            takes=LogOutputs,
            answer=_log_outputs,
            writes=True,
        ),
        Route(
            method="POST", path="runs/log-model", scope=write, takes=LogModel, answer=_log_model, writes=True
        ),
    )


def _id(asked: OfRun) -> str:
    found = asked.run_id or asked.run_uuid
    if not found:
        raise missing("run_id")
    return found


def _instant(millis: int) -> datetime:
    return from_micros(millis * 1000)


def _millis(instant: datetime | None) -> int | None:
    return None if instant is None else to_micros(instant) // 1000


def _texts(given: list[Pair]) -> tuple[tuple[str, str], ...]:
    return tuple([(pair.key, pair.value or "") for pair in given])


# -- runs as they are told ---------------------------------------------------------------------


def _info(run: Run, experiment_id: str) -> Info:
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
        info=_info(run, experiment_id),
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
        tags.setdefault(_CONTEXT_TAG, known.context)
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


# -- answers -----------------------------------------------------------------------------------


def _create(ctx: Context, asked: Create) -> Got:
    made = lifecycle.create_run(
        ctx,
        NewRun(
            experiment_id=asked.experiment_id or "0",
            name=asked.run_name,
            user=asked.user_id,
            started_at=_instant(asked.start_time),
            tags=dict(_texts(asked.tags)),
        ),
    )
    return Got(run=run_of(FoundRun(run=made, metrics=()), made.facts["experiment_id"], is_new=True))


def _get(ctx: Context, asked: OfRun) -> Got:
    found, experiment_id = searching.found(ctx, _id(asked))
    return Got(run=run_of(found, experiment_id))


def _update(ctx: Context, asked: Update) -> Updated:
    ended_at = None if asked.end_time is None else _instant(asked.end_time)
    changed = lifecycle.change_run(
        ctx, _id(asked), state=_state(asked.status), ended_at=ended_at, name=asked.run_name
    )
    return Updated(run_info=_info(changed, searching.experiment_id_of(ctx, changed)))


def _state(told: str | int | None) -> RunState | None:
    if told is None:
        return None
    found = _NUMBERED.get(told) if isinstance(told, int) else _STATES.get(told)
    if found is None:
        raise Invalid(
            f"Invalid value {told!r} for parameter 'status' supplied", hint=f"say one of {', '.join(_STATES)}"
        )
    return found


def _delete(ctx: Context, asked: OfRun) -> None:
    lifecycle.delete_run(ctx, _id(asked))


def _restore(ctx: Context, asked: OfRun) -> None:
    lifecycle.restore_run(ctx, _id(asked))


def _search(ctx: Context, asked: Search) -> Found:
    page = PageRequest(limit=check_size(asked.max_results, _MOST), token=asked.page_token)
    found = searching.search(
        ctx,
        asked.experiment_ids,
        asked.filter,
        asked.order_by,
        lifecycle=LIFECYCLES[asked.run_view_type],
        page=page,
    )
    runs = [run_of(each, found.experiment_ids[each.run.experiment or ""]) for each in found.page.items]
    return Found(runs=runs, next_page_token=found.page.next_token)


def point_of(asked: Point | LogMetric) -> MetricPoint:
    """A point as it is kept."""
    value = intake.storable(asked.value)
    return MetricPoint(key=asked.key, value=value, step=asked.step, at_us=asked.timestamp * 1000)


def _log_metric(ctx: Context, asked: LogMetric) -> None:
    run_id = _id(asked)
    of_models = measured(ctx, run_id, [asked])
    intake.log_batch(ctx, run_id, Batch(points=[point_of(asked)]), also=of_models)


def _log_batch(ctx: Context, asked: LogBatch) -> None:
    batch = Batch(
        points=[point_of(point) for point in asked.metrics],
        params=_texts(asked.params),
        tags=_texts(asked.tags),
    )
    run_id = _id(asked)
    intake.log_batch(ctx, run_id, batch, also=measured(ctx, run_id, asked.metrics))


def _log_param(ctx: Context, asked: LogParam) -> None:
    intake.log_param(ctx, _id(asked), asked.key, asked.value or "")


def _set_tag(ctx: Context, asked: LogParam) -> None:
    intake.set_tag(ctx, _id(asked), asked.key, asked.value or "")


def _delete_tag(ctx: Context, asked: DeleteTag) -> None:
    intake.unset_tag(ctx, _id(asked), asked.key)


def _log_inputs(ctx: Context, asked: LogInputs) -> None:
    datasets = [_read(each) for each in asked.datasets]
    models = [ModelUse(model_id=each.model_id) for each in asked.models]
    inputs.log_inputs(ctx, _id(asked), datasets, models)


def _read(told: DatasetInput) -> DatasetRead:
    tags = dict(_texts(told.tags))
    return DatasetRead(
        name=told.dataset.name,
        digest=told.dataset.digest,
        source_type=told.dataset.source_type,
        source=told.dataset.source,
        schema=told.dataset.schema,
        profile=told.dataset.profile,
        context=tags.get(_CONTEXT_TAG),
        tags=tags,
    )


def _log_outputs(ctx: Context, asked: LogOutputs) -> None:
    models = [ModelUse(model_id=each.model_id, step=each.step) for each in asked.models]
    inputs.log_outputs(ctx, _id(asked), models)


def _log_model(ctx: Context, asked: LogModel) -> None:
    inputs.log_model(ctx, _id(asked), asked.model_json)
