"""The conformance suite of units of work: all or nothing, snapshots, concurrency, the journal's chain."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from loopwright.core.chain import GENESIS, Head, verify
from loopwright.core.errors import Conflict, Corrupt, Fault, Invalid, Unavailable
from loopwright.core.nouns import Event, JobState, MetricPoint
from loopwright.ports.ledger import Ledger, PageRequest, Transaction
from loopwright.testing import ledger_values as make
from loopwright.testing.ledger_values import write_each

__all__ = ["UnitSuite"]

THREADS = 8


class _Mistake(Exception):
    """Something that went wrong inside a work."""


def _count(ledger: Ledger, key: str = "counter") -> int:
    with ledger.read() as tx:
        body = tx.documents.get("default", "c", key)
    return 0 if body is None else int(body["n"])


def _add_one(tx: Transaction, key: str = "counter") -> int:
    body = tx.documents.get("default", "c", key) or {"n": 0}
    number: int = body["n"] + 1
    tx.documents.put("default", "c", key, {"n": number})
    return number


def _everything(tx: Transaction) -> None:
    """A row in every repository."""
    asset = make.asset()
    tx.assets.add(asset)
    tx.versions.add(make.version(asset, 1))
    tx.aliases.put(make.alias(asset, "champion", 1))
    tx.runs.add(make.run())
    tx.metrics.log("r1", [MetricPoint(key="auc", value=0.5), MetricPoint(key="auc", value=float("inf"))])
    tx.signals.add([make.signal("s1")])
    tx.decisions.add(make.decision("d1"))
    tx.journal.append(make.event("e1"))
    tx.jobs.add(make.job("j1"))
    tx.segments.add(make.segment("g1", 0, 1))
    tx.documents.put("default", "c", "k", {"a": 1})


class UnitSuite:
    """What a unit of work must do. Subclass it (or `LedgerSuite`) with a fixture `ledger`."""

    # -------------------------------------------------------------------------------- all or nothing

    def test_a_work_gives_its_value(self, ledger: Ledger) -> None:
        """And sees what it wrote itself."""
        assert ledger.write(lambda tx: [_add_one(tx), _add_one(tx)]) == [1, 2]
        assert _count(ledger) == 2

    def test_a_failing_work_leaves_nothing(self, ledger: Ledger) -> None:
        """In no repository, nor in the journal; and the next work goes on."""
        before = ledger.check().rows

        def work(tx: Transaction) -> None:
            _everything(tx)
            raise _Mistake

        with pytest.raises(_Mistake):
            ledger.write(work)
        assert ledger.check().rows == before
        ledger.write(_everything)
        with ledger.read() as tx:
            assert tx.journal.head().count == 1

    def test_a_refused_row_can_be_dealt_with_inside_the_work(self, ledger: Ledger) -> None:
        """A `Conflict` that is caught does not spoil the unit."""
        ledger.write(lambda tx: tx.assets.add(make.asset()))

        def work(tx: Transaction) -> str:
            tx.journal.append(make.event("e1"))
            try:
                tx.assets.add(make.asset("a2", name="a1"))
            except Conflict:
                return tx.assets.get("a1").name
            raise AssertionError

        assert ledger.write(work) == "a1"
        with ledger.read() as tx:
            assert tx.journal.head().count == 1

    def test_a_write_inside_a_work_joins_it(self, ledger: Ledger) -> None:
        """It is seen at once by both, and goes with the outer one."""

        def outer(tx: Transaction) -> None:
            _add_one(tx)
            assert ledger.write(_add_one) == 2
            assert _add_one(tx) == 3
            with ledger.read() as seen:
                assert seen.documents.get("default", "c", "counter") == {"n": 3}
            raise _Mistake

        with pytest.raises(_Mistake):
            ledger.write(outer)
        assert _count(ledger) == 0

    def test_a_failing_inner_work_leaves_the_outer_as_it_was(self, ledger: Ledger) -> None:
        """Rows and lines of the journal alike."""

        def inner(tx: Transaction) -> None:
            _add_one(tx)
            tx.journal.append(make.event("inner"))
            raise _Mistake

        def outer(tx: Transaction) -> int:
            _add_one(tx)
            tx.journal.append(make.event("before"))
            with pytest.raises(_Mistake):
                ledger.write(inner)
            tx.journal.append(make.event("after"))
            return _add_one(tx)

        assert ledger.write(outer) == 2
        with ledger.read() as tx:
            assert [line.id for line in tx.journal.read(0, 10)] == ["before", "after"]

    def test_a_failing_inner_work_that_wrote_first_is_undone_alone(self, ledger: Ledger) -> None:
        """The outer one had written nothing, so there was nothing to go back to but the beginning."""

        def inner(tx: Transaction) -> None:
            _add_one(tx)
            tx.journal.append(make.event("inner"))
            raise _Mistake

        def outer(tx: Transaction) -> int:
            tx.journal.append(make.event("before"))
            for _ in range(2):
                with pytest.raises(_Mistake):
                    ledger.write(inner)
            assert tx.documents.get("default", "c", "counter") is None
            first = ledger.write(_add_one)
            with pytest.raises(_Mistake):
                ledger.write(inner)
            return first

        assert ledger.write(outer) == 1
        assert _count(ledger) == 1
        with ledger.read() as tx:
            assert [line.id for line in tx.journal.read(0, 10)] == ["before"]

    def test_a_posted_work_is_told_of_when_it_is_done(self, ledger: Ledger) -> None:
        """Durable, or failed and without a trace; a store without a thread for it has done nothing."""
        told: queue.SimpleQueue[tuple[int | None, str]] = queue.SimpleQueue()

        def then(value: int | None, error: BaseException | None) -> None:
            told.put((value, type(error).__name__))

        def fail(tx: Transaction) -> int:
            _add_one(tx)
            raise _Mistake

        for work, wanted, count in (
            (_add_one, (1, "NoneType"), 1),
            (fail, (None, "_Mistake"), 1),
            (_add_one, (2, "NoneType"), 2),
        ):
            if ledger.post(work, then):
                assert told.get(timeout=30) == wanted
                assert _count(ledger) == count
            else:
                assert told.empty()
                assert _count(ledger) == 0

    def test_a_snapshot_cannot_be_written_to(self, ledger: Ledger) -> None:
        """Whichever repository; nor can one that is taken inside a work."""
        with ledger.read() as tx:
            for write in (
                lambda: tx.documents.put("default", "c", "k", {}),
                lambda: tx.journal.append(make.event("e1")),
                lambda: tx.assets.add(make.asset()),
                lambda: tx.jobs.update(make.job("j1"), fence=0),
            ):
                with pytest.raises(Fault):
                    write()

        def work(_: Transaction) -> None:
            with ledger.read() as inside, pytest.raises(Fault):
                inside.documents.put("default", "c", "k", {})

        ledger.write(work)

    def test_a_snapshot_does_not_change(self, ledger: Ledger) -> None:
        """What others write meanwhile is seen by the next one."""
        ledger.write(_everything)
        with ledger.read() as tx:
            assert tx.journal.head().count == 1
            for _ in range(3):
                ledger.write(_add_one)
            ledger.write(lambda unit: unit.journal.append(make.event("e2")))
            assert tx.journal.head().count == 1
            assert tx.journal.find("e2") is None
            assert tx.documents.get("default", "c", "counter") is None
        assert _count(ledger) == 3

    def test_a_value_beyond_64_bits_or_unicode_is_refused(self, ledger: Ledger) -> None:
        """With `Invalid`, and the next work goes on."""
        for bad in (make.run("r1", name="\ud800"), make.run("\ud800")):
            with pytest.raises(Invalid):
                write_each(ledger, lambda tx, run: tx.runs.add(run), [bad])
        assert ledger.write(_add_one) == 1

    # ----------------------------------------------------------------------------------- concurrency

    def test_works_of_many_threads_are_serial(self, ledger: Ledger) -> None:
        """Nobody reads what another one is about to change."""

        def add(_: int) -> list[int]:
            return [ledger.write(_add_one) for _ in range(15)]

        with ThreadPoolExecutor(THREADS) as pool:
            numbers = [n for part in pool.map(add, range(THREADS)) for n in part]
        assert sorted(numbers) == list(range(1, THREADS * 15 + 1))

    def test_a_failing_work_of_one_thread_does_not_disturb_others(self, ledger: Ledger) -> None:
        """Exactly what was not acknowledged is missing."""

        def work(tx: Transaction, name: str, fails: bool) -> None:
            tx.documents.put("default", "names", name, {})
            tx.journal.append(make.event(name))
            if fails:
                raise _Mistake

        def act(thread: int) -> set[str]:
            kept = set()
            for number in range(20):
                name, fails = f"{thread}.{number}", number % 3 == thread % 3
                try:
                    ledger.write(partial(work, name=name, fails=fails))
                    kept.add(name)
                except _Mistake:
                    assert fails
            return kept

        with ThreadPoolExecutor(THREADS) as pool:
            kept = set().union(*pool.map(act, range(THREADS)))
        with ledger.read() as tx:
            assert set(tx.documents.all("default", "names")) == kept
            lines = tx.journal.read(0, 10_000)
            assert {line.id for line in lines} == kept
            assert verify(lines).ok

    def test_a_job_is_claimed_once(self, ledger: Ledger) -> None:
        """However many workers reach for it."""
        write_each(ledger, lambda tx, n: tx.jobs.add(make.job(f"j{n}", n)), range(30))

        def claim(tx: Transaction, worker: str) -> str | None:
            for job in tx.jobs.due(("training.fit",), make.at(100), make.at(100), 5):
                taken = replace(
                    job, state=JobState.RUNNING, fence=job.fence + 1, worker=worker, leased_until=make.at(200)
                )
                if tx.jobs.update(taken, fence=job.fence):
                    return job.id
            return None

        def work(thread: int) -> list[str]:
            got = []
            while (found := ledger.write(lambda tx: claim(tx, f"w{thread}"))) is not None:
                got.append(found)
            return got

        with ThreadPoolExecutor(THREADS) as pool:
            taken = [name for part in pool.map(work, range(THREADS)) for name in part]
        assert sorted(taken) == sorted(f"j{n}" for n in range(30))

    def test_readers_never_see_half_a_work(self, ledger: Ledger) -> None:
        """Two documents that are always written together are always equal."""
        stop = threading.Event()
        wrong: list[Any] = []

        def write(number: int) -> None:
            def work(tx: Transaction) -> None:
                tx.documents.put("default", "pair", "a", {"n": number})
                tx.documents.put("default", "pair", "b", {"n": number})

            ledger.write(work)

        def watch() -> None:
            while not stop.is_set():
                with ledger.read() as tx:
                    pair = (
                        tx.documents.get("default", "pair", "a"),
                        tx.documents.get("default", "pair", "b"),
                    )
                if pair[0] != pair[1]:
                    wrong.append(pair)

        readers = [threading.Thread(target=watch) for _ in range(3)]
        for reader in readers:
            reader.start()
        for number in range(100):
            write(number)
        stop.set()
        for reader in readers:
            reader.join()
        assert not wrong

    # --------------------------------------------------------------------------------------- journal

    def test_lines_are_chained_in_the_order_of_commits(self, ledger: Ledger) -> None:
        """From the first line on, with payloads as they were."""
        with ledger.read() as tx:
            assert tx.journal.head() == Head(count=0, hash=GENESIS)
        payload = {"b": 1.5, "a": [None, True, "é☂"], "z": {"y": -3}, "10": 1, "9": 2}
        write_each(ledger, lambda tx, n: tx.journal.append(make.event(f"e{n}", payload=payload)), range(3))
        ledger.write(lambda tx: tx.journal.append(make.event("e3", kind="run.started", space="other")))
        with ledger.read() as tx:
            lines = tx.journal.read(0, 10)
            found = verify(lines)
            assert found.ok
            assert found.head == tx.journal.head()
            assert [(line.seq, line.id) for line in lines] == [(1, "e0"), (2, "e1"), (3, "e2"), (4, "e3")]
            assert lines[0].payload == payload
            assert tx.journal.find("e2") == lines[2]
            assert tx.journal.find("none") is None

    def test_lines_are_read_after_a_place_by_space_and_subject(self, ledger: Ledger) -> None:
        """In order and at most so many."""
        spaces = ("default", "other") * 6
        lines = [make.event(f"e{n}", space=spaces[n], subject=f"model:{n % 3}") for n in range(12)]
        write_each(ledger, lambda tx, line: tx.journal.append(line), lines)
        with ledger.read() as tx:
            assert [e.seq for e in tx.journal.read(9, 10)] == [10, 11, 12]
            assert [e.seq for e in tx.journal.read(0, 2)] == [1, 2]
            assert [e.seq for e in tx.journal.read(2, 3, space="other")] == [4, 6, 8]
            assert [e.seq for e in tx.journal.read(0, 9, space="default", subject="model:1")] == [5, 11]
            assert tx.journal.read(12, 5) == ()

    @pytest.mark.parametrize("limit", [1, 5, 50])
    def test_pages_of_the_journal_are_newest_first(self, ledger: Ledger, limit: int) -> None:
        """A kind that ends in a dot means all that start so."""
        kinds = ("job.queued", "job.done", "jobs.x", "job", "run.started")
        lines = [make.event(f"e{n:02d}", kind=kinds[n % 5], subject=f"s:{n % 2}") for n in range(20)]
        write_each(ledger, lambda tx, line: tx.journal.append(line), lines)
        ledger.write(lambda tx: tx.journal.append(make.event("far", space="other")))

        def seqs(**wanted: str) -> list[int]:
            found: list[int] = []
            token = ""
            while True:
                with ledger.read() as tx:
                    page = tx.journal.page("default", PageRequest(limit=limit, token=token), **wanted)
                found.extend(line.seq for line in page.items)
                token = page.next_token
                if not token:
                    return found

        assert seqs() == list(range(20, 0, -1))
        assert seqs(kind="job.done") == [17, 12, 7, 2]
        assert seqs(kind="job.") == [17, 16, 12, 11, 7, 6, 2, 1]
        assert seqs(kind="run.", subject="s:0") == [15, 5]

    def test_the_same_line_twice_is_refused(self, ledger: Ledger) -> None:
        """And the unit with it."""
        ledger.write(lambda tx: tx.journal.append(make.event("e1")))
        with pytest.raises(Conflict):
            ledger.write(lambda tx: tx.journal.append(make.event(f"e{_add_one(tx)}")))
        assert _count(ledger) == 0
        assert ledger.write(_add_one) == 1

    def test_listeners_hear_of_commits_in_order(self, ledger: Ledger) -> None:
        """Chained lines, after they are durable; a failing listener disturbs nobody."""
        heard: list[Event] = []
        enough = threading.Event()

        def listen(events: tuple[Event, ...]) -> None:
            with ledger.read() as tx:
                assert tx.journal.find(events[-1].id) is not None
            heard.extend(events)
            if len(heard) >= THREADS * 10:
                enough.set()

        def fail(_: tuple[Event, ...]) -> None:
            raise _Mistake

        ledger.subscribe(fail)
        unsubscribe = ledger.subscribe(listen)

        def act(thread: int) -> None:
            for n in range(10):
                write_each(ledger, lambda tx, line: tx.journal.append(line), [make.event(f"{thread}.{n}")])

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(act, range(THREADS)))
        assert enough.wait(20)
        assert [line.seq for line in heard] == list(range(1, THREADS * 10 + 1))
        unsubscribe()
        ledger.write(lambda tx: tx.journal.append(make.event("last")))
        assert len(heard) == THREADS * 10

    # ------------------------------------------------------------------------------- the whole store

    def test_a_closed_ledger_refuses(self, ledger: Ledger) -> None:
        """To write and to read; closing twice is once."""
        ledger.write(_add_one)
        ledger.close()
        ledger.close()
        with pytest.raises(Unavailable):
            ledger.write(_add_one)
        with pytest.raises(Unavailable), ledger.read() as tx:
            tx.documents.get("default", "c", "counter")

    def test_a_dump_fills_an_empty_ledger(self, ledger: Ledger, other: Ledger) -> None:
        """Row for row; a full one refuses it."""
        ledger.write(_everything)
        lines = list(ledger.dump())
        with pytest.raises(Conflict):
            ledger.load(lines)
        assert other.load(iter(lines)) > 0
        assert list(other.dump()) == lines
        assert other.check().rows == ledger.check().rows
        assert not other.check().faults
        ledger.write(_more)
        other.write(_more)
        with ledger.read() as one, other.read() as two:
            assert one.journal.head() == two.journal.head()
            assert one.metrics.latest("r2") == two.metrics.latest("r2")

    def test_every_row_can_be_searched_by_the_name_of_its_table(self, ledger: Ledger) -> None:
        """As many rows of each table as there are; of those that are left out none."""
        ledger.write(_everything)
        told = Counter(table for table, _ in ledger.texts())
        assert told == {table: count for table, count in ledger.check().rows.items() if count}
        assert any(b"r1" in text for table, text in ledger.texts() if table == "runs")
        assert {table for table, _ in ledger.texts(without={"runs"})} == told.keys() - {"runs"}

    def test_an_emptied_ledger_is_as_a_new_one(self, ledger: Ledger, other: Ledger) -> None:
        """No rows, the journal at its beginning, numbers given out from one again; and it works on."""
        ledger.write(_everything)
        ledger.empty()
        ledger.empty()
        assert ledger.check() == replace(other.check(), size_bytes=ledger.check().size_bytes)
        for each in (ledger, other):
            each.write(_everything)
            each.write(_more)
        assert list(ledger.dump()) == list(other.dump())

    def test_a_dump_that_is_cut_is_refused(self, ledger: Ledger, other: Ledger) -> None:
        """Wherever it is cut, and nothing of it is kept."""
        ledger.write(_everything)
        lines = list(ledger.dump())
        before = other.check().rows
        for broken in (lines[:-1], lines[: len(lines) // 2], [], [*lines[:-1], b"?", lines[-1]]):
            with pytest.raises(Corrupt):
                other.load(iter(broken))
        assert other.check().rows == before


def _more(tx: Transaction) -> None:
    """Rows beside those of `_everything`."""
    tx.runs.add(make.run("r2"))
    tx.metrics.log("r2", [MetricPoint(key="loss", value=0.5)])
    tx.journal.append(make.event("e2"))
