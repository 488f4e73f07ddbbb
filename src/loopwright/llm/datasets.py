"""Evaluation datasets: named sets of records that prompts, agents and models are tried on.

Each is an asset named by its id, since their names repeat; the name people know is a fact of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec
from msgspec.structs import replace

from loopwright.core.addresses import Address
from loopwright.core.digests import digest_value
from loopwright.core.errors import Invalid, NotFound
from loopwright.core.instants import to_micros
from loopwright.core.nouns import Asset, Json
from loopwright.core.queries import Field
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.llm.records import (
    USER_TAG,
    EvaluationRecord,
    NewRecord,
    erase_records,
    page_of_records,
    put_record,
    read_new,
    remove_records,
)
from loopwright.ports.ledger import Page, PageRequest, Transaction
from loopwright.tracking.at_hand import Values, page_of, place_by, predicate
from loopwright.tracking.dialects import EVALUATION_DATASETS
from loopwright.tracking.experiments import by_id
from loopwright.tracking.grammar import parse_filter, parse_order
from loopwright.tracking.limits import check_length, check_size
from loopwright.tracking.names import hex_id

__all__ = [
    "KIND",
    "EvaluationDataset",
    "Facts",
    "Merged",
    "added",
    "create",
    "datasets",
    "delete",
    "delete_records",
    "experiments_of",
    "link",
    "merge",
    "records",
    "set_tags",
    "show",
    "unlink",
    "unset_tag",
]

KIND = "evaluation_dataset"
_NAME = 255
_TAG_KEY, _TAG_VALUE = 255, 5_000
_MOST = 50_000
_BATCH = 10_000
_PART = 2_000
_RING = 1 << 256
_TYPES: tuple[tuple[type, str], ...] = (
    (bool, "boolean"),
    (int, "integer"),
    (float, "float"),
    (str, "string"),
    (list, "array"),
    (dict, "object"),
)


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the asset of a dataset keeps."""

    name: str
    created_by: str = ""
    updated_by: str = ""
    experiments: tuple[str, ...] = ()
    columns: Json | None = None
    records: int | None = None
    content: str = "0"
    """sum of the digests of its records modulo 2^256, in hex: the same records give the same in any order"""


class EvaluationDataset(msgspec.Struct, frozen=True, kw_only=True):
    """A set of records to try something on."""

    id: str
    """`d-` and 32 hex digits"""
    name: str
    digest: str
    """of its name and records: the same content has the same digest"""
    created_at: datetime
    updated_at: datetime
    created_by: str
    updated_by: str
    tags: dict[str, str]
    columns: Json | None
    """types of inputs, outputs and expectations by name, as they came first; None before the first record"""
    records: int | None
    """how many records it has; None before the first"""
    experiments: tuple[str, ...]


class Merged(msgspec.Struct, frozen=True, kw_only=True):
    """How many records were new, and how many were joined with one of the same inputs."""

    inserted: int
    updated: int


def _read(asset: Asset) -> EvaluationDataset:
    facts = msgspec.convert(asset.facts, Facts)
    return EvaluationDataset(
        id=asset.name,
        name=facts.name,
        digest=digest_value([facts.name, facts.content])[:8],
        created_at=asset.created_at,
        updated_at=asset.updated_at or asset.created_at,
        created_by=facts.created_by,
        updated_by=facts.updated_by,
        tags=asset.tags,
        columns=facts.columns,
        records=facts.records,
        experiments=facts.experiments,
    )


def _known(ctx: Context, tx: Transaction, dataset_id: str) -> Asset:
    found = tx.assets.find(ctx.space, KIND, dataset_id)
    if found is None or found.deleted_at is not None:
        raise NotFound(
            f"Evaluation dataset with id '{dataset_id[:100]}' not found", hint="loopwright evaluation list"
        )
    return found


def _changed(ctx: Context, tx: Transaction, asset: Asset, what: str) -> EvaluationDataset:
    tx.assets.update(asset)
    ctx.record(tx, "asset.changed", Address(kind=KIND, name=asset.name), {"what": what})
    return _read(asset)


def _checked(tags: Mapping[str, Any]) -> dict[str, str]:
    for key, value in tags.items():
        check_length("tag key", key, _TAG_KEY)
        check_length("tag value", str(value), _TAG_VALUE)
    return {key: str(value) for key, value in tags.items() if value is not None}


@operation("evaluation.create", scope="evaluation_dataset:write", route="POST /evaluation/datasets")
def create(
    ctx: Context,
    name: str,
    *,
    tags: Mapping[str, str] | None = None,
    experiments: tuple[str, ...] = (),
) -> EvaluationDataset:
    """Begin an evaluation dataset, perhaps of some experiments (by id); names may repeat."""
    check_length("name", name, _NAME)
    if not name.strip():
        raise Invalid("an evaluation dataset needs a name", hint="give it one", where="name")
    kept = _checked(tags or {})
    who = kept.get(USER_TAG, "")
    fresh = ctx.new_id()

    def work(tx: Transaction) -> EvaluationDataset:
        for experiment_id in experiments:
            by_id(ctx, tx, experiment_id)
        facts = Facts(
            name=name, created_by=who, updated_by=who, experiments=tuple(dict.fromkeys(experiments))
        )
        asset = Asset(
            id=fresh,
            space=ctx.space,
            kind=KIND,
            name=f"d-{hex_id(fresh)}",
            created_at=ctx.now(),
            created_by=ctx.principal.name,
            tags=kept,
            facts=msgspec.to_builtins(facts),
            updated_at=ctx.now(),
        )
        tx.assets.add(asset)
        ctx.record(tx, "asset.created", Address(kind=KIND, name=asset.name), {"asset": asset.id})
        return _read(asset)

    return ctx.write(work)


@operation("evaluation.show", scope="evaluation_dataset:read", route="GET /evaluation/datasets/{dataset_id}")
def show(ctx: Context, dataset_id: str) -> EvaluationDataset:
    """Show an evaluation dataset without its records."""
    with ctx.read() as tx:
        return _read(_known(ctx, tx, dataset_id))


@operation("evaluation.list", scope="evaluation_dataset:read", route="GET /evaluation/datasets")
def datasets(
    ctx: Context,
    *,
    where: str = "",
    order_by: tuple[str, ...] = (),
    experiments: tuple[str, ...] = (),
    limit: int = 1_000,
    token: str = "",
) -> Page[EvaluationDataset]:
    """List evaluation datasets, newest first: `name LIKE 'qa%' AND tags.team = 'blue'`."""
    condition = parse_filter(where, EVALUATION_DATASETS)
    keys = parse_order(order_by, EVALUATION_DATASETS)
    holds, asked = predicate(condition, _look), frozenset(experiments)
    with ctx.read() as tx:
        there = [
            found
            for found in _all(ctx, tx)
            if holds(found) and (not asked or asked & frozenset(found.experiments))
        ]
    page = page_of(there, place_by(_look), keys, limit=check_size(limit, _MOST), token=token)
    return Page(items=page.items, next_token=page.next_token)


def _all(ctx: Context, tx: Transaction) -> Iterator[EvaluationDataset]:
    request = PageRequest(limit=_BATCH)
    while True:
        page = tx.assets.page(ctx.space, KIND, request)
        yield from (_read(asset) for asset in page.items if asset.deleted_at is None)
        if not page.next_token:
            return
        request = PageRequest(limit=_BATCH, token=page.next_token)


def _look(found: EvaluationDataset, field: Field) -> Values:
    if field.kind == "tag":
        value = found.tags.get(field.key)
        return () if value is None else (value,)
    match field.key:
        case "created_time":
            return (to_micros(found.created_at) // 1000,)
        case "last_update_time":
            return (to_micros(found.updated_at) // 1000,)
        case "created_by":
            return (found.created_by,) if found.created_by else ()
        case "last_updated_by":
            return (found.updated_by,) if found.updated_by else ()
        case "name":
            return (found.name,)
    return (found.id,)


@operation(
    "evaluation.delete", scope="evaluation_dataset:write", route="DELETE /evaluation/datasets/{dataset_id}"
)
def delete(ctx: Context, dataset_id: str) -> EvaluationDataset:
    """Delete an evaluation dataset with all its records; they do not come back."""
    with ctx.read() as tx:
        found = _read(_known(ctx, tx, dataset_id))
    erase_records(ctx, dataset_id)

    def work(tx: Transaction) -> EvaluationDataset:
        asset = replace(_known(ctx, tx, dataset_id), deleted_at=ctx.now())
        tx.assets.update(asset)
        ctx.record(tx, "asset.deleted", Address(kind=KIND, name=dataset_id), {"asset": asset.id})
        return found

    return ctx.write(work)


@operation(
    "evaluation.merge",
    scope="evaluation_dataset:write",
    route="POST /evaluation/datasets/{dataset_id}/records",
)
def merge(ctx: Context, dataset_id: str, records: list[Json]) -> Merged:
    """Add records; one of inputs that are there already is joined with that record.

    Up to 2,000 records are one unit of work; of more, each further 2,000 are another.
    """
    new = [read_new(each, f"records[{at}]") for at, each in enumerate(records)]
    left, inserted, updated = iter(new), 0, 0
    while True:
        part = list(islice(left, _PART))
        if not part and new:
            return Merged(inserted=inserted, updated=updated)
        done = ctx.write(_merging(ctx, dataset_id, part))
        inserted, updated = inserted + done.inserted, updated + done.updated
        if not new:
            return done


def _merging(ctx: Context, dataset_id: str, new: Sequence[NewRecord]) -> Callable[[Transaction], Merged]:
    def work(tx: Transaction) -> Merged:
        asset = _known(ctx, tx, dataset_id)
        facts = msgspec.convert(asset.facts, Facts)
        content, inserted, who = int(facts.content, 16), 0, ""
        for record in new:
            body, before = put_record(ctx, tx, dataset_id, record)
            content += _weight(body) - (0 if before is None else _weight(before))
            inserted += before is None
            who = str((record.tags or {}).get(USER_TAG, "")) or who
        count = (facts.records or 0) + inserted
        facts = replace(
            facts,
            content=f"{content % _RING:x}",
            records=count or facts.records,
            updated_by=who,
            columns=_columns(facts.columns, new),
        )
        updated = replace(asset, facts=msgspec.to_builtins(facts), updated_at=ctx.now())
        _changed(ctx, tx, updated, f"{inserted} records new, {len(new) - inserted} joined")
        return Merged(inserted=inserted, updated=len(new) - inserted)

    return work


def added(facts: Facts, bodies: Sequence[Json]) -> Facts:
    """The facts of a dataset with further records, whose documents these are."""
    if not bodies:
        return facts
    content = int(facts.content, 16) + sum(map(_weight, bodies))
    return replace(facts, content=f"{content % _RING:x}", records=(facts.records or 0) + len(bodies))


def _weight(body: Json) -> int:
    """A record's share of the digest: what it says, not when it was said or under which id."""
    said = {key: body.get(key) for key in ("inputs", "outputs", "expectations", "tags", "source")}
    return int(digest_value(said), 16)


def _columns(known: Json | None, new: Sequence[NewRecord]) -> Json | None:
    """Types by name, as each name came first; those of outputs that are no object are one type."""
    if known is None and not new:
        return None
    found: Json = {"inputs": {}, "outputs": {}, "expectations": {}, "version": "1.0", **(known or {})}
    for record in new:
        outputs = None if record.outputs is msgspec.UNSET else record.outputs
        found["inputs"] = {**_types(record.inputs), **found["inputs"]}
        found["expectations"] = {**_types(record.expectations or {}), **found["expectations"]}
        if isinstance(outputs, dict) and isinstance(found["outputs"], dict):
            found["outputs"] = {**_types(outputs), **found["outputs"]}
        elif outputs is not None and not found["outputs"]:
            found["outputs"] = _type(outputs)
    return found


def _types(values: Json) -> dict[str, str]:
    return {name: _type(value) for name, value in values.items()}


def _type(value: object) -> str:
    return next((name for kind, name in _TYPES if isinstance(value, kind)), "null")


@operation(
    "evaluation.records",
    scope="evaluation_dataset:read",
    route="GET /evaluation/datasets/{dataset_id}/records",
)
def records(ctx: Context, dataset_id: str, *, limit: int = 1_000, token: str = "") -> Page[EvaluationRecord]:
    """List the records of an evaluation dataset in the order they were made."""
    request = PageRequest(limit=check_size(limit, _MOST), token=token)
    with ctx.read() as tx:
        _known(ctx, tx, dataset_id)
        return page_of_records(ctx, tx, dataset_id, request)


@operation(
    "evaluation.remove",
    scope="evaluation_dataset:write",
    route="POST /evaluation/datasets/{dataset_id}/records/remove",
)
def delete_records(ctx: Context, dataset_id: str, record_ids: tuple[str, ...]) -> int:
    """Take records away by id; how many were there."""
    if len(record_ids) > _BATCH:
        raise Invalid(f"{len(record_ids)} records at once", hint=f"take {_BATCH} away at a time")

    def work(tx: Transaction) -> int:
        asset = _known(ctx, tx, dataset_id)
        gone = remove_records(ctx, tx, dataset_id, record_ids)
        if gone:
            facts = msgspec.convert(asset.facts, Facts)
            content = int(facts.content, 16) - sum(_weight(body) for body in gone)
            facts = replace(
                facts, content=f"{content % _RING:x}", records=max(0, (facts.records or 0) - len(gone))
            )
            left = replace(asset, facts=msgspec.to_builtins(facts))
            _changed(ctx, tx, left, f"{len(gone)} records removed")
        return len(gone)

    return ctx.write(work)


@operation(
    "evaluation.tag", scope="evaluation_dataset:write", route="PATCH /evaluation/datasets/{dataset_id}/tags"
)
def set_tags(ctx: Context, dataset_id: str, tags: Mapping[str, Any]) -> EvaluationDataset:
    """Set tags of an evaluation dataset beside those it has; a null one is passed over."""
    kept = _checked(tags)

    def work(tx: Transaction) -> EvaluationDataset:
        asset = _known(ctx, tx, dataset_id)
        return _changed(ctx, tx, replace(asset, tags={**asset.tags, **kept}), "tags")

    return ctx.write(work)


def unset_tag(ctx: Context, dataset_id: str, key: str) -> None:
    """Take a tag away; nothing happens when there is no such tag, or dataset."""

    def work(tx: Transaction) -> None:
        asset = tx.assets.find(ctx.space, KIND, dataset_id)
        if asset is not None and asset.deleted_at is None and key in asset.tags:
            left = {name: value for name, value in asset.tags.items() if name != key}
            _changed(ctx, tx, replace(asset, tags=left), f"tag {key}")

    ctx.write(work)


def experiments_of(ctx: Context, dataset_id: str) -> tuple[str, ...]:
    """Ids of the experiments that a dataset belongs to; none for what is no dataset."""
    with ctx.read() as tx:
        asset = tx.assets.find(ctx.space, KIND, dataset_id)
    return () if asset is None or asset.deleted_at is not None else _read(asset).experiments


@operation(
    "evaluation.link",
    scope="evaluation_dataset:write",
    route="POST /evaluation/datasets/{dataset_id}/experiments",
)
def link(ctx: Context, dataset_id: str, experiments: tuple[str, ...]) -> EvaluationDataset:
    """Let an evaluation dataset belong to further experiments, by id."""

    def change(tx: Transaction, facts: Facts) -> tuple[str, ...]:
        for experiment_id in experiments:
            by_id(ctx, tx, experiment_id)
        return tuple(dict.fromkeys((*facts.experiments, *experiments)))

    return _linked(ctx, dataset_id, change)


@operation(
    "evaluation.unlink",
    scope="evaluation_dataset:write",
    route="POST /evaluation/datasets/{dataset_id}/experiments/remove",
)
def unlink(ctx: Context, dataset_id: str, experiments: tuple[str, ...]) -> EvaluationDataset:
    """Let an evaluation dataset no longer belong to experiments; others are passed over."""
    return _linked(
        ctx,
        dataset_id,
        lambda _tx, facts: tuple(each for each in facts.experiments if each not in experiments),
    )


def _linked(
    ctx: Context, dataset_id: str, change: Callable[[Transaction, Facts], tuple[str, ...]]
) -> EvaluationDataset:
    def work(tx: Transaction) -> EvaluationDataset:
        asset = _known(ctx, tx, dataset_id)
        facts = msgspec.convert(asset.facts, Facts)
        kept = msgspec.to_builtins(replace(facts, experiments=change(tx, facts)))
        return _changed(ctx, tx, replace(asset, facts=kept, updated_at=ctx.now()), "experiments")

    return ctx.write(work)
