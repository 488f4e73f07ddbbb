"""The conformance suite of the ledger: what every store of metadata must do.

A store's test is a class that names the suite and gives a fixture:

    class TestMyLedger(LedgerSuite):
        @pytest.fixture
        def ledger(self): ...
"""

from __future__ import annotations

import math
import random
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from loopwright.core.errors import Conflict, Invalid, NotFound
from loopwright.core.nouns import JobState, LinkRole, MetricPoint, RunState
from loopwright.ports.ledger import Ledger, PageRequest, Transaction
from loopwright.testing import ledger_values as make
from loopwright.testing.ledger_assets import AssetSuite
from loopwright.testing.ledger_ranks import RankSuite
from loopwright.testing.ledger_searches import SearchSuite
from loopwright.testing.ledger_traces import TraceSuite
from loopwright.testing.ledger_trash import TrashSuite
from loopwright.testing.ledger_units import UnitSuite
from loopwright.testing.ledger_values import FIRST, walk, write_each

__all__ = ["LedgerSuite", "RepositorySuite"]


class RepositorySuite:
    """What each further repository must do. Subclass it (or `LedgerSuite`) with a fixture `ledger`."""

    # ----------------------------------------------------------------------------------------- runs

    def test_a_run_is_kept_changed_and_found(self, ledger: Ledger) -> None:
        """Everything but id, space and kind is replaced."""
        first = make.run(params={"lr": "0.1"}, facts={"since": 3}, experiment="e", parent_id="p")
        ledger.write(lambda tx: tx.runs.add(first))
        with pytest.raises(Conflict):
            ledger.write(lambda tx: tx.runs.add(first))
        ended = replace(first, state=RunState.FINISHED, ended_at=make.at(9), tags={"a": "b"}, name="n")
        ledger.write(lambda tx: tx.runs.update(replace(ended, space="other", kind="trial")))
        with ledger.read() as tx:
            assert tx.runs.get("r1") == ended
            with pytest.raises(NotFound):
                tx.runs.get("r2")
        with pytest.raises(NotFound):
            ledger.write(lambda tx: tx.runs.update(make.run("r2")))

    @pytest.mark.parametrize("limit", [2, 7, 100])
    def test_pages_of_runs_match_every_filter(self, ledger: Ledger, limit: int) -> None:
        """Newest first; runs of one instant are ordered by id."""
        states = list(RunState)
        items = [
            make.run(
                f"r{n:03d}",
                created_at=make.at(n // 3),
                kind=("training", "trial")[n % 2],
                state=states[n % len(states)],
                experiment=(None, "e")[n % 3 == 0],
                parent_id=("p", "q", None)[n % 3],
            )
            for n in range(40)
        ]
        write_each(ledger, lambda tx, item: tx.runs.add(item), items)
        newest = sorted(items, key=lambda r: (r.created_at, r.id), reverse=True)
        wishes: tuple[dict[str, Any], ...] = (
            {},
            {"kind": "trial"},
            {"experiment": "e"},
            {"state": RunState.FAILED},
            {"parent_id": "q"},
            {"kind": "training", "state": RunState.RUNNING},
            {"kind": "training", "experiment": "e", "parent_id": "p", "state": RunState.SCHEDULED},
            {"kind": "none"},
        )
        with ledger.read() as tx:
            for wanted in wishes:
                found = walk(partial(tx.runs.page, "default", **wanted), limit=limit)
                assert found == [r for r in newest if all(getattr(r, k) == v for k, v in wanted.items())]
            assert tx.runs.page("other", FIRST).items == ()

    def test_edges_of_the_lineage_are_kept_once_and_in_order(self, ledger: Ledger) -> None:
        """And are followed from the version to its runs, newest first."""
        edges = [
            make.link("r1", LinkRole.INPUT, "b", 1, 5),
            make.link("r1", LinkRole.INPUT, "a", 1, 6),
            make.link("r1", LinkRole.OUTPUT, "a", 1, 7),
        ]

        def work(tx: Transaction) -> None:
            for name in ("r1", "r2", "r3"):
                tx.runs.add(make.run(name))
            tx.runs.add(make.run("r4", space="other"))
            for edge in (*edges, *edges):
                tx.runs.link(edge)
            tx.runs.link(make.link("r3", LinkRole.INPUT, "a", 1, 8))
            tx.runs.link(make.link("r2", LinkRole.INPUT, "a", 1, 9))
            tx.runs.link(make.link("r4", LinkRole.INPUT, "a", 1, 9))

        ledger.write(work)
        with ledger.read() as tx:
            assert list(tx.runs.links("r1")) == edges
            assert tx.runs.users("dataset", "a", 1, LinkRole.INPUT) == ("r2", "r3", "r1")
            assert tx.runs.users("dataset", "a", 1, LinkRole.INPUT, space="other") == ("r4",)
            assert tx.runs.users("dataset", "a", 2, LinkRole.INPUT) == ()
        with pytest.raises(NotFound):
            ledger.write(lambda tx: tx.runs.link(make.link("r9", LinkRole.INPUT, "a", 1)))

    # -------------------------------------------------------------------------------------- metrics

    def test_points_are_kept_once_and_paged_in_order(self, ledger: Ledger) -> None:
        """By (at, step, value), whatever the order they came in; NaN and infinities are kept."""
        runs = (make.run(), make.run("r2", space="other"))
        write_each(ledger, lambda tx, run: tx.runs.add(run), runs)
        values = [0.5, -1.5, math.inf, -math.inf, 1e-300, 3.0, 0.1 + 0.2, -0.0, 2.0**70]
        points = [
            MetricPoint(key="auc", value=value, step=step % 5, at_us=step // 3)
            for step, value in enumerate(values * 4)
        ]
        for _ in range(2):
            ledger.write(lambda tx: tx.metrics.log("r1", list(reversed(points))))
        ledger.write(lambda tx: tx.metrics.log("r2", [MetricPoint(key="auc", value=9.0)]))
        wanted = sorted({(p.at_us, p.step, p.value + 0.0) for p in points})
        with ledger.read() as tx:
            for limit in (1, 4, 1000):
                found = walk(lambda request: tx.metrics.history("r1", "auc", request), limit=limit)
                assert [(p.at_us, p.step, p.value) for p in found] == wanted
            assert tx.metrics.history("r1", "none", FIRST).items == ()
            assert [p.value for p in tx.metrics.history("r2", "auc", FIRST).items] == [9.0]

    def test_points_that_come_again_in_any_batch_are_kept_once(self, ledger: Ledger) -> None:
        """Curves that go on evenly, batches sent twice, points between others, steps that fall with time."""
        ledger.write(lambda tx: tx.runs.add(make.run()))
        rng, known, end = random.Random(5), dict[str, set[tuple[int, int, float]]](), 0
        for number in range(24):
            count, early = rng.choice([2, 5, 9]), rng.choice([0, 0, 3, 40])
            places = [max(0, end - early) + at for at in range(count)]
            end = max(end, places[-1] + 1)
            if number % 3 == 2:
                places = [rng.randrange(end + 2) for _ in range(count)]
            flip = -1 if number > 16 and number % 2 else 1
            batch = [
                MetricPoint(key=rng.choice("ab"), value=float(at % 2), step=at * flip, at_us=at // 2)
                for at in places
            ]
            write_each(ledger, lambda tx, sent: tx.metrics.log("r1", sent), [batch] * (1 + number % 2))
            for point in batch:
                known.setdefault(point.key, set()).add((point.at_us, point.step, point.value))
        with ledger.read() as tx:
            for key, wanted in known.items():
                found = tx.metrics.history("r1", key, PageRequest(limit=1000)).items
                assert [(p.at_us, p.step, p.value) for p in found] == sorted(wanted)

    def test_a_point_that_is_no_number_is_kept(self, ledger: Ledger) -> None:
        """Once, after the numbers of its instant."""
        point = MetricPoint(key="loss", value=math.nan, step=1, at_us=5)
        ledger.write(lambda tx: tx.runs.add(make.run()))
        for _ in range(2):
            ledger.write(lambda tx: tx.metrics.log("r1", [point, replace(point, value=3.0), point]))
        with ledger.read() as tx:
            found = tx.metrics.history("r1", "loss", FIRST).items
            assert [str(p.value) for p in found] == ["3.0", "nan"]
            assert math.isnan(tx.metrics.latest("r1")["loss"].value)

    def test_the_latest_point_is_the_greatest_by_step_at_and_value(self, ledger: Ledger) -> None:
        """In one batch or over several, for many keys."""
        ledger.write(lambda tx: tx.runs.add(make.run()))
        points = [
            MetricPoint(key=f"k{n % 150}", value=float(n * 7 % 11), step=n * 5 % 9, at_us=n * 3 % 7)
            for n in range(1500)
        ]
        for start in range(0, len(points), 400):
            write_each(ledger, lambda tx, part: tx.metrics.log("r1", part), [points[start : start + 400]])
        wanted: dict[str, MetricPoint] = {}
        for point in sorted(points, key=lambda p: (p.step, p.at_us, p.value)):
            wanted[point.key] = point
        with ledger.read() as tx:
            assert tx.metrics.latest("r1") == wanted

    def test_points_of_no_run_are_refused(self, ledger: Ledger) -> None:
        """To write and to read."""
        with pytest.raises(NotFound):
            ledger.write(lambda tx: tx.metrics.log("r1", [MetricPoint(key="a", value=1.0)]))
        with ledger.read() as tx, pytest.raises(NotFound):
            tx.metrics.latest("r1")

    # ---------------------------------------------------------------------- signals and decisions

    def test_signals_are_windowed_in_order_of_time(self, ledger: Ledger) -> None:
        """The newest so many of them, from an instant on, by name or all."""
        full = make.signal(
            "s0",
            5,
            window_start=make.at(1),
            window_end=make.at(2),
            n=9,
            low=0.1,
            high=0.9,
            unit="%",
            facts={"a": 1},
        )
        items = [
            full,
            *(make.signal(f"s{n}", 10 - n) for n in range(1, 9)),
            make.signal("t", 5, name="brier"),
        ]
        ledger.write(lambda tx: tx.signals.add(reversed(items)))
        ledger.write(lambda tx: tx.signals.add([make.signal("o", 99, subject="endpoint:other")]))
        ordered = sorted(items, key=lambda s: (s.at, s.id))
        with ledger.read() as tx:
            assert tx.signals.get("s0") == full
            assert list(tx.signals.window("default", "endpoint:delays")) == ordered
            named = [s for s in ordered if s.name == "roc_auc"]
            assert list(tx.signals.window("default", "endpoint:delays", name="roc_auc")) == named
            assert list(tx.signals.window("default", "endpoint:delays", limit=3)) == ordered[-3:]
            late = tx.signals.window("default", "endpoint:delays", name="roc_auc", start=make.at(5))
            assert list(late) == [s for s in named if s.at >= make.at(5)]
            assert tx.signals.latest("default", "endpoint:delays", "roc_auc") == named[-1]
            assert tx.signals.latest("default", "endpoint:delays", "none") is None
            assert tx.signals.window("other", "endpoint:delays") == ()
            with pytest.raises(NotFound):
                tx.signals.get("none")

    @pytest.mark.parametrize("fields", [{"value": math.nan}, {"value": math.inf}, {"low": math.nan}])
    def test_a_signal_without_a_value_is_refused(self, ledger: Ledger, fields: dict[str, float]) -> None:
        """No silent NaN."""
        with pytest.raises(Invalid):
            ledger.write(lambda tx: tx.signals.add([make.signal("s1", **fields)]))

    def test_a_signal_or_decision_never_changes(self, ledger: Ledger) -> None:
        """A second one of the same id is refused."""
        ledger.write(lambda tx: tx.signals.add([make.signal("s1")]))
        ledger.write(lambda tx: tx.decisions.add(make.decision("d1")))
        with pytest.raises(Conflict):
            ledger.write(lambda tx: tx.signals.add([make.signal("s2"), make.signal("s1", value=0.5)]))
        with pytest.raises(Conflict):
            ledger.write(lambda tx: tx.decisions.add(make.decision("d1", reason="other")))
        with ledger.read() as tx:
            assert tx.decisions.get("d1") == make.decision("d1")
            assert tx.signals.get("s1").value == 0.75
            with pytest.raises(NotFound):
                tx.signals.get("s2")
            with pytest.raises(NotFound):
                tx.decisions.get("d2")

    def test_pages_of_decisions_are_newest_first(self, ledger: Ledger) -> None:
        """By subject and action."""
        items = [
            make.decision(
                f"d{n:02d}", n // 4, subject=f"model:m@{n % 3}", action=("promote", "retrain")[n % 2]
            )
            for n in range(30)
        ]
        write_each(ledger, lambda tx, item: tx.decisions.add(item), items)
        newest = sorted(items, key=lambda d: (d.at, d.id), reverse=True)
        with ledger.read() as tx:
            assert walk(lambda r: tx.decisions.page("default", r), limit=7) == newest
            found = walk(
                lambda r: tx.decisions.page("default", r, subject="model:m@1", action="retrain"), limit=2
            )
            assert found == [d for d in newest if d.subject == "model:m@1" and d.action == "retrain"]
            assert tx.decisions.page("other", FIRST).items == ()

    # ------------------------------------------------------------------------- segments, documents

    def test_segments_are_found_by_overlap(self, ledger: Ledger) -> None:
        """Both ends count; the same id twice is one."""
        items = [make.segment(f"g{n}", 10 * n, 10 * n + 15, facts={"n": n}) for n in range(5)]
        far = make.segment("far", 0, 10, space="other")
        other = make.segment("lab", 0, 1, stream="labels/landings")
        for _ in range(2):
            write_each(ledger, lambda tx, s: tx.segments.add(s), (*reversed(items), far, other))
        stream = "predictions/delays"
        with ledger.read() as tx:
            assert list(tx.segments.between("default", stream, None, None)) == items
            assert list(tx.segments.between("default", stream, make.at(25), make.at(30))) == items[1:4]
            assert list(tx.segments.between("default", stream, make.at(55), None)) == items[4:]
            assert list(tx.segments.between("default", stream, None, make.at(0))) == items[:1]
            assert tx.segments.between("default", stream, make.at(56), None) == ()
            assert tx.segments.streams("default") == ("labels/landings", stream)
            assert set(tx.segments.digests()) == {s.digest for s in (*items, far, other)}
            assert tx.segments.between("other", stream, None, None) == (far,)

    def test_segments_are_replaced_and_taken_away(self, ledger: Ledger) -> None:
        """In their own space alone."""
        items = [make.segment(f"g{n}", n, n) for n in range(3)]
        twin = make.segment("g2", 0, 1, space="other")
        new = make.segment("new", 0, 1)
        write_each(ledger, lambda tx, s: tx.segments.add(s), (*items, twin))
        ledger.write(lambda tx: tx.segments.replace(["g0", "g1"], new))
        ledger.write(lambda tx: tx.segments.replace(["g2", "none"], None))
        with ledger.read() as tx:
            assert tx.segments.between("default", new.stream, None, None) == (new,)
            assert tx.segments.between("other", new.stream, None, None) == (twin,)

    def test_documents_are_put_replaced_and_removed(self, ledger: Ledger) -> None:
        """By space, collection and key."""
        body = {"a": [1, 2.5, None, "é☂"], "b": {"c": True}}

        def work(tx: Transaction) -> None:
            tx.documents.put("default", "c", "k", {"old": 1})
            tx.documents.put("default", "c", "k", body)
            tx.documents.put("default", "c", "a", {})
            tx.documents.put("default", "d", "k", {"x": 1})
            tx.documents.put("other", "c", "z", {"x": 2})
            tx.documents.remove("default", "c", "none")

        ledger.write(work)
        with ledger.read() as tx:
            assert tx.documents.get("default", "c", "k") == body
            assert tx.documents.get("default", "c", "z") is None
            assert list(tx.documents.all("default", "c").items()) == [("a", {}), ("k", body)]
            assert list(tx.documents.all("default", "c", start="a", end="k")) == ["a"]
            assert list(tx.documents.all("default", "c", start="b")) == ["k"]
            assert tx.documents.all("default", "c", start="b", end="k") == {}
            assert list(tx.documents.all("default", "c", limit=1)) == ["a"]
            assert list(tx.documents.all("default", "c", limit=9)) == ["a", "k"]
            assert list(tx.documents.all("default", "c", start="a!", end="l", limit=1)) == ["k"]
            assert tx.documents.all("default", "c", limit=0) == {}
        ledger.write(lambda tx: tx.documents.remove("default", "c", "k"))
        with ledger.read() as tx:
            assert tx.documents.get("default", "c", "k") is None
            assert tx.documents.get("default", "d", "k") == {"x": 1}

    def test_a_value_that_is_no_json_is_refused(self, ledger: Ledger) -> None:
        """And nothing is kept."""
        with pytest.raises(Invalid):
            ledger.write(lambda tx: tx.documents.put("default", "c", "k", {"a": object()}))
        with ledger.read() as tx:
            assert tx.documents.all("default", "c") == {}

    # ----------------------------------------------------------------------------------------- jobs

    def test_a_job_of_a_known_key_is_the_one_that_is_there(self, ledger: Ledger) -> None:
        """In its space; without a key each is its own."""
        first = make.job("j1", key="k", lease_s=12.5, at_most_once=True)
        assert ledger.write(lambda tx: tx.jobs.add(first)) == first
        assert ledger.write(lambda tx: tx.jobs.add(make.job("j2", key="k"))) == first
        other = make.job("j3", key="k", space="other")
        assert ledger.write(lambda tx: tx.jobs.add(other)) == other
        for name in ("j4", "j5"):
            write_each(ledger, lambda tx, new: tx.jobs.add(make.job(new)), [name])
        with pytest.raises(Conflict):
            ledger.write(lambda tx: tx.jobs.add(make.job("j5")))
        with ledger.read() as tx:
            assert tx.jobs.get("j1") == first
            with pytest.raises(NotFound):
                tx.jobs.get("j2")

    def test_due_jobs_are_queued_in_time_or_lost_their_lease(self, ledger: Ledger) -> None:
        """Oldest first, of the operations asked for, at most so many."""
        running = {"state": JobState.RUNNING, "not_before": make.at(0)}
        items = [
            make.job("late", 1, not_before=make.at(11)),
            make.job("b", 3),
            make.job("a", 3),
            make.job("lost", 2, leased_until=make.at(19), **running),
            make.job("held", 2, leased_until=make.at(20), **running),
            make.job("done", 0, state=JobState.DONE),
            make.job("foreign", 0, operation="other"),
            make.job("exact", 5, not_before=make.at(10)),
        ]
        write_each(ledger, lambda tx, item: tx.jobs.add(item), items)
        with ledger.read() as tx:
            due = tx.jobs.due(("training.fit", "none"), make.at(10), make.at(20), 10)
            assert [job.id for job in due] == ["lost", "a", "b", "exact"]
            assert [j.id for j in tx.jobs.due(("training.fit",), make.at(10), make.at(20), 2)] == [
                "lost",
                "a",
            ]
            assert tx.jobs.due((), make.at(10), make.at(20), 10) == ()

    def test_an_old_fence_is_refused(self, ledger: Ledger) -> None:
        """The worker whose lease was taken over changes nothing."""
        ledger.write(lambda tx: tx.jobs.add(make.job("j1")))
        first = make.job("j1", state=JobState.RUNNING, fence=1, worker="one", leased_until=make.at(5))
        second = replace(first, fence=2, worker="two")
        assert ledger.write(lambda tx: tx.jobs.update(first, fence=0))
        assert ledger.write(lambda tx: tx.jobs.update(second, fence=1))
        done = replace(first, state=JobState.DONE, result={"by": "one"})
        assert not ledger.write(lambda tx: tx.jobs.update(done, fence=1))
        assert not ledger.write(lambda tx: tx.jobs.update(make.job("none"), fence=0))
        with ledger.read() as tx:
            assert tx.jobs.get("j1") == second

    def test_pages_of_jobs_are_newest_first(self, ledger: Ledger) -> None:
        """By state and operation."""
        items = [
            make.job(f"j{n:02d}", n // 2, operation=f"op{n % 2}", state=list(JobState)[n % 5])
            for n in range(25)
        ]
        write_each(ledger, lambda tx, item: tx.jobs.add(item), items)
        newest = sorted(items, key=lambda j: (j.created_at, j.id), reverse=True)
        with ledger.read() as tx:
            assert walk(lambda r: tx.jobs.page("default", r), limit=4) == newest
            found = walk(lambda r: tx.jobs.page("default", r, state=JobState.DONE, operation="op1"), limit=1)
            assert found == [j for j in newest if j.state is JobState.DONE and j.operation == "op1"]


class LedgerSuite(AssetSuite, RankSuite, RepositorySuite, SearchSuite, TrashSuite, UnitSuite, TraceSuite):
    """Everything a ledger must do. Subclass it with a fixture `ledger` that gives an empty one."""
