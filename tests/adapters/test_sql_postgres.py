"""PostgreSQL: the suite of the ledger, and what only a server can do to it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from loopwright.adapters.sql import open_ledger
from loopwright.adapters.sql.postgres import PostgresLedger, connect_server, target_of
from loopwright.core.chain import verify
from loopwright.core.errors import Fault, Invalid, LoopwrightError, Unavailable
from loopwright.ports.ledger import Ledger, Transaction
from loopwright.testing import ledger_values as make
from loopwright.testing.ledger_suite import LedgerSuite
from loopwright.testing.ledger_values import write_each


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


def test_a_work_that_met_another_is_repeated(postgres_url: str) -> None:
    """Two clients read the same counter before either writes: the one that loses counts again."""
    one, two = PostgresLedger(postgres_url), PostgresLedger(postgres_url)
    met, runs = threading.Barrier(2, timeout=20), []

    def count(tx: Transaction) -> int:
        body = tx.documents.get("default", "c", "n") or {"n": 0}
        runs.append(body["n"])
        if len(runs) <= 2:
            met.wait()
        tx.documents.put("default", "c", "n", {"n": body["n"] + 1})
        return int(body["n"]) + 1

    with ThreadPoolExecutor(2) as pool:
        results = sorted(pool.map(lambda ledger: ledger.write(count), (one, two)))
    assert results == [1, 2]
    assert sorted(runs) == [0, 0, 1]
    one.close()
    two.close()


def test_a_deadlock_is_untied(postgres_url: str) -> None:
    """Two works that lock the same rows in opposite order both succeed."""
    one, two = PostgresLedger(postgres_url), PostgresLedger(postgres_url)
    write_each(one, lambda tx, key: tx.documents.put("default", "c", key, {"by": []}), ["a", "b"])
    met, tries = threading.Barrier(2, timeout=20), []

    def change(tx: Transaction, first: str, second: str) -> None:
        tx.documents.put("default", "c", first, {"by": [first]})
        tries.append(first)
        if len(tries) <= 2:
            met.wait()
        tx.documents.put("default", "c", second, {"by": [first]})

    with ThreadPoolExecutor(2) as pool:
        works = [
            pool.submit(one.write, lambda tx: change(tx, "a", "b")),
            pool.submit(two.write, lambda tx: change(tx, "b", "a")),
        ]
        for work in works:
            work.result(timeout=60)
    with one.read() as tx:
        both = tx.documents.all("default", "c")
    assert both["a"] == both["b"]
    one.close()
    two.close()


def test_write_skew_is_impossible(postgres_url: str) -> None:
    """Each of two works writes a row only when the other's is not there: one of them must see it."""
    one, two = PostgresLedger(postgres_url), PostgresLedger(postgres_url)
    met, runs = threading.Barrier(2, timeout=20), []

    def take(tx: Transaction, mine: str) -> bool:
        taken = bool(tx.documents.all("default", "duty"))
        runs.append(mine)
        if len(runs) <= 2:
            met.wait()
        if not taken:
            tx.documents.put("default", "duty", mine, {})
        return not taken

    with ThreadPoolExecutor(2) as pool:
        works = [
            pool.submit(one.write, lambda tx: take(tx, "a")),
            pool.submit(two.write, lambda tx: take(tx, "b")),
        ]
        assert sorted(work.result() for work in works) == [False, True]
    one.close()
    two.close()


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
