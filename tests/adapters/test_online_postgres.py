"""PostgreSQL: the suite on a real server, two writers, one statement a read."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import pytest

from loopwright.adapters.online.postgres import PostgresOnline
from loopwright.core.errors import Unavailable
from loopwright.core.expressions import col
from loopwright.ports.online import Online, OnlineRow, OnlineView
from loopwright.testing.online import OnlineSuite
from loopwright.testing.postgres import PostgresServer

START = 1_370_000_000_000_000
VIEW = OnlineView(name="v@1", latest=("n",), windows={"total": col("n").sum("2h")})
_SCHEMAS = itertools.count()


def row(n: int, key: str = "a") -> OnlineRow:
    return OnlineRow(key=(key,), event_us=START + n, known_us=START + n, values={"n": n}, row_id=f"{key}{n}")


class TestPostgresOnline(OnlineSuite):
    @pytest.fixture(autouse=True)
    def _server(self, postgres_server: PostgresServer) -> Iterator[None]:
        self.server = postgres_server
        self.opened: list[PostgresOnline] = []
        yield
        for store in self.opened:
            store.close()

    def fresh(self) -> Online:
        self.url = self.server.url(f"online{next(_SCHEMAS)}")
        self.opened.append(PostgresOnline(self.url))
        return self.opened[-1]

    def reopen(self, online: Online) -> Online:
        online.close()
        self.opened.append(PostgresOnline(self.url))
        return self.opened[-1]

    @pytest.mark.slow
    def test_answers_as_if_every_row_were_kept(self) -> None:
        super().test_answers_as_if_every_row_were_kept()


def test_two_writers_of_one_key_lose_nothing(postgres_url: str) -> None:
    stores = [PostgresOnline(postgres_url) for _ in range(2)]
    for store in stores:
        store.define(VIEW)

    def write(store: PostgresOnline, offset: int) -> None:
        for n in range(offset, 60, 2):
            keys = ("a", "b") if offset else ("b", "a")
            assert store.push("v@1", [row(n, key) for key in keys]) == 2

    threads = [threading.Thread(target=write, args=(store, i)) for i, store in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        found = store.read("v@1", [("a",), ("b",)], START + 99)
        assert [(each["n"], each["total"]) for each in found] == [(59, sum(range(60)))] * 2
        store.close()


def test_nobody_there() -> None:
    with pytest.raises(Unavailable) as caught:
        PostgresOnline("postgresql://postgres@/postgres?host=/nowhere&schema=x")
    assert caught.value.hint
