"""Models, versions and logged models taken out of the trash, or removed from it for good."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from loopwright.core.addresses import Address
from loopwright.core.errors import Conflict, NotFound, Taken
from loopwright.core.nouns import Asset, Version
from loopwright.engine.context import Context
from loopwright.engine.publishing import move_alias
from loopwright.ports.ledger import PageRequest, Transaction
from loopwright.registry.guarding import guards
from loopwright.registry.logged import POINTS
from loopwright.registry.nouns import KIND, LOGGED
from loopwright.registry.places import OWNER
from loopwright.registry.registered import TRASHED, noted_stages
from loopwright.tracking.sweeping import note

__all__ = [
    "logged_of",
    "made_from",
    "name_of",
    "remove_logged",
    "remove_model",
    "remove_version",
    "restore_logged",
    "restore_model",
    "restore_version",
    "trash_logged",
]

_BATCH = 1_000


class _Trashed(msgspec.Struct, frozen=True):
    """What a model in the trash keeps of its life."""

    name: str = ""
    aliases: dict[str, int] = {}


def _trashed(asset: Asset) -> _Trashed:
    return msgspec.convert(asset.facts.get(TRASHED, {}), _Trashed)


def name_of(asset: Asset) -> str:
    """The name a model in the trash had."""
    return _trashed(asset).name or asset.name.rpartition("~")[0] or asset.name


def made_from(tx: Transaction, space: str, run_id: str) -> Sequence[Version]:
    """The versions of models that came from a run and are still there, in the trash or not."""
    return [each for each in tx.versions.among(space, KIND, run_id=run_id) if each.removed_at is None]


def _asset(ctx: Context, tx: Transaction, kind: str, asset_id: str) -> Asset | None:
    """An asset of the space in the trash, or None."""
    try:
        found = tx.assets.get(asset_id)
    except NotFound:
        return None
    is_it = (found.space, found.kind) == (ctx.space, kind) and found.deleted_at is not None
    return found if is_it else None


def _version(ctx: Context, tx: Transaction, version_id: str) -> Version | None:
    """A version of the space in the trash, or None."""
    try:
        found = tx.versions.those([version_id])[0]
    except NotFound:
        return None
    lies = found.space == ctx.space and found.deleted_at is not None and found.removed_at is None
    return found if lies else None


def _gone(what: str) -> NotFound:
    return NotFound(f"there is no such {what} in the trash", hint="loopwright trash list")


# -- taken back ----------------------------------------------------------------------------


def restore_model(ctx: Context, asset_id: str) -> Asset:
    """Take a model (or a prompt) out of the trash under its old name, with its versions and aliases.

    `Taken` when another one has the name by now. An alias that policies guard is not set again.
    """

    def work(tx: Transaction) -> Asset:
        asset = _asset(ctx, tx, KIND, asset_id)
        if asset is None:
            raise _gone("model")
        was, name = _trashed(asset), name_of(asset)
        if tx.assets.find(ctx.space, KIND, name) is not None:
            raise Taken(f"there is another model:{name} by now", hint="rename or delete that one first")
        facts = {key: value for key, value in asset.facts.items() if key != TRASHED}
        back = replace(asset, name=name, deleted_at=None, facts=facts, updated_at=ctx.now())
        tx.assets.update(back)
        ctx.record(tx, "asset.restored", Address(kind=KIND, name=name), {"asset": asset.id})
        for version in list(tx.versions.among(ctx.space, KIND, name=name)):
            if version.deleted_at == asset.deleted_at and version.removed_at is None:
                tx.versions.update(replace(version, deleted_at=None))
        _point_again(ctx, tx, back, was.aliases)
        return back

    return ctx.write(work)


def _point_again(ctx: Context, tx: Transaction, asset: Asset, aliases: dict[str, int]) -> None:
    for alias, number in aliases.items():
        version = tx.versions.get(asset.id, number)
        is_there = version is not None and version.deleted_at is None
        if version is not None and is_there and not guards(tx, ctx.space, asset.name, alias):
            move_alias(ctx, tx, version, alias, reason="restored from the trash")


def restore_version(ctx: Context, version_id: str) -> Version:
    """Take a version out of the trash, without its aliases; `Conflict` when its model is there."""

    def work(tx: Transaction) -> Version:
        version = _version(ctx, tx, version_id)
        if version is None:
            raise _gone("version")
        asset = tx.assets.get(version.asset_id)
        if asset.deleted_at is not None:
            raise Conflict(f"the model of {version.ref} is in the trash", hint="restore the model")
        back = replace(version, deleted_at=None, updated_at=ctx.now())
        tx.versions.update(back)
        asset = replace(asset, updated_at=ctx.now())
        tx.assets.update(noted_stages(tx, asset) if back.stage else asset)
        ctx.record(tx, "version.restored", back.ref, {"digest": back.digest})
        return back

    return ctx.write(work)


def restore_logged(ctx: Context, asset_id: str) -> Asset:
    """Take a logged model out of the trash."""

    def work(tx: Transaction) -> Asset:
        asset = _asset(ctx, tx, LOGGED, asset_id)
        if asset is None:
            raise _gone("logged model")
        back = replace(asset, deleted_at=None)
        tx.assets.update(back)
        ctx.record(tx, "asset.restored", Address(kind=LOGGED, name=asset.name), {"asset": asset.id})
        return back

    return ctx.write(work)


# -- removed -------------------------------------------------------------------------------


def remove_version(ctx: Context, tx: Transaction, version_id: str) -> bool:
    """Remove a version that is in the trash, its number apart; whether it was there to be removed."""
    version = _version(ctx, tx, version_id)
    if version is None:
        return False
    tx.trash.remove_version(version.id, ctx.now())
    note(tx, ctx.space, OWNER + version.id)
    ctx.record(tx, "version.collected", version.ref, {"digest": version.digest})
    return True


def remove_model(ctx: Context, tx: Transaction, asset_id: str) -> bool:
    """Remove a model that is in the trash with all its versions; whether it was there to be removed."""
    asset = _asset(ctx, tx, KIND, asset_id)
    if asset is None:
        return False
    for version in list(tx.versions.among(ctx.space, KIND, name=asset.name)):
        note(tx, ctx.space, OWNER + version.id)
    tx.trash.remove_asset(asset.id)
    ctx.record(tx, "asset.collected", Address(kind=KIND, name=name_of(asset)), {"asset": asset.id})
    return True


def remove_logged(ctx: Context, tx: Transaction, asset_id: str) -> bool:
    """Remove a logged model that is in the trash; versions made of it keep their files."""
    asset = _asset(ctx, tx, LOGGED, asset_id)
    if asset is None:
        return False
    tx.trash.remove_asset(asset.id)
    note(tx, ctx.space, f"{LOGGED}:{asset.name}", documents=POINTS, prefix=f"{asset.name}/")
    ctx.record(tx, "asset.collected", Address(kind=LOGGED, name=asset.name), {"asset": asset.id})
    return True


def logged_of(ctx: Context, tx: Transaction, experiment_id: str) -> list[Asset]:
    """The logged models of an experiment, in the trash or not."""
    found, token = list[Asset](), ""
    while True:
        page = tx.assets.page(ctx.space, LOGGED, PageRequest(limit=_BATCH, token=token))
        found += [each for each in page.items if each.facts.get("experiment_id") == experiment_id]
        token = page.next_token
        if not token:
            return found


def trash_logged(ctx: Context, tx: Transaction, model_id: str) -> None:
    """Put a logged model in the trash, if it is not there."""
    asset = tx.assets.find(ctx.space, LOGGED, model_id)
    if asset is not None and asset.deleted_at is None:
        tx.assets.update(replace(asset, deleted_at=ctx.now()))
        ctx.record(tx, "asset.deleted", Address(kind=LOGGED, name=model_id), {"asset": asset.id})
