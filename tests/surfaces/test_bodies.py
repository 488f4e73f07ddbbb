"""Bodies come in whole, however they are cut and packed, and never larger than the limit."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive

from loopwright.core.errors import Invalid, TooLarge
from loopwright.surfaces.bodies import inflate, read_body, read_raw

LIMIT = 1000
PACKED: dict[bytes, Callable[[bytes], bytes]] = {
    b"gzip": gzip.compress,
    b"deflate": zlib.compress,
    b"identity": bytes,
    b"": bytes,
}


def sender(*messages: Message) -> Receive:
    left = list(messages)

    async def receive() -> Message:
        return left.pop(0)

    return receive


def pieces(*parts: bytes) -> list[Message]:
    last = len(parts) - 1
    return [{"type": "http.request", "body": p, "more_body": at < last} for at, p in enumerate(parts)]


def read(encoding: bytes, *messages: Message, announced: bytes | None = None, limit: int = LIMIT) -> bytes:
    headers = {b"content-encoding": encoding} if encoding else {}
    if announced is not None:
        headers[b"content-length"] = announced
    return asyncio.run(read_body(sender(*messages), headers, limit))


@given(st.binary(max_size=300), st.sampled_from(sorted(PACKED)), st.lists(st.integers(0, 400), max_size=6))
def test_a_body_is_the_same_however_it_comes(body: bytes, encoding: bytes, cuts: list[int]) -> None:
    sent = PACKED[encoding](body)
    places = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    parts = [sent[low:high] for low, high in pairwise(places)]
    assert read(encoding, *pieces(*parts), announced=b"%d" % len(sent)) == body


@pytest.mark.parametrize("encoding", sorted(PACKED))
def test_the_limit_is_the_last_size_that_is_taken(encoding: bytes) -> None:
    for size, is_taken in ((LIMIT, True), (LIMIT + 1, False)):
        message = pieces(PACKED[encoding](b"x" * size))
        if is_taken:
            assert read(encoding, *message) == b"x" * size
        else:
            with pytest.raises(TooLarge, match="over 1,000 bytes"):
                read(encoding, *message)


def test_what_is_announced_or_comes_in_parts_is_refused_before_more_of_it_is_read() -> None:
    with pytest.raises(TooLarge):
        read(b"", announced=b"1001")  # nothing of it was sent: reading would fail
    with pytest.raises(TooLarge):
        read(b"", *pieces(b"x" * 600, b"x" * 600, b"never read")[:2])
    with pytest.raises(TooLarge):
        read(b"", announced=b"9" * 40)
    assert read(b"", *pieces(b"whole"), announced=b"no number") == b"whole"


def test_a_small_body_that_unpacks_to_much_is_not_unpacked() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    tracemalloc.start()
    with pytest.raises(TooLarge):
        inflate(bomb, b"gzip", 100_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize(
    ("encoding", "body", "said"),
    [
        (b"br", b"x", "not known"),
        (b"gzip", b"no gzip at all", "is not gzip"),
        (b"gzip", gzip.compress(b"x" * 200, mtime=0)[:-6], "gzip body is cut short"),
        (b"deflate", zlib.compress(b"x" * 200)[:-2], "deflate body is cut short"),
    ],
    ids=["unknown", "no gzip", "cut gzip", "cut deflate"],
)
def test_what_cannot_be_unpacked_is_the_callers_mistake(encoding: bytes, body: bytes, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        read(encoding, *pieces(body))


def test_a_caller_who_goes_away_and_a_body_as_it_was_sent() -> None:
    first = pieces(b"half", b"")[0]
    with pytest.raises(Invalid, match="went away"):
        read(b"", first, {"type": "http.disconnect"})
    packed = gzip.compress(b"rows")
    raw = asyncio.run(read_raw(sender(*pieces(packed)), {b"content-encoding": b"gzip"}, LIMIT))
    assert raw == packed
