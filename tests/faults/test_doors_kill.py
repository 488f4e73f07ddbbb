"""Killed in a checkout, a release of quarantine, a merge, a training set, an erasure of files and views.

As in `test_data_kill`: at chosen steps and at random moments, then looked over and done again to the end.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from loopwright.core.errors import NotFound
from loopwright.core.instants import to_micros
from loopwright.data.checkouts import checkout
from loopwright.data.folder_rows import parts_of_page
from loopwright.data.folders import page_of
from loopwright.data.quarantine import quarantined_total
from loopwright.data.reading import read
from loopwright.engine import collection
from loopwright.engine.context import Context
from loopwright.engine.journal import verify_ledger
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.loops import erasing
from tests.faults import killed_doors as doors
from tests.faults import killed_worlds as worlds
from tests.faults.killing import Killer, killer
from tests.faults.test_data_kill import (
    KILLED,
    Points,
    looked_over,
    nothing_is_left_over,
    rows_of,
    versions_of,
)
from tests.loops.test_erasing import holding

pytestmark = pytest.mark.slow

Made = Callable[[Callable[[Path], None]], Points]


@pytest.fixture(scope="module")
def warm() -> Iterator[Killer]:
    with killer(doors.HERE) as found:
        yield found


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "_SETTLED", timedelta(0))


@pytest.fixture
def points(warm: Killer, tmp_path: Path) -> Made:
    def made(make: Callable[[Path], None]) -> Points:
        folder = tmp_path / "world" / ".loopwright"
        folder.parent.mkdir()
        make(folder)
        return Points(warm, folder, tmp_path)

    return made


def work(name: str) -> str:
    return f"{doors.HERE}:work_{name}"


def looked_over_files(ctx: Context) -> None:
    """As tables are, with pages of folders in the place of rows."""
    verified = verify_ledger(ctx.ports.ledger)
    assert verified.ok, verified.reason
    there = {stat.digest for stat in ctx.ports.objects.list()}
    for version in (version for found in versions_of(ctx).values() for version in found):
        manifest = manifest_of(ctx, version)
        parts = [parts_of_page(page_of(ctx, page)) for page in manifest.pages]
        assert {entry.digest for entry in manifest.entries}.union(*parts) <= there
    for digest in collection.reachable(ctx) & there:
        ctx.ports.objects.get(digest)


def files_in(folder: Path) -> dict[str, str]:
    return {at.relative_to(folder).as_posix(): at.read_text() for at in folder.rglob("*") if at.is_file()}


def test_a_checkout_is_there_whole_or_not_at_all(points: Made) -> None:
    killed = 0
    for place, (ended,) in points(doors.filed).each(16, 31, work("checkout")):
        killed += ended.status == KILLED
        out = place.parent / "new"
        assert not out.exists() or files_in(out) == doors.FILES
        shutil.rmtree(out, ignore_errors=True)
        with worlds.opened(place) as ctx:
            looked_over_files(ctx)
            doors.checked_out(ctx, place)
        assert files_in(out) == doors.FILES
        assert {at.name for at in place.parent.iterdir()} == {".loopwright", "new"}
    assert killed > 8


def test_a_checkout_over_files_leaves_each_as_it_was_or_as_it_is(points: Made) -> None:
    killed = 0
    for place, (ended,) in points(doors.filed).each(16, 32, work("replace")):
        killed += ended.status == KILLED
        out = place.parent / "old"
        for name in (doors.FILES | doors.OLD).keys() & files_in(out).keys():
            assert files_in(out)[name] in {doors.FILES.get(name), doors.OLD.get(name)}
        with worlds.opened(place) as ctx:
            looked_over_files(ctx)
            doors.replaced(ctx, place)
            assert files_in(out).items() >= {**doors.OLD, **doors.FILES}.items()
            checkout(ctx, "files", out, replace=True, exact=True)
        assert files_in(out) == doors.FILES
    assert killed > 8


def test_rows_let_out_of_quarantine_are_there_once(points: Made) -> None:
    killed, everything = 0, [*range(14), *range(20, 34)]
    for place, (ended,) in points(doors.quarantined).each(16, 33, work("release")):
        killed += ended.status == KILLED
        with worlds.opened(place) as ctx:
            looked_over(ctx)
            there = [key for key, _ in rows_of(ctx, "d")]
            assert len(there) == len(set(there))
            assert len(there) + quarantined_total(ctx, "d") == len(everything)
            if quarantined_total(ctx, "d"):
                doors.released(ctx)
            assert sorted(key for key, _ in rows_of(ctx, "d")) == everything
            assert quarantined_total(ctx, "d") == 0
            nothing_is_left_over(ctx)
    assert killed > 8


def test_a_merge_is_done_or_not(points: Made) -> None:
    killed = 0
    for place, (ended,) in points(doors.branched).each(10, 34, work("merge")):
        killed += ended.status == KILLED
        with worlds.opened(place) as ctx:
            looked_over(ctx)
            assert resolve(ctx, "dataset:d").number in {1, 2}
            doors.merged(ctx)
            doors.merged(ctx)
            assert resolve(ctx, "dataset:d").number == 2
            assert rows_of(ctx, "d") == rows_of(ctx, "d@trial")
            assert len(rows_of(ctx, "d@1")) == 10
            nothing_is_left_over(ctx)
    assert killed > 4


def test_a_training_set_is_saved_or_not(points: Made) -> None:
    killed = 0
    for place, (ended,) in points(doors.asked).each(16, 35, work("train")):
        killed += ended.status == KILLED
        with worlds.opened(place) as ctx:
            looked_over(ctx)
            try:
                was = resolve(ctx, "dataset:training").digest
            except NotFound:
                was = ""
            doors.trained(ctx)
            found = resolve(ctx, "dataset:training")
            assert found.number == 1
            assert was in {"", found.digest}
            assert read(ctx, "training").column("fares.fare").to_pylist() == [float(n) for n in range(12)]
            nothing_is_left_over(ctx)
    assert killed > 8


def test_an_erasure_of_files_and_views_by_others_is_ended(points: Made) -> None:
    killed, at = 0, to_micros(worlds.START + timedelta(days=1))
    for place, (ended,) in points(doors.held_everywhere).each(24, 36, work("erase")):
        killed += ended.status == KILLED
        with worlds.opened(place) as ctx:
            looked_over_files(ctx)
            doors.erased(ctx)
            looked_over_files(ctx)
            assert worlds.WHO not in read(ctx, "trips").column("passenger").to_pylist()
            seats = [ctx.ports.online.read("seats@1", [(f"f{n}",)], at)[0] for n in range(4)]
            assert [each["fare"] for each in seats] == [8.0, 5.0, 10.0, 11.0]
            assert ctx.ports.online.read("fares@1", [(worlds.WHO,)], at)[0]["fare"] is None
            checkout(ctx, "files", place.parent / "out")
            assert (place.parent / "out/deep/4.csv").read_text() == "passenger,n\np1,4\n"
        assert holding(place, worlds.WHO) == []
    assert killed > 12
