"""Garbage collection: removes objects that no version, stream of rows or artifact needs any more."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Annotated

import msgspec

from loopwright.core.errors import Conflict, Corrupt, Invalid, NotFound
from loopwright.core.instants import duration, format_duration
from loopwright.core.manifests import decode_manifest
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.ports.ledger import Transaction
from loopwright.ports.objects import Objects, ObjectStat

__all__ = [
    "LEAST_GRACE",
    "Collected",
    "collect",
    "collect_among",
    "collect_objects",
    "named_by_manifests",
    "reachable",
    "remove_unnamed",
]

_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_ATTEMPTS = 20
_AT_ONCE = 16
"""objects removed in one unit of work, which others wait for: a millisecond on a disk"""
LEAST_GRACE = timedelta(minutes=10)
"""the least age of what may be removed: shorter ones could be work in progress"""

Grace = Annotated[str, msgspec.Meta(description="objects younger than this stay: 10m or more, such as 24h")]


class Collected(msgspec.Struct, frozen=True, kw_only=True):
    """What a collection found and, unless it was a dry run, removed."""

    dry_run: bool
    objects: int
    """how many there were"""
    needed: int
    """how many of them a version or a stream needs"""
    young: int
    """how many nothing needs, but are within the grace period"""
    removed: int
    """how many were removed, or would have been"""
    removed_bytes: int


def reachable(ctx: Context) -> frozenset[str]:
    """Digests of all objects that a version of any space, a stream or an artifact needs.

    A version's parent is kept for its own sake alone: one that retention let go needs nothing. Whatever in
    a manifest looks like a digest counts as needed, so that a kind of asset may name objects wherever it
    likes. A version whose manifest cannot be read stops the collection: what it needs is not known.
    """
    with ctx.read() as tx:
        versions, found = set(tx.versions.digests()), set(tx.segments.digests())
        found |= set(tx.artifacts.digests())
    found |= versions
    pages: set[str] = set()
    for digest in versions:
        named, further = _named_by(ctx.ports.objects, digest)
        found |= named
        pages.update(further)
    for page in pages:
        found |= _named_by_page(ctx.ports.objects, page)
    return frozenset(found)


def remove_unnamed(ctx: Context, digests: frozenset[str]) -> int:
    """Remove those objects that nothing names, at once and however young; how many were there.

    In a unit of work that nobody published since the look at what is needed, nor put one of them again, as
    who keeps a file of a run does without a line of the journal: so nobody can name them while they go. Who
    is about to name one finds it gone, and makes it again.
    """
    for _ in range(_ATTEMPTS):
        with ctx.read() as tx:
            lines = tx.journal.head().count
        stored = _stored(ctx, digests)
        needed = reachable(ctx)
        going = [item for item in stored if item.digest not in needed]
        gone = ctx.write(partial(_take_away, ctx, items=going, lines=lines))
        if gone is not None:
            return gone
    raise Conflict("objects are named faster than they can be removed", hint="repeat it")


def _take_away(ctx: Context, tx: Transaction, items: Sequence[ObjectStat], lines: int) -> int | None:
    """How many there were; None when something was published or put since, which may name one of them."""
    objects = ctx.ports.objects
    if tx.journal.head().count != lines or not all(_is_as_listed(objects, item) for item in items):
        return None
    for item in items:
        objects.remove(item.digest)
    return len(items)


def _stored(ctx: Context, digests: Iterable[str]) -> list[ObjectStat]:
    return [item for digest in sorted(digests) if (item := ctx.ports.objects.stat(digest)) is not None]


def _named_by_page(objects: Objects, digest: str) -> set[str]:
    try:
        data = objects.get(digest)
    except NotFound as error:
        raise _unknown(digest) from error
    return {name.decode() for name in _DIGEST.findall(data)}


def _named_by(objects: Objects, digest: str) -> tuple[set[str], tuple[str, ...]]:
    """The objects a version's manifest names, and which of them name further ones."""
    try:
        data = objects.get(digest)
        manifest = decode_manifest(data)
    except (NotFound, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _unknown(digest) from error
    return {name.decode() for name in _DIGEST.findall(data)}, manifest.pages


def named_by_manifests(ctx: Context, digests: Iterable[str]) -> frozenset[str]:
    """The manifests that are still there of these, with the objects they name; parents are left out."""
    found: set[str] = set()
    for digest in digests:
        try:
            manifest = decode_manifest(ctx.ports.objects.get(digest))
        except NotFound:
            continue
        named, pages = _named_by(ctx.ports.objects, digest)
        found |= {digest, *named} - {manifest.parent}
        for page in pages:
            found |= _named_by_page(ctx.ports.objects, page)
    return frozenset(found)


def _unknown(digest: str) -> Corrupt:
    return Corrupt(
        f"the manifest {digest} of a version cannot be read: what it needs is unknown, nothing was removed",
        hint="restore it from a backup, then collect again",
    )


def collect_objects(ctx: Context, *, dry_run: bool, grace: timedelta) -> Collected:
    """Remove objects that nothing needs and that are older than `grace` by the wall clock.

    The grace covers work in progress: objects are kept before a row names them, and putting content
    that is there already makes it young again.
    """
    return _collected(ctx, list(ctx.ports.objects.list()), frozenset(), dry_run=dry_run, grace=grace)


def collect_among(
    ctx: Context, among: Iterable[str], *, last: frozenset[str], dry_run: bool, grace: timedelta
) -> Collected:
    """As `collect_objects`, of some objects alone; those of `last` go when the others are gone.

    So who is interrupted finds again what is left to do.
    """
    return _collected(ctx, _stored(ctx, among), last, dry_run=dry_run, grace=grace)


def _collected(
    ctx: Context, stored: list[ObjectStat], last: frozenset[str], *, dry_run: bool, grace: timedelta
) -> Collected:
    before = ctx.ports.clock.wall() - grace
    needed = reachable(ctx)
    loose = [item for item in stored if item.digest not in needed]
    old = [item for item in loose if item.modified_at < before]
    if any(item.digest not in last for item in loose if item.modified_at >= before):
        old = [item for item in old if item.digest not in last]
    old.sort(key=lambda item: item.digest in last)
    removed = old if dry_run else [item for part in _parts(old) for item in _taken_away(ctx, part)]
    report = Collected(
        dry_run=dry_run,
        objects=len(stored),
        needed=len(stored) - len(loose),
        young=len(loose) - len(old),
        removed=len(removed),
        removed_bytes=sum(item.size_bytes for item in removed),
    )
    if not dry_run:
        _tell(ctx, report)
    return report


def _parts(items: list[ObjectStat]) -> Iterator[list[ObjectStat]]:
    return (items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE))


def _taken_away(ctx: Context, items: list[ObjectStat]) -> list[ObjectStat]:
    """Remove them, but those that somebody put again since they were listed; the ones that went.

    In a unit of work: who put one before is seen by its time, who puts one later cannot publish before it
    is gone, and then finds it missing.
    """
    objects = ctx.ports.objects

    def work(_: Transaction) -> list[ObjectStat]:
        gone = [item for item in items if _is_as_listed(objects, item)]
        for item in gone:
            objects.remove(item.digest)
        return gone

    return ctx.write(work)


def _is_as_listed(objects: Objects, item: ObjectStat) -> bool:
    now = objects.stat(item.digest)
    return now is not None and now.modified_at == item.modified_at


def _tell(ctx: Context, report: Collected) -> None:
    payload = {"objects": report.objects, "removed": report.removed, "bytes": report.removed_bytes}
    ctx.write(lambda tx: ctx.record(tx, "objects.collected", "platform:objects", payload))


@operation("platform.collect", scope="platform:collect", route="POST /platform/collect", command="gc")
def collect(ctx: Context, *, dry_run: bool = True, grace: Grace = "24h") -> Collected:
    """Remove objects that no version and no stream needs; a dry run (the default) only says how many."""
    span = duration(grace)
    if span < LEAST_GRACE:
        raise Invalid(
            f"a grace of {grace} could remove what is just being written",
            hint=f"give {format_duration(LEAST_GRACE)} or more",
        )
    return collect_objects(ctx, dry_run=dry_run, grace=span)
