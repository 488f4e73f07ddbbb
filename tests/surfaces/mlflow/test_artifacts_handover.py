"""Bodies on their way to a thread: whole, in order, bounded, and given up by either side."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from loopwright.core.errors import Invalid, LoopwrightError, TooLarge, Unavailable
from loopwright.surfaces.mlflow import handover
from loopwright.surfaces.mlflow.handover import handed_over

T = TypeVar("T")
LIMIT = 1 << 30


class Sender:
    """Gives out pieces of a body; then it is gone, or silent."""

    def __init__(self, pieces: list[bytes], *, ending: str = "whole") -> None:
        self.pieces = pieces
        self.sent = 0
        self._ending = ending

    async def __call__(self) -> Message:
        """The next message."""
        if self.sent < len(self.pieces):
            self.sent += 1
            more = self._ending != "whole" or self.sent < len(self.pieces)
            return {"type": "http.request", "body": self.pieces[self.sent - 1], "more_body": more}
        if self._ending == "gone":
            return {"type": "http.disconnect"}
        await asyncio.Event().wait()
        raise AssertionError


def carried(sender: Sender, work: Callable[[Iterator[bytes]], T], *, limit: int = LIMIT) -> T:
    """The value of `work`, on a loop and a thread of their own."""
    found: list[T | LoopwrightError] = []

    async def main() -> T:
        with ThreadPoolExecutor(1) as pool:
            return await handed_over(b"first", sender, work, limit=limit, pool=pool)

    def run() -> None:
        try:
            found.append(asyncio.run(main()))
        except LoopwrightError as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    assert found, "it hangs"
    if isinstance(found[0], LoopwrightError):
        raise found[0]
    return found[0]


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=20))
def test_a_body_comes_whole_and_in_order(pieces: list[bytes]) -> None:
    assert carried(Sender(pieces), b"".join) == b"first" + b"".join(pieces)


def test_little_is_held_for_a_slow_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "HELD", 100)
    sender = Sender([b"x" * 60] * 50)
    ahead = []

    def slow(pieces: Iterator[bytes]) -> int:
        taken = 0
        for _ in pieces:
            taken += 1
            ahead.append(sender.sent - taken)
        return taken

    assert carried(sender, slow) == 51
    assert max(ahead) <= 6


@pytest.mark.parametrize("pieces", [[], [b"x" * 10], [b"x" * 10] * 1000])
def test_a_sender_that_is_gone_ends_the_work(pieces: list[bytes]) -> None:
    with pytest.raises(Invalid, match="whole"):
        carried(Sender(pieces, ending="gone"), b"".join)


def test_a_silent_sender_ends_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "PATIENCE_S", 0.05)
    with pytest.raises(Unavailable):
        carried(Sender([b"x"], ending="silent"), b"".join)


def test_a_body_over_its_limit_ends_the_work() -> None:
    sender = Sender([b"x" * 100] * 1000)
    with pytest.raises(TooLarge):
        carried(sender, b"".join, limit=1000)
    assert sender.sent < 15


def test_work_that_fails_lets_the_sender_go() -> None:
    """A full disk, say: nothing waits for a body that nobody wants."""

    def failing(pieces: Iterator[bytes]) -> bytes:
        next(pieces)
        raise Unavailable("no space left")

    with pytest.raises(Unavailable, match="space"):
        carried(Sender([b"x"], ending="silent"), failing)
