"""PostgreSQL: the suite of the ledger, and what only a server can do to it."""

from __future__ import annotations

import contextlib
import math
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, cast

import pytest

from loopwright.adapters.sql import open_ledger
from loopwright.adapters.sql.group import LONGEST_S
from loopwright.adapters.sql.postgres import PostgresLedger
from loopwright.adapters.sql.postgres_link import connect_server, target_of
from loopwright.core.chain import verify
from loopwright.core.errors import Fault, Invalid, LoopwrightError, Unavailable
from loopwright.core.nouns import MetricPoint
from loopwright.ports.ledger import Ledger, Transaction
from loopwright.testing import ledger_values as make
from loopwright.testing.ledger_suite import LedgerSuite
from loopwright.testing.postgres import PostgresServer


class TestPostgresLedger(LedgerSuite):
    @pytest.fixture
    def ledger(self, postgres_url: str) -> Iterator[Ledger]:
        opened = open_ledger(postgres_url)
        yield opened
        opened.close()

    @pytest.fixture
    def other(self, postgres_url: str) -> Iterator[Ledger]:
        opened = open_ledger(f"{postgres_url}_other")
        yield opened
        opened.close()


@pytest.fixture
def ledger(postgres_url: str) -> Iterator[PostgresLedger]:
    opened = PostgresLedger(postgres_url)
    yield opened
    opened.close()


def test_nothing_of_removed_rows_is_left_in_the_files_of_tables(
    ledger: PostgresLedger, postgres_server: PostgresServer
) -> None:
    """Neither of one that was taken away nor of one that was changed, nor in what the server counted."""
    names = [f"passenger-{uuid.uuid4().hex}" for _ in range(3)]

    def work(tx: Transaction) -> None:
        for name in names:
            tx.documents.put("default", "c", name, {"who": name})
        for at in range(300):
            tx.documents.put("default", "many", str(at), {"who": names[1]})

    ledger.write(work)
    _asked(ledger, "ANALYZE")
    ledger.write(lambda tx: tx.documents.remove("default", "c", names[0]))

    def remove(tx: Transaction) -> None:
        tx.documents.remove("default", "c", names[1])
        for at in range(300):
            tx.documents.remove("default", "many", str(at))

    ledger.write(remove)
    _asked(ledger, "VACUUM", "CHECKPOINT")
    assert _in_tables(postgres_server, names) == set(names)
    ledger.compact()
    _asked(ledger, "CHECKPOINT")
    assert _in_tables(postgres_server, names) == {names[2]}
    with ledger.read() as tx:
        assert tx.documents.get("default", "c", names[2]) == {"who": names[2]}


def _asked(ledger: PostgresLedger, *statements: str) -> None:
    with contextlib.closing(connect_server(ledger.target)) as server:
        for statement in statements:
            server.execute(statement)


def _in_tables(server: PostgresServer, names: list[str]) -> set[str]:
    """Which of these are in the files of any table, by their bytes."""
    files = [each for each in (server.folder / "data/base").rglob("*") if each.is_file()]
    found = [each.read_bytes() for each in files]
    assert found
    return {name for name in names if any(name.encode() in data for data in found)}


def put(ledger: Ledger, key: str) -> None:
    def work(tx: Transaction) -> None:
        tx.documents.put("default", "c", key, {})
        tx.journal.append(make.event(key))

    ledger.write(work)


def keys(ledger: Ledger) -> list[str]:
    with ledger.read() as tx:
        assert verify(tx.journal.read(0, 100_000)).ok
        found = list(tx.documents.all("default", "c"))
        assert tx.journal.head().count == len(found)
    return found


def end_connections(url: str) -> None:
    """What a server that is started anew does to its clients."""
    with connect_server(target_of(url)) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND application_name = 'loopwright'"
        )


def test_idle_connections_that_died_are_replaced_unnoticed(ledger: PostgresLedger, postgres_url: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: put(ledger, f"a{n}"), range(12)))
    end_connections(postgres_url)
    with ledger.read() as tx:
        assert tx.documents.get("default", "c", "a1") == {}
    end_connections(postgres_url)
    put(ledger, "b")
    assert len(keys(ledger)) == 13


def test_a_connection_that_dies_inside_a_work_is_told_and_leaves_nothing(
    ledger: PostgresLedger, postgres_url: str
) -> None:
    def work(tx: Transaction) -> None:
        tx.documents.put("default", "c", "half", {})
        end_connections(postgres_url)
        tx.journal.append(make.event("half"))

    with pytest.raises(Unavailable) as caught:
        ledger.write(work)
    assert caught.value.hint
    put(ledger, "next")
    assert keys(ledger) == ["next"]


@pytest.fixture
def two(postgres_url: str) -> Iterator[tuple[PostgresLedger, PostgresLedger]]:
    """The ledgers of two processes."""
    ledgers = PostgresLedger(postgres_url), PostgresLedger(postgres_url)
    yield ledgers
    for each in ledgers:
        each.close()


def test_works_of_two_processes_come_one_after_the_other(two: tuple[PostgresLedger, PostgresLedger]) -> None:
    """Nobody writes between what a work reads and what it writes, and none is repeated."""
    seen: list[int] = []

    def count(tx: Transaction) -> None:
        body = tx.documents.get("default", "c", "n") or {"n": 0}
        seen.append(body["n"])
        time.sleep(0.002)
        tx.documents.put("default", "c", "n", {"n": body["n"] + 1})
        tx.journal.append(make.event(f"e{body['n']}"))

    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(two[n % 2].write, count) for n in range(40)]:
            done.result()
    assert seen == list(range(40))
    with two[0].read() as tx:
        assert verify(tx.journal.read(0, 100)).head == tx.journal.head()
        assert tx.journal.head().count == 40


def test_write_skew_is_impossible(two: tuple[PostgresLedger, PostgresLedger]) -> None:
    """Each of two works writes a row only when the other's is not there: one of them must see it."""
    both = threading.Barrier(2, timeout=20)

    def take(tx: Transaction, mine: str) -> bool:
        taken = bool(tx.documents.all("default", "duty"))
        time.sleep(0.05)
        if not taken:
            tx.documents.put("default", "duty", mine, {})
        return not taken

    def act(ledger: PostgresLedger, mine: str) -> bool:
        both.wait()
        return ledger.write(partial(take, mine=mine))

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(act, two, "ab")) == [False, True]


def test_a_deadlock_with_somebody_else_is_untied(postgres_url: str) -> None:
    """Whoever else writes there, and holds what a work wants, comes first; the work is repeated."""
    ledger = PostgresLedger(f"{postgres_url}&options=-c%20deadlock_timeout%3D20ms")
    for key in "ab":
        put(ledger, key)
    tries: list[int] = []

    def change(tx: Transaction, held: threading.Event) -> None:
        tries.append(1)
        tx.documents.put("default", "c", "a", {"by": "us"})
        held.set()
        while len(tries) == 1 and not waits():
            time.sleep(0.002)
        tx.documents.put("default", "c", "b", {"by": "us"})

    with (
        connect_server(target_of(postgres_url)) as other,
        connect_server(target_of(postgres_url)) as third,
        ThreadPoolExecutor(2) as pool,
    ):

        def waits() -> bool:
            asked = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
            return third.execute(asked, (other.info.backend_pid,)).fetchone() is not None

        other.execute("SET deadlock_timeout = '20s'")
        other.execute("BEGIN")
        other.execute("UPDATE documents SET body = '{}' WHERE key = 'b'")
        held = threading.Event()
        ours = pool.submit(ledger.write, partial(change, held=held))
        assert held.wait(20)
        other.execute("UPDATE documents SET body = '{}' WHERE key = 'a'")
        other.execute("COMMIT")
        ours.result(timeout=20)
    with ledger.read() as tx:
        assert tx.documents.all("default", "c") == {"a": {"by": "us"}, "b": {"by": "us"}}
    assert len(tries) >= 2  # the repeated work may be at the first row again before the other one wakes
    ledger.close()


def in_one_group(ledger: PostgresLedger, *works: Callable[[Transaction], Any]) -> list[Future[Any]]:
    """Works that wait together while others hold the writer for longer than a group may take."""
    held, go = threading.Event(), threading.Event()

    def hold(_: Transaction) -> None:
        held.set()
        go.wait(20)

    told: list[Future[Any]] = [Future() for _ in works]

    def tell(future: Future[Any], value: Any, error: BaseException | None) -> None:
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    with ThreadPoolExecutor(1) as pool:
        holding = pool.submit(ledger.write, hold)
        assert held.wait(20)
        ledger.post(lambda _: time.sleep(2 * LONGEST_S), lambda *_: None)
        for work, future in zip(works, told, strict=True):
            ledger.post(work, partial(tell, future))
        go.set()
        holding.result()
    for future in told:
        future.exception(timeout=20)
    return told


class Mistake(Exception):
    """What a work does wrong."""


def test_a_work_that_fails_after_it_wrote_takes_nobody_with_it(ledger: PostgresLedger) -> None:
    """Its group is lost, and the others are repeated."""

    def fails(tx: Transaction) -> None:
        tx.documents.put("default", "c", "half", {})
        raise Mistake

    ran: list[str] = []

    def puts(key: str) -> Callable[[Transaction], None]:
        def work(tx: Transaction) -> None:
            ran.append(key)
            tx.documents.put("default", "c", key, {})
            tx.journal.append(make.event(key))

        return work

    told = in_one_group(ledger, puts("a"), fails, puts("b"))
    assert [type(each.exception()) for each in told] == [type(None), Mistake, type(None)]
    assert keys(ledger) == ["a", "b"]
    assert ran == ["a", "a", "b"]


def test_a_work_that_fails_before_it_wrote_costs_nobody_anything(ledger: PostgresLedger) -> None:
    ran: list[str] = []

    def puts(tx: Transaction) -> None:
        ran.append("a")
        tx.documents.put("default", "c", "a", {})
        tx.journal.append(make.event("a"))

    def fails(tx: Transaction) -> None:
        tx.documents.get("default", "c", "a")
        tx.journal.append(make.event("half"))
        raise Mistake

    told = in_one_group(ledger, puts, fails)
    assert isinstance(told[1].exception(), Mistake)
    assert keys(ledger) == ["a"]
    assert ran == ["a"]


def test_a_work_that_passes_over_a_failure_inside_it_is_kept_without_that(ledger: PostgresLedger) -> None:
    """Others had written in the same group, and the inner work has no savepoint of its own."""

    def inner(tx: Transaction) -> None:
        tx.documents.put("default", "c", "half", {})
        raise Mistake

    def outer(tx: Transaction) -> None:
        with contextlib.suppress(Mistake):
            ledger.write(inner)
        put(ledger, "outer")

    told = in_one_group(ledger, lambda _: put(ledger, "a"), outer, lambda _: put(ledger, "b"))
    assert [each.exception() for each in told] == [None] * 3
    assert sorted(keys(ledger)) == ["a", "b", "outer"]


@pytest.mark.parametrize("beyond", [{"step": 2**63}, {"at_us": -(2**63) - 1}])
def test_a_point_beyond_64_bits_is_refused(ledger: PostgresLedger, beyond: dict[str, int]) -> None:
    """Alone and among others."""
    ledger.write(lambda tx: tx.runs.add(make.run()))
    points = [MetricPoint(key="loss", value=1.0), MetricPoint(key="loss", value=1.0, **beyond)]
    for sent in (points, points[1:]):
        with pytest.raises(Invalid, match="cannot be kept"):
            ledger.write(partial(_log, sent))
    with ledger.read() as tx:
        assert tx.metrics.history("r1", "loss", make.FIRST).items == ()


def _log(points: list[MetricPoint], tx: Transaction) -> None:
    tx.metrics.log("r1", points)


def test_arrays_hold_whatever_a_row_may(ledger: PostgresLedger) -> None:
    """Rows are sent as arrays: quotes, backslashes, braces and words that mean something in them are text."""
    texts = ['"', "\\", "{a,b}", "NULL", "", " ", "a\nb", "é☂", '\\"', "'", "%s", "2"]
    params = {f"{number} {text}": text for number, text in enumerate(texts)}
    numbers = [0.1, -0.0, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, math.nan, 2**53 + 2.0]
    points = [MetricPoint(key=f"m{at}", value=value, step=-at) for at, value in enumerate(numbers)]
    ledger.write(lambda tx: tx.runs.add(make.run("r", params=params)))
    ledger.write(lambda tx: tx.metrics.log("r", points))
    with ledger.read() as tx:
        kept = tx.metrics.latest("r")
        rows = cast("Any", tx).session.fetch(
            "SELECT k.name, p.value FROM run_params p JOIN metric_keys k ON k.no = p.key_no", ()
        )
    assert dict(rows) == params
    assert all(repr(kept[point.key].value) == repr(point.value + 0.0) for point in points)


def test_a_work_that_passes_over_a_failed_statement_is_refused(ledger: PostgresLedger) -> None:
    """The server has rolled it back: to say it was kept would be a lie."""

    def work(tx: Transaction) -> None:
        tx.documents.put("default", "c", "k", {})
        with contextlib.suppress(LoopwrightError):
            tx.jobs.add(make.job("j", fence=2**70))

    with pytest.raises(Fault):
        ledger.write(work)
    assert keys(ledger) == []


def test_text_the_server_cannot_keep_is_refused(ledger: PostgresLedger) -> None:
    with pytest.raises(Invalid):
        ledger.write(lambda tx: tx.runs.add(make.run("r\x00")))
    with pytest.raises(Invalid):
        ledger.write(lambda tx: tx.jobs.add(make.job("j", fence=2**70)))
    put(ledger, "k")
    assert keys(ledger) == ["k"]


def test_many_clients_make_one_schema(postgres_url: str) -> None:
    def make_one(_: int) -> None:
        PostgresLedger(postgres_url).close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(make_one, range(6)))
    ledger = PostgresLedger(postgres_url)
    assert not ledger.check().faults
    ledger.close()


def test_a_server_that_is_not_there_is_a_clear_error() -> None:
    url = "postgresql://user:secret@127.0.0.1:1/none?connect_timeout=2"
    with pytest.raises(Unavailable, match="cannot be reached") as caught:
        open_ledger(url)
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(target_of(url))


def test_a_url_keeps_its_own_options() -> None:
    target = target_of("postgresql://u:p%40@h:5/d?schema=mine&options=-c%20work_mem%3D8MB&sslmode=require")
    assert target.schema == "mine"
    assert target.conninfo.startswith("postgresql://u:p%40@h:5/d?")
    assert "work_mem%3D8MB" in target.conninfo
    assert "search_path%3Dmine" in target.conninfo
    assert "synchronous_commit%3Don" in target.conninfo
    assert "sslmode=require" in target.conninfo
    assert "schema=" not in target.conninfo
