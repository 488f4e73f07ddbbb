"""Registered models: made, read, described, renamed, put in the trash, and found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from loopwright.core.addresses import Address
from loopwright.core.errors import NotFound, PolicyBlocked, Taken
from loopwright.core.instants import to_micros
from loopwright.core.nouns import Asset, Version
from loopwright.core.queries import Condition, Field, SortKey
from loopwright.engine.context import Context
from loopwright.engine.publishing import standing
from loopwright.ports.ledger import OrderedAsked, Transaction
from loopwright.registry.guarding import guarded_aliases
from loopwright.registry.naming import check_model_name, check_tag, check_tags, is_prompt
from loopwright.registry.nouns import KIND, RegisteredModel, Stage
from loopwright.tracking.at_hand import (
    Found,
    Values,
    mark_of,
    page_of,
    pinned,
    pinned_tags,
    place_by,
    predicate,
    told_texts,
)
from loopwright.tracking.dialects import REGISTERED_MODELS
from loopwright.tracking.grammar import models_only, parse_filter, parse_order

__all__ = [
    "TRASHED",
    "create",
    "delete",
    "describe",
    "latest_versions",
    "model_of",
    "noted_stages",
    "rename",
    "search",
    "set_tag",
    "show",
    "sought",
    "stage_of",
    "unset_tag",
]

TRASHED = "trashed"
"""the fact of a model in the trash: the name and the aliases it had"""
_STAGES = "stages"
_SPARE, _PIECE = 50, 10_000
_TRASH_NAME = 200


def model_of(ctx: Context, tx: Transaction, name: str) -> Asset:
    """The model of that name, else `NotFound`; one in the trash has another name."""
    found = tx.assets.find(ctx.space, KIND, name)
    if found is None or found.deleted_at is not None:
        raise NotFound(
            f"Registered Model with name={name[:200]} not found", hint="loopwright assets list --kind model"
        )
    return found


def stage_of(version: Version) -> Stage:
    """Where a version stands."""
    return Stage(version.stage) if version.stage else Stage.NONE


def create(ctx: Context, name: str, *, tags: Mapping[str, str] | None = None, description: str = "") -> Asset:
    """Make a model, or a prompt where its tags say so; `Taken` when the name is."""
    asset = Asset(
        id=ctx.new_id(),
        space=ctx.space,
        kind=KIND,
        name=check_model_name(name),
        created_at=ctx.now(),
        created_by=ctx.principal.name,
        tags=check_tags(tags or {}),
        description=description,
    )

    def work(tx: Transaction) -> Asset:
        _refuse_taken(tx.assets.find(ctx.space, KIND, name), asset)
        tx.assets.add(asset)
        ctx.record(tx, "asset.created", Address(kind=KIND, name=name), {"asset": asset.id})
        return asset

    return ctx.write(work)


def _refuse_taken(there: Asset | None, wanted: Asset) -> None:
    if there is None:
        return
    kinds = ["Prompt" if is_prompt(each.tags) else "Registered Model" for each in (there, wanted)]
    if kinds[0] == kinds[1]:
        raise Taken(f"{kinds[0]} (name={wanted.name}) already exists.")
    raise Taken(
        f"Tried to create a {kinds[1].lower()} with name {wanted.name!r}, but the name is already taken by a "
        f"{kinds[0].lower()}.",
        hint="choose another name",
    )


def show(ctx: Context, name: str) -> RegisteredModel:
    """A model with the newest version of each stage and its aliases."""
    with ctx.read() as tx:
        return _whole(tx, model_of(ctx, tx, name))


def _whole(tx: Transaction, asset: Asset) -> RegisteredModel:
    return RegisteredModel(
        asset=asset, latest=tuple(_latest(tx, asset)), aliases=tuple(tx.aliases.of(asset.id))
    )


def latest_versions(ctx: Context, name: str, stages: Sequence[Stage] = ()) -> tuple[Version, ...]:
    """The newest version of each stage asked for, of all when none is, by number."""
    with ctx.read() as tx:
        found = _latest(tx, model_of(ctx, tx, name))
    return tuple(version for version in found if not stages or stage_of(version) in stages)


def _latest(tx: Transaction, asset: Asset) -> list[Version]:
    """The newest of each stage: by what the model keeps of moved ones, the others from the newest on."""
    numbers = asset.facts.get(_STAGES, {}).values()
    found = [version for number in numbers if (version := tx.versions.get(asset.id, number)) is not None]
    unmoved = next((version for version in standing(tx, asset) if not version.stage), None)
    return sorted([*found, *([unmoved] if unmoved else [])], key=lambda version: version.number)


def noted_stages(tx: Transaction, asset: Asset) -> Asset:
    """The model with the newest number of each stage but `None` in its facts, as its versions say now."""
    newest: dict[str, int] = {}
    for version in tx.versions.among(asset.space, KIND, name=asset.name):
        if version.stage and version.deleted_at is None:
            newest[version.stage] = max(version.number, newest.get(version.stage, 0))
    return replace(asset, facts={**asset.facts, _STAGES: newest})


def describe(ctx: Context, name: str, description: str) -> RegisteredModel:
    """Give a model another description, none for an empty one."""

    def work(tx: Transaction) -> RegisteredModel:
        asset = model_of(ctx, tx, name)
        changed = replace(asset, description=description, updated_at=ctx.now())
        return _whole(tx, _changed(ctx, tx, changed, "description"))

    return ctx.write(work)


def set_tag(ctx: Context, name: str, key: str, value: str) -> None:
    """Set a tag of a model; a tag is a note beside it, so that the time of its last change stays."""
    check_tag(key, value)

    def work(tx: Transaction) -> None:
        asset = model_of(ctx, tx, name)
        if asset.tags.get(key) != value:
            _changed(ctx, tx, replace(asset, tags={**asset.tags, key: value}), f"tag {key}", tag=key)

    ctx.write(work)


def unset_tag(ctx: Context, name: str, key: str) -> None:
    """Take a tag of a model away; nothing happens when it has none of that name."""

    def work(tx: Transaction) -> None:
        asset = model_of(ctx, tx, name)
        if key in asset.tags:
            left = {each: value for each, value in asset.tags.items() if each != key}
            _changed(ctx, tx, replace(asset, tags=left), f"tag {key}", tag=key, removed=True)

    ctx.write(work)


def _changed(ctx: Context, tx: Transaction, asset: Asset, what: str, **more: str | bool) -> Asset:
    tx.assets.update(asset)
    ctx.record(tx, "asset.changed", Address(kind=KIND, name=asset.name), {"what": what, **more})
    return asset


def rename(ctx: Context, name: str, to: str) -> RegisteredModel:
    """Give a model another name; versions, aliases and lineage follow. A guarded one keeps its name."""
    check_model_name(to)

    def work(tx: Transaction) -> RegisteredModel:
        asset = model_of(ctx, tx, name)
        if name == to:
            return _whole(tx, asset)
        _refuse_guarded(ctx, tx, name, "renamed")
        _refuse_guarded(ctx, tx, to, "what another is renamed to")
        if tx.assets.find(ctx.space, KIND, to) is not None:
            raise Taken(f"Registered Model (name={to}) already exists.", hint="choose another name")
        renamed = replace(asset, name=to, updated_at=ctx.now())
        tx.assets.update(renamed)
        ctx.record(tx, "asset.renamed", f"asset:{asset.id}", {"from": name, "to": to, "kind": KIND})
        return _whole(tx, renamed)

    return ctx.write(work)


def delete(ctx: Context, name: str) -> None:
    """Put a model and its versions in the trash; its name is free again. A guarded one stays."""

    def work(tx: Transaction) -> None:
        asset = model_of(ctx, tx, name)
        _refuse_guarded(ctx, tx, name, "deleted")
        now, pointing = ctx.now(), {}
        for version in list(tx.versions.among(ctx.space, KIND, name=name)):
            tx.versions.update(replace(version, deleted_at=version.deleted_at or now))
        for alias in tx.aliases.of(asset.id):
            pointing[alias.alias] = alias.number
            tx.aliases.remove(asset.id, alias.alias)
        facts = {**asset.facts, TRASHED: {"name": name, "aliases": pointing}}
        trashed = replace(asset, name=f"{name[:_TRASH_NAME]}~{asset.id}", deleted_at=now, facts=facts)
        tx.assets.update(trashed)
        payload = {"asset": asset.id, "kept_as": trashed.name}
        ctx.record(tx, "asset.deleted", Address(kind=KIND, name=name), payload)

    ctx.write(work)


def _refuse_guarded(ctx: Context, tx: Transaction, name: str, done: str) -> None:
    aliases = guarded_aliases(tx, ctx.space, name)
    if aliases:
        raise PolicyBlocked(
            f"model:{name} cannot be {done}: policies guard its {', '.join(map(repr, aliases))}",
            hint="the endpoints and the policies know it by its name",
        )


def search(
    ctx: Context, *, where: str = "", order: Sequence[str] = (), limit: int = 100, token: str = ""
) -> Found[RegisteredModel]:
    """Models that a filter of MLflow's grammar is about (prompts where it asks so), by name unless asked."""
    condition = models_only(parse_filter(where, REGISTERED_MODELS))
    keys = _telling(parse_order(order, REGISTERED_MODELS))
    name = pinned(condition, "name")
    with ctx.read() as tx:
        if name is None:
            there = _in_order(ctx, tx, condition, keys, limit=limit, token=token)
            page = page_of(there, _PLACE, keys, limit=limit)
        else:
            only = tx.assets.find(ctx.space, KIND, name)
            holds = predicate(condition, _look)
            there = [only] if only is not None and only.deleted_at is None and holds(only) else []
            page = page_of(there, _PLACE, keys, limit=limit, token=token)
        return Found(items=tuple(_whole(tx, asset) for asset in page.items), next_token=page.next_token)


def sought(
    ctx: Context, where: Condition, is_meant: Callable[[Asset], bool], *, limit: int, token: str = ""
) -> Found[RegisteredModel]:
    """Models, prompts among them, that a condition holds of and that are meant besides, by name."""
    keys = _telling(parse_order((), REGISTERED_MODELS))
    with ctx.read() as tx:
        there = _in_order(ctx, tx, where, keys, limit=limit, token=token, is_meant=is_meant)
        page = page_of(there, _PLACE, keys, limit=limit)
        return Found(items=tuple(_whole(tx, asset) for asset in page.items), next_token=page.next_token)


def _telling(keys: tuple[SortKey, ...]) -> tuple[SortKey, ...]:
    """The keys up to the name, which no two models share: what comes behind it tells nothing."""
    names = [at for at, key in enumerate(keys) if key.field.key == "name"]
    return keys[: names[0] + 1]


def _any(asset: Asset) -> bool:
    return True


def _in_order(
    ctx: Context,
    tx: Transaction,
    where: Condition,
    keys: tuple[SortKey, ...],
    *,
    limit: int,
    token: str,
    is_meant: Callable[[Asset], bool] = _any,
) -> list[Asset]:
    """The models behind a place that a condition holds of, in order, and one more than a page has.

    The ledger gives them piece by piece, as far as a page goes.
    """
    holds, by_change = predicate(where, _look), len(keys) > 1
    mark = mark_of(token, (int, str) if by_change else (str,))
    asked = OrderedAsked(
        limit=min(limit + _SPARE, _PIECE),
        by_change=by_change,
        descending=keys[0].descending,
        names_descending=keys[-1].descending,
        tags=pinned_tags(where),
        told=told_texts(where),
        after=None if mark is None else (mark[0] if by_change else 0, mark[-1]),
    )
    there: list[Asset] = []
    while len(there) <= limit:
        piece = tx.assets.ordered(ctx.space, KIND, asked)
        there += [asset for asset in piece if is_meant(asset) and holds(asset)]
        if len(piece) < asked.limit:
            break
        behind = (_changed_ms(piece[-1]), piece[-1].name)
        asked = replace(asked, after=behind, limit=min(2 * asked.limit, _PIECE))
    return there[: limit + 1]


def _changed_ms(asset: Asset) -> int:
    return to_micros(asset.updated_at or asset.created_at) // 1000


def _look(asset: Asset, field: Field) -> Values:
    if field.kind == "tag":
        value = asset.tags.get(field.key)
        return () if value is None else (value,)
    if field.key == "name":
        return (asset.name,)
    return (_changed_ms(asset),)


_PLACE = place_by(_look)
