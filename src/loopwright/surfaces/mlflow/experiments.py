"""MLflow's calls about experiments."""

from __future__ import annotations

from typing import Literal

from loopwright.core.instants import to_micros
from loopwright.core.nouns import Asset
from loopwright.core.queries import Lifecycle
from loopwright.engine.context import Context
from loopwright.ports.ledger import PageRequest
from loopwright.surfaces.mlflow.routing import Route
from loopwright.surfaces.mlflow.wire import Int64, Message, Needed, Pair, pairs
from loopwright.tracking import experiments, searching
from loopwright.tracking.limits import check_size

__all__ = ["LIFECYCLES", "View", "experiment_of", "routes"]

View = Literal["ACTIVE_ONLY", "DELETED_ONLY", "ALL"]
LIFECYCLES: dict[View, Lifecycle] = {"ACTIVE_ONLY": "active", "DELETED_ONLY": "deleted", "ALL": "all"}
_MOST = 50_000


class ById(Message, frozen=True, kw_only=True):
    """An experiment by its id."""

    experiment_id: Needed


class ByName(Message, frozen=True, kw_only=True):
    """An experiment by its name."""

    experiment_name: Needed


class Create(Message, frozen=True, kw_only=True):
    """A new experiment."""

    name: Needed
    artifact_location: str = ""
    tags: list[Pair] = []


class Created(Message, frozen=True, kw_only=True):
    """Its id."""

    experiment_id: str


class Update(Message, frozen=True, kw_only=True):
    """A new name."""

    experiment_id: Needed
    new_name: Needed


class SetTag(Message, frozen=True, kw_only=True):
    """A tag of an experiment."""

    experiment_id: Needed
    key: Needed
    value: str | None = None


class DeleteTag(Message, frozen=True, kw_only=True):
    """The tag to take away."""

    experiment_id: Needed
    key: Needed


class Search(Message, frozen=True, kw_only=True):
    """Which experiments."""

    max_results: Int64 = 0
    page_token: str = ""
    filter: str = ""
    order_by: list[str] = []
    view_type: View = "ACTIVE_ONLY"


class SearchDatasets(Message, frozen=True, kw_only=True):
    """Whose datasets."""

    experiment_ids: list[str] = []


class Experiment(Message, frozen=True, kw_only=True):
    """An experiment as it is told."""

    experiment_id: str
    name: str
    artifact_location: str
    lifecycle_stage: str
    last_update_time: int
    creation_time: int
    tags: list[Pair] = []
    workspace: str


class Got(Message, frozen=True, kw_only=True):
    """One experiment."""

    experiment: Experiment


class Found(Message, frozen=True, kw_only=True):
    """Experiments of one page."""

    experiments: list[Experiment] = []
    next_page_token: str = ""


class DatasetSummary(Message, frozen=True, kw_only=True):
    """A dataset as it is told."""

    experiment_id: str
    name: str
    digest: str
    context: str = ""


class FoundDatasets(Message, frozen=True, kw_only=True):
    """Datasets that runs read."""

    dataset_summaries: list[DatasetSummary] = []


def routes() -> tuple[Route, ...]:
    """All calls about experiments."""
    read, write = "experiment:read", "experiment:write"
    tag = "experiments/set-experiment-tag"
    untag = "experiments/delete-experiment-tag"
    datasets = "experiments/search-datasets"
    return (
        Route(
            method="POST", path="experiments/create", scope=write, takes=Create, answer=_create, writes=True
        ),
        Route(method="GET", path="experiments/get", scope=read, takes=ById, answer=_get),
        Route(method="GET", path="experiments/get-by-name", scope=read, takes=ByName, answer=_get_by_name),
        Route(
            method="POST", path="experiments/update", scope=write, takes=Update, answer=_update, writes=True
        ),
        Route(method="POST", path="experiments/delete", scope=write, takes=ById, answer=_delete, writes=True),
        Route(
            method="POST", path="experiments/restore", scope=write, takes=ById, answer=_restore, writes=True
        ),
        Route(method="POST", path="experiments/search", scope=read, takes=Search, answer=_search),
        Route(method="GET", path="experiments/search", scope=read, takes=Search, answer=_search),
        Route(method="POST", path=tag, scope=write, takes=SetTag, answer=_set_tag, writes=True),
        Route(method="POST", path=untag, scope=write, takes=DeleteTag, answer=_delete_tag, writes=True),
        Route(method="POST", path=datasets, scope=read, takes=SearchDatasets, answer=_datasets),
    )


def experiment_of(asset: Asset) -> Experiment:
    """An experiment as it is told."""
    return Experiment(
        experiment_id=asset.id,
        name=asset.name,
        artifact_location=experiments.located(asset),
        lifecycle_stage="active" if asset.deleted_at is None else "deleted",
        last_update_time=to_micros(asset.updated_at or asset.created_at) // 1000,
        creation_time=to_micros(asset.created_at) // 1000,
        tags=pairs(asset.tags),
        workspace=asset.space,
    )


def _create(ctx: Context, asked: Create) -> Created:
    tags = {tag.key: tag.value or "" for tag in asked.tags}
    made = experiments.make(ctx, asked.name, artifact_location=asked.artifact_location, tags=tags)
    return Created(experiment_id=made.id)


def _get(ctx: Context, asked: ById) -> Got:
    return Got(experiment=experiment_of(experiments.find(ctx, asked.experiment_id)))


def _get_by_name(ctx: Context, asked: ByName) -> Got:
    return Got(experiment=experiment_of(experiments.by_name(ctx, asked.experiment_name)))


def _update(ctx: Context, asked: Update) -> None:
    experiments.rename(ctx, asked.experiment_id, asked.new_name)


def _delete(ctx: Context, asked: ById) -> None:
    experiments.trash(ctx, asked.experiment_id)


def _restore(ctx: Context, asked: ById) -> None:
    experiments.untrash(ctx, asked.experiment_id)


def _set_tag(ctx: Context, asked: SetTag) -> None:
    experiments.set_tag(ctx, asked.experiment_id, asked.key, asked.value or "")


def _delete_tag(ctx: Context, asked: DeleteTag) -> None:
    experiments.unset_tag(ctx, asked.experiment_id, asked.key)


def _search(ctx: Context, asked: Search) -> Found:
    page = PageRequest(limit=check_size(asked.max_results, _MOST), token=asked.page_token)
    lifecycle = LIFECYCLES[asked.view_type]
    found = experiments.search(ctx, asked.filter, tuple(asked.order_by), lifecycle=lifecycle, page=page)
    return Found(experiments=[experiment_of(each) for each in found.items], next_page_token=found.next_token)


def _datasets(ctx: Context, asked: SearchDatasets) -> FoundDatasets:
    searching.check_datasets_asked(asked.experiment_ids)
    found = searching.datasets_of(ctx, asked.experiment_ids)
    return FoundDatasets(
        dataset_summaries=[
            DatasetSummary(
                experiment_id=each.experiment_id, name=each.name, digest=each.digest, context=each.context
            )
            for each in found
        ]
    )
