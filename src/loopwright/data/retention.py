"""How long versions of a dataset are kept: a policy, what pins a version against it, and what goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Annotated

import msgspec
from msgspec.structs import replace

from loopwright.core.addresses import Address, AssetName, ByNumber, parse_address
from loopwright.core.errors import Invalid, NotFound
from loopwright.core.instants import duration, format_duration
from loopwright.core.manifests import Manifest
from loopwright.core.nouns import Asset, LinkRole, Version, VersionRef
from loopwright.data.branches import branches_of
from loopwright.data.guarding import publish_guard
from loopwright.data.nouns import DATASET, POLICY
from loopwright.engine.collection import LEAST_GRACE, Collected, collect_among, named_by_manifests
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.engine.publishing import asset_of, manifest_of, prepare, resolve
from loopwright.ports.ledger import PageRequest, Transaction

__all__ = ["KeptVersion", "Pruned", "Retention", "collect", "prune", "retention", "set_retention"]

_PREFIX = "retention/"
_MADE = frozenset({"model", "logged_model"})
Grace = Annotated[str, msgspec.Meta(description="objects younger than this stay: 10m or more, such as 24h")]


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """Which versions stay: the last so many, and those younger than so many days; one of both is enough.

    Without either all of them stay.
    """

    keep_last: Annotated[int, msgspec.Meta(ge=1)] | None = None
    keep_days: Annotated[float, msgspec.Meta(ge=0, le=36_500)] | None = None


class KeptVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version that stays, and why."""

    number: int
    why: tuple[str, ...]


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """What retention makes of the versions of a dataset."""

    dataset: str
    dry_run: bool
    policy: Retention
    removed: tuple[int, ...]
    """numbers of the versions that went, or would have gone; their numbers are not used again"""
    kept: tuple[KeptVersion, ...]


@operation("data.set_retention", scope="dataset:admin", route="PUT /datasets/{name}/retention")
def set_retention(
    ctx: Context, name: AssetName, *, keep_last: int | None = None, keep_days: float | None = None
) -> Version:
    """Say how long versions of a dataset are kept, from now on; without a limit all are kept."""
    try:
        policy = msgspec.convert({"keep_last": keep_last, "keep_days": keep_days}, Retention)
    except msgspec.ValidationError as error:
        raise Invalid(f"this is no retention: {error}", hint="keep at least one version") from error
    manifest = Manifest(kind=POLICY, body=msgspec.to_builtins(policy))
    draft = prepare(ctx, f"{_PREFIX}{name}", manifest, facts={"guards": f"versions dataset:{name}"})

    def work(tx: Transaction) -> Version:
        asset_of(ctx, tx, DATASET, name)
        return publish_guard(ctx, tx, draft, name)

    return ctx.write(work)


@operation("data.retention", scope="dataset:read", route="GET /datasets/{name}/retention")
def retention(ctx: Context, name: AssetName) -> Pruned:
    """Show how long versions are kept, which stay for which reasons, and which would go."""
    return prune(ctx, name, dry_run=True)


@operation("data.prune", scope="dataset:admin", route="POST /datasets/{name}/prune")
def prune(ctx: Context, name: AssetName, *, dry_run: bool = True) -> Pruned:
    """Take away versions that retention lets go; a dry run (the default) only says which.

    Tags, the bases of branches, and versions that a standing model or training set was made from stay.
    Of a version that goes its number, digest and maker stay; its objects go with the next collection.
    """
    policy, sources = _policy(ctx, name), _sources(ctx, name)

    def work(tx: Transaction) -> Pruned:
        dataset = asset_of(ctx, tx, DATASET, name)
        versions = [version for version in _versions(tx, dataset) if version.deleted_at is None]
        reasons = _reasons(ctx, tx, dataset, versions, policy)
        for number in sources & reasons.keys():
            reasons[number].append("a training set was made from it")
        going = [version for version in versions if not reasons[version.number]]
        if not dry_run:
            _remove(ctx, tx, name, going)
        kept = [KeptVersion(number=number, why=tuple(why)) for number, why in reasons.items() if why]
        return Pruned(
            dataset=name,
            dry_run=dry_run,
            policy=policy,
            removed=tuple(version.number for version in going),
            kept=tuple(kept),
        )

    if dry_run:
        with ctx.read() as tx:
            return work(tx)
    return ctx.write(work)


@operation("data.collect", scope="dataset:admin", route="POST /datasets/{name}/collect", command="data gc")
def collect(ctx: Context, name: AssetName, *, dry_run: bool = True, grace: Grace = "24h") -> Collected:
    """Remove the objects of pruned versions of one dataset that nothing else needs; see `prune`."""
    span = duration(grace)
    if span < LEAST_GRACE:
        raise Invalid(
            f"a grace of {grace} could remove what is just being written",
            hint=f"give {format_duration(LEAST_GRACE)} or more",
        )
    with ctx.read() as tx:
        dataset = asset_of(ctx, tx, DATASET, name)
        gone = [version.digest for version in _versions(tx, dataset) if version.removed_at is not None]
    among = named_by_manifests(ctx, gone)
    return collect_among(ctx, among, last=frozenset(gone), dry_run=dry_run, grace=span)


def _policy(ctx: Context, name: str) -> Retention:
    try:
        version = resolve(ctx, Address(kind=POLICY, name=f"{_PREFIX}{name}"))
    except NotFound:
        return Retention()
    return msgspec.convert(manifest_of(ctx, version).body, Retention)


def _versions(tx: Transaction, dataset: Asset) -> Iterator[Version]:
    """All versions there ever were, newest first."""
    token = ""
    while True:
        page = tx.versions.page(dataset.id, PageRequest(limit=1000, token=token))
        yield from page.items
        token = page.next_token
        if not token:
            return


def _reasons(
    ctx: Context, tx: Transaction, dataset: Asset, versions: Iterable[Version], policy: Retention
) -> dict[int, list[str]]:
    """Why each version stays; none: it goes."""
    found: dict[int, list[str]] = {}
    for place, version in enumerate(versions):
        found[version.number] = _by_policy(place, version.created_at, policy, ctx.now())
    for alias in tx.aliases.of(dataset.id):
        found.get(alias.number, []).append(f"tag {alias.alias}")
    for branch in branches_of(ctx, tx, dataset.name):
        found.get(int(branch.facts["base"]), []).append(f"base of the branch {branch.name}")
    for number, why in found.items():
        if not why:
            why += _made_from(ctx, tx, dataset.name, number)
    return found


def _by_policy(place: int, made_at: datetime, policy: Retention, now: datetime) -> list[str]:
    if place == 0:
        return ["the newest"]
    if policy.keep_last is None and policy.keep_days is None:
        return ["nothing lets it go"]
    found = []
    if policy.keep_last is not None and place < policy.keep_last:
        found.append(f"one of the last {policy.keep_last}")
    if policy.keep_days is not None and made_at > now - timedelta(days=policy.keep_days):
        found.append(f"younger than {policy.keep_days:g} days")
    return found


def _made_from(ctx: Context, tx: Transaction, name: str, number: int) -> list[str]:
    """Models that stand and that a run made which read the version."""
    for run_id in tx.runs.users(DATASET, name, number, LinkRole.INPUT, space=ctx.space):
        for link in tx.runs.links(run_id):
            if link.role is LinkRole.OUTPUT and link.version.kind in _MADE and _stands(ctx, tx, link.version):
                return [f"{link.version} was made from it"]
    return []


def _stands(ctx: Context, tx: Transaction, ref: VersionRef) -> bool:
    asset = tx.assets.find(ctx.space, ref.kind, ref.name)
    version = None if asset is None else tx.versions.get(asset.id, ref.number)
    return version is not None and version.deleted_at is None


def _sources(ctx: Context, name: str) -> frozenset[int]:
    """Numbers of the versions of a dataset that standing training sets name as their sources or spine."""
    with ctx.read() as tx:
        made = [each for each in tx.versions.among(ctx.space, DATASET) if _may_be_training_set(each)]
    told = [manifest_of(ctx, version).body.get("facts", {}) for version in made]
    named = {address for facts in told for address in facts.get("sources", {}).values()}
    named |= {facts["spine"] for facts in told if facts.get("spine")}
    chosen = (parse_address(address) for address in named)
    return frozenset(
        address.selector.number
        for address in chosen
        if (address.kind, address.name) == (DATASET, name) and isinstance(address.selector, ByNumber)
    )


def _may_be_training_set(version: Version) -> bool:
    """Written tables say what they added, and folders how many files; their manifests need no look."""
    return version.deleted_at is None and not {"added", "files"} & version.facts.keys()


def _remove(ctx: Context, tx: Transaction, name: str, going: Iterable[Version]) -> None:
    numbers = []
    for version in going:
        tx.versions.update(replace(version, deleted_at=ctx.now()))
        tx.trash.remove_version(version.id, ctx.now())
        numbers.append(version.number)
    if numbers:
        told = {"versions": sorted(numbers)}
        ctx.record(tx, "versions.pruned", Address(kind=DATASET, name=name), told)
