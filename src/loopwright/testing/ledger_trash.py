"""What every store must do with what lies in the trash, and with what is removed from it."""

from __future__ import annotations

from functools import partial

import pytest
from msgspec.structs import replace

from loopwright.core.errors import Conflict, NotFound
from loopwright.core.nouns import LinkRole, MetricPoint
from loopwright.core.queries import RunQuery
from loopwright.ports.ledger import Artifact, Ledger, Transaction
from loopwright.testing import ledger_values as make
from loopwright.testing.ledger_values import FIRST, walk

__all__ = ["TrashSuite"]


def _points(key: str, count: int) -> list[MetricPoint]:
    return [MetricPoint(key=key, value=float(n), step=n, at_us=n) for n in range(count)]


class TrashSuite:
    """Subclass it (or `LedgerSuite`) with a fixture `ledger`."""

    @pytest.mark.parametrize("limit", [1, 3, 100])
    def test_the_trash_is_listed_oldest_first(self, ledger: Ledger, limit: int) -> None:
        """Each kind for itself, those of one instant by id, of one space, gone before an instant."""
        gone = [make.at(n // 2) if n % 4 else None for n in range(16)]

        def work(tx: Transaction) -> None:
            for n, at in enumerate(gone):
                tx.runs.add(make.run(f"r{n:02d}", deleted_at=at))
                tx.assets.add(make.asset(f"a{n:02d}", name=f"n{n}", deleted_at=at))
                tx.versions.add(
                    make.version(make.asset("a00", name="n0"), n + 1, id=f"v{n:02d}", deleted_at=at)
                )
            tx.runs.add(make.run("other", space="other", deleted_at=make.at(0)))

        ledger.write(work)
        wanted = [f"{n:02d}" for n, at in enumerate(gone) if at is not None]
        early = [f"{n:02d}" for n, at in enumerate(gone) if at is not None and at < make.at(4)]
        with ledger.read() as tx:
            for letter, pages in (("r", tx.trash.runs), ("a", tx.trash.assets), ("v", tx.trash.versions)):
                found = walk(partial(pages, "default"), limit=limit)
                assert [each.id for each in found] == [f"{letter}{n}" for n in wanted]
                found = walk(partial(pages, "default", before=make.at(4)), limit=limit)
                assert [each.id for each in found] == [f"{letter}{n}" for n in early]
            assert [run.id for run in tx.trash.runs("other", FIRST).items] == ["other"]
            assert tx.trash.spaces() == ("default", "other")

    def test_a_removed_run_is_found_by_nobody(self, ledger: Ledger) -> None:
        """By id, in lists, searches and the trash; nothing more is written to it."""
        run = make.run("r1", experiment="e", params={"lr": "1"}, tags={"t": "a"}, deleted_at=make.at(1))
        kept = make.run("r2", experiment="e", params={"lr": "1"})

        def work(tx: Transaction) -> None:
            for each in (run, kept):
                tx.runs.add(each)
                tx.metrics.log(each.id, _points("auc", 5))

        ledger.write(work)
        ledger.write(lambda tx: tx.trash.remove_run("r1", make.at(9)))
        with pytest.raises(NotFound):
            ledger.write(lambda tx: tx.trash.remove_run("r1", make.at(9)))
        with pytest.raises(NotFound):
            ledger.write(lambda tx: tx.metrics.log("r1", _points("auc", 1)))
        with pytest.raises(NotFound):
            ledger.write(lambda tx: tx.runs.update(run))
        with pytest.raises(NotFound):
            ledger.write(lambda tx: tx.runs.link(make.link("r1", LinkRole.INPUT, "a", 1)))
        with ledger.read() as tx:
            for ask in (tx.runs.get, tx.metrics.latest):
                with pytest.raises(NotFound):
                    ask("r1")
            everything = RunQuery(experiments=("e",), lifecycle="all")
            found = [each.run for each in tx.runs.search("default", everything, FIRST).items]
            assert found == [kept] == list(tx.runs.page("default", FIRST).items)
            assert tx.trash.runs("default", FIRST).items == ()
            assert len(tx.metrics.latest("r2")) == 1

    def test_points_of_a_removed_run_go_some_at_a_time(self, ledger: Ledger) -> None:
        """Then the run itself: its id is free. Those of others stay."""

        def work(tx: Transaction) -> None:
            for name in ("r1", "r2"):
                tx.runs.add(make.run(name))
                for key in ("auc", "loss"):
                    tx.metrics.log(name, _points(key, 25))

        ledger.write(work)
        assert ledger.write(lambda tx: tx.trash.sweep_run("r1", 10)) == 0
        ledger.write(lambda tx: tx.trash.remove_run("r1", make.at(1)))
        swept = []
        while count := ledger.write(lambda tx: tx.trash.sweep_run("r1", 20)):
            swept.append(count)
        assert swept == [20, 20, 10]
        ledger.write(lambda tx: tx.runs.add(make.run("r1")))
        with ledger.read() as tx:
            assert tx.trash.tombstone("r1") is None
            assert tx.metrics.latest("r1") == {}
            assert [tx.metrics.count("r2", key) for key in ("auc", "loss")] == [25, 25]

    def test_a_removed_run_that_edges_name_leaves_a_tombstone(self, ledger: Ledger) -> None:
        """Who it was and when, nothing of what was in it."""
        run = make.run("r1", experiment="e", params={"lr": "1"}, facts={"x": 1}, deleted_at=make.at(1))
        edge = make.link("r1", LinkRole.OUTPUT, "a", 1, 5)

        def work(tx: Transaction) -> None:
            tx.runs.add(run)
            tx.runs.link(edge)
            tx.metrics.log("r1", _points("auc", 3))

        ledger.write(work)
        ledger.write(lambda tx: tx.trash.remove_run("r1", make.at(9)))
        assert [ledger.write(lambda tx: tx.trash.sweep_run("r1", 2)) for _ in range(3)] == [2, 1, 0]
        with ledger.read() as tx:
            left = replace(run, experiment=None, params={}, facts={}, deleted_at=make.at(9))
            assert tx.trash.tombstone("r1") == left
            assert list(tx.runs.links("r1")) == [edge]
            assert tx.runs.users("dataset", "a", 1, LinkRole.OUTPUT) == ("r1",)
            with pytest.raises(NotFound):
                tx.runs.get("r1")
        with pytest.raises(Conflict):
            ledger.write(lambda tx: tx.runs.add(run))

    def test_a_removed_version_keeps_its_number(self, ledger: Ledger) -> None:
        """And its digest, which no object is kept for any more."""
        versions = [
            make.version(make.asset("a1"), n, id=f"v{n}", facts={"n": n}, deleted_at=make.at(n))
            for n in (1, 2)
        ]

        def work(tx: Transaction) -> None:
            tx.assets.add(make.asset("a1"))
            for each in versions:
                tx.versions.add(each)

        ledger.write(work)
        ledger.write(lambda tx: tx.trash.remove_version("v2", make.at(9)))
        with pytest.raises(NotFound):
            ledger.write(lambda tx: tx.trash.remove_version("v2", make.at(9)))
        with ledger.read() as tx:
            left = tx.versions.latest("a1")
            assert left == replace(versions[1], facts={}, tags={}, removed_at=make.at(9))
            assert list(tx.versions.digests()) == [versions[0].digest]
            assert tx.trash.versions("default", FIRST).items == (versions[0],)

    def test_a_removed_asset_goes_with_its_versions(self, ledger: Ledger) -> None:
        """Its name is free; others of the same kind stay."""

        def work(tx: Transaction) -> None:
            for name in ("a1", "a2"):
                tx.assets.add(make.asset(name))
                tx.versions.add(make.version(make.asset(name), 1))
                tx.aliases.put(make.alias(make.asset(name), "champion", 1))

        ledger.write(work)
        ledger.write(lambda tx: tx.trash.remove_asset("a1"))
        with pytest.raises(NotFound):
            ledger.write(lambda tx: tx.trash.remove_asset("a1"))
        ledger.write(lambda tx: tx.assets.add(make.asset("a3", name="a1")))
        with ledger.read() as tx:
            assert tx.versions.get("a1", 1) is None
            assert tx.aliases.of("a1") == ()
            assert tx.versions.get("a2", 1) is not None
            assert len(tx.aliases.of("a2")) == 1

    def test_files_of_an_owner_are_cleared_some_at_a_time(self, ledger: Ledger) -> None:
        """Of this owner alone."""

        def work(tx: Transaction) -> None:
            for owner in ("run:1", "run:2"):
                for n in range(7):
                    tx.artifacts.put(
                        Artifact(
                            space="default",
                            owner=owner,
                            path=f"f/{n}",
                            digest=f"{n}" * 64,
                            size_bytes=n,
                            at=make.at(0),
                        )
                    )

        ledger.write(work)
        cleared = [ledger.write(lambda tx: tx.trash.clear_files("default", "run:1", 3)) for _ in range(4)]
        assert cleared == [3, 3, 1, 0]
        with ledger.read() as tx:
            assert list(tx.artifacts.under("default", "run:1", "")) == []
            assert len(list(tx.artifacts.under("default", "run:2", ""))) == 7

    def test_a_compacted_store_holds_what_it_held(self, ledger: Ledger) -> None:
        """And takes more; what was removed gives its space back, where there are files."""

        def work(tx: Transaction) -> None:
            for name in ("r1", "r2"):
                tx.runs.add(make.run(name))
                tx.metrics.log(name, _points("auc", 3_000))

        ledger.write(work)
        ledger.write(lambda tx: tx.trash.remove_run("r1", make.at(1)))
        ledger.write(lambda tx: tx.trash.sweep_run("r1", 5_000))
        freed = ledger.compact()
        assert (freed > 0) is (ledger.check().kind in {"sqlite", "postgresql"})
        ledger.write(lambda tx: tx.metrics.log("r2", _points("loss", 10)))
        with ledger.read() as tx:
            assert [tx.metrics.count("r2", key) for key in ("auc", "loss")] == [3_000, 10]
        assert not ledger.check().faults
