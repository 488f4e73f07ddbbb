"""Branches, tags and retention: what names mean, what is refused, what stays and what goes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from loopwright.core.errors import Conflict, Invalid, NotFound
from loopwright.core.expressions import col
from loopwright.core.manifests import Manifest
from loopwright.core.nouns import Link, LinkRole, Run, RunState
from loopwright.data.appending import append
from loopwright.data.branches import (
    branch,
    branches,
    delete_branch,
    merge,
    move_branch,
    tag,
    untag,
)
from loopwright.data.comparing import diff
from loopwright.data.reading import read
from loopwright.data.retention import collect, prune, retention, set_retention
from loopwright.data.rewriting import delete, upsert
from loopwright.engine.context import Context
from loopwright.engine.platform import rename
from loopwright.engine.publishing import manifest_of, move_alias, prepare, publish, resolve
from loopwright.testing.builders import SetClock, memory_context, memory_ports
from loopwright.testing.objects import MemoryObjects

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def clock() -> SetClock:
    return SetClock(START)


@pytest.fixture
def objects() -> MemoryObjects:
    return MemoryObjects()


@pytest.fixture
def ctx(clock: SetClock, objects: MemoryObjects) -> Context:
    return memory_context(memory_ports(clock=clock, objects=objects))


def put(ctx: Context, *ids: int, on: str | None = None) -> int:
    table = pa.table({"id": list(ids), "word": [f"w{i}" for i in ids]})
    return append(ctx, "flights", table, keys=("id",), branch=on).version.number


def ids(ctx: Context, address: str = "flights") -> list[int]:
    found: list[int] = read(ctx, address)["id"].to_pylist()
    return found


def test_a_branch_is_written_to_beside_the_dataset(ctx: Context) -> None:
    put(ctx, 1, 2)
    made = branch(ctx, "flights", "trial")
    assert (made.base, made.ahead, made.behind) == (1, 0, 0)
    assert put(ctx, 3, on="trial") == 2
    delete(ctx, "flights", where=col("id").eq(1), branch="trial")
    assert ids(ctx) == [1, 2]
    assert ids(ctx, "flights@trial") == [2, 3]
    assert ids(ctx, "branch:flights/trial@2") == [1, 2, 3]
    told = diff(ctx, "flights", "flights@trial")
    assert (told.added, told.removed, told.after) == (1, 1, "branch:flights/trial@3")
    (found,) = branches(ctx, "flights")
    assert (found.name, found.ahead, found.behind, found.version.facts["rows"]) == ("trial", 2, 0, 2)


def test_a_merge_goes_forward_and_the_branch_goes_on(ctx: Context) -> None:
    put(ctx, 1)
    branch(ctx, "flights", "trial")
    put(ctx, 2, on="trial")
    merged = merge(ctx, "flights", "trial")
    assert (merged.kind, merged.number, merged.parent) == ("dataset", 2, 1)
    assert merged.digest == resolve(ctx, "dataset:flights@trial").digest
    assert merge(ctx, "flights", "trial") == merged
    put(ctx, 3, on="trial")
    assert merge(ctx, "flights", "trial").number == 3
    assert ids(ctx) == [1, 2, 3]
    delete_branch(ctx, "flights", "trial")
    assert branches(ctx, "flights") == ()


def test_a_merge_over_newer_versions_is_refused_and_says_which(ctx: Context) -> None:
    put(ctx, 1)
    branch(ctx, "flights", "trial")
    put(ctx, 2, on="trial")
    put(ctx, 3)
    with pytest.raises(Conflict) as caught:
        merge(ctx, "flights", "trial")
    assert "made from flights@1, but 'flights' is at 2: 1 versions came since (2)" in caught.value.message
    with pytest.raises(Conflict, match="1 versions that 'flights' does not have"):
        move_branch(ctx, "flights", "trial", "2")
    with pytest.raises(Conflict) as caught:
        delete_branch(ctx, "flights", "trial")
    assert caught.value.hint.endswith("force")
    moved = move_branch(ctx, "flights", "trial", "2", force=True)
    assert (moved.base, moved.ahead, moved.behind) == (2, 0, 0)
    put(ctx, 4, on="trial")
    assert merge(ctx, "flights", "trial").number == 3
    assert ids(ctx) == [1, 3, 4]


def test_a_branch_of_a_branch_and_of_a_past_version(ctx: Context) -> None:
    put(ctx, 1)
    put(ctx, 2)
    assert branch(ctx, "flights", "old", at="1").behind == 1
    put(ctx, 9, on="old")
    made = branch(ctx, "flights", "older", at="old")
    assert (made.base, ids(ctx, "flights@older")) == (1, [1, 9])
    with pytest.raises(Conflict):
        merge(ctx, "flights", "older")


def test_names_that_are_taken_or_not_there(ctx: Context) -> None:
    put(ctx, 1)
    branch(ctx, "flights", "trial")
    tag(ctx, "flights", "gold")
    with pytest.raises(Conflict, match="has a branch 'trial' already"):
        branch(ctx, "flights", "trial")
    with pytest.raises(Conflict, match="'gold' is a tag"):
        branch(ctx, "flights", "gold")
    with pytest.raises(Conflict, match="'trial' is a branch"):
        tag(ctx, "flights", "trial")
    with pytest.raises(Invalid, match="is not an alias"):
        branch(ctx, "flights", "1st")
    with pytest.raises(NotFound):
        put(ctx, 2, on="nothing")
    with pytest.raises(NotFound, match="no branch 'nothing'"):
        merge(ctx, "flights", "nothing")
    with pytest.raises(Conflict, match="it has branches"):
        rename(ctx, "dataset", "flights", "other")
    delete_branch(ctx, "flights", "trial", force=True)
    rename(ctx, "dataset", "flights", "other")


def test_every_way_to_name_a_version(ctx: Context, clock: SetClock) -> None:
    put(ctx, 1)
    clock.advance(DAY)
    put(ctx, 2)
    tag(ctx, "flights", "prod", version="1")
    second = resolve(ctx, "dataset:flights")
    for selector, number in (
        ("@2", 2),
        ("@prod", 1),
        ("@2026-01-01T00:00Z", 1),
        ("@2026-01-01T23:00Z", 1),
        ("@2026-01-02T00:00Z", 2),
        (f"#{second.digest}", 2),
        (f"#{second.digest[:12]}", 2),
    ):
        assert resolve(ctx, f"dataset:flights{selector}").number == number, selector
    with pytest.raises(NotFound):
        resolve(ctx, "dataset:flights@2025-12-31T00:00Z")
    branch(ctx, "flights", "trial")
    put(ctx, 3, on="trial")
    clock.advance(DAY)
    assert resolve(ctx, "dataset:flights@2026-01-03T00:00Z").number == 2


def test_a_tag_stays_until_it_is_moved(ctx: Context) -> None:
    put(ctx, 1)
    put(ctx, 2)
    assert tag(ctx, "flights", "prod", version="1").number == 1
    assert tag(ctx, "flights", "prod", version="1").number == 1
    with pytest.raises(Conflict, match="is version 1 already"):
        tag(ctx, "flights", "prod")
    assert tag(ctx, "flights", "prod", move=True).number == 2
    untag(ctx, "flights", "prod")
    with pytest.raises(NotFound, match="no tag 'prod'"):
        untag(ctx, "flights", "prod")
    branch(ctx, "flights", "trial")
    with pytest.raises(Invalid, match="is on a branch"):
        tag(ctx, "flights", "quiet", version="trial")


def run_that_made(ctx: Context, run_id: str, read_number: int) -> None:
    """A run that read a version of the dataset and made a model."""
    source = resolve(ctx, f"dataset:flights@{read_number}")
    draft = prepare(ctx, "delays", Manifest(kind="model", body={"run": run_id}))
    run = Run(
        id=run_id,
        space=ctx.space,
        kind="training",
        name="t",
        state=RunState.RUNNING,
        created_at=ctx.now(),
        created_by="t",
    )
    ctx.write(lambda tx: tx.runs.add(run))
    ctx.write(
        lambda tx: tx.runs.link(Link(run_id=run_id, role=LinkRole.INPUT, version=source.ref, at=ctx.now()))
    )
    under = ctx.under(run_id)
    under.write(lambda tx: publish(under, tx, draft))


def training_set(ctx: Context, source: int) -> None:
    told = {"sources": {"feature_view:v@1": f"dataset:flights@{source}"}, "spine": "dataset:flights@7"}
    body = {"facts": told}
    draft = prepare(ctx, "set", Manifest(kind="dataset", body=body), facts={"rows": 1})
    ctx.write(lambda tx: publish(ctx, tx, draft))


def test_retention_keeps_the_last_the_young_and_what_is_pinned(ctx: Context, clock: SetClock) -> None:
    for number in range(1, 11):
        put(ctx, number)
        clock.advance(DAY)
    assert retention(ctx, "flights").removed == ()
    tag(ctx, "flights", "prod", version="2")
    branch(ctx, "flights", "trial", at="3")
    run_that_made(ctx, "r1", 4)
    training_set(ctx, 5)
    set_retention(ctx, "flights", keep_last=2, keep_days=3.5)
    told = retention(ctx, "flights")
    assert told.removed == (6, 1)
    assert {kept.number: kept.why[0] for kept in told.kept} == {
        10: "the newest",
        9: "one of the last 2",
        8: "younger than 3.5 days",
        7: "a training set was made from it",
        5: "a training set was made from it",
        4: "model:delays@1 was made from it",
        3: "base of the branch flights/trial",
        2: "tag prod",
    }
    assert prune(ctx, "flights", dry_run=False).removed == (6, 1)
    assert prune(ctx, "flights", dry_run=False).removed == ()
    with pytest.raises(NotFound, match="means version 6, which was removed for good"):
        resolve(ctx, "dataset:flights@6")
    assert put(ctx, 11) == 11
    assert ids(ctx, "flights@2") == [1, 2]


def test_retention_that_keeps_nothing_is_refused(ctx: Context) -> None:
    put(ctx, 1)
    with pytest.raises(Invalid, match="no retention"):
        set_retention(ctx, "flights", keep_last=0)
    with pytest.raises(NotFound):
        set_retention(ctx, "nothing", keep_last=1)


def test_objects_of_pruned_versions_of_one_dataset_go(
    ctx: Context, clock: SetClock, objects: MemoryObjects
) -> None:
    put(ctx, 1, 2, 3)
    upsert(ctx, "flights", pa.table({"id": [2], "word": ["new"]}))
    loose = objects.put(b"of another")
    old = manifest_of(ctx, resolve(ctx, "dataset:flights@1"))
    set_retention(ctx, "flights", keep_last=1)
    prune(ctx, "flights", dry_run=False)
    assert collect(ctx, "flights").removed == 0
    for stat in list(objects.list()):
        objects.age(stat.digest, 4000 * DAY)
    told = collect(ctx, "flights")
    assert told.removed == 2
    assert collect(ctx, "flights", dry_run=False).removed_bytes == told.removed_bytes
    assert objects.stat(old.entries[0].digest) is None
    assert objects.stat(loose) is not None
    assert sorted(ids(ctx)) == [1, 2, 3]
    assert collect(ctx, "flights", dry_run=False).removed == 0
    with pytest.raises(Invalid, match="1s"):
        collect(ctx, "flights", grace="1s")


def test_an_alias_set_elsewhere_may_not_hide_a_branch(ctx: Context) -> None:
    put(ctx, 1)
    branch(ctx, "flights", "trial")
    version = resolve(ctx, "dataset:flights")
    with pytest.raises(Conflict, match="is a branch"):
        ctx.write(lambda tx: move_alias(ctx, tx, version, "trial"))
