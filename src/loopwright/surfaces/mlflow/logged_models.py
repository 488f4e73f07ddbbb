"""Logged models: what runs leave behind to be loaded, measured and registered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from loopwright.core.errors import Invalid
from loopwright.core.instants import to_micros
from loopwright.core.nouns import Run
from loopwright.core.queries import OnDataset
from loopwright.engine.context import Context
from loopwright.ports.ledger import Transaction
from loopwright.registry import finding, logged
from loopwright.registry.nouns import LoggedModel, LoggedModelState, ModelPoint
from loopwright.surfaces.mlflow.artifacts import files_of
from loopwright.surfaces.mlflow.failures import NoRoute
from loopwright.surfaces.mlflow.registry import tags_of
from loopwright.surfaces.mlflow.routing import Route
from loopwright.surfaces.mlflow.wire import Int64, Message, Needed, Pair, number, pairs, shown
from loopwright.tracking.grammar import ModelOrder
from loopwright.tracking.homes import in_model
from loopwright.tracking.limits import check_size, duplicate
from loopwright.tracking.paths import folder_path

__all__ = ["Measured", "measured", "routes"]

_READ, _WRITE = "model:read", "model:write"
_PATH = "logged-models"
_MOST = 1_000
_STATES = {
    LoggedModelState.PENDING: "LOGGED_MODEL_PENDING",
    LoggedModelState.READY: "LOGGED_MODEL_READY",
    LoggedModelState.FAILED: "LOGGED_MODEL_UPLOAD_FAILED",
}
_MEANT = {
    **{word: state for state, word in _STATES.items()},
    **{str(number): state for number, state in enumerate(_STATES, start=1)},
}


class NewLogged(Message, frozen=True):
    """A logged model about to be filled."""

    experiment_id: Needed
    name: str = ""
    model_type: str = ""
    source_run_id: str = ""
    params: list[Pair] = []
    tags: list[Pair] = []


class Identified(Message, frozen=True):
    """A logged model."""

    model_id: Needed


class Fetched(Identified, frozen=True):
    """A logged model, perhaps one in the trash."""

    allow_deleted: bool = False


class Finalized(Identified, frozen=True):
    """What became of it."""

    status: Any
    """the name of a state, or its number"""


class TaggedLogged(Identified, frozen=True):
    """Tags of a logged model."""

    tags: list[Pair] = []


class UntaggedLogged(Identified, frozen=True):
    """A tag of a logged model that goes."""

    tag_key: Needed


class WithParams(Identified, frozen=True):
    """More params of a logged model."""

    params: list[Pair] = []


class Listed(Identified, frozen=True):
    """A folder of a logged model."""

    artifact_directory_path: str = ""


class OnData(Message, frozen=True):
    """A dataset that something was measured on."""

    dataset_name: str = ""
    dataset_digest: str | None = None


class SeekLogged(Message, frozen=True):
    """A search among logged models."""

    experiment_ids: list[str]
    filter: str = ""
    datasets: list[OnData] = []
    max_results: Int64 = 100
    order_by: list[ModelOrder] = []
    page_token: str = ""


class InfoShown(Message, frozen=True):
    """What a logged model is."""

    model_id: str
    experiment_id: str
    name: str
    creation_timestamp_ms: int
    last_updated_timestamp_ms: int
    artifact_uri: str
    status: str
    model_type: str
    source_run_id: str
    tags: list[Pair] = []


class PointShown(Message, frozen=True):
    """A point of a logged model's metric."""

    key: str
    value: float | str
    timestamp: int
    step: int
    model_id: str
    run_id: str
    dataset_name: str = ""
    dataset_digest: str = ""


class DataShown(Message, frozen=True):
    """What it was made with, and what was measured of it."""

    params: list[Pair] = []
    metrics: list[PointShown] = []


class LoggedShown(Message, frozen=True):
    """A logged model as clients know it."""

    info: InfoShown
    data: DataShown


class LoggedReply(Message, frozen=True):
    """One logged model."""

    model: LoggedShown


class LoggedPage(Message, frozen=True):
    """A page of logged models."""

    models: list[LoggedShown] = []
    next_page_token: str = ""


class Measured(Protocol):
    """A point that a run logs, perhaps of a logged model and on a dataset."""

    @property
    def key(self) -> str:
        """The metric."""

    @property
    def value(self) -> float:
        """What was measured."""

    @property
    def timestamp(self) -> int:
        """Milliseconds since 1970."""

    @property
    def step(self) -> int:
        """The step."""

    @property
    def model_id(self) -> str | None:
        """The logged model, where it is of one."""

    @property
    def dataset_name(self) -> str | None:
        """The dataset it was measured on."""

    @property
    def dataset_digest(self) -> str | None:
        """Which state of the dataset."""


def routes() -> tuple[Route, ...]:
    """All routes of logged models but those of their files, which are artifacts as any other."""
    one = f"{_PATH}/{{model_id}}"
    return (
        _route("POST", _PATH, _WRITE, NewLogged, _create),
        _route("POST", f"{_PATH}/search", _READ, SeekLogged, _search),
        _route("GET", one, _READ, Fetched, _get),
        _route("PATCH", one, _WRITE, Finalized, _finalize),
        _route("DELETE", one, _WRITE, Identified, _delete),
        _route("PATCH", f"{one}/tags", _WRITE, TaggedLogged, _tag),
        _route("DELETE", f"{one}/tags/{{tag_key...}}", _WRITE, UntaggedLogged, _untag),
        _route("POST", f"{one}/params", _WRITE, WithParams, _add_params),
        _route("GET", f"{one}/artifacts/directories", _READ, Listed, _files),
    )


def _route(method: str, path: str, scope: str, takes: type[Message], answer: Any) -> Route:
    """What changes something and reads nothing beside is carried out where writes are."""
    writes = answer in {_delete, _tag, _untag, _add_params}
    return Route(method=method, path=path, scope=scope, takes=takes, answer=answer, writes=writes)


def _create(ctx: Context, asked: NewLogged) -> LoggedReply:
    made = logged.create(
        ctx,
        asked.experiment_id,
        asked.name,
        model_type=asked.model_type,
        source_run_id=asked.source_run_id,
        params=_once(asked.params),
        tags=tags_of(asked.tags),
    )
    return _reply(made)


def _once(params: list[Pair]) -> dict[str, str]:
    twice = duplicate([each.key for each in params])
    if twice is not None:
        raise Invalid(f"Duplicate parameter keys have been submitted: ['{shown(twice)}'].")
    return {each.key: each.value or "" for each in params}


def _get(ctx: Context, asked: Fetched) -> LoggedReply:
    if "/" in asked.model_id:
        raise NoRoute("no logged model has such an id", hint="an id is m- and 32 hex digits")
    return _reply(*logged.show(ctx, asked.model_id, trashed=asked.allow_deleted))


def _finalize(ctx: Context, asked: Finalized) -> LoggedReply:
    state = _MEANT.get(str(asked.status))
    if state is None:
        raise Invalid(
            f"Invalid value {shown(str(asked.status))} for parameter 'status' supplied: no state of a model",
            hint=f"the states are {', '.join(_STATES.values())}",
        )
    logged.finalize(ctx, asked.model_id, state)
    return _reply(*logged.show(ctx, asked.model_id))


def _delete(ctx: Context, asked: Identified) -> None:
    logged.delete(ctx, asked.model_id)


def _tag(ctx: Context, asked: TaggedLogged) -> None:
    logged.set_tags(ctx, asked.model_id, tags_of(asked.tags))


def _untag(ctx: Context, asked: UntaggedLogged) -> None:
    logged.unset_tag(ctx, asked.model_id, asked.tag_key)


def _add_params(ctx: Context, asked: WithParams) -> None:
    logged.add_params(ctx, asked.model_id, _once(asked.params))


def _files(ctx: Context, asked: Listed) -> Any:
    path = folder_path(asked.artifact_directory_path)
    return files_of(ctx, lambda tx: in_model(tx, ctx.space, asked.model_id, path))


def measured(
    ctx: Context, run_id: str, points: Iterable[Measured]
) -> Callable[[Transaction, Run], None] | None:
    """What keeps the points of a run that are of logged models, in its own unit of work; None for none."""
    found = [_model_point(run_id, point) for point in points if point.model_id]
    return (lambda tx, _: logged.measure(ctx, tx, found)) if found else None


def _model_point(run_id: str, point: Measured) -> ModelPoint:
    return ModelPoint(
        model_id=point.model_id or "",
        run_id=run_id,
        key=point.key,
        value=point.value,
        step=point.step,
        at_us=point.timestamp * 1000,
        dataset_name=point.dataset_name or "",
        dataset_digest=point.dataset_digest or "",
    )


def _search(ctx: Context, asked: SeekLogged) -> LoggedPage:
    found = finding.search(
        ctx,
        asked.experiment_ids,
        where=asked.filter,
        datasets=[OnDataset(each.dataset_name, each.dataset_digest or None) for each in asked.datasets],
        order=asked.order_by,
        limit=check_size(asked.max_results, _MOST),
        token=asked.page_token,
    )
    models = [_shown(each.model, each.points) for each in found.items]
    return LoggedPage(models=models, next_page_token=found.next_token)


def _reply(model: LoggedModel, points: tuple[ModelPoint, ...] = ()) -> LoggedReply:
    return LoggedReply(model=_shown(model, points))


def _shown(model: LoggedModel, points: tuple[ModelPoint, ...]) -> LoggedShown:
    info = InfoShown(
        model_id=model.id,
        experiment_id=model.experiment_id,
        name=model.name,
        creation_timestamp_ms=to_micros(model.created_at) // 1000,
        last_updated_timestamp_ms=to_micros(model.updated_at) // 1000,
        artifact_uri=model.artifact_uri,
        status=_STATES[model.state],
        model_type=model.model_type,
        source_run_id=model.source_run_id,
        tags=pairs(model.tags),
    )
    data = DataShown(params=pairs(model.params), metrics=[_point(each) for each in points])
    return LoggedShown(info=info, data=data)


def _point(point: ModelPoint) -> PointShown:
    return PointShown(
        key=point.key,
        value=number(point.value),
        timestamp=point.at_us // 1000,
        step=point.step,
        model_id=point.model_id,
        run_id=point.run_id,
        dataset_name=point.dataset_name,
        dataset_digest=point.dataset_digest,
    )
