"""Killed with `kill -9` at chosen steps and at random moments, in every work that changes data.

Of each: no half version, no lost version, nothing needed is gone, all objects are what they are named by,
and the work can be done again to its end. `tests/faults/killing.py` tells how children are killed.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from loopwright.core.instants import to_micros
from loopwright.core.nouns import Version
from loopwright.data.reading import read, read_version
from loopwright.data.streams import read_stream
from loopwright.engine import collection
from loopwright.engine.collection import collect_objects
from loopwright.engine.context import Context
from loopwright.engine.erased import MARK_TAG
from loopwright.engine.holders import MARKS_FILE
from loopwright.engine.journal import verify_ledger
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.loops import erasing
from loopwright.ports.ledger import PageRequest
from loopwright.workspace import Workspace
from tests.faults import killed_worlds as worlds
from tests.faults.killing import Ended, Killer, killer
from tests.loops.test_erasing import holding

KILLED = -9
Templates = Callable[[Callable[[Path], None]], Path]


@pytest.fixture(scope="module")
def warm() -> Iterator[Killer]:
    with killer(worlds.HERE) as found:
        yield found


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    """Each world made once; its folder is copied for every point."""
    made: dict[Callable[[Path], None], Path] = {}

    def template(make: Callable[[Path], None]) -> Path:
        if make not in made:
            folder = tmp_path_factory.mktemp("world") / ".loopwright"
            make(folder)
            made[make] = folder
        return made[make]

    return template


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "_SETTLED", timedelta(0))


def work(name: str) -> str:
    return f"{worlds.HERE}:work_{name}"


class Points:
    """Copies of a world in which a work is killed: half of them before a step, half after a while."""

    def __init__(self, warm: Killer, template: Path, folder: Path) -> None:
        self._warm, self._template, self._folder = warm, template, folder
        self._made = 0

    def fresh(self) -> Path:
        self._made += 1
        place = self._folder / f"point-{self._made}" / ".loopwright"
        shutil.copytree(self._template, place)
        return place

    def whole(self, *works: str) -> list[Ended]:
        """The works in a copy of their own, to their end: how many steps they take, and how long."""
        ended = self._warm.run(self.fresh(), *works)
        assert [each.status for each in ended] == [0] * len(works)
        assert all(each.steps > 3 for each in ended)
        return ended

    def each(self, count: int, seed: int, *works: str) -> Iterator[tuple[Path, list[Ended]]]:
        """The first of the works is killed at so many points, spread over all of it."""
        chance, first = random.Random(seed), self.whole(*works)[0]
        beside: list[None] = [None] * (len(works) - 1)
        for at in range(count):
            place = self.fresh()
            if at % 2:
                late = chance.uniform(0, first.took_s)
                yield place, self._warm.run(place, *works, after_s=[late, *beside])
            else:
                stop = (at * first.steps // count + chance.randrange(2)) % first.steps
                yield place, self._warm.run(place, *works, stops=[stop, *beside])
            shutil.rmtree(place.parent)


def versions_of(ctx: Context) -> dict[str, list[Version]]:
    """Those that stand, by dataset."""
    with ctx.read() as tx:
        datasets = tx.assets.page(ctx.space, "dataset", PageRequest()).items
        pages = {asset.name: tx.versions.page(asset.id, PageRequest(limit=1000)).items for asset in datasets}
    return {name: [each for each in page if each.removed_at is None] for name, page in pages.items()}


def looked_over(ctx: Context) -> None:
    """Every version is whole, every object that is needed is there and is what it is named by."""
    verified = verify_ledger(ctx.ports.ledger)
    assert verified.ok, verified.reason
    assert not ctx.ports.ledger.check().faults
    for version in (version for found in versions_of(ctx).values() for version in found):
        rows = read_version(ctx, version).num_rows
        assert rows == manifest_of(ctx, version).rows == version.facts.get("rows", rows)
    needed = collection.reachable(ctx)
    there = {stat.digest for stat in ctx.ports.objects.list()}
    manifests = {version.digest for found in versions_of(ctx).values() for version in found}
    parents = {manifest_of(ctx, v).parent for found in versions_of(ctx).values() for v in found}
    assert needed - there <= parents - manifests
    for digest in needed & there:
        ctx.ports.objects.get(digest)


def nothing_is_left_over(ctx: Context) -> None:
    needed = collection.reachable(ctx)
    collect_objects(ctx, dry_run=False, grace=timedelta(0))
    assert {stat.digest for stat in ctx.ports.objects.list()} <= needed
    looked_over(ctx)


# ---------------------------------------------------------------------------------------------- publishing


def rows_of(ctx: Context, address: str) -> worlds.Rows:
    return [(row["key"], row["value"]) for row in read(ctx, address).to_pylist()]


def _is_published(ctx: Context, how: str) -> bool:
    """Whether the write is there as a whole; asserts that it is there as a whole or not at all."""
    if how == "together":
        found = {name: rows_of(ctx, name) for name in "ab"}
        assert found["a"] == found["b"]
        assert resolve(ctx, "dataset:a").number == resolve(ctx, "dataset:b").number
        return len(found["a"]) > 5
    if how == "checked":
        rows = read(ctx, "weather").num_rows
        kept = read_stream(ctx, "quarantine/weather").num_rows
        assert (rows, kept) in ((worlds.WEATHER_ROWS, 0), (2 * worlds.WEATHER_ROWS - 1, 1))
        return bool(rows > worlds.WEATHER_ROWS)
    newest = resolve(ctx, "dataset:d").number
    rows = rows_of(ctx, "d")
    assert (newest, rows) in ((2, worlds.BEFORE), (3, worlds.AFTER[how]))
    assert rows_of(ctx, "d@1") == [(key, 0) for key in range(60)]
    return newest == 3


def killed_in_writes(points: Points, count: int, seed: int, how: str) -> int:
    killed = 0
    for place, (ended,) in points.each(count, seed, work(how)):
        killed += ended.status == KILLED
        with worlds.opened(place) as ctx:
            looked_over(ctx)
            is_there = _is_published(ctx, how)
            assert is_there or ended.status == KILLED
            worlds.WRITES[how](ctx)
            assert _is_published(ctx, how)
            worlds.WRITES[how](ctx)
            assert _is_published(ctx, how)
            nothing_is_left_over(ctx)
    return killed


# ---------------------------------------------------------------------------------------------- two writers


def killed_of_two(points: Points, count: int, seed: int) -> int:
    """One of two is killed: the other one's rows are there, and its own once it is repeated."""
    killed = 0
    for place, (first, second) in points.each(count, seed, work("first"), work("second")):
        killed += first.status == KILLED
        assert second.status == 0
        with worlds.opened(place) as ctx:
            looked_over(ctx)
            rows = rows_of(ctx, "d")
            assert [row for row in rows if row[0] >= 200] == [(200 + n, 2) for n in range(10)]
            worlds.one_of_two(ctx, 1)
            worlds.one_of_two(ctx, 2)
            assert resolve(ctx, "dataset:d").number == 4
            wanted = [(100 * which + n, which) for which in (1, 2) for n in range(10)]
            assert sorted(rows_of(ctx, "d")) == sorted(worlds.BEFORE + wanted)
            nothing_is_left_over(ctx)
    return killed


def killed_of_two_that_expect(points: Points, count: int, seed: int) -> int:
    """Both want to be the third version: one is, whoever is killed, or none yet."""
    killed = 0
    for place, (first, second) in points.each(count, seed, work("first_expects"), work("second_expects")):
        killed += first.status == KILLED
        assert second.status == 0
        with worlds.opened(place) as ctx:
            looked_over(ctx)
            new = [row for row in rows_of(ctx, "d") if row[0] >= 100]
            assert resolve(ctx, "dataset:d").number == 3
            assert new in ([(100 * which + n, which) for n in range(10)] for which in (1, 2))
            assert not worlds.alone_at(ctx, 1, 2)
    return killed


# -------------------------------------------------------------------------------------------- materializing


def fares(ctx: Context, days: int) -> Mapping[str, object]:
    at = to_micros(worlds.START + timedelta(days=days))
    found = ctx.ports.online.read(worlds.STORE, [(name,) for name in worlds.PASSENGERS], at)
    return {name: row["fare"] for name, row in zip(worlds.PASSENGERS, found, strict=True)}


def killed_in_feeding(points: Points, count: int, seed: int, *works: str) -> int:
    """A key has what it had or what is newer, never the older event that came later."""
    before, after = worlds.newest_fares(1), worlds.newest_fares(2)
    assert before != after
    killed = 0
    for place, ended in points.each(count, seed, *map(work, works)):
        killed += ended[0].status == KILLED
        with worlds.opened(place) as ctx:
            looked_over(ctx)
            for name, fare in fares(ctx, 20).items():
                assert fare in {before[name], after[name]}, (name, fare)
            if "push" in works[1:]:
                assert fares(ctx, 20) == after
            worlds.materialized(ctx)
            assert fares(ctx, 20) == after
            assert ctx.ports.online.watermark(worlds.STORE) == to_micros(worlds.UNTIL[1])
            worlds.pushed(ctx)
            assert fares(ctx, 20) == after
            assert fares(ctx, 300) == after
    return killed


# -------------------------------------------------------------------------------------------------- erasing


def _told(ctx: Context) -> dict[str, list[object]]:
    """Who is in every version, by name."""
    found: dict[str, list[object]] = {}
    for version in versions_of(ctx)["trips"]:
        found[f"trips@{version.number}"] = (
            read(ctx, f"trips@{version.number}").column("passenger").to_pylist()
        )
    return found


def killed_in_erasing(points: Points, count: int, seed: int, *, template: Path) -> int:
    """What had begun is ended when the workspace is next opened, and proven; nothing of it is left."""
    with worlds.opened(template) as ctx:
        before = _told(ctx)
    assert holding(template, worlds.WHO)
    killed = 0
    for place, (ended,) in points.each(count, seed, work("erase")):
        killed += ended.status == KILLED
        has_begun = _has_mark(place)
        with Workspace.open(place) as workspace:
            ctx = workspace.context()
            looked_over(ctx)
            if has_begun:
                _is_gone(ctx, before)
            else:
                assert _told(ctx) == before
        if has_begun:
            assert holding(place, worlds.WHO) == []
        with worlds.opened(place) as ctx:
            worlds.erased(ctx)
            _is_gone(ctx, before)
            looked_over(ctx)
        assert holding(place, worlds.WHO) == []
    return killed


def _has_mark(place: Path) -> bool:
    file = place / MARKS_FILE
    lines = file.read_bytes().splitlines() if file.exists() else []
    return bool(lines) and json.loads(lines[-1])["columns"] == ["passenger"]


def _is_gone(ctx: Context, before: Mapping[str, list[object]]) -> None:
    wanted = {name: [who for who in told if who != worlds.WHO] for name, told in before.items()}
    assert _told(ctx) == wanted
    assert read_stream(ctx, "predictions/risk").column("prediction_id").to_pylist() == ["r1:0"]
    assert read_stream(ctx, "labels/risk").column("prediction_id").to_pylist() == ["r1:0"]
    assert fares(ctx, 20)[worlds.WHO] is None
    proofs = erasing.erasures(ctx)
    assert proofs
    assert all(proof.left == 0 for proof in proofs)
    assert MARK_TAG in resolve(ctx, "model:risk").tags
    assert "model:risk@1" in {model for proof in proofs for model in proof.models}


def killed_beside_a_writer(points: Points, count: int, seed: int) -> int:
    """Rows of others that are added meanwhile are there, whoever is killed."""
    killed = 0
    for place, (ended, beside) in points.each(count, seed, work("erase"), work("arrive")):
        killed += ended.status == KILLED
        assert beside.status == 0
        with worlds.opened(place) as ctx:
            looked_over(ctx)
            worlds.erased(ctx)
            looked_over(ctx)
            told = read(ctx, "trips").column("passenger").to_pylist()
            assert worlds.WHO not in told
            assert told.count("late") == 3
            assert all(not proof.left for proof in erasing.erasures(ctx))
        assert holding(place, worlds.WHO) == []
    return killed


# ----------------------------------------------------------------------------------------------- collecting


def killed_in_collection(points: Points, count: int, seed: int, *beside: str) -> int:
    killed = 0
    for place, ended in points.each(count, seed, *map(work, ("collect", *beside))):
        killed += ended[0].status == KILLED
        assert all(each.status == 0 for each in ended[1:])
        with worlds.opened(place) as ctx:
            looked_over(ctx)
            if beside:
                assert rows_of(ctx, "again") == rows_of(ctx, "d") == [(key, 0) for key in range(60)]
            worlds.collected(ctx)
            looked_over(ctx)
            assert [version.number for version in versions_of(ctx)["d"]][-2:] == [6, 5]
            if not beside:
                assert {stat.digest for stat in ctx.ports.objects.list()} <= collection.reachable(ctx)
            nothing_is_left_over(ctx)
    return killed


# --------------------------------------------------------------------------------------------------- points


def test_a_write_killed_anywhere_is_there_or_not(templates: Templates, warm: Killer, tmp_path: Path) -> None:
    points = Points(warm, templates(worlds.published), tmp_path)
    assert killed_in_writes(points, 1, 3, "upsert")


def test_an_erasure_killed_is_ended(templates: Templates, warm: Killer, tmp_path: Path) -> None:
    template = templates(worlds.with_passenger)
    assert killed_in_erasing(Points(warm, template, tmp_path), 1, 6, template=template)


@pytest.mark.slow
@pytest.mark.parametrize("how", worlds.WRITES)
def test_writes_killed_at_many_points(templates: Templates, warm: Killer, tmp_path: Path, how: str) -> None:
    points = Points(warm, templates(worlds.published), tmp_path)
    assert killed_in_writes(points, 12, 11, how) > 6


@pytest.mark.slow
def test_two_writers_of_whom_one_is_killed(templates: Templates, warm: Killer, tmp_path: Path) -> None:
    points = Points(warm, templates(worlds.published), tmp_path)
    assert killed_of_two(points, 16, 12) > 8
    assert killed_of_two_that_expect(points, 12, 13) > 5


@pytest.mark.slow
def test_materializing_killed_at_many_points(templates: Templates, warm: Killer, tmp_path: Path) -> None:
    points = Points(warm, templates(worlds.fed), tmp_path)
    assert killed_in_feeding(points, 24, 14, "materialize") > 12
    assert killed_in_feeding(points, 10, 15, "materialize", "push") > 4


@pytest.mark.slow
def test_an_erasure_killed_at_many_points_is_ended(
    templates: Templates, warm: Killer, tmp_path: Path
) -> None:
    template = templates(worlds.with_passenger)
    assert killed_in_erasing(Points(warm, template, tmp_path), 40, 16, template=template) > 20


@pytest.mark.slow
def test_an_erasure_killed_while_others_write(templates: Templates, warm: Killer, tmp_path: Path) -> None:
    points = Points(warm, templates(worlds.with_passenger), tmp_path)
    assert killed_beside_a_writer(points, 12, 19) > 5


@pytest.mark.slow
def test_a_collection_killed_at_many_points(templates: Templates, warm: Killer, tmp_path: Path) -> None:
    points = Points(warm, templates(worlds.pruned), tmp_path)
    assert killed_in_collection(points, 16, 17) > 8
    assert killed_in_collection(points, 10, 18, "put_again") > 5
