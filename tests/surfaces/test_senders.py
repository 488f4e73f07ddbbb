"""Who gives way when uploads share threads: the slowest under the pace, as many as wait, nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from starlette.types import Message

from loopwright.core.errors import Unavailable
from loopwright.surfaces import senders as senders_module
from loopwright.surfaces.senders import Pace, Senders, Sending

PACE = Pace(each_bytes=100, over_s=10.0)


@pytest.fixture(autouse=True)
def _looked_at_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(senders_module, "_LOOKED_AT_S", 0.01)


class Clock:
    """A time that passes when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now


class Line:
    """What one sender sends: pieces put in, and silence."""

    def __init__(self, clock: Clock) -> None:
        self.pieces: asyncio.Queue[bytes] = asyncio.Queue()
        self.sending = Sending(self._receive, clock)

    async def _receive(self) -> Message:
        return {"type": "http.request", "body": await self.pieces.get(), "more_body": True}

    async def upload(self, senders: Senders) -> str:
        """Take pieces until there is an empty one, or it has to give way."""
        try:
            async with senders.place(self.sending):
                while (await self.sending())["body"]:
                    pass
        except Unavailable as error:
            return error.message
        return "whole"


def told(story: Callable[[Senders, Clock], Awaitable[None]], *, threads: int, waiting: int = 8) -> None:
    async def main() -> None:
        clock = Clock()
        await story(Senders(threads, waiting=waiting, pace=PACE), clock)

    asyncio.run(asyncio.wait_for(main(), 30))


async def counted() -> None:
    """Until what was put in is taken."""
    for _ in range(5):
        await asyncio.sleep(0)


async def rest() -> None:
    """Until whoever waits has looked."""
    await asyncio.sleep(0.1)


def test_nobody_gives_way_while_there_is_room() -> None:
    async def story(senders: Senders, clock: Clock) -> None:
        lines = [Line(clock) for _ in range(3)]
        running = [asyncio.ensure_future(each.upload(senders)) for each in lines]
        await asyncio.sleep(0)
        clock.now = 1000.0
        await rest()
        assert not any(each.done() for each in running)
        for each in lines:
            each.pieces.put_nowait(b"")
        assert await asyncio.gather(*running) == ["whole"] * 3

    told(story, threads=3)


def test_the_slowest_gives_way_and_only_when_its_time_is_over() -> None:
    async def story(senders: Senders, clock: Clock) -> None:
        quick, slow, slowest, late = (Line(clock) for _ in range(4))
        running = [asyncio.ensure_future(each.upload(senders)) for each in (quick, slow, slowest, late)]
        await asyncio.sleep(0)
        for line, size in ((quick, 5000), (slow, 900), (slowest, 100)):
            line.pieces.put_nowait(b"x" * size)
        await counted()
        clock.now = 9.0
        await rest()
        assert not any(each.done() for each in running)
        clock.now = 11.0
        await rest()
        assert [each.done() for each in running] == [False, False, True, False]
        assert "too slowly" in running[2].result()
        for line in (quick, slow, late):
            line.pieces.put_nowait(b"")
        assert list(await asyncio.gather(running[0], running[1], running[3])) == ["whole"] * 3

    told(story, threads=3)


def test_who_sends_enough_keeps_his_thread() -> None:
    async def story(senders: Senders, clock: Clock) -> None:
        quick, late = Line(clock), Line(clock)
        first = asyncio.ensure_future(quick.upload(senders))
        second = asyncio.ensure_future(late.upload(senders))
        await asyncio.sleep(0)
        for _ in range(3):
            quick.pieces.put_nowait(b"x" * 2000)
            await counted()
            clock.now += 11.0
            await rest()
        assert not first.done()
        quick.pieces.put_nowait(b"")
        late.pieces.put_nowait(b"")
        assert list(await asyncio.gather(first, second)) == ["whole", "whole"]

    told(story, threads=1)


def test_who_was_quick_once_gives_way_when_he_is_slow_now() -> None:
    async def story(senders: Senders, clock: Clock) -> None:
        line, late = Line(clock), Line(clock)
        first = asyncio.ensure_future(line.upload(senders))
        await asyncio.sleep(0)
        line.pieces.put_nowait(b"x" * 1_000_000)
        second = asyncio.ensure_future(late.upload(senders))
        late.pieces.put_nowait(b"")
        await counted()
        clock.now = 11.0
        await rest()
        assert not first.done()
        clock.now = 22.0
        assert "too slowly" in await first
        assert await second == "whole"

    told(story, threads=1)


def test_who_is_not_waited_for_is_not_slow() -> None:
    """What came is not written yet: the disk is slow, not the sender."""

    async def story(senders: Senders, clock: Clock) -> None:
        busy, late = Line(clock), Line(clock)
        is_written = asyncio.Event()

        async def written() -> str:
            async with senders.place(busy.sending):
                await is_written.wait()
            return "whole"

        first = asyncio.ensure_future(written())
        await asyncio.sleep(0)
        second = asyncio.ensure_future(late.upload(senders))
        clock.now = 100.0
        await rest()
        assert not first.done()
        is_written.set()
        late.pieces.put_nowait(b"")
        assert list(await asyncio.gather(first, second)) == ["whole", "whole"]

    told(story, threads=1)


def test_too_many_that_wait_are_refused_and_who_leaves_the_queue_takes_nothing() -> None:
    async def story(senders: Senders, clock: Clock) -> None:
        lines = [Line(clock) for _ in range(3)]
        running = [asyncio.ensure_future(each.upload(senders)) for each in lines]
        await asyncio.sleep(0)
        assert "too many" in await Line(clock).upload(senders)
        running[1].cancel()
        await asyncio.wait({running[1]})
        for each in (lines[0], lines[2]):
            each.pieces.put_nowait(b"")
        assert [await running[0], await running[2]] == ["whole", "whole"]
        lines[1].pieces.put_nowait(b"")
        assert await lines[1].upload(senders) == "whole"

    told(story, threads=1, waiting=2)


@pytest.mark.parametrize("senders_there", [1, 5])
def test_one_gives_way_for_each_that_waits(senders_there: int) -> None:
    async def story(senders: Senders, clock: Clock) -> None:
        slow = [Line(clock) for _ in range(5)]
        running = [asyncio.ensure_future(each.upload(senders)) for each in slow]
        await asyncio.sleep(0)
        late = [Line(clock) for _ in range(senders_there)]
        coming = [asyncio.ensure_future(each.upload(senders)) for each in late]
        for each in late:
            each.pieces.put_nowait(b"")
        await asyncio.sleep(0.05)
        clock.now = 11.0
        assert await asyncio.gather(*coming) == ["whole"] * senders_there
        await rest()
        assert sum(each.done() for each in running) == senders_there
        for task in running:
            task.cancel()
        await asyncio.wait(running)

    told(story, threads=5)
