"""Folders of files as versions: what comes out is what went in, cheaply, and nothing else is touched."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.adapters.objects import FolderObjects
from loopwright.core.errors import Conflict, Corrupt, Invalid, NotFound
from loopwright.core.nouns import LinkRole, Run, RunState
from loopwright.data.checkouts import checkout
from loopwright.data.files import changes, files, read_file
from loopwright.data.folders import FolderAdded, add_folder, file_changes, page_of
from loopwright.data.listing import FileChanges, FilePage, ListedFile, decode_page, encode_page, paged
from loopwright.data.verbs import append, read, show
from loopwright.engine.collection import collect_objects
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.testing.builders import memory_context, memory_ports
from tests.data.weather import weather

SMALL, LARGE = 500, 70_000


@pytest.fixture
def objects(tmp_path: Path) -> FolderObjects:
    return FolderObjects(tmp_path / "objects", durable=False)


@pytest.fixture
def ctx(tmp_path: Path, objects: FolderObjects) -> Context:
    return memory_context(memory_ports(objects=objects))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Some folders with small and large files."""
    chance = random.Random(7)
    for place in range(300):
        file = tmp_path / "photos" / f"day-{place % 11}" / f"{place}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(chance.randbytes(LARGE if place % 50 == 0 else chance.randint(0, SMALL)))
    return rested(tmp_path / "photos")


def rested(folder: Path) -> Path:
    """The folder, its files as old as they are in life."""
    for file in folder.rglob("*"):
        if file.is_file():
            os.utime(file, ns=(time.time_ns() - 10**9 - 1, time.time_ns() - 10**9 - 1))
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def replaced(file: Path, data: bytes) -> None:
    """Write a file as an editor does, and let it rest."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}~")
    draft.write_bytes(data)
    draft.replace(file)
    os.utime(file, ns=(time.time_ns() - 10**9 - 1, time.time_ns() - 10**9 - 1))


def test_what_is_checked_out_is_what_was_added(ctx: Context, photos: Path, tmp_path: Path) -> None:
    added = add_folder(ctx, "photos", photos)
    assert (added.version.number, added.files, added.read, added.unchanged) == (1, 300, 300, False)
    assert added.size_bytes == sum(map(len, content(photos).values()))
    done = checkout(ctx, "dataset:photos", tmp_path / "copy")
    assert content(tmp_path / "copy") == content(photos)
    assert (done.files, done.written, done.size_bytes) == (300, 300, added.size_bytes)


def test_what_did_not_change_is_not_read_again_and_makes_no_version(ctx: Context, photos: Path) -> None:
    first = add_folder(ctx, "photos", photos)
    again = add_folder(ctx, "photos", photos)
    assert (again.read, again.unchanged, again.version) == (0, True, first.version)


def test_one_changed_file_is_one_page_made_anew(ctx: Context, photos: Path) -> None:
    first = add_folder(ctx, "photos", photos)
    replaced(photos / "day-3" / "3.bin", b"another picture")
    second = add_folder(ctx, "photos", photos)
    assert (second.added, second.removed, second.changed) == (0, 0, 1)
    pages = [set(manifest_of(ctx, each.version).pages) for each in (first, second)]
    assert len(pages[1] - pages[0]) == 1
    assert 0 < second.read <= 300
    assert file_changes(ctx, first.version, second.version) == FileChanges(changed=("day-3/3.bin",))
    assert file_changes(ctx, second.version, first.version) == FileChanges(changed=("day-3/3.bin",))


def test_a_change_that_keeps_size_and_time_of_content_is_seen(ctx: Context, photos: Path) -> None:
    """The time of the inode cannot be set back, so it gives the writer away."""
    add_folder(ctx, "photos", photos)
    file = photos / "day-0" / "0.bin"
    before, data = file.stat(), file.read_bytes()
    file.write_bytes(b"!" + data[1:])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    again = add_folder(ctx, "photos", photos)
    assert (again.version.number, again.changed) == (2, 1)


def test_a_file_written_a_moment_ago_is_read_again(ctx: Context, tmp_path: Path) -> None:
    """A second write within the same tick of the file system's clock would leave no trace."""
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "a").write_bytes(b"a")
    assert add_folder(ctx, "new", tmp_path / "new").read == 1
    assert add_folder(ctx, "new", tmp_path / "new").read == 1


def test_the_same_content_is_the_same_version_wherever_it_lies(
    ctx: Context, photos: Path, tmp_path: Path
) -> None:
    first = add_folder(ctx, "photos", photos)
    checkout(ctx, "dataset:photos", tmp_path / "copy")
    again = add_folder(ctx, "photos", tmp_path / "copy")
    assert (again.version, again.read) == (first.version, 0)


def test_older_versions_are_there_and_come_back_in_place(ctx: Context, photos: Path) -> None:
    old = content(photos)
    add_folder(ctx, "photos", photos)
    replaced(photos / "day-1" / "1.bin", b"changed")
    replaced(photos / "day-1" / "new.bin", b"added")
    (photos / "day-2" / "2.bin").unlink()
    new = content(photos)
    second = add_folder(ctx, "photos", photos)
    assert (second.added, second.removed, second.changed) == (1, 1, 1)
    assert changes(ctx, "photos", before="1") == FileChanges(
        added=("day-1/new.bin",), removed=("day-2/2.bin",), changed=("day-1/1.bin",)
    )
    back = checkout(ctx, "dataset:photos@1", photos, replace=True)
    assert content(photos) == {**old, "day-1/new.bin": b"added"}
    assert back.written == 2
    exact = checkout(ctx, "dataset:photos@1", photos, replace=True, exact=True)
    assert (content(photos), exact.removed, exact.written) == (old, 1, 0)
    checkout(ctx, "dataset:photos@2", photos, replace=True, exact=True)
    assert content(photos) == new


def test_a_folder_that_has_files_is_not_written_over_unasked(
    ctx: Context, photos: Path, tmp_path: Path
) -> None:
    add_folder(ctx, "photos", photos)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "work.txt").write_text("a week of work")
    with pytest.raises(Conflict, match="not empty"):
        checkout(ctx, "dataset:photos", tmp_path / "mine")
    assert content(tmp_path / "mine") == {"work.txt": b"a week of work"}


@pytest.mark.parametrize("way", ["link", "copy", "auto"])
def test_every_way_gives_the_same_files(ctx: Context, photos: Path, tmp_path: Path, way: str) -> None:
    add_folder(ctx, "photos", photos)
    done = checkout(ctx, "dataset:photos", tmp_path / "out", way=way)  # type: ignore[arg-type]  # of the list
    assert content(tmp_path / "out") == content(photos)
    large = [path for path, data in content(photos).items() if len(data) == LARGE]
    assert done.linked == (len(large) if way == "link" else 0)
    if way == "link":
        assert all(not os.stat(tmp_path / "out" / path).st_mode & 0o222 for path in large)


def test_linked_files_are_kept_without_a_copy(ctx: Context, objects: FolderObjects, photos: Path) -> None:
    before = content(photos)
    added = add_folder(ctx, "photos", photos, link=True)
    large = next(file for page in pages(ctx, added) for file in page.files if file.offset is None)
    assert os.path.samefile(photos / large.path, objects.local_path(large.digest))
    assert not (photos / large.path).stat().st_mode & 0o222
    assert content(photos) == before
    assert add_folder(ctx, "photos", photos, link=True).read == 0


def pages(ctx: Context, added: FolderAdded) -> list[FilePage]:
    return [page_of(ctx, digest) for digest in manifest_of(ctx, added.version).pages]


def test_collection_keeps_what_folders_need_and_removes_the_rest(
    ctx: Context, objects: FolderObjects, photos: Path, tmp_path: Path
) -> None:
    add_folder(ctx, "photos", photos)
    loose = objects.put(b"nobody needs this")
    for kept in objects.list():
        os.utime(objects.local_path(kept.digest), (0, 0))
    assert collect_objects(ctx, dry_run=False, grace=timedelta(hours=1)).removed == 1
    assert objects.stat(loose) is None
    checkout(ctx, "dataset:photos", tmp_path / "copy")
    assert content(tmp_path / "copy") == content(photos)


def test_a_run_that_checks_out_has_read_the_version(ctx: Context, photos: Path, tmp_path: Path) -> None:
    version = add_folder(ctx, "photos", photos).version
    run = Run(
        id="r1",
        space="default",
        kind="training",
        name="",
        state=RunState.RUNNING,
        created_at=ctx.now(),
        created_by="me",
    )
    ctx.write(lambda tx: tx.runs.add(run))
    checkout(ctx.under("r1"), "dataset:photos", tmp_path / "copy")
    with ctx.read() as tx:
        assert [(link.role, link.version) for link in tx.runs.links("r1")] == [(LinkRole.INPUT, version.ref)]


def test_tables_and_folders_are_not_taken_for_one_another(ctx: Context, photos: Path, tmp_path: Path) -> None:
    append(ctx, "weather", weather(3))
    with pytest.raises(Invalid, match="table"):
        add_folder(ctx, "weather", photos)
    with pytest.raises(Invalid, match="table"):
        checkout(ctx, "dataset:weather", tmp_path / "out")
    add_folder(ctx, "photos", photos)
    with pytest.raises(Invalid, match="folder of files"):
        append(ctx, "photos", weather(3))
    with pytest.raises(Invalid, match="folder of files"):
        read(ctx, "dataset:photos")


def test_files_are_listed_by_page_and_read_one_by_one(ctx: Context, photos: Path) -> None:
    add_folder(ctx, "photos", photos)
    listed, token = list[str](), ""
    while True:
        page = files(ctx, "photos", under="day-4/", limit=7, token=token)
        listed += [file.path for file in page.items]
        token = page.next_token
        if not token:
            break
    assert listed == sorted(path for path in content(photos) if path.startswith("day-4/"))
    for path in ("day-6/50.bin", "day-4/4.bin"):
        blob = read_file(ctx, "photos", path)
        with blob.file:
            assert blob.file.read() == content(photos)[path]
        assert (blob.size_bytes, blob.filename) == ((photos / path).stat().st_size, Path(path).name)
    with pytest.raises(NotFound, match="has no file"):
        read_file(ctx, "photos", "day-4/../day-4/4.bin")
    assert show(ctx, "photos").files == 300


def _link_out(folder: Path) -> None:
    (folder / "link").symlink_to("/etc/passwd")


def _link_to_folder(folder: Path) -> None:
    (folder / "etc").symlink_to("/etc")


def _pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe")


def _no_utf8(folder: Path) -> None:
    (Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9"))).write_bytes(b"x")


def _backslash(folder: Path) -> None:
    (folder / "..\\evil").write_bytes(b"x")


@pytest.mark.parametrize("trap", [_link_out, _link_to_folder, _pipe, _no_utf8, _backslash])
def test_what_could_mean_another_file_elsewhere_is_refused_and_the_store_unchanged(
    ctx: Context, photos: Path, trap: object
) -> None:
    assert callable(trap)
    trap(photos)
    with pytest.raises(Invalid) as caught:
        add_folder(ctx, "photos", photos)
    assert caught.value.hint
    with pytest.raises(NotFound):
        resolve(ctx, "dataset:photos")


def test_no_folder_is_told(ctx: Context, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no folder"):
        add_folder(ctx, "photos", tmp_path / "nowhere")


def test_a_file_that_is_written_meanwhile_is_told(
    ctx: Context, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def writes_before(path: object, *rest: int, dir_fd: int | None = None) -> int:
        if path == "100.bin":
            next(photos.rglob("100.bin")).write_bytes(b"somebody else")
        return real(str(path), *rest, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", writes_before)
    with pytest.raises(Conflict, match=r"100\.bin.*was written"):
        add_folder(ctx, "photos", photos)


def test_a_damaged_file_is_not_checked_out(
    ctx: Context, objects: FolderObjects, photos: Path, tmp_path: Path
) -> None:
    added = add_folder(ctx, "photos", photos)
    pack = next(page.pack for page in pages(ctx, added) if page.pack is not None)
    place = objects.local_path(pack)
    data = place.read_bytes()
    place.chmod(0o600)
    place.write_bytes(b"?" + data[1:])
    with pytest.raises(Corrupt):
        checkout(ctx, "dataset:photos", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "path", ["../out", "/etc/passwd", "a/../../b", "a//b", "", ".", "c:/x", "a\\b", "a\0b"]
)
def test_a_list_that_names_a_file_outside_is_damaged(path: str) -> None:
    page = encode_page(FilePage(files=(ListedFile(path, 1, "0" * 64, None),)))
    with pytest.raises(Corrupt):
        decode_page(page)


def test_a_link_in_the_way_is_not_followed(ctx: Context, photos: Path, tmp_path: Path) -> None:
    add_folder(ctx, "photos", photos)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "day-1").symlink_to(elsewhere)
    with pytest.raises((Conflict, Invalid), match="link"):
        checkout(ctx, "dataset:photos", tmp_path / "out", replace=True)
    assert content(elsewhere) == {}


def test_lost_or_damaged_memory_costs_a_second_look_alone(ctx: Context, photos: Path) -> None:
    first = add_folder(ctx, "photos", photos)
    for cache in (ctx.ports.folder / "cache" / "files").iterdir():
        cache.write_bytes(b"\xff\x00 no cache")
    again = add_folder(ctx, "photos", photos)
    assert (again.read, again.version) == (300, first.version)


@given(st.lists(st.tuples(st.text(max_size=6), st.integers(0, 1 << 20)), unique_by=lambda file: file[0]))
def test_pages_follow_one_another_and_depend_on_nothing_before_them(files: list[tuple[str, int]]) -> None:
    files.sort()
    borders = list(paged(files))
    assert [place for start, end in borders for place in range(start, end)] == list(range(len(files)))
    assert all(start < end for start, end in borders)
    if len(borders) > 1:
        start = borders[1][0]
        assert next(paged(files[start:])) == (0, borders[1][1] - start)


_NAMES = st.sampled_from(["a", "b", "c/d", "c/e", "f/g/h"])
_STEP = st.one_of(
    st.tuples(st.just("write"), _NAMES, st.binary(max_size=3)),
    st.tuples(st.just("remove"), _NAMES, st.just(b"")),
    st.tuples(st.just("add"), st.just(""), st.just(b"")),
)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    return (tmp_path_factory.mktemp("history") for _ in count())


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(_STEP, max_size=12))
def test_every_version_of_a_history_comes_back(
    places: Iterator[Path], steps: list[tuple[str, str, bytes]]
) -> None:
    """A dictionary of the folder's content is what each version is held against."""
    place = next(places)
    ctx = memory_context(memory_ports())
    folder = place / "folder"
    folder.mkdir()
    truth: dict[str, bytes] = {}
    kept: list[dict[str, bytes]] = []
    for step, name, data in [*steps, ("add", "", b"")]:
        if step == "write":
            replaced(folder / name, data)
            truth[name] = data
        elif step == "remove":
            (folder / name).unlink(missing_ok=True)
            truth.pop(name, None)
        else:
            add_folder(ctx, "folder", folder)
            if not kept or kept[-1] != truth:
                kept.append(dict(truth))
    for number, expected in enumerate(kept, start=1):
        checkout(ctx, f"dataset:folder@{number}", place / f"out-{number}")
        assert content(place / f"out-{number}") == expected
