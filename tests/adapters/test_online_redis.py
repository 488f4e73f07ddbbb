"""Redis: the suite on a real server, its end in the middle, two writers, and one round trip."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest
from redis.connection import AbstractConnection

from loopwright.adapters.online.redis import RedisOnline
from loopwright.core.errors import Unavailable
from loopwright.core.expressions import col
from loopwright.ports.online import Online, OnlineRow, OnlineView
from loopwright.testing.online import OnlineSuite
from loopwright.testing.redis import RedisServer

START = 1_370_000_000_000_000
VIEW = OnlineView(name="v@1", latest=("n",), windows={"total": col("n").sum("2h")})
_PREFIXES = itertools.count()


def row(n: int, key: str = "a") -> OnlineRow:
    return OnlineRow(key=(key,), event_us=START + n, known_us=START + n, values={"n": n}, row_id=f"{key}{n}")


class TestRedisOnline(OnlineSuite):
    @pytest.fixture(autouse=True)
    def _server(self, redis_server: RedisServer) -> None:
        self.server = redis_server

    def fresh(self) -> Online:
        self.prefix = f"t{next(_PREFIXES)}:"
        return RedisOnline(self.server.url, prefix=self.prefix)

    def reopen(self, online: Online) -> Online:
        online.close()
        return RedisOnline(self.server.url, prefix=self.prefix)

    @pytest.mark.slow
    def test_answers_as_if_every_row_were_kept(self) -> None:
        super().test_answers_as_if_every_row_were_kept()


@pytest.fixture
def prefix() -> str:
    return f"t{next(_PREFIXES)}:"


def test_what_was_flushed_is_there_after_the_server_was_killed(
    redis_server: RedisServer, prefix: str
) -> None:
    store = RedisOnline(redis_server.url, prefix=prefix)
    store.define(VIEW)
    store.push("v@1", [row(1), row(2)])
    store.flush(START + 2)
    redis_server.kill()
    with pytest.raises(Unavailable) as caught:
        store.read("v@1", [("a",)], START + 9)
    assert caught.value.hint
    redis_server.start()
    assert store.read("v@1", [("a",)], START + 9) == [{"n": 2, "total": 3}]
    assert store.watermark("v@1") == START + 2


def test_two_writers_of_one_key_lose_nothing(redis_server: RedisServer, prefix: str) -> None:
    stores = [RedisOnline(redis_server.url, prefix=prefix) for _ in range(2)]
    for store in stores:
        store.define(VIEW)

    def write(store: RedisOnline, offset: int) -> None:
        for n in range(offset, 80, 2):
            assert store.push("v@1", [row(n), row(n, "b")]) == 2

    threads = [threading.Thread(target=write, args=(store, i)) for i, store in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        found = store.read("v@1", [("a",), ("b",)], START + 99)
        assert [(each["n"], each["total"]) for each in found] == [(79, sum(range(80)))] * 2


def test_several_views_are_one_round_trip(
    redis_server: RedisServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RedisOnline(redis_server.url, prefix=prefix)
    views = [OnlineView(name=f"v{i}@1", latest=("n",)) for i in range(3)]
    for view in views:
        store.define(view)
        store.push(view.name, [row(1)])
    sent: list[Any] = []
    send: Callable[..., None] = AbstractConnection.send_packed_command

    def counted(self: Any, command: Any, check_health: bool = True) -> None:
        sent.append(command)
        send(self, command, check_health)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", counted)
    found = store.read_many([(view.name, [("a",), ("z",)]) for view in views], START + 9)
    assert found == [[{"n": 1}, {"n": None}]] * 3
    assert len(sent) == 1


def test_nobody_there() -> None:
    with pytest.raises(Unavailable, match="nowhere"):
        RedisOnline("unix:///nowhere/at/all")
