"""Branches of a dataset: lines of versions beside its own, written to in quiet, merged or thrown away.

A branch is an asset of the kind `branch` with versions of its own, so that the dataset's numbers and
what it was at an instant are those of its own line alone. `flights@trial` is what the branch `trial`
of `flights` has now.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from loopwright.core.addresses import Address, AliasName, AssetName, check_alias, version_address
from loopwright.core.errors import Conflict, Invalid, NotFound
from loopwright.core.nouns import Alias, Asset, Json, Version
from loopwright.data.nouns import DATASET
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.engine.publishing import (
    BRANCH,
    Draft,
    asset_of,
    branch_name,
    ensure_asset,
    hold_name,
    is_name_held,
    move_alias,
    publish,
    release_name,
    resolve_in,
    standing,
)
from loopwright.ports.ledger import PageRequest, Transaction

__all__ = [
    "Branch",
    "branch",
    "branches",
    "branches_of",
    "delete_branch",
    "merge",
    "move_branch",
    "tag",
    "untag",
]

_WHY = "it has branches, which go by it"
_OF, _BASE, _FROM = "dataset", "base", "from"
_SUMMED = ("added", "removed")
"""facts of a version that say what became of rows since the one before it"""


class Branch(msgspec.Struct, frozen=True, kw_only=True):
    """A branch and where it stands to the dataset's own line."""

    name: str
    version: Version
    base: int
    """the dataset's version it was made from, or last merged into"""
    ahead: int
    """versions on the branch that the dataset does not have"""
    behind: int
    """versions of the dataset that came since the base"""


@operation("data.branch", scope="dataset:write", route="POST /datasets/{name}/branches/{branch}", status=201)
def branch(ctx: Context, name: AssetName, branch: AliasName, *, at: str = "") -> Branch:
    """Make a branch of a dataset from its newest version or from `at`; `name@branch` means it from now on."""
    check_alias(branch)

    def work(tx: Transaction) -> Branch:
        dataset = asset_of(ctx, tx, DATASET, name)
        base = _version(ctx, tx, name, at)
        if tx.assets.find(ctx.space, BRANCH, branch_name(name, branch)) is not None:
            raise Conflict(
                f"{name!r} has a branch {branch!r} already", hint="move it, or choose another name"
            )
        if tx.aliases.get(dataset.id, branch) is not None:
            raise Conflict(f"{branch!r} is a tag of {name!r}", hint="choose another name")
        asset = ensure_asset(ctx, tx, BRANCH, branch_name(name, branch))
        if not is_name_held(tx, ctx.space, DATASET, name):
            hold_name(tx, ctx.space, DATASET, name, _WHY)
        _publish(ctx, tx, asset.name, base)
        return _told(tx, dataset, _based(tx, asset, name, _base_number(tx, base)), branch)

    return ctx.write(work)


@operation("data.branches", scope="dataset:read", route="GET /datasets/{name}/branches")
def branches(ctx: Context, name: AssetName) -> tuple[Branch, ...]:
    """List the branches of a dataset, and how far each is from it."""
    with ctx.read() as tx:
        dataset = asset_of(ctx, tx, DATASET, name)
        found = branches_of(ctx, tx, name)
        return tuple(_told(tx, dataset, asset, _short(asset, name)) for asset in found)


@operation("data.merge", scope="dataset:write", route="POST /datasets/{name}/branches/{branch}/merge")
def merge(ctx: Context, name: AssetName, branch: AliasName) -> Version:
    """Make what a branch has the dataset's next version; `Conflict` when the dataset went on meanwhile.

    Nothing is computed: the version has the branch's content, digest and all. The branch goes on from there.
    """

    def work(tx: Transaction) -> Version:
        dataset, asset = asset_of(ctx, tx, DATASET, name), _branch(ctx, tx, name, branch)
        newest, head, base = _newest(tx, dataset), _newest(tx, asset), int(asset.facts[_BASE])
        if newest.number != base:
            came = ", ".join(str(number) for number in range(base + 1, newest.number + 1)[:5])
            raise Conflict(
                f"the branch {branch!r} was made from {name}@{base}, but {name!r} is at {newest.number}: "
                f"{newest.number - base} versions came since ({came})",
                hint=f"look at them (data diff {name}@{base} {name}@{newest.number}), move the branch to "
                f"{name}@{newest.number} and write its changes again",
            )
        merged = newest
        if head.digest != newest.digest:
            draft = _draft(head, DATASET, name, newest.number)
            merged = publish(ctx, tx, replace(draft, facts=_all_done(tx, asset, head)))
        _based(tx, asset, name, merged.number)
        told = {"branch": branch, "from": base, "to": merged.number}
        ctx.record(tx, "branch.merged", Address(kind=DATASET, name=name), told)
        return merged

    return ctx.write(work)


@operation("data.move_branch", scope="dataset:write", route="PUT /datasets/{name}/branches/{branch}")
def move_branch(ctx: Context, name: AssetName, branch: AliasName, to: str, *, force: bool = False) -> Branch:
    """Let a branch go on from another version, as `12` or a tag; with `force` even when it loses changes."""

    def work(tx: Transaction) -> Branch:
        dataset, asset = asset_of(ctx, tx, DATASET, name), _branch(ctx, tx, name, branch)
        target = _version(ctx, tx, name, to)
        _check_nothing_is_lost(tx, dataset, asset, branch, force=force)
        _publish(ctx, tx, asset.name, target)
        told = {"branch": branch, "to": str(target.ref)}
        ctx.record(tx, "branch.moved", Address(kind=DATASET, name=name), told)
        return _told(tx, dataset, _based(tx, asset, name, _base_number(tx, target)), branch)

    return ctx.write(work)


@operation("data.delete_branch", scope="dataset:write", route="DELETE /datasets/{name}/branches/{branch}")
def delete_branch(ctx: Context, name: AssetName, branch: AliasName, *, force: bool = False) -> None:
    """Take a branch away; with `force` even when it has changes that were not merged."""

    def work(tx: Transaction) -> None:
        dataset, asset = asset_of(ctx, tx, DATASET, name), _branch(ctx, tx, name, branch)
        _check_nothing_is_lost(tx, dataset, asset, branch, force=force)
        tx.trash.remove_asset(asset.id)
        if next(branches_of(ctx, tx, name), None) is None:
            release_name(tx, ctx.space, DATASET, name, _WHY)
        ctx.record(tx, "branch.deleted", Address(kind=DATASET, name=name), {"branch": branch})

    ctx.write(work)


@operation("data.tag", scope="dataset:write", route="PUT /datasets/{name}/tags/{tag}")
def tag(ctx: Context, name: AssetName, tag: AliasName, *, version: str = "", move: bool = False) -> Alias:
    """Name a version of a dataset, so that `name@tag` means it and retention keeps it; `move` an old tag."""
    check_alias(tag)

    def work(tx: Transaction) -> Alias:
        dataset, chosen = asset_of(ctx, tx, DATASET, name), _version(ctx, tx, name, version)
        if chosen.kind != DATASET:
            raise Invalid(f"{chosen.ref} is on a branch", hint="merge the branch, then tag the version")
        before = tx.aliases.get(dataset.id, tag)
        if before is not None and before.number == chosen.number:
            return before
        if before is not None and not move:
            raise Conflict(f"{name}@{tag} is version {before.number} already", hint="say that it moves: move")
        return move_alias(ctx, tx, chosen, tag)

    return ctx.write(work)


@operation("data.untag", scope="dataset:write", route="DELETE /datasets/{name}/tags/{tag}")
def untag(ctx: Context, name: AssetName, tag: AliasName) -> None:
    """Take a tag of a dataset away; the version stays as long as retention keeps it."""

    def work(tx: Transaction) -> None:
        dataset = asset_of(ctx, tx, DATASET, name)
        before = tx.aliases.get(dataset.id, tag)
        if before is None:
            raise NotFound(f"{name!r} has no tag {tag!r}", hint=f"loopwright data show {name}")
        tx.aliases.remove(dataset.id, tag)
        told = {"alias": tag, "from": before.number, "to": None}
        ctx.record(tx, "alias.removed", Address(kind=DATASET, name=name), told)

    ctx.write(work)


def branches_of(ctx: Context, tx: Transaction, name: str) -> Iterator[Asset]:
    """The assets that are branches of a dataset, by name."""
    token = ""
    while True:
        page = tx.assets.page(ctx.space, BRANCH, PageRequest(limit=1000, token=token))
        yield from (asset for asset in page.items if asset.facts.get(_OF) == name)
        token = page.next_token
        if not token:
            return


def _version(ctx: Context, tx: Transaction, name: str, selector: str) -> Version:
    return resolve_in(ctx, tx, version_address(DATASET, name, selector))


def _branch(ctx: Context, tx: Transaction, name: str, branch: str) -> Asset:
    found = tx.assets.find(ctx.space, BRANCH, branch_name(name, branch))
    if found is None:
        raise NotFound(f"{name!r} has no branch {branch!r}", hint=f"loopwright data branches {name}")
    return found


def _newest(tx: Transaction, asset: Asset) -> Version:
    found = next(standing(tx, asset), None)
    if found is None:
        raise NotFound(f"{asset.kind}:{asset.name} has no version", hint="write to it first")
    return found


def _draft(version: Version, kind: str, name: str, number: int) -> Draft:
    """The content of a version, as the next one of another line."""
    return Draft(
        kind=kind,
        name=name,
        digest=version.digest,
        size_bytes=version.size_bytes,
        facts=version.facts,
        parent=number or None,
        expect=number,
    )


def _all_done(tx: Transaction, asset: Asset, head: Version) -> Json:
    """The facts of what a branch has, with the rows that came and went in all its versions since the base."""
    made = (tx.versions.get(asset.id, number) for number in range(int(asset.facts[_FROM]) + 1, head.number))
    steps = [head, *filter(None, made)]
    sums = {key: sum(int(each.facts.get(key, 0)) for each in steps) for key in _SUMMED}
    return {**head.facts, **{key: count for key, count in sums.items() if count or key in head.facts}}


def _publish(ctx: Context, tx: Transaction, name: str, version: Version) -> Version:
    asset = asset_of(ctx, tx, BRANCH, name)
    newest = tx.versions.latest(asset.id)
    return publish(ctx, tx, _draft(version, BRANCH, name, 0 if newest is None else newest.number))


def _base_number(tx: Transaction, version: Version) -> int:
    """The dataset's own version that a version of it, or of one of its branches, goes back to."""
    return version.number if version.kind == DATASET else int(tx.assets.get(version.asset_id).facts[_BASE])


def _based(tx: Transaction, asset: Asset, name: str, number: int) -> Asset:
    """From now on the branch goes on from that version of the dataset."""
    head = _newest(tx, asset)
    facts: Json = {_OF: name, _BASE: number, _FROM: head.number}
    based = replace(asset, facts=facts)
    tx.assets.update(based)
    return based


def _check_nothing_is_lost(
    tx: Transaction, dataset: Asset, asset: Asset, branch: str, *, force: bool
) -> None:
    told = _told(tx, dataset, asset, branch)
    if told.ahead and not force:
        raise Conflict(
            f"the branch {branch!r} has {told.ahead} versions that {dataset.name!r} does not have",
            hint="merge it first, or say that they may go: force",
        )


def _told(tx: Transaction, dataset: Asset, asset: Asset, name: str) -> Branch:
    head, base = _newest(tx, asset), int(asset.facts[_BASE])
    return Branch(
        name=name,
        version=head,
        base=base,
        ahead=head.number - int(asset.facts[_FROM]),
        behind=_newest(tx, dataset).number - base,
    )


def _short(asset: Asset, dataset: str) -> str:
    return asset.name.removeprefix(f"{dataset}/")
