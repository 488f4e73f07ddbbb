"""Clients that are slow, endless, many or silent: each is let go in time, and the others are served."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from loopwright.app.connections import ConnectionLimits, connections_at_most
from loopwright.app.server import Server

QUICK = ConnectionLimits(head_s=0.3, pace_s=0.3, pace_bytes=10_000, stall_s=0.3, head_bytes=20_000)
HEAD = b"POST /read HTTP/1.1\r\nHost: 127.0.0.1\r\n"
LET_GO_S = 8.0
"""far longer than any of the deadlines above"""


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Tells what it was sent, or sends without end, or never looks at what it is sent."""
    if scope["type"] == "lifespan":
        for done in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{done}.complete"})
        return
    if scope["path"] == "/endless":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (await _polled(receive))["type"] != "http.disconnect":
            await send({"type": "http.response.body", "body": b"x" * 65_536, "more_body": True})
        return
    size, names = 0, [name.decode() for name, _ in scope["headers"]]
    if scope["path"] == "/read":
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    names = [name.decode() for name, _ in scope["headers"]]
    body = json.dumps({"size": size, "headers": names}).encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _polled(receive: Receive) -> Any:
    try:
        return await asyncio.wait_for(receive(), 0.001)
    except TimeoutError:
        return {"type": "nothing"}


@contextmanager
def served(limits: ConnectionLimits) -> Iterator[Server]:
    with Server(application, limits=limits) as server:
        yield server
        assert httpx.get(f"{server.url}/at-once").status_code == 200


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with served(QUICK) as found:
        yield found


def until_closed(line: socket.socket, keep_on: Callable[[], None] = lambda: None) -> bytes:
    """What comes until the server closes, while something goes on; fails when it never does."""
    line.settimeout(0.02)
    found, until = b"", time.monotonic() + LET_GO_S
    while time.monotonic() < until:
        with suppress(TimeoutError):
            try:
                keep_on()
                piece = line.recv(65_536)
            except (ConnectionResetError, BrokenPipeError):
                return found
            if not piece:
                return found
            found += piece
    raise AssertionError("the connection is still open")


def told(answer: bytes) -> tuple[int, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head
    assert b"nosniff" in head
    return int(head.split(b" ")[1]), json.loads(body)


def line_to(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=LET_GO_S)


def test_a_line_without_a_request_is_closed(server: Server) -> None:
    with line_to(server) as line:
        assert until_closed(line) == b""


@pytest.mark.parametrize("drop", [b"a", b"X-a: b\r\n", b"\r\n"])
def test_a_head_that_trickles_is_ended(server: Server, drop: bytes) -> None:
    with line_to(server) as line:
        line.sendall(HEAD if drop != b"\r\n" else b"")
        answer = until_closed(line, lambda: line.sendall(drop))
    if answer:
        status, failure = told(answer)
        assert status in {400, 408}
        assert failure["message"]


def test_a_rest_between_two_requests_ends_too(server: Server) -> None:
    """Also when it is filled with empty lines, which no parser counts."""
    with line_to(server) as line:
        line.sendall(b"GET /at-once HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b"200 OK" in until_closed(line, lambda: line.sendall(b"\r\n"))


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (HEAD, b"a: " + b"x" * 5000 + b"\r\n"),
        (HEAD + b"a: ", b"x" * 5000),
        (b"GET /", b"x" * 5000),
        (HEAD, b"a:\r\n" * 1000),
    ],
)
def test_a_head_without_end_is_refused(server: Server, start: bytes, more: bytes) -> None:
    with line_to(server) as line:
        line.sendall(start)
        status, failure = told(until_closed(line, lambda: line.sendall(more)))
    assert (status, failure["code"]) == (431, "too_large")


@pytest.mark.parametrize("how", [b"Content-Length: 100000", b"Transfer-Encoding: chunked"])
def test_a_body_that_trickles_is_ended(server: Server, how: bytes) -> None:
    drop = b"x" if how.startswith(b"Content") else b"1\r\nx\r\n"
    with line_to(server) as line:
        line.sendall(HEAD + how + b"\r\n\r\n" + drop)
        status, failure = told(until_closed(line, lambda: line.sendall(drop)))
    assert (status, failure["code"]) == (408, "unavailable")


def test_a_body_that_never_comes_is_ended(server: Server) -> None:
    with line_to(server) as line:
        line.sendall(HEAD + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        answer = until_closed(line)
    assert answer.startswith(b"HTTP/1.1 100")
    assert told(answer.partition(b"\r\n\r\n")[2])[0] == 408


def test_a_body_at_its_pace_is_read_however_long_it_takes(server: Server) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(12):
            time.sleep(0.1)
            yield b"x" * 5000

    assert httpx.post(f"{server.url}/read", content=pieces()).json()["size"] == 60_000


def test_a_body_nobody_reads_may_not_come_without_end(server: Server) -> None:
    """The reply is there; the sender goes on."""
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    with line_to(server) as line:
        line.sendall(HEAD.replace(b"/read", b"/at-once") + b"Transfer-Encoding: chunked\r\n\r\n")
        assert until_closed(line, lambda: line.sendall(chunk)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "part", [b"1;" + b"e" * 4000 + b"\r\nx\r\n", b"0" * 4000], ids=["extensions", "a size"]
)
def test_a_body_is_not_wrapped_in_more_than_itself(server: Server, part: bytes) -> None:
    with line_to(server) as line:
        line.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        answer = until_closed(line, lambda: line.sendall(part))
    assert told(answer)[0] == 400


def test_trailers_are_no_headers(server: Server) -> None:
    with line_to(server) as line:
        line.sendall(
            HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"1\r\nx\r\n0\r\nAuthorization: Bearer x\r\nOrigin: http://evil.example\r\n\r\n"
        )
        answer = until_closed(line)
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {
        "size": 1,
        "headers": ["host", "connection", "transfer-encoding"],
    }


def test_a_reply_that_nobody_reads_is_given_up(server: Server) -> None:
    with line_to(server) as line:
        line.sendall(b"GET /endless HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        time.sleep(1.0)
        came, line_ends = 0, False
        with suppress(ConnectionResetError):
            while came < 50_000_000 and not line_ends:
                piece = line.recv(1 << 20)
                came, line_ends = came + len(piece), not piece
    assert came < 50_000_000


def test_of_too_many_connections_the_oldest_without_a_request_goes() -> None:
    with served(ConnectionLimits(connections=5)) as server, ExitStack() as stack:
        busy = stack.enter_context(line_to(server))
        busy.sendall(HEAD + b"Content-Length: 2\r\n\r\n1")
        idle = []
        for _ in range(12):
            idle.append(stack.enter_context(line_to(server)))
            assert httpx.get(f"{server.url}/at-once").status_code == 200
        assert until_closed(idle[0]) == b""
        busy.sendall(b"2")
        assert b'"size": 2' in busy.recv(65_536)


def test_when_all_are_busy_the_newest_is_told_so() -> None:
    with served(ConnectionLimits(connections=3)) as server:
        with ExitStack() as stack:
            for _ in range(3):
                line = stack.enter_context(line_to(server))
                line.sendall(HEAD + b"Content-Length: 2\r\n\r\n1")
            time.sleep(0.2)
            with line_to(server) as late:
                status, failure = told(until_closed(late))
            assert (status, failure["code"]) == (503, "unavailable")
        time.sleep(0.2)


def test_others_are_served_while_a_hundred_trickle(server: Server) -> None:
    ends = threading.Event()

    def trickle() -> None:
        with suppress(OSError), line_to(server) as line:
            line.sendall(HEAD)
            while not ends.wait(0.05):
                line.sendall(b"a")

    threads = [threading.Thread(target=trickle) for _ in range(100)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            assert httpx.post(f"{server.url}/read", content=b"hello").json()["size"] == 5
    finally:
        ends.set()
        for thread in threads:
            thread.join()


def test_connections_stay_under_what_the_process_may_open() -> None:
    assert connections_at_most(1) == 1
    assert 1 <= connections_at_most(10**9) <= 10**9
