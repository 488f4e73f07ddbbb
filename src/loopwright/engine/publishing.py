"""Keeps new versions of assets: objects first, then asset, version, alias and events in one unit of work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import msgspec

from loopwright.core.addresses import (
    Address,
    ByAlias,
    ByDigest,
    ByInstant,
    ByNumber,
    Selector,
    check_kind,
    check_name,
    parse_address,
)
from loopwright.core.errors import Conflict, Invalid, NotFound
from loopwright.core.manifests import Manifest, decode_manifest, encode_manifest
from loopwright.core.nouns import Alias, Asset, Json, LinkRole, Version, VersionRef
from loopwright.engine.collection import remove_unnamed
from loopwright.engine.context import Context
from loopwright.engine.erased import (
    MARK_TAG,
    TOMBSTONES,
    Renewed,
    check_as_read,
    check_of_run,
    erasures_of,
    read_by_run,
)
from loopwright.ports.ledger import PageRequest, Transaction

__all__ = [
    "BRANCH",
    "READS",
    "Draft",
    "asset_of",
    "branch_name",
    "check_name_is_free_to_go",
    "check_sources",
    "ensure_asset",
    "hold_name",
    "is_name_held",
    "manifest_of",
    "marks_of",
    "move_alias",
    "prepare",
    "publish",
    "publish_all",
    "readers_of",
    "release_name",
    "resolve",
    "resolve_in",
    "standing",
    "taken_back",
    "tell_marks",
]


_HELD = "held_names"
READS = "reads"
"""fact of a version that knows without a run what it was made of: addresses of versions"""
BRANCH = "branch"
"""kind of the assets that are lines of versions beside the one that has their asset's name"""


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A version about to be published; its manifest is already an object."""

    kind: str
    name: str
    digest: str
    size_bytes: int
    facts: Json = {}
    tags: dict[str, str] = {}
    description: str = ""
    parent: int | None = None
    expect: int | None = None
    """the number the newest version must have (0: none yet), so that two appenders cannot both win"""
    builds_on: str | None = None
    """the digest the parent must have still: an erasure writes a version anew without another number"""
    sources: tuple[VersionRef, ...] = ()
    """as they were read: what it was computed of, which must be of that content still"""
    by_program: bool = False
    """whether a program computed it of whatever its run has read, all of which must be so then"""
    learned: bool = False
    """whether it learned from what its run has read: it is marked then, not refused"""
    made: tuple[str, ...] = ()
    """objects that no version may name yet: erasure takes loose ones away, so they are looked at again"""

    @property
    def objects(self) -> frozenset[str]:
        """All that was kept for it."""
        return frozenset((self.digest, *self.made))


def prepare(
    ctx: Context,
    name: str,
    manifest: Manifest,
    *,
    facts: Json | None = None,
    tags: dict[str, str] | None = None,
    description: str = "",
    parent: int | None = None,
    expect: int | None = None,
    builds_on: str | None = None,
    sources: tuple[VersionRef, ...] = (),
    by_program: bool = False,
    learned: bool = False,
    made: tuple[str, ...] | None = None,
) -> Draft:
    """Store the manifest as an object; nothing is visible until `publish`.

    What it was made of is told, since an erasure may come before it is published: by `sources`, or as
    what a program computed (`by_program`) or `learned` of all that its run has read.

    `made` are the objects of it that are new; all of them, unless it is said.
    """
    digest, data = encode_manifest(manifest)
    ctx.ports.objects.put(data)
    parts = tuple(entry.digest for entry in manifest.entries) if made is None else made
    return Draft(
        kind=check_kind(manifest.kind),
        name=check_name(name),
        digest=digest,
        size_bytes=len(data) + sum(entry.size_bytes for entry in manifest.entries),
        facts=facts or {},
        tags=tags or {},
        description=description,
        parent=parent,
        expect=expect,
        builds_on=builds_on,
        sources=sources,
        by_program=by_program,
        learned=learned,
        made=(*parts, *filter(None, [manifest.profile])),
    )


def branch_name(name: str, branch: str) -> str:
    """The name of a branch of an asset as an asset of its own, `flights/trial`."""
    return f"{name}/{branch}"


def ensure_asset(ctx: Context, tx: Transaction, kind: str, name: str, *, description: str = "") -> Asset:
    """The asset of that name, made when it is new."""
    found = tx.assets.find(ctx.space, kind, name)
    if found is not None:
        return found
    asset = Asset(
        id=ctx.new_id(),
        space=ctx.space,
        kind=check_kind(kind),
        name=check_name(name),
        created_at=ctx.now(),
        created_by=ctx.principal.name,
        description=description,
    )
    tx.assets.add(asset)
    ctx.record(tx, "asset.created", Address(kind=kind, name=name), {"asset": asset.id})
    return asset


def hold_name(tx: Transaction, space: str, kind: str, name: str, why: str) -> None:
    """From now on the asset keeps its name: something goes by it, such as a policy that guards it."""
    tx.documents.put(space, _HELD, f"{kind}:{name}", {"why": why})


def is_name_held(tx: Transaction, space: str, kind: str, name: str) -> bool:
    """Whether something goes by the name of an asset."""
    return tx.documents.get(space, _HELD, f"{kind}:{name}") is not None


def release_name(tx: Transaction, space: str, kind: str, name: str, why: str) -> None:
    """What held the name for this reason is gone; held for another one, it stays held."""
    held = tx.documents.get(space, _HELD, f"{kind}:{name}")
    if held is not None and held["why"] == why:
        tx.documents.remove(space, _HELD, f"{kind}:{name}")


def check_name_is_free_to_go(tx: Transaction, space: str, kind: str, name: str) -> None:
    """`Conflict` when something holds on to the name of an asset."""
    held = tx.documents.get(space, _HELD, f"{kind}:{name}")
    if held is not None:
        raise Conflict(
            f"{kind}:{name} keeps its name: {held['why']}", hint="publish under a new name instead"
        )


def publish_all(ctx: Context, tx: Transaction, drafts: tuple[Draft, ...]) -> tuple[Version, ...]:
    """Make several versions in one unit of work: all of them or none."""
    return tuple(publish(ctx, tx, draft) for draft in drafts)


def publish(ctx: Context, tx: Transaction, draft: Draft) -> Version:
    """Make the next version of an asset; content equal to the newest version's is that version."""
    asset = ensure_asset(ctx, tx, draft.kind, draft.name)
    newest = tx.versions.latest(asset.id)
    number = 0 if newest is None else newest.number
    if draft.expect is not None and draft.expect != number:
        raise Conflict(
            f"{draft.kind}:{draft.name} has {number} versions now, not {draft.expect}",
            hint="somebody published meanwhile: read again and repeat",
        )
    _check_parent_is_kept(tx, asset, newest, draft)
    check_sources(ctx, tx, draft.sources, by_program=draft.by_program)
    if newest is not None and newest.digest == draft.digest and newest.deleted_at is None:
        ctx.touch(tx, LinkRole.OUTPUT, newest.ref)
        return newest
    marks = marks_of(ctx, tx, ctx.run_id) if draft.learned else {}
    version = Version(
        id=ctx.new_id(),
        space=ctx.space,
        asset_id=asset.id,
        kind=draft.kind,
        name=draft.name,
        number=number + 1,
        digest=draft.digest,
        size_bytes=draft.size_bytes,
        created_at=ctx.now(),
        created_by=ctx.principal.name,
        run_id=ctx.run_id,
        parent=draft.parent,
        facts=draft.facts,
        tags={**draft.tags, **marks},
        description=draft.description,
    )
    tx.versions.add(version)
    ctx.touch(tx, LinkRole.OUTPUT, version.ref)
    if ctx.run_id is None:  # of a run the links tell it
        for address in draft.facts.get(READS, ()):
            tx.documents.put(ctx.space, readers_of(address), str(version.ref), {})
    ctx.record(
        tx,
        "version.published",
        version.ref,
        {"digest": version.digest, "run": ctx.run_id},
    )
    tell_marks(ctx, tx, version, marks)
    _check_is_kept(ctx, draft)
    return version


@contextmanager
def taken_back(ctx: Context, objects: Iterable[str]) -> Iterator[None]:
    """A block that publishes: where it may not, since rows were erased, what was kept for it goes at once."""
    try:
        yield
    except Renewed:
        remove_unnamed(ctx, frozenset(objects))
        raise


def check_sources(
    ctx: Context, tx: Transaction, sources: tuple[VersionRef, ...], *, by_program: bool
) -> None:
    """`Stale` when rows were erased, since they were read, from what is about to be kept a result of."""
    check_as_read(tx, ctx.space, sources)
    if by_program:
        check_of_run(tx, ctx.space, ctx.run_id)


def marks_of(ctx: Context, tx: Transaction, run_id: str | None) -> dict[str, str]:
    """The tags of a model of a run: that rows were erased since it read them, and by which erasures."""
    read = [] if run_id is None else read_by_run(tx, ctx.space, run_id)
    ids = erasures_of(tx, ctx.space, read) if read else []
    return {MARK_TAG: ",".join(ids)} if ids else {}


def tell_marks(ctx: Context, tx: Transaction, version: Version, marks: dict[str, str]) -> None:
    """Tell in the journal that a model was marked as it was published, where it was."""
    for tag, erasures in marks.items():
        ctx.record(tx, "version.marked", version.ref, {"tag": tag, "erasure": erasures})


def readers_of(address: str) -> str:
    """The collection of documents that name the versions made of one, each outside every run."""
    return f"readers/{address}"


def _check_parent_is_kept(tx: Transaction, asset: Asset, newest: Version | None, draft: Draft) -> None:
    """`Renewed` when an erasure wrote the version anew that the draft was made of."""
    if draft.builds_on is None or draft.parent is None:
        return
    is_newest = newest is not None and newest.number == draft.parent
    parent = newest if is_newest else tx.versions.get(asset.id, draft.parent)
    if parent is not None and parent.digest != draft.builds_on:
        raise Renewed(
            f"{parent.ref} was written anew meanwhile, without rows that were erased",
            hint="read it again and repeat",
        )


def _check_is_kept(ctx: Context, draft: Draft) -> None:
    """Comes after the journal's line: from then until the commit no erasure takes objects away."""
    if any(ctx.ports.objects.stat(digest) is None for digest in (draft.digest, *draft.made)):
        raise Renewed(
            f"objects of {draft.kind}:{draft.name} were erased before it was published",
            hint="make it again",
        )


def move_alias(
    ctx: Context,
    tx: Transaction,
    version: Version,
    alias: str,
    *,
    decision_id: str | None = None,
    reason: str = "",
    is_rollback: bool = False,
) -> Alias:
    """Point an alias at a version and write its event; its form and the policies were asked before."""
    before = tx.aliases.get(version.asset_id, alias)
    if before is None and tx.assets.find(ctx.space, BRANCH, branch_name(version.name, alias)) is not None:
        raise Conflict(f"{alias!r} is a branch of {version.name!r}", hint="choose another name")
    moved = Alias(
        space=ctx.space,
        asset_id=version.asset_id,
        alias=alias,
        number=version.number,
        moved_at=ctx.now(),
        moved_by=ctx.principal.name,
        decision_id=decision_id,
    )
    tx.aliases.put(moved)
    told: Json = {
        "alias": alias,
        "from": before.number if before else None,
        "to": version.number,
        "decision": decision_id,
        "reason": reason,
        "asset": version.asset_id,
    }
    payload = {**told, "rollback": True} if is_rollback else told
    ctx.record(tx, "alias.moved", Address(kind=version.kind, name=version.name), payload)
    return moved


def asset_of(ctx: Context, tx: Transaction, kind: str, name: str) -> Asset:
    """The asset of that name, else `NotFound`."""
    found = tx.assets.find(ctx.space, kind, name)
    if found is None:
        raise NotFound(
            f"there is no {kind} named {name!r}",
            hint=f"loopwright assets list --kind {kind} shows them",
        )
    return found


def resolve(ctx: Context, address: str | Address, *, kind: str | None = None) -> Version:
    """The version an address means; without a selector the newest one."""
    with ctx.read() as tx:
        return resolve_in(ctx, tx, address, kind=kind)


def resolve_in(ctx: Context, tx: Transaction, address: str | Address, *, kind: str | None = None) -> Version:
    """As `resolve`, inside a unit of work."""
    wanted = parse_address(address, kind=kind) if isinstance(address, str) else address
    if kind is not None and wanted.kind != kind:
        raise Invalid(f"{wanted} is not a {kind}", hint=f"give the address of a {kind}")
    asset = asset_of(ctx, tx, wanted.kind, wanted.name)
    found = _selected(tx, asset, wanted.selector)
    if found is not None and found.removed_at is not None:
        raise NotFound(
            f"{wanted} means version {found.number}, which was removed for good",
            hint=f"loopwright assets versions {asset.kind} {asset.name} lists what is there",
        )
    if found is None or found.deleted_at is not None:
        raise NotFound(
            f"there is no version {wanted}",
            hint=f"loopwright assets versions {asset.kind} {asset.name} lists what is there",
        )
    return found


def _selected(tx: Transaction, asset: Asset, selector: Selector | None) -> Version | None:
    match selector:
        case None:
            return next(standing(tx, asset), None)
        case ByNumber(number):
            return tx.versions.get(asset.id, number)
        case ByInstant(instant):
            return _existed_at(tx, asset, instant)
        case ByAlias(alias):
            pointer = tx.aliases.get(asset.id, alias)
            return (
                _on_branch(tx, asset, alias) if pointer is None else tx.versions.get(asset.id, pointer.number)
            )
        case ByDigest(prefix):
            found = tx.versions.by_digest(asset.id, prefix) or _successors(tx, asset, prefix)
            if len(found) > 1 and found[0].digest != found[1].digest:
                raise Invalid(
                    f"more than one version of {asset.name!r} begins with {prefix}",
                    hint="give more digits",
                )
            return found[0] if found else None


def _successors(tx: Transaction, asset: Asset, prefix: str) -> Sequence[Version]:
    """The versions that had such a digest before something was erased from them."""
    former = tx.documents.all(asset.space, TOMBSTONES, start=prefix, end=prefix + "~", limit=100)
    found: list[Version] = []
    for body in former.values():
        successor: str = body["successor"]
        while (later := tx.documents.get(asset.space, TOMBSTONES, successor)) is not None:
            successor = later["successor"]
        found += [each for each in tx.versions.by_digest(asset.id, successor) if each not in found]
    return found


def _on_branch(tx: Transaction, asset: Asset, branch: str) -> Version | None:
    """The newest version on a branch of the asset, or None where it has no such branch."""
    found = tx.assets.find(asset.space, BRANCH, branch_name(asset.name, branch))
    return None if found is None or found.deleted_at is not None else next(standing(tx, found), None)


def standing(tx: Transaction, asset: Asset) -> Iterator[Version]:
    """The versions that are not in the trash, newest first; the first costs one look-up."""
    newest = tx.versions.latest(asset.id)
    if newest is None:
        return
    if newest.deleted_at is None:
        yield newest
    token = ""
    while True:
        page = tx.versions.page(asset.id, PageRequest(token=token))
        yield from (each for each in page.items if each.deleted_at is None and each.number < newest.number)
        token = page.next_token
        if not token:
            return


def _existed_at(tx: Transaction, asset: Asset, instant: datetime) -> Version | None:
    return tx.versions.latest(asset.id, at=instant)


def manifest_of(ctx: Context, version: Version) -> Manifest:
    """The manifest of a version, read and verified."""
    return decode_manifest(ctx.ports.objects.get(version.digest))
