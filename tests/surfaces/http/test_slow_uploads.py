"""Senders that take their time, many more than there are threads: the others are answered all the while."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.types import Message

from loopwright.surfaces.http import Application, build_app
from loopwright.surfaces.http.host import Limits
from tests.surfaces.declared import DeclaredHost

FEW = Limits(threads=2, uploads=3, waiting=50, deadline_s=20.0)
SMALL, GREAT = b"x" * 10, b"x" * (3 << 20)


class Sender:
    """A caller who sends a piece and holds the rest back until told."""

    def __init__(self, app: Application, first: bytes) -> None:
        self._app = app
        self._pieces = [first]
        self.is_taken = asyncio.Event()
        self.may_end = asyncio.Event()
        self.sent: list[Message] = []

    async def _receive(self) -> Message:
        if self._pieces:
            return {"type": "http.request", "body": self._pieces.pop(), "more_body": True}
        self.is_taken.set()
        await self.may_end.wait()
        return {"type": "http.request", "body": b"end", "more_body": False}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    async def run(self, path: str = "/api/v1/boxes/a/content") -> None:
        await self._app(_scope("POST", path), self._receive, self._send)

    @property
    def answer(self) -> Any:
        assert self.sent[0]["status"] == 200, self.sent
        return json.loads(b"".join(each.get("body", b"") for each in self.sent[1:]))


def _scope(method: str, path: str) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"127.0.0.1:7070")],
        "server": ("127.0.0.1", 7070),
        "client": ("127.0.0.1", 50_000),
    }


async def _shown(app: Application) -> int:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(_scope("GET", "/api/v1/boxes/a"), receive, send)
    return int(sent[0]["status"])


async def _story(first: bytes, senders: int, working: int) -> None:
    app = build_app(DeclaredHost(), limits=FEW)
    slow = [Sender(app, first) for _ in range(senders)]
    running = [asyncio.ensure_future(each.run()) for each in slow]
    try:
        # those behind wait for a thread, so that not all are asked for more
        await asyncio.gather(*(each.is_taken.wait() for each in slow[:working]))
        for _ in range(5):
            assert await _shown(app) == 200
        assert not any(each.done() for each in running)
        for each in slow:
            each.may_end.set()
        await asyncio.gather(*running)
        assert {each.answer["size"] for each in slow} == {len(first) + 3}
    finally:
        app.close()


def test_who_sends_little_keeps_no_thread_however_many_there_are() -> None:
    asyncio.run(asyncio.wait_for(_story(SMALL, 40, 40), 60))


def test_who_sends_much_keeps_threads_of_uploads_alone() -> None:
    asyncio.run(asyncio.wait_for(_story(GREAT, 12, FEW.uploads), 60))


def test_a_small_upload_passes_those_that_are_great_and_slow() -> None:
    async def story() -> None:
        app = build_app(DeclaredHost(), limits=FEW)
        slow = [Sender(app, GREAT) for _ in range(8)]
        running = [asyncio.ensure_future(each.run()) for each in slow]
        await asyncio.gather(*(each.is_taken.wait() for each in slow[: FEW.uploads]))
        quick = Sender(app, SMALL)
        quick.may_end.set()
        await quick.run()
        assert quick.answer["size"] == len(SMALL) + 3
        for each in slow:
            each.may_end.set()
        await asyncio.gather(*running)
        app.close()

    asyncio.run(asyncio.wait_for(story(), 60))


@pytest.mark.parametrize("first", [SMALL, GREAT], ids=["little", "much"])
def test_who_goes_away_is_let_go(first: bytes) -> None:
    class Gone(Sender):
        async def _receive(self) -> Message:
            return await super()._receive() if self._pieces else {"type": "http.disconnect"}

    async def story() -> None:
        app = build_app(DeclaredHost(), limits=FEW)
        await asyncio.gather(*(Gone(app, first).run() for _ in range(10)))
        assert await _shown(app) == 200
        app.close()

    asyncio.run(asyncio.wait_for(story(), 60))
