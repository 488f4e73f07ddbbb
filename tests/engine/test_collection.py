"""Garbage collection never removes what is needed, and removes the rest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.digests import digest_bytes
from loopwright.core.errors import Corrupt, Invalid
from loopwright.core.manifests import Manifest, ManifestEntry, decode_manifest
from loopwright.engine import collection
from loopwright.engine.collection import collect, collect_objects, reachable, remove_unnamed
from loopwright.engine.context import Context
from loopwright.engine.publishing import prepare, publish
from loopwright.ports.ledger import PageRequest, Segment
from loopwright.testing.builders import SetClock, memory_context, memory_ports
from loopwright.testing.objects import MemoryObjects

DAY = timedelta(days=1)
BLOBS = st.integers(0, 7)


def context(objects: MemoryObjects) -> Context:
    return memory_context(memory_ports(objects=objects, clock=SetClock(datetime.now(UTC))))


def blob(objects: MemoryObjects, number: int) -> str:
    return objects.put(b"blob %d" % number)


def publish_version(ctx: Context, name: str, manifest: Manifest) -> str:
    draft = prepare(ctx, name, manifest)
    return ctx.write(lambda tx: publish(ctx, tx, draft)).digest


def publish_segment(ctx: Context, digest: str) -> None:
    now = ctx.now()
    segment = Segment(
        id=digest,
        space=ctx.space,
        stream="s",
        digest=digest,
        rows=1,
        size_bytes=1,
        start=now,
        end=now,
        created_at=now,
    )
    ctx.write(lambda tx: tx.segments.add(segment))


def needed_by(objects: MemoryObjects, manifests: set[str]) -> set[str]:
    """What versions need, one by one: entries, profile, what bodies name, and who parents were."""
    found: set[str] = set()
    for digest in manifests:
        manifest = decode_manifest(objects.get(digest))
        found |= {digest, *(entry.digest for entry in manifest.entries)}
        found |= {named for named in (manifest.profile, manifest.parent) if named}
        found |= {value for value in manifest.body.values() if isinstance(value, str)}
    return found


class Planned(NamedTuple):
    name: str
    entries: list[int]
    profile: int | None
    named: int | None
    parent: int | None
    published: bool


PLANS = st.lists(
    st.builds(
        Planned,
        name=st.sampled_from("abc"),
        entries=st.lists(BLOBS, max_size=4),
        profile=st.none() | BLOBS,
        named=st.none() | BLOBS,
        parent=st.none() | st.integers(0, 5),
        published=st.booleans(),
    ),
    max_size=8,
)


def manifest_of(item: Planned, blobs: list[str], made: list[str]) -> Manifest:
    entries = [blobs[number] for number in item.entries]
    return Manifest(
        kind="dataset",
        entries=tuple(ManifestEntry(path=str(i), digest=d, size_bytes=1) for i, d in enumerate(entries)),
        profile=None if item.profile is None else blobs[item.profile],
        body={} if item.named is None else {"service_digest": blobs[item.named]},
        parent=made[item.parent % len(made)] if made and item.parent is not None else None,
    )


@settings(max_examples=150, deadline=None)
@given(plan=PLANS, segments=st.lists(BLOBS, max_size=3), old=st.sets(st.integers(0, 40)))
def test_what_is_needed_stays_and_old_rest_goes(
    plan: list[Planned], segments: list[int], old: set[int]
) -> None:
    objects = MemoryObjects()
    ctx = context(objects)
    blobs = [blob(objects, number) for number in range(8)]
    made, roots = list[str](), set[str]()
    for item in plan:
        manifest = manifest_of(item, blobs, made)
        if item.published:
            made.append(publish_version(ctx, item.name, manifest))
            roots.add(made[-1])
        else:
            made.append(prepare(ctx, "draft", manifest).digest)
    for number in segments:
        publish_segment(ctx, blobs[number])
    everything = sorted(stat.digest for stat in objects.list())
    for at, digest in enumerate(everything):
        if at in old:
            objects.age(digest, 2 * DAY)
    needed = needed_by(objects, roots) | {blobs[number] for number in segments}
    gone = {digest for at, digest in enumerate(everything) if at in old and digest not in needed}

    dry = collect_objects(ctx, dry_run=True, grace=DAY)
    assert {stat.digest for stat in objects.list()} == set(everything)
    report = collect_objects(ctx, dry_run=False, grace=DAY)

    assert {stat.digest for stat in objects.list()} == set(everything) - gone
    assert (dry.removed, dry.removed_bytes) == (report.removed, report.removed_bytes)
    assert report.removed == len(gone)
    assert report.objects == report.needed + report.young + report.removed


def test_a_collection_is_journaled_and_a_dry_run_is_not() -> None:
    objects = MemoryObjects()
    ctx = context(objects)
    objects.age(objects.put(b"loose"), 2 * DAY)
    assert collect(ctx).removed == 1
    assert collect(ctx, dry_run=False).removed_bytes == 5
    with ctx.read() as tx:
        events = tx.journal.page(ctx.space, PageRequest(), kind="objects.collected").items
    assert [event.payload for event in events] == [{"objects": 1, "removed": 1, "bytes": 5}]


def test_content_put_again_is_young_again() -> None:
    objects = MemoryObjects()
    ctx = context(objects)
    objects.age(objects.put(b"loose"), 2 * DAY)
    objects.put(b"loose")
    assert collect_objects(ctx, dry_run=False, grace=DAY).young == 1
    assert objects.get(digest_bytes(b"loose")) == b"loose"


@pytest.mark.parametrize("harm", ["lost", "damaged"])
def test_a_manifest_that_cannot_be_read_stops_the_collection(harm: str) -> None:
    objects = MemoryObjects()
    ctx = context(objects)
    digest = publish_version(ctx, "a", Manifest(kind="dataset"))
    loose = objects.put(b"loose")
    objects.age(loose, 2 * DAY)
    if harm == "lost":
        objects.remove(digest)
    else:
        objects.damage(digest)
    with pytest.raises(Corrupt) as caught:
        collect_objects(ctx, dry_run=False, grace=DAY)
    assert caught.value.hint
    assert objects.get(loose) == b"loose"


def test_a_grace_too_short_is_refused() -> None:
    with pytest.raises(Invalid, match="1s"):
        collect(context(MemoryObjects()), dry_run=False, grace="1s")


def test_what_is_put_and_named_while_it_is_looked_for_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of a stream and files of a run are named without a line of the journal."""
    objects = MemoryObjects()
    ctx = context(objects)
    loose, kept = blob(objects, 1), blob(objects, 2)

    def named_behind(asked: Context) -> frozenset[str]:
        found = reachable(asked)
        if kept not in found:
            publish_segment(ctx, blob(objects, 2))
        return found

    monkeypatch.setattr(collection, "reachable", named_behind)
    assert remove_unnamed(ctx, frozenset({loose, kept})) == 1
    assert [objects.stat(each) is not None for each in (loose, kept)] == [False, True]
