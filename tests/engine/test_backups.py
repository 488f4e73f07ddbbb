"""Backup and restore: everything comes back, between all kinds of stores, and nothing of a bad file does."""

from __future__ import annotations

import io
import random
import sqlite3
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from loopwright.adapters.objects import FolderObjects
from loopwright.adapters.sql import open_ledger
from loopwright.adapters.world import FileKeys, RandomIds, SystemClock
from loopwright.core.errors import (
    CheckFailed,
    Conflict,
    Corrupt,
    Invalid,
    LoopwrightError,
    NotFound,
    Unavailable,
)
from loopwright.core.manifests import Manifest, ManifestEntry
from loopwright.core.nouns import MetricPoint
from loopwright.engine import upkeep
from loopwright.engine.backups import inspect_backup, set_aside
from loopwright.engine.context import Context, Ports, Principal
from loopwright.engine.journal import HEADS_FILE, anchor_head, verify_chain
from loopwright.engine.publishing import manifest_of, prepare, publish, resolve
from loopwright.ports.ledger import Ledger, Transaction
from loopwright.testing import ledger_values as make

REGULAR = tarfile.REGTYPE
OTHERS = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)
Opens = Callable[[str], Context]


@pytest.fixture
def opens(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Opens]:
    """Opens a workspace by a name; one whose name starts with `server` has its ledger on PostgreSQL."""
    ledgers: list[Ledger] = []

    def open_one(name: str) -> Context:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        url = f"sqlite:///{folder}/ledger.db"
        if name.startswith("server"):
            url = f"{request.getfixturevalue('postgres_url')}_{name}"
        ledgers.append(open_ledger(url))
        ports = SimpleNamespace(
            folder=folder,
            ledger=ledgers[-1],
            objects=FolderObjects(folder / "objects"),
            clock=SystemClock(),
            ids=RandomIds(),
            keys=FileKeys(folder / "keys" / "journal.key"),
        )
        return Context(cast(Ports, ports), principal=Principal(name="ann"))

    yield open_one
    for ledger in ledgers:
        ledger.close()


def publish_part(ctx: Context, number: int) -> None:
    """A version of a dataset with an object of its own."""
    data = random.Random(number).randbytes(5_000 + number)
    entry = ManifestEntry(path="part", digest=ctx.ports.objects.put(data), size_bytes=len(data))
    draft = prepare(ctx, "flights", Manifest(kind="dataset", entries=(entry,), rows=number))
    ctx.write(lambda tx: publish(ctx, tx, draft))


def fill(ctx: Context) -> None:
    """Rows in every table, objects, an anchor."""

    def work(tx: Transaction) -> None:
        tx.runs.add(make.run())
        points = [
            MetricPoint(key="auc", value=v, step=n) for n, v in enumerate([0.5, float("inf"), float("nan")])
        ]
        tx.metrics.log("r1", points)
        tx.signals.add([make.signal("s1", low=-0.0, high=1e-308)])
        tx.decisions.add(make.decision("d1"))
        tx.jobs.add(make.job("j1", key="k"))
        tx.segments.add(make.segment("g1", 0, 1, digest=ctx.ports.objects.put(b"segment")))
        tx.documents.put("default", "c", "é☂", {"a": [1, None, "\u0000 \n"]})

    ctx.write(work)
    for number in range(3):
        publish_part(ctx, number)
    anchor_head(ctx, ctx.ports.folder / HEADS_FILE)


@pytest.fixture
def full(opens: Opens) -> Context:
    ctx = opens("full")
    fill(ctx)
    return ctx


@pytest.fixture
def file(full: Context, tmp_path: Path) -> Path:
    """A backup of it."""
    upkeep.backup(full, str(tmp_path / "backup.tar"))
    return tmp_path / "backup.tar"


def same(one: Context, two: Context) -> bool:
    """Whether two workspaces hold the same."""
    return held(one) == held(two)


def held(ctx: Context) -> tuple[object, ...]:
    objects = ctx.ports.objects
    files = [(ctx.ports.folder / name).read_bytes() for name in (HEADS_FILE, "keys/journal.key")]
    return list(ctx.ports.ledger.dump()), {s.digest: objects.get(s.digest) for s in objects.list()}, files


def is_untouched(ctx: Context) -> bool:
    """Whether nothing at all was put in a workspace."""
    rows = ctx.ports.ledger.check().rows
    names = {path.name for path in ctx.ports.folder.iterdir()}
    return sum(rows.values()) == 1 and not list(ctx.ports.objects.list()) and HEADS_FILE not in names


@pytest.mark.parametrize(("source", "target"), [("one", "two"), ("one", "server"), ("server", "two")])
def test_a_backup_restores_everything_into_any_store(
    opens: Opens, tmp_path: Path, source: str, target: str
) -> None:
    before, after = opens(source), opens(target)
    fill(before)
    made = upkeep.backup(before, str(tmp_path / "b.tar"))
    assert (made.missing, made.events) == ((), 4)
    assert made.size_bytes == (tmp_path / "b.tar").stat().st_size
    assert (tmp_path / "b.tar").stat().st_mode & 0o077 == 0
    restored = upkeep.restore_backup(after, tmp_path / "b.tar")
    assert restored.journal.ok
    assert same(before, after)
    assert verify_chain(after).ok
    assert not upkeep.check_store(after).faults
    publish_part(after, 99)  # numbers, names and the chain go on
    assert resolve(after, "dataset:flights").number == 4
    assert manifest_of(after, resolve(after, "dataset:flights@2")).rows == 1
    after.write(lambda tx: tx.runs.add(make.run("r2")))
    after.write(lambda tx: tx.metrics.log("r2", [MetricPoint(key="new", value=1.0)]))
    assert verify_chain(after).lines == 5


def test_a_backup_is_consistent_while_others_write(opens: Opens, tmp_path: Path) -> None:
    ctx, stop = opens("busy"), threading.Event()
    fill(ctx)

    def write() -> None:
        for number in range(100, 1000):
            if stop.is_set():
                return
            publish_part(ctx, number)
            anchor_head(ctx, ctx.ports.folder / HEADS_FILE)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(4):
            assert upkeep.backup(ctx, str(tmp_path / f"b{number}.tar")).missing == ()
    finally:
        stop.set()
        writer.join()
    for number in range(4):
        after = opens(f"after{number}")
        assert upkeep.restore_backup(after, tmp_path / f"b{number}.tar").journal.ok
        assert verify_chain(after).ok
        newest = resolve(after, "dataset:flights").number
        for version in range(1, newest + 1):
            for entry in manifest_of(after, resolve(after, f"dataset:flights@{version}")).entries:
                assert len(after.ports.objects.get(entry.digest)) == entry.size_bytes


def test_online_state_in_use_is_copied_whole(full: Context, opens: Opens, tmp_path: Path) -> None:
    online = sqlite3.connect(full.ports.folder / "online.db", isolation_level=None)
    online.execute("PRAGMA journal_mode=WAL")
    online.execute("CREATE TABLE t (a)")
    online.execute("INSERT INTO t VALUES (1)")  # still in the write-ahead log alone
    upkeep.backup(full, str(tmp_path / "b.tar"))
    online.close()
    after = opens("after")
    upkeep.restore_backup(after, tmp_path / "b.tar")
    copy = sqlite3.connect(after.ports.folder / "online.db")
    assert copy.execute("SELECT a FROM t").fetchall() == [(1,)]
    copy.close()


def test_an_object_that_is_gone_is_told_and_the_rest_is_kept(
    full: Context, tmp_path: Path, opens: Opens
) -> None:
    entry = manifest_of(full, resolve(full, "dataset:flights@2")).entries[0]
    full.ports.objects.remove(entry.digest)
    with pytest.raises(CheckFailed, match=entry.digest):
        upkeep.backup(full, str(tmp_path / "b.tar"))
    assert inspect_backup(tmp_path / "b.tar").missing == (entry.digest,)
    after = opens("after")
    upkeep.restore_backup(after, tmp_path / "b.tar")
    assert same(full, after)


# ------------------------------------------------------------------------------------------ refused


def test_a_file_that_is_there_is_not_overwritten(full: Context, file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(Conflict):
        upkeep.backup(full, str(file))
    assert file.read_bytes() == before


def test_a_backup_that_cannot_be_written_leaves_nothing(full: Context, tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        upkeep.backup(full, str(tmp_path / "none" / "b.tar"))
    assert not list(tmp_path.rglob("*.part"))


def test_a_workspace_that_is_not_empty_is_left_alone(full: Context, file: Path) -> None:
    before = list(full.ports.ledger.dump())
    with pytest.raises(Conflict, match="not empty"):
        upkeep.restore_backup(full, file)
    assert list(full.ports.ledger.dump()) == before


def unopened(folder: Path, clock: SystemClock) -> Context:
    """A context whose ports are opened at their first use, as those of a command are."""

    class Ports(SimpleNamespace):
        @cached_property
        def ledger(self) -> Ledger:
            return open_ledger(f"sqlite:///{folder}/ledger.db")

        @cached_property
        def objects(self) -> FolderObjects:
            return FolderObjects(folder / "objects")

        @cached_property
        def keys(self) -> FileKeys:
            return FileKeys(folder / "keys" / "journal.key")

    return Context(
        cast(Any, Ports(folder=folder, clock=clock, ids=RandomIds())), principal=Principal(name="a")
    )


def test_a_present_workspace_is_set_aside_by_force(full: Context, file: Path, opens: Opens) -> None:
    folder = full.ports.folder
    full.ports.ledger.close()
    new = unopened(folder, SystemClock())
    report = upkeep.restore_backup(new, file, force=True)
    assert held(new) == held(opens(Path(report.set_aside).name))
    with pytest.raises(Conflict):
        upkeep.restore_backup(new, file)
    new.ports.ledger.close()
    fresh = unopened(folder.parent / "deep" / "fresh", SystemClock())
    assert upkeep.restore_backup(fresh, file, force=True).set_aside == ""
    fresh.ports.ledger.close()


def test_a_present_workspace_stays_when_the_file_is_bad(full: Context, file: Path) -> None:
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(Corrupt):
        upkeep.restore_backup(full, file, force=True)
    assert resolve(full, "dataset:flights").number == 3
    assert set_aside(full.ports.folder / "none", at=SystemClock().wall()) is None


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_cut_file_is_refused_and_nothing_is_put(file: Path, opens: Opens, share: float) -> None:
    data = file.read_bytes()
    end = data.rstrip(b"\0")
    file.write_bytes(end[: int(len(end) * share)])
    after = opens("after")
    with pytest.raises(Corrupt):
        upkeep.restore_backup(after, file)
    assert is_untouched(after)


def test_a_changed_byte_is_found_wherever_it_is(file: Path) -> None:
    """But in the padding between files, which nobody reads."""
    data, whole = file.read_bytes(), inspect_backup(file)
    chance = random.Random(5)
    for place in (chance.randrange(len(data.rstrip(b"\0"))) for _ in range(150)):
        changed = bytearray(data)
        changed[place] ^= 1 << chance.randrange(8)
        file.write_bytes(changed)
        try:
            assert inspect_backup(file) == whole
        except (Corrupt, Invalid):
            continue
        assert data[place] == 0 or _is_slack(data, place)


def _is_slack(data: bytes, place: int) -> bool:
    """Whether a byte belongs to a header's fields that say nothing of the content."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        inside = [e for e in archive if e.offset_data <= place < e.offset_data + e.size]
    return not inside


def rebuilt(file: Path, change: Callable[[tarfile.TarFile, tarfile.TarInfo, bytes], None]) -> None:
    """Write an archive anew, each of its files through `change`."""
    with tarfile.open(file) as archive:
        held = [(entry, content(archive, entry)) for entry in archive]
    with tarfile.open(file, "w") as archive:
        for entry, data in held:
            change(archive, entry, data)


def content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    source = archive.extractfile(entry)
    assert source is not None
    return source.read()


def add(
    archive: tarfile.TarFile, name: str, content: bytes, kind: bytes = tarfile.REGTYPE, to: str = ""
) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.type, entry.linkname = len(content), kind, to
    archive.addfile(entry, io.BytesIO(content))


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "/tmp/outside",
        "files/../../outside",
        "files/keys/../../outside",
        "files/ledger.db",
        "files/keys/.hidden",
        "files/keys/a/b",
        "objects/../../outside",
        "objects/" + "F" * 64,
        "objects/short",
        "notes.txt",
        "",
    ],
)
def test_a_path_that_is_not_ours_is_refused(file: Path, opens: Opens, tmp_path: Path, name: str) -> None:
    def change(archive: tarfile.TarFile, entry: tarfile.TarInfo, content: bytes) -> None:
        if entry.name == "ledger.jsonl":
            add(archive, name, b"mine")
        add(archive, entry.name, content)

    rebuilt(file, change)
    after = opens("after")
    with pytest.raises((Invalid, Corrupt)):
        upkeep.restore_backup(after, file)
    assert is_untouched(after)
    assert not list(tmp_path.rglob("*outside*"))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_what_is_no_plain_file_is_refused(file: Path, opens: Opens, kind: bytes) -> None:
    def change(archive: tarfile.TarFile, entry: tarfile.TarInfo, content: bytes) -> None:
        if entry.name == "files/journal.heads":
            add(archive, entry.name, b"", kind, "/etc/passwd")
        else:
            add(archive, entry.name, content)

    rebuilt(file, change)
    after = opens("after")
    with pytest.raises(Invalid):
        upkeep.restore_backup(after, file)
    assert is_untouched(after)


@pytest.mark.parametrize("lost", ["ledger.jsonl", "files/journal.heads", "objects/", "manifest.json"])
def test_a_file_that_was_taken_out_is_missed(file: Path, opens: Opens, lost: str) -> None:
    def change(archive: tarfile.TarFile, entry: tarfile.TarInfo, content: bytes) -> None:
        if not entry.name.startswith(lost):
            add(archive, entry.name, content)

    rebuilt(file, change)
    after = opens("after")
    with pytest.raises(Corrupt):
        upkeep.restore_backup(after, file)
    assert is_untouched(after)


@pytest.mark.parametrize("twice", ["ledger.jsonl", "files/journal.heads", "manifest.json"])
def test_a_file_that_is_there_twice_is_refused(file: Path, opens: Opens, twice: str) -> None:
    def change(archive: tarfile.TarFile, entry: tarfile.TarInfo, content: bytes) -> None:
        for _ in range(1 + (entry.name == twice)):
            add(archive, entry.name, content)

    rebuilt(file, change)
    with pytest.raises(Corrupt):
        upkeep.restore_backup(opens("after"), file)


def test_what_is_no_backup_is_refused(tmp_path: Path, opens: Opens) -> None:
    after = opens("after")
    (tmp_path / "notes.txt").write_text("my notes\n" * 1000)
    (tmp_path / "empty").touch()
    with tarfile.open(tmp_path / "other.tar", "w") as archive:
        add(archive, "readme.md", b"# other")
    refused: dict[str, type[LoopwrightError]] = {
        "notes.txt": Corrupt,
        "empty": Corrupt,
        "other.tar": Invalid,
        "none.tar": NotFound,
    }
    for name, error in refused.items():
        with pytest.raises(error) as caught:
            upkeep.restore_backup(after, tmp_path / name)
        assert caught.value.hint
    with pytest.raises(Unavailable):
        upkeep.restore_backup(after, tmp_path)
    assert is_untouched(after)
