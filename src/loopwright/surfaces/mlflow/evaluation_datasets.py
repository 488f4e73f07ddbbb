"""MLflow's calls about evaluation datasets and their records."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

import msgspec

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.instants import to_micros
from loopwright.core.nesting import check_json
from loopwright.engine.context import Context
from loopwright.llm import datasets
from loopwright.llm.datasets import EvaluationDataset
from loopwright.llm.records import EvaluationRecord
from loopwright.surfaces.mlflow.routing import Route
from loopwright.surfaces.mlflow.wire import Int64, Message, Needed

__all__ = ["RECORDS_PARTS", "routes"]

_READ, _WRITE = "evaluation_dataset:read", "evaluation_dataset:write"
_RECORDS_BODY = 64 << 20
RECORDS_PARTS = 1_000_000
"""lists and objects in the JSON of records"""
_PAGE = 1_000
_VERSIONS = ("3.0",)


class OfDataset(Message, frozen=True):
    """A dataset by its id."""

    dataset_id: Needed


class NewDataset(Message, frozen=True):
    """A dataset to be made; tags are an object written as a text."""

    name: Needed
    experiment_ids: list[str] = []
    tags: str = ""


class Seek(Message, frozen=True):
    """Which datasets."""

    experiment_ids: list[str] = []
    filter_string: str = ""
    max_results: Int64 = 0
    order_by: list[str] = []
    page_token: str = ""


class Tagged(OfDataset, frozen=True):
    """Tags to set: an object written as a text."""

    tags: Needed


class Untagged(OfDataset, frozen=True):
    """A tag to take away."""

    key: Needed


class Upsert(OfDataset, frozen=True):
    """Records: a list of objects written as a text."""

    records: Needed


class SeekRecords(OfDataset, frozen=True):
    """Which records."""

    max_results: Int64 = 0
    page_token: str = ""


class Removal(OfDataset, frozen=True):
    """Records to take away."""

    dataset_record_ids: list[str] = []


class Linking(OfDataset, frozen=True):
    """Experiments to add or to take away."""

    experiment_ids: list[str] = []


class Shown(Message, frozen=True, kw_only=True):
    """A dataset as it is told."""

    dataset_id: str
    name: str
    tags: str
    schema: str | None = None
    profile: str | None = None
    digest: str
    created_time: int
    last_update_time: int
    created_by: str = ""
    last_updated_by: str = ""
    experiment_ids: tuple[str, ...] = ()


class DatasetReply(Message, frozen=True):
    """One dataset."""

    dataset: Shown


class DatasetsReply(Message, frozen=True):
    """A page of datasets."""

    datasets: list[Shown] = []
    next_page_token: str = ""


class Counts(msgspec.Struct, frozen=True):
    """What became of records."""

    inserted_count: int
    updated_count: int


class Removed(msgspec.Struct, frozen=True):
    """How many records went."""

    deleted_count: int


class RecordsReply(Message, frozen=True):
    """A page of records, written as a text."""

    records: str
    next_page_token: str = ""


class ExperimentsReply(Message, frozen=True):
    """Ids of experiments."""

    experiment_ids: tuple[str, ...] = ()


def routes() -> tuple[Route, ...]:
    """All routes of evaluation datasets."""
    return tuple(_routes())


def _routes() -> Iterable[Route]:
    one = "datasets/{dataset_id}"
    yield _route("POST", "datasets/create", _WRITE, NewDataset, _create)
    yield _route("GET", one, _READ, OfDataset, _get)
    yield _route("DELETE", one, _WRITE, OfDataset, _delete)
    yield _route("POST", "datasets/search", _READ, Seek, _search)
    yield _route("GET", "datasets/search", _READ, Seek, _search)
    yield _route("PATCH", f"{one}/tags", _WRITE, Tagged, _tag)
    yield _route("DELETE", f"{one}/tags/{{key}}", _WRITE, Untagged, _untag)
    yield _route("POST", f"{one}/records", _WRITE, Upsert, _upsert, body_limit=_RECORDS_BODY)
    yield _route("GET", f"{one}/records", _READ, SeekRecords, _records)
    yield _route("DELETE", f"{one}/records", _WRITE, Removal, _remove)
    yield _route("GET", f"{one}/experiment-ids", _READ, OfDataset, _experiments)
    yield _route("POST", f"{one}/add-experiments", _WRITE, Linking, _link)
    yield _route("POST", f"{one}/remove-experiments", _WRITE, Linking, _unlink)


def _route(method: str, path: str, scope: str, takes: type[Message], answer: Any, **more: Any) -> Route:
    return Route(
        method=method, path=path, scope=scope, takes=takes, answer=answer, versions=_VERSIONS, **more
    )


def _create(ctx: Context, asked: NewDataset) -> DatasetReply:
    tags = _object(asked.tags, "tags") if asked.tags else {}
    made = datasets.create(ctx, asked.name, tags=tags, experiments=tuple(asked.experiment_ids))
    return DatasetReply(dataset=_shown(made, with_experiments=True))


def _get(ctx: Context, asked: OfDataset) -> DatasetReply:
    return DatasetReply(dataset=_shown(datasets.show(ctx, asked.dataset_id)))


def _delete(ctx: Context, asked: OfDataset) -> None:
    """What is not there is not told: the caller wanted it gone."""
    try:
        datasets.delete(ctx, asked.dataset_id)
    except NotFound:
        return


def _search(ctx: Context, asked: Seek) -> DatasetsReply:
    found = datasets.datasets(
        ctx,
        where=asked.filter_string,
        order_by=tuple(asked.order_by),
        experiments=tuple(asked.experiment_ids),
        limit=asked.max_results or _PAGE,
        token=asked.page_token,
    )
    return DatasetsReply(datasets=[_shown(each) for each in found.items], next_page_token=found.next_token)


def _tag(ctx: Context, asked: Tagged) -> None:
    datasets.set_tags(ctx, asked.dataset_id, _object(asked.tags, "tags"))


def _untag(ctx: Context, asked: Untagged) -> None:
    datasets.unset_tag(ctx, asked.dataset_id, asked.key)


def _upsert(ctx: Context, asked: Upsert) -> Counts:
    given = _parsed(asked.records, "records")
    if not isinstance(given, list):
        raise Invalid("Invalid value for parameter 'records' supplied: a list of records is needed")
    done = datasets.merge(ctx, asked.dataset_id, given)
    return Counts(done.inserted, done.updated)


def _records(ctx: Context, asked: SeekRecords) -> RecordsReply:
    page = datasets.records(ctx, asked.dataset_id, limit=asked.max_results or _PAGE, token=asked.page_token)
    told = json.dumps([_told(asked.dataset_id, each) for each in page.items])
    return RecordsReply(records=told, next_page_token=page.next_token)


def _remove(ctx: Context, asked: Removal) -> Removed:
    return Removed(datasets.delete_records(ctx, asked.dataset_id, tuple(asked.dataset_record_ids)))


def _experiments(ctx: Context, asked: OfDataset) -> ExperimentsReply:
    return ExperimentsReply(experiment_ids=datasets.experiments_of(ctx, asked.dataset_id))


def _link(ctx: Context, asked: Linking) -> DatasetReply:
    return DatasetReply(dataset=_shown(datasets.link(ctx, asked.dataset_id, tuple(asked.experiment_ids))))


def _unlink(ctx: Context, asked: Linking) -> DatasetReply:
    return DatasetReply(dataset=_shown(datasets.unlink(ctx, asked.dataset_id, tuple(asked.experiment_ids))))


# -- how they are read and told --------------------------------------------------------------


def _parsed(text: str, name: str) -> Any:
    """JSON as Python writes it: what is no number (an empty cell of a table) is nothing."""
    try:
        check_json(text.encode(), parts=RECORDS_PARTS)
        return json.loads(text, parse_constant=lambda _: None, parse_int=_whole, parse_float=_real)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"Invalid value for parameter '{name}' supplied: it is no JSON ({error})") from error


def _whole(digits: str) -> int:
    if len(digits) > 19 or not -(2**63) <= int(digits) < 2**63:
        raise ValueError("a whole number has more than 64 bits")
    return int(digits)


def _real(digits: str) -> float | None:
    found = float(digits)
    return found if math.isfinite(found) else None


def _object(text: str, name: str) -> dict[str, Any]:
    found = _parsed(text, name)
    if not isinstance(found, dict):
        raise Invalid(f"Invalid value for parameter '{name}' supplied: an object is needed")
    return found


def _shown(found: EvaluationDataset, *, with_experiments: bool = False) -> Shown:
    profile = {"num_records": found.records} if found.records else None
    return Shown(
        dataset_id=found.id,
        name=found.name,
        tags=json.dumps(found.tags),
        schema=None if found.columns is None else json.dumps(found.columns),
        profile=None if found.records is None else json.dumps(profile),
        digest=found.digest,
        created_time=to_micros(found.created_at) // 1000,
        last_update_time=to_micros(found.updated_at) // 1000,
        created_by=found.created_by,
        last_updated_by=found.updated_by,
        experiment_ids=found.experiments if with_experiments else (),
    )


def _told(dataset_id: str, record: EvaluationRecord) -> dict[str, Any]:
    told: dict[str, Any] = {
        "dataset_record_id": record.id,
        "dataset_id": dataset_id,
        "inputs": record.inputs,
        "created_time": to_micros(record.created_at) // 1000,
        "last_update_time": to_micros(record.updated_at) // 1000,
        "tags": record.tags,
    }
    if record.outputs is not None:
        told["outputs"] = record.outputs
    if record.expectations is not None:
        told["expectations"] = record.expectations
    if record.source is not None:
        kind, data = record.source.source_type.value, record.source.source_data
        told["source"] = {"source_type": kind, "source_data": data}
        told["source_type"] = kind
        known = data.get("trace_id" if kind == "TRACE" else "source_id")
        if known:
            told["source_id"] = known
    who = {"created_by": record.created_by, "last_updated_by": record.updated_by}
    return told | {name: value for name, value in who.items() if value}
