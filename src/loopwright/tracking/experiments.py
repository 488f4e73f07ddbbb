"""Experiments: assets that runs belong to, found by id or by name, renamed, tagged, put in the trash."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from urllib.parse import unquote

from msgspec.structs import replace

from loopwright.core.addresses import Address
from loopwright.core.digests import digest_value
from loopwright.core.errors import Invalid, NotFound, Taken
from loopwright.core.instants import to_micros
from loopwright.core.nouns import Asset, Json
from loopwright.core.queries import Field, Lifecycle
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.ports.ledger import Page, PageRequest, Transaction
from loopwright.tracking.at_hand import Values, page_of, place_by, predicate
from loopwright.tracking.dialects import EXPERIMENTS
from loopwright.tracking.grammar import parse_filter, parse_order
from loopwright.tracking.limits import KEY, check_keys, check_length

__all__ = [
    "DEFAULT_ID",
    "KIND",
    "by_id",
    "by_name",
    "check_id",
    "create",
    "default_id",
    "delete",
    "every",
    "experiments",
    "find",
    "known",
    "located",
    "make",
    "names",
    "rename",
    "rename_experiment",
    "restore",
    "search",
    "set_tag",
    "show",
    "trash",
    "unset_tag",
    "untrash",
]

KIND = "experiment"
DEFAULT_ID = "0"
"""by which clients ask for the experiment of those who name none, in whatever space they are"""
_DEFAULT_NAME = "Default"
_DEFAULT_SPACE = "default"
_ID_SIGNS = 26
_NAME = 500
_TAG = 100_000
_PAGE = 1_000
_ID = re.compile(r"-?\d{1,32}\Z|[0-9a-z]{26}\Z")
_ROOT = "mlflow-artifacts:/"
_STORES = re.compile(r"(mlflow-artifacts|s3|gs|wasbs?|abfss?|hdfs|r2|b2|oss|dbfs)://?", re.IGNORECASE)
_ROUNDS = 8
_BEFORE = timedelta(milliseconds=1)
"""the default experiment is older than whatever was made when it was first needed"""


# -- found -------------------------------------------------------------------------------


def default_id(space: str) -> str:
    """The id that the default experiment of a space has: ids are of one space alone."""
    if space == _DEFAULT_SPACE:
        return DEFAULT_ID
    return digest_value(["default experiment", space])[:_ID_SIGNS]


def find(ctx: Context, experiment_id: str) -> Asset:
    """The experiment of that id, in the trash or not; `NotFound`, or `Invalid` for what is no id."""
    with ctx.read() as tx:
        found = known(tx, ctx.space, experiment_id)
    if found is None and experiment_id in {DEFAULT_ID, default_id(ctx.space)}:
        return ctx.write(lambda tx: _ensure_default(ctx, tx))
    if found is None:
        raise _no_id(experiment_id)
    return found


def by_id(ctx: Context, tx: Transaction, experiment_id: str) -> Asset:
    """As `find`, in a unit of work; the default one is made when it is not there yet."""
    found = known(tx, ctx.space, experiment_id)
    if found is not None:
        return found
    if experiment_id in {DEFAULT_ID, default_id(ctx.space)}:
        return _ensure_default(ctx, tx)
    raise _no_id(experiment_id)


def by_name(ctx: Context, name: str) -> Asset:
    """The experiment of that name, in the trash or not, else `NotFound`."""
    if name == _DEFAULT_NAME:
        _make_default(ctx)
    with ctx.read() as tx:
        found = tx.assets.find(ctx.space, KIND, name)
    if found is None:
        raise NotFound(f"Could not find experiment with name '{name[:100]}'", hint="experiments list")
    return found


def located(asset: Asset) -> str:
    """Where an experiment's files are: an address under which each run has a folder."""
    told = asset.facts.get("artifact_location")
    return told if isinstance(told, str) and told else f"{_ROOT}{asset.id}"


def check_id(experiment_id: str) -> None:
    """Raise `Invalid` for what no experiment could have for an id."""
    if _ID.match(experiment_id) is None:
        raise Invalid(
            f"Invalid experiment ID: '{experiment_id[:100]}'", hint="an id has digits alone, or 26 letters"
        )


def known(tx: Transaction, space: str, experiment_id: str) -> Asset | None:
    """The experiment of that id or None; `Invalid` for what is no id."""
    check_id(experiment_id)
    try:
        found = tx.assets.get(default_id(space) if experiment_id == DEFAULT_ID else experiment_id)
    except NotFound:
        return None
    return found if (found.kind, found.space) == (KIND, space) else None


def _no_id(experiment_id: str) -> NotFound:
    return NotFound(f"No Experiment with id={experiment_id} exists", hint="loopwright experiments list")


def _make_default(ctx: Context) -> None:
    """Make the default experiment unless it is there."""
    with ctx.read() as tx:
        is_there = tx.assets.find(ctx.space, KIND, _DEFAULT_NAME) is not None
    if not is_there:
        ctx.write(lambda tx: _ensure_default(ctx, tx))


def _ensure_default(ctx: Context, tx: Transaction) -> Asset:
    found = known(tx, ctx.space, DEFAULT_ID) or tx.assets.find(ctx.space, KIND, _DEFAULT_NAME)
    if found is not None:
        return found
    asset = _new(ctx, default_id(ctx.space), _DEFAULT_NAME)
    earlier = asset.created_at - _BEFORE
    return _added(ctx, tx, replace(asset, created_at=earlier, updated_at=earlier))


# -- made and changed ----------------------------------------------------------------------


def make(
    ctx: Context, name: str, *, artifact_location: str = "", tags: Mapping[str, str] | None = None
) -> Asset:
    """A new experiment; `Taken` when the name is one of an experiment already, in the trash or not."""
    check_length("name", name, _NAME)
    _check_name(name)
    place = _checked_location(artifact_location)
    facts: Json = {"artifact_location": place} if place else {}
    _check_tags(tags or {})
    _make_default(ctx)

    def work(tx: Transaction) -> Asset:
        _check_free(ctx, tx, name)
        return _added(ctx, tx, _new(ctx, ctx.new_id(), name, facts, tags))

    return ctx.write(work)


def _check_free(ctx: Context, tx: Transaction, name: str) -> None:
    found = tx.assets.find(ctx.space, KIND, name)
    if found is not None:
        is_deleted = found.deleted_at is not None
        raise Taken(
            f"Experiment(name={name[:100]}) already exists" + (" in the trash" if is_deleted else ""),
            hint="restore it, or choose another name" if is_deleted else "choose another name",
        )


def _new(
    ctx: Context, asset_id: str, name: str, facts: Json | None = None, tags: Mapping[str, str] | None = None
) -> Asset:
    now = ctx.now()
    return Asset(
        id=asset_id,
        space=ctx.space,
        kind=KIND,
        name=name,
        created_at=now,
        created_by=ctx.principal.name,
        tags=dict(tags or {}),
        facts=facts or {},
        updated_at=now,
    )


def _added(ctx: Context, tx: Transaction, asset: Asset) -> Asset:
    tx.assets.add(asset)
    ctx.record(tx, "asset.created", Address(kind=KIND, name=asset.name), {"asset": asset.id})
    return asset


def rename(ctx: Context, experiment_id: str, name: str) -> Asset:
    """Give an experiment another name; its runs go with it. `Taken` when another one has it."""
    check_length("name", name, _NAME)
    _check_name(name)

    def change(tx: Transaction, asset: Asset, now: datetime) -> Asset:
        if asset.name == name:
            return asset
        _check_free(ctx, tx, name)
        renamed = replace(asset, name=name, updated_at=now)
        tx.assets.update(renamed)
        payload = {"from": asset.name, "to": name, "kind": KIND}
        ctx.record(tx, "asset.renamed", f"asset:{asset.id}", payload)
        return renamed

    return _changed(ctx, experiment_id, change)


def set_tag(ctx: Context, experiment_id: str, key: str, value: str) -> Asset:
    """Set a tag, or another value of it."""
    _check_tags({key: value})

    def change(tx: Transaction, asset: Asset, now: datetime) -> Asset:
        return _tagged(ctx, tx, replace(asset, tags={**asset.tags, key: value}, updated_at=now), key)

    return _changed(ctx, experiment_id, change)


def unset_tag(ctx: Context, experiment_id: str, key: str) -> Asset:
    """Take a tag away; `NotFound` when it is not there."""

    def change(tx: Transaction, asset: Asset, now: datetime) -> Asset:
        if key not in asset.tags:
            raise NotFound(
                f"No tag with name: {key[:100]} in experiment with id {asset.id}",
                hint="it may be gone already",
            )
        left = {name: value for name, value in asset.tags.items() if name != key}
        return _tagged(ctx, tx, replace(asset, tags=left, updated_at=now), key)

    return _changed(ctx, experiment_id, change)


def _tagged(ctx: Context, tx: Transaction, asset: Asset, key: str) -> Asset:
    tx.assets.update(asset)
    ctx.record(tx, "asset.tagged", Address(kind=KIND, name=asset.name), {"asset": asset.id, "key": key})
    return asset


def _changed(
    ctx: Context, experiment_id: str, change: Callable[[Transaction, Asset, datetime], Asset]
) -> Asset:
    """What a change makes of an experiment; `Invalid` when it is in the trash."""

    def work(tx: Transaction) -> Asset:
        asset = by_id(ctx, tx, experiment_id)
        if asset.deleted_at is not None:
            raise Invalid(
                f"The experiment {asset.id} must be in the 'active' state. Current state is deleted.",
                hint="restore it first",
            )
        return change(tx, asset, ctx.now())

    return ctx.write(work)


def trash(ctx: Context, experiment_id: str) -> Asset:
    """Put an experiment in the trash, and its runs with it; `NotFound` when it is there already."""

    def work(tx: Transaction) -> Asset:
        asset, now = by_id(ctx, tx, experiment_id), ctx.now()
        if asset.deleted_at is not None:
            raise _no_id(experiment_id)
        gone = replace(asset, deleted_at=now, updated_at=now)
        tx.assets.update(gone)
        tx.runs.mark_deleted(ctx.space, asset.name, before=None, after=now)
        ctx.record(tx, "asset.deleted", Address(kind=KIND, name=asset.name), {"asset": asset.id})
        return gone

    return ctx.write(work)


def untrash(ctx: Context, experiment_id: str) -> Asset:
    """Take an experiment out of the trash with the runs that went there with it, else `NotFound`."""

    def work(tx: Transaction) -> Asset:
        asset = by_id(ctx, tx, experiment_id)
        if asset.deleted_at is None:
            raise _no_id(experiment_id)
        back = replace(asset, deleted_at=None, updated_at=ctx.now())
        tx.assets.update(back)
        tx.runs.mark_deleted(ctx.space, asset.name, before=asset.deleted_at, after=None)
        ctx.record(tx, "asset.restored", Address(kind=KIND, name=asset.name), {"asset": asset.id})
        return back

    return ctx.write(work)


def _check_name(name: str) -> None:
    if not name.strip() or "\0" in name:
        raise Invalid(
            f"Invalid experiment name: '{name[:100]}'", hint="give a name of letters that can be seen"
        )


def _check_tags(tags: Mapping[str, str]) -> None:
    for key, value in tags.items():
        check_length("key", key, KEY)
        check_keys([key], "key", "key")
        check_length("value", value, _TAG)


def _checked_location(text: str) -> str:
    """An address of a store that clients or this server keep files in; `Invalid` for one that leads out."""
    if not text:
        return ""
    plain, rounds = unquote(text), 0
    while (again := unquote(plain)) != plain and rounds < _ROUNDS:
        plain, rounds = again, rounds + 1
    is_store = _STORES.match(plain) is not None and ":" not in _before_host(plain)
    parts = plain.replace("\\", "/").split("/")
    if not is_store or set("?#\\\0") & set(plain) or {".", ".."} & set(parts) or not plain.isprintable():
        raise Invalid(
            "Invalid artifact_location: it names no store, leads out of its root, or holds a password",
            hint="write mlflow-artifacts:/folder, s3://bucket/folder or none",
        )
    return text.rstrip("/")


def _before_host(address: str) -> str:
    """Who is named before the `@` of an address, perhaps with a password."""
    return address.partition("://")[2].partition("/")[0].rpartition("@")[0]


# -- searched ------------------------------------------------------------------------------


def search(
    ctx: Context,
    text: str | None = None,
    order: tuple[str, ...] = (),
    *,
    lifecycle: Lifecycle = "active",
    page: PageRequest,
) -> Page[Asset]:
    """Experiments that a filter is about, in the order asked for."""
    where = predicate(parse_filter(text, EXPERIMENTS), _look)
    keys = parse_order(order, EXPERIMENTS)
    _make_default(ctx)
    found = [asset for asset in every(ctx) if _is_asked(asset, lifecycle) and where(asset)]
    shown = page_of(found, place_by(_look), keys, limit=page.limit, token=page.token)
    return Page(items=shown.items, next_token=shown.next_token)


def every(ctx: Context) -> list[Asset]:
    """All experiments, in the trash or not, by name."""
    found: list[Asset] = []
    with ctx.read() as tx:
        token = ""
        while True:
            page = tx.assets.page(ctx.space, KIND, PageRequest(limit=_PAGE, token=token))
            found += page.items
            token = page.next_token
            if not token:
                return found


def names(ctx: Context) -> list[str]:
    """The names of all experiments that are not in the trash."""
    return [asset.name for asset in every(ctx) if asset.deleted_at is None]


def _is_asked(asset: Asset, lifecycle: Lifecycle) -> bool:
    return lifecycle == "all" or (asset.deleted_at is None) == (lifecycle == "active")


def _look(asset: Asset, field: Field) -> Values:
    if field.kind == "tag":
        return [asset.tags[field.key]] if field.key in asset.tags else []
    match field.key:
        case "name":
            return [asset.name]
        case "experiment_id":
            return [asset.id]
        case "creation_time":
            return [to_micros(asset.created_at) // 1000]
        case _:
            return [to_micros(asset.updated_at or asset.created_at) // 1000]


# -- by hand -------------------------------------------------------------------------------


@operation("experiments.list", scope="experiment:read", route="GET /experiments")
def experiments(
    ctx: Context,
    *,
    filter: str | None = None,
    order: tuple[str, ...] = (),
    lifecycle: Lifecycle = "active",
    limit: int = 100,
    token: str = "",
) -> Page[Asset]:
    """List experiments, newest first, or those that a filter is about (`name LIKE 'delay%'`)."""
    if not 1 <= limit <= _PAGE:
        raise Invalid(f"limit {limit} is out of range", hint=f"ask for 1 to {_PAGE} experiments")
    return search(ctx, filter, order, lifecycle=lifecycle, page=PageRequest(limit=limit, token=token))


@operation("experiments.show", scope="experiment:read", route="GET /experiments/{name}")
def show(ctx: Context, name: str) -> Asset:
    """Show an experiment by its name."""
    return by_name(ctx, name)


@operation("experiments.create", scope="experiment:write", route="POST /experiments")
def create(
    ctx: Context, name: str, *, artifact_location: str = "", tags: Mapping[str, str] | None = None
) -> Asset:
    """Make an experiment; runs that name one that is not there make it too."""
    return make(ctx, name, artifact_location=artifact_location, tags=tags)


@operation("experiments.rename", scope="experiment:write", route="POST /experiments/{name}/rename")
def rename_experiment(ctx: Context, name: str, to: str) -> Asset:
    """Give an experiment another name; its runs go with it."""
    return rename(ctx, by_name(ctx, name).id, to)


@operation("experiments.delete", scope="experiment:write", route="DELETE /experiments/{name}")
def delete(ctx: Context, name: str) -> Asset:
    """Put an experiment and its runs in the trash; its name stays taken."""
    return trash(ctx, by_name(ctx, name).id)


@operation("experiments.restore", scope="experiment:write", route="POST /experiments/{name}/restore")
def restore(ctx: Context, name: str) -> Asset:
    """Take an experiment out of the trash, and the runs that went with it."""
    return untrash(ctx, by_name(ctx, name).id)
