"""Files of runs: kept, listed as a file system would, removed, collected; and whose a place is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from loopwright.core.errors import Corrupt, Invalid, NotFound
from loopwright.core.nouns import Asset, Run, RunState
from loopwright.engine.collection import collect_objects
from loopwright.engine.context import Context
from loopwright.ports.ledger import Transaction
from loopwright.testing.builders import SetClock, memory_context, memory_ports
from loopwright.testing.objects import MemoryObjects
from loopwright.tracking import artifacts
from loopwright.tracking.artifacts import (
    Entry,
    found,
    list_files,
    listed,
    opened,
    remove,
    store,
    store_stream,
)
from loopwright.tracking.homes import Spot, at_place, home_of_run, in_model, in_run
from loopwright.tracking.paths import file_path, folder_path

DAY = timedelta(days=1)
FAR = {"artifact_uri": "s3://bucket/r3/artifacts"}
OWN = {"artifact_uri": "mlflow-artifacts:/elsewhere/x/r2/artifacts"}


def made(objects: MemoryObjects | None = None) -> Context:
    """Runs r1 (plain), r2 and r3 (with addresses of their own), r4 (deleted), r5 (alone), and a model."""
    ctx = memory_context(memory_ports(objects=objects, clock=SetClock(datetime.now(UTC))))
    now = ctx.now()
    plain = Run(
        id="r1",
        space="default",
        kind="run",
        name="n",
        state=RunState.RUNNING,
        created_at=now,
        created_by="t",
        experiment="e",
    )
    experiment = Asset(id="7", space="default", kind="experiment", name="e", created_at=now, created_by="t")
    model = Asset(
        id="a9",
        space="default",
        kind="logged_model",
        name="m-1",
        created_at=now,
        created_by="t",
        facts={"artifact_uri": "mlflow-artifacts:/7/models/m-1/artifacts"},
    )

    def work(tx: Transaction) -> None:
        tx.assets.add(experiment)
        tx.assets.add(model)
        tx.runs.add(plain)
        tx.runs.add(replace(plain, id="r2", facts=OWN))
        tx.runs.add(replace(plain, id="r3", facts=FAR))
        tx.runs.add(replace(plain, id="r4", deleted_at=now))
        tx.runs.add(replace(plain, id="r5", experiment=None))
        tx.runs.add(replace(plain, id="r6", space="other"))

    ctx.write(work)
    return ctx


def at(ctx: Context, path: str, run_id: str = "r1") -> Callable[[Transaction], Spot]:
    checked = folder_path(path)
    return lambda tx: in_run(tx, ctx.space, run_id, checked)


def content(ctx: Context, path: str) -> bytes:
    with opened(ctx, found(ctx, at(ctx, path))) as file:
        return file.read()


def names(ctx: Context, folder: str = "") -> list[str]:
    _, items = listed(ctx, at(ctx, folder))
    return [f"{each.path}/" if each.is_folder else each.path for each in items]


# -- kept and read ---------------------------------------------------------------------


def test_a_file_is_what_was_stored_last() -> None:
    ctx = made()
    store(ctx, at(ctx, "a.txt"), b"first")
    kept = store_stream(ctx, at(ctx, "a.txt"), iter([b"sec", b"", b"ond"]))
    assert (kept.size_bytes, content(ctx, "a.txt")) == (6, b"second")
    store(ctx, at(ctx, "empty"), b"")
    assert content(ctx, "empty") == b""


@pytest.mark.parametrize("size", [artifacts.SMALL - 1, artifacts.SMALL, artifacts.SMALL + 1])
def test_small_and_great_files_are_read_alike(size: int) -> None:
    ctx = made()
    store_stream(ctx, at(ctx, "f"), iter([b"x" * size]))
    assert content(ctx, "f") == b"x" * size


def test_damaged_bytes_are_not_given_out() -> None:
    objects = MemoryObjects()
    ctx = made(objects)
    kept = store(ctx, at(ctx, "f"), b"sound")
    objects.damage(kept.digest)
    with pytest.raises(Corrupt):
        content(ctx, "f")


def test_what_is_not_there_and_a_folder_are_told_apart() -> None:
    ctx = made()
    store(ctx, at(ctx, "a/b"), b"x")
    with pytest.raises(NotFound):
        found(ctx, at(ctx, "a/c"))
    with pytest.raises(Invalid, match="directory"):
        found(ctx, at(ctx, "a"))


def test_a_file_is_no_folder() -> None:
    ctx = made()
    store(ctx, at(ctx, "a/b"), b"x")
    for path in ("a", "a/b/c", "a/b/c/d"):
        with pytest.raises(Invalid):
            store(ctx, at(ctx, path), b"y")
    assert names(ctx) == ["a/"]
    store(ctx, at(ctx, "a0"), b"y")
    store(ctx, at(ctx, "a-b"), b"y")


def test_nothing_is_asked_of_a_stream_that_is_refused() -> None:
    ctx = made()
    asked = iter([b"x"])
    for find in (at(ctx, "f", "none"), at(ctx, "f", "r4"), at(ctx, "f", "r3"), at(ctx, "")):
        with pytest.raises((Invalid, NotFound)):
            store_stream(ctx, find, asked)
    assert list(asked) == [b"x"]
    assert not list(ctx.ports.objects.list())


def test_an_upload_during_which_the_run_is_deleted_is_refused() -> None:
    ctx = made()

    def pieces() -> list[bytes]:
        ctx.write(lambda tx: tx.runs.update(replace(tx.runs.get("r1"), deleted_at=ctx.now())))
        return [b"late"]

    with pytest.raises(Invalid, match="deleted"):
        store_stream(ctx, at(ctx, "f"), (piece for _ in range(1) for piece in pieces()))
    assert names(ctx) == []


def test_many_at_once_are_all_kept() -> None:
    ctx = made()

    def some(worker: int) -> None:
        for number in range(20):
            store(ctx, at(ctx, f"d{worker}/{number}"), b"%d" % number)

    threads = [threading.Thread(target=some, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(names(ctx, f"d{worker}")) for worker in range(4)] == [20] * 4


# -- listed and removed ------------------------------------------------------------------

parts = st.sampled_from(["a", "b", "a0", "a-", "ä", "Z"])
trees = st.lists(st.lists(parts, min_size=1, max_size=4).map("/".join), max_size=14)


def folders_of(paths: list[str]) -> set[str]:
    return {"/".join(path.split("/")[:depth]) for path in paths for depth in range(len(path.split("/")))}


@given(trees, st.lists(parts, max_size=3).map("/".join))
def test_lists_are_those_of_a_file_system(wanted: list[str], folder: str) -> None:
    ctx = made()
    kept: list[str] = []
    for path in wanted:
        is_free = path not in folders_of(kept) and not any(path.startswith(f"{each}/") for each in kept)
        try:
            store(ctx, at(ctx, path), path.encode())
            assert is_free
            kept.append(path)
        except Invalid:
            assert not is_free
    below = [path for path in kept if not folder or path.startswith(f"{folder}/")]
    depth = len(folder.split("/")) if folder else 0
    right = {"/".join(path.split("/")[: depth + 1]) for path in below}
    _, items = listed(ctx, at(ctx, folder))
    assert [each.path for each in items] == sorted(right)
    assert {each.path for each in items if each.is_folder} == right - set(kept)
    assert all(each.size_bytes == len(each.path.encode()) for each in items if not each.is_folder)
    assert _paged(ctx, folder) == items
    if folder:
        gone = [path for path in set(kept) if path == folder or path.startswith(f"{folder}/")]
        assert remove(ctx, at(ctx, folder)) == len(gone)
        left = {path.split("/")[0] for path in set(kept) - set(gone)}
        assert {name.rstrip("/") for name in names(ctx)} == left


def _paged(ctx: Context, folder: str) -> list[Entry]:
    items: list[Entry] = []
    token = ""
    while True:
        page = list_files(ctx, "r1", path=folder, limit=2, token=token)
        items += page.items
        token = page.next_token
        if not token:
            return items


def test_removing_is_done_once_and_never_to_everything() -> None:
    ctx = made()
    store(ctx, at(ctx, "a/b"), b"x")
    store(ctx, at(ctx, "c"), b"x")
    assert [remove(ctx, at(ctx, path)) for path in ("none", "a", "a", "c/d")] == [0, 1, 0, 0]
    with pytest.raises(Invalid):
        remove(ctx, at(ctx, ""))
    assert names(ctx) == ["c"]


def test_a_great_folder_goes_in_several_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "_REMOVED_AT_ONCE", 7)
    ctx = made()
    for number in range(20):
        store(ctx, at(ctx, f"d/{number}"), b"x")
    assert remove(ctx, at(ctx, "d")) == 20
    assert names(ctx) == []


def test_a_deleted_run_is_read_but_not_changed() -> None:
    ctx = made()
    assert names_of(ctx, "r4") == []
    for change in (lambda: store(ctx, at(ctx, "f", "r4"), b"x"), lambda: remove(ctx, at(ctx, "f", "r4"))):
        with pytest.raises(Invalid, match="'active' state"):
            change()


def names_of(ctx: Context, run_id: str) -> list[str]:
    return [each.path for each in listed(ctx, at(ctx, "", run_id))[1]]


# -- whose a place is --------------------------------------------------------------------

PLACES = {
    "7/r1/artifacts": ("run:r1", ""),
    "7/r1/artifacts/a/b": ("run:r1", "a/b"),
    "7/r1/artifacts/artifacts/x": ("run:r1", "artifacts/x"),
    "elsewhere/x/r2/artifacts/f": ("run:r2", "f"),
    "7/models/m-1/artifacts/MLmodel": ("logged_model:m-1", "MLmodel"),
    "0/r5/artifacts/f": ("run:r5", "f"),
}
NOBODYS = (
    "7",
    "7/r1",
    "7/r1/x",
    "artifacts",
    "artifacts/x",
    "r1/artifacts/x",
    "8/r1/artifacts/x",
    "7/r2/artifacts/x",
    "7/r9/artifacts/x",
    "7/m-1/artifacts/x",
    "7/models/r1/artifacts/x",
    "7/models/m-2/artifacts/x",
    "8/models/m-1/artifacts/x",
    "bucket/r3/artifacts/x",
    "s3/bucket/r3/artifacts/x",
    "7/r6/artifacts/x",
    "x/7/r1/artifacts/x",
    "artifacts/artifacts/artifacts/7/r1/artifacts/x",
)


@pytest.mark.parametrize("place", PLACES)
def test_a_place_belongs_to_its_run_or_model(place: str) -> None:
    ctx = made()
    with ctx.read() as tx:
        spot = at_place(tx, ctx.space, file_path(place))
    assert (spot.home.owner, spot.path) == PLACES[place]


@pytest.mark.parametrize("place", NOBODYS)
def test_other_places_are_nobodys(place: str) -> None:
    ctx = made()
    with ctx.read() as tx, pytest.raises(NotFound):
        at_place(tx, ctx.space, file_path(place))


def test_owners_of_another_space_are_not_there() -> None:
    ctx = made()
    with ctx.read() as tx:
        for find in (
            lambda: home_of_run(tx, "default", "r6"),
            lambda: in_model(tx, "other", "m-1", folder_path("")),
        ):
            with pytest.raises(NotFound):
                find()


# -- collected ---------------------------------------------------------------------------


def test_bytes_stay_while_a_path_names_them_and_go_after_the_grace() -> None:
    objects = MemoryObjects()
    ctx = made(objects)
    kept = store(ctx, at(ctx, "f"), b"content")
    store(ctx, at(ctx, "same"), b"content")

    def collected() -> int:
        for item in list(objects.list()):
            objects.age(item.digest, DAY)
        return collect_objects(ctx, dry_run=False, grace=DAY / 2).removed

    assert collected() == 0
    remove(ctx, at(ctx, "f"))
    assert (collected(), content(ctx, "same")) == (0, b"content")
    remove(ctx, at(ctx, "same"))
    assert collect_objects(ctx, dry_run=False, grace=DAY * 3).removed == 0
    assert (collected(), objects.stat(kept.digest)) == (1, None)


def test_what_was_written_over_goes_too() -> None:
    objects = MemoryObjects()
    ctx = made(objects)
    before = store(ctx, at(ctx, "f"), b"before")
    after = store(ctx, at(ctx, "f"), b"after")
    for item in list(objects.list()):
        objects.age(item.digest, DAY)
    collect_objects(ctx, dry_run=False, grace=DAY / 2)
    assert objects.stat(before.digest) is None
    assert objects.stat(after.digest) is not None
