from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import msgspec
import pytest

from loopwright.app.server import Server
from loopwright.engine.live import Note
from loopwright.surfaces.http import Limits, build_app
from tests.surfaces.declared import DeclaredHost

LIMITS = Limits(heartbeat_s=0.2, poll_s=0.1, listeners=3, listener_queue=50)


@pytest.fixture
def host() -> DeclaredHost:
    return DeclaredHost()


@pytest.fixture
def server(host: DeclaredHost) -> Iterator[Server]:
    app = build_app(host, limits=LIMITS)
    with Server(app, on_stopping=app.stop_feeds) as running:
        yield running


@contextmanager
def _listening(server: Server, **headers: str) -> Iterator[Iterator[dict[str, Any]]]:
    """The messages of a feed, once it is connected and listens."""
    with (
        httpx.Client(timeout=10.0) as client,
        client.stream("GET", f"{server.url}/api/v1/events", headers=headers) as response,
    ):
        assert response.status_code == 200
        texts = _texts(response)
        assert "connected" in next(texts)
        if "last-event-id" not in headers:
            assert "still here" in next(texts)
        yield (_message(text) for text in texts if not text.startswith(":"))


def _texts(response: httpx.Response) -> Iterator[str]:
    rest = ""
    for piece in response.iter_text():
        *found, rest = (rest + piece).split("\n\n")
        yield from found


def _message(text: str) -> dict[str, Any]:
    fields = dict(line.split(": ", 1) for line in text.splitlines())
    return {**fields, "data": json.loads(fields["data"])}


def test_committed_events_arrive_in_order_with_their_numbers(host: DeclaredHost, server: Server) -> None:
    host.record("before.listening")
    with _listening(server) as messages:
        for i in range(20):
            host.record("box.made", number=i)
        found = [next(messages) for _ in range(20)]
    assert [message["data"]["payload"]["number"] for message in found] == list(range(20))
    assert [int(message["id"]) for message in found] == list(range(2, 22))


def test_what_was_missed_comes_first_when_resuming(host: DeclaredHost, server: Server) -> None:
    for i in range(1200):
        host.record("box.made", number=i)
    with _listening(server, **{"last-event-id": "100"}) as messages:
        found = [next(messages) for _ in range(1100)]
        host.record("box.made", number=1200)
        found.append(next(messages))
    assert [int(message["id"]) for message in found] == list(range(101, 1202))


def test_a_number_that_no_event_has_yet_is_told_and_hides_nothing(host: DeclaredHost, server: Server) -> None:
    """As when a server was restored from a copy: its events have smaller numbers than were seen."""
    host.record("box.made", number=0)
    with _listening(server, **{"last-event-id": "999999"}) as messages:
        first = next(messages)
        assert (first["event"], first["data"]["reason"]) == ("resync", "no such event yet")
        host.record("box.made", number=1)
        assert next(messages)["data"]["payload"]["number"] == 1


def test_events_of_other_spaces_are_not_told(host: DeclaredHost, server: Server) -> None:
    with _listening(server) as messages:
        host.record("secret", space="other")
        host.record("box.made")
        assert next(messages)["data"]["kind"] == "box.made"
    for i in range(3):
        host.record("secret", space="other", number=i)
    host.record("box.painted")
    with _listening(server, **{"last-event-id": "2"}) as messages:
        assert next(messages)["data"]["kind"] == "box.painted"


def test_events_of_another_process_are_found_by_the_tick() -> None:
    host = DeclaredHost(is_told=False)
    app = build_app(host, limits=LIMITS)
    with Server(app, on_stopping=app.stop_feeds) as server, _listening(server) as messages:
        host.record("made.elsewhere")
        assert next(messages)["data"]["kind"] == "made.elsewhere"


def test_notes_come_beside_the_events(host: DeclaredHost, server: Server) -> None:
    with _listening(server) as messages:
        host.live.publish([Note(topic="rate", body={"per_s": 3})])
        found = next(messages)
    assert found["event"] == "note"
    assert found["data"] == {"topic": "rate", "body": {"per_s": 3}}


def test_a_client_that_does_not_read_is_dropped_with_a_notice(host: DeclaredHost, server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10.0) as sock:
        sock.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        while b"still here" not in sock.recv(4096):
            pass
        for i in range(200):
            host.live.publish([Note(topic="large", body={"number": i, "filler": "x" * 100_000})])
            time.sleep(0.001)
        received = b""
        while b"event: resync" not in received:
            piece = sock.recv(65_536)
            assert piece
            received = received[-100:] + piece


def test_too_many_listeners_are_refused(server: Server) -> None:
    with _listening(server), _listening(server), _listening(server):
        refused = httpx.get(f"{server.url}/api/v1/events", timeout=10.0)
    assert refused.status_code == 503
    assert refused.json()["code"] == "unavailable"


def test_a_bad_number_is_refused(server: Server) -> None:
    refused = httpx.get(f"{server.url}/api/v1/events?after=yesterday", timeout=10.0)
    assert refused.status_code == 400


def test_a_stopping_server_lets_its_listeners_go(host: DeclaredHost) -> None:
    app = build_app(host, limits=LIMITS)
    server = Server(app, on_stopping=app.stop_feeds)
    server.start()
    with _listening(server) as messages:
        server.stop()
        assert list(messages) == []


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example", "sec-fetch-site": "cross-site"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"},
    ],
    ids=["event source", "old browser", "sandbox", "image", "frame", "another port"],
)
def test_a_page_of_another_site_takes_no_place_among_the_listeners(
    host: DeclaredHost, headers: dict[str, str]
) -> None:
    """Without a place to give, who is let as far as the places is answered 503."""
    app = build_app(host, limits=msgspec.structs.replace(LIMITS, listeners=0))
    with Server(app, on_stopping=app.stop_feeds) as full:
        answer = httpx.get(f"{full.url}/api/v1/events", headers=headers)
        assert answer.status_code == 403
        assert answer.json()["where"] == "header Origin"
        assert httpx.get(f"{full.url}/api/v1/events").status_code == 503


def test_own_pages_typed_addresses_and_other_programs_listen(server: Server) -> None:
    own = {"origin": server.url, "sec-fetch-site": "same-origin"}
    for headers in ({}, own, {"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}):
        with _listening(server, **headers):
            pass


def test_a_stream_of_items_is_not_begun_for_a_page_of_another_site(server: Server) -> None:
    foreign = {"origin": "http://evil.example", "sec-fetch-site": "cross-site"}
    for path in ("/stream?count=2",):
        assert httpx.get(f"{server.url}/api/v1{path}", headers=foreign).status_code == 403
        assert httpx.get(f"{server.url}/api/v1{path}").status_code == 200
