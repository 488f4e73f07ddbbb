"""A call over a real server gives what the call in process gives, for every form."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loopwright.app.server import Server
from loopwright.client import Client
from loopwright.client.describing import index_of
from loopwright.core.errors import (
    Fault,
    Invalid,
    LoopwrightError,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from loopwright.engine.operation import Blob, Upload
from loopwright.surfaces.http import Limits, build_app
from loopwright.workspace.settings import Settings
from tests.surfaces.declared import Box, Colour, DeclaredHost

HOST = DeclaredHost()
INDEX = index_of(HOST.operations.values())


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    app = build_app(HOST, limits=Limits(body_bytes=100_000))
    with Server(app) as server, Client(server.url, index=INDEX) as client:
        yield client


def _plain(result: Any) -> Any:
    match result:
        case Blob(file=file):
            with file:
                return result.size_bytes, result.media_type, result.filename, file.read()
        case Iterator():
            return list(result)
    return result


def _outcome(call: Any, name: str, arguments: dict[str, Any]) -> Any:
    try:
        return _plain(call(name, **arguments))
    except LoopwrightError as error:
        return type(error), error.code, getattr(error, "decision_id", "")


def _said(call: Any, name: str, arguments: dict[str, Any]) -> Any:
    try:
        return _plain(call(name, **arguments))
    except LoopwrightError as error:
        return type(error), error.message, error.hint, error.where, getattr(error, "decision_id", "")


texts = st.text(max_size=30).filter(lambda t: "\0" not in t)
names = st.text(min_size=1, max_size=40).filter(lambda t: t.isprintable() and "." not in t)
instants = st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - given a zone
boxes = st.builds(
    Box,
    name=texts,
    size=st.integers(-(2**63), 2**63 - 1),
    colour=st.sampled_from(Colour),
    ratio=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    at=instants,
    tags=st.dictionaries(texts, texts, max_size=3),
    parts=st.lists(texts, max_size=3).map(tuple),
)
shown = st.fixed_dictionaries(
    {"name": names},
    optional={
        "wanted": st.lists(texts, max_size=3).map(tuple),
        "colour": st.none() | st.sampled_from(Colour),
        "at": st.none() | instants,
        "box": st.none() | boxes,
        "limit": st.integers(-1, 1001),
    },
)
made = st.fixed_dictionaries(
    {"name": names, "size": st.integers(-(2**63), 2**63 - 1)},
    optional={"box": st.none() | boxes, "reason": texts},
)
listed = st.fixed_dictionaries(
    {}, optional={"limit": st.integers(1, 9), "token": st.sampled_from(["", "3", "6"])}
)
streamed = st.fixed_dictionaries(
    {}, optional={"count": st.integers(0, 250), "fail_at": st.none() | st.integers(0, 9)}
)
calls = st.one_of(
    st.tuples(st.just("boxes.show"), shown),
    st.tuples(st.just("boxes.make"), made),
    st.tuples(st.just("boxes.list"), listed),
    st.tuples(st.just("boxes.stream"), streamed),
    st.tuples(
        st.just("boxes.download"), st.fixed_dictionaries({"name": names, "size": st.integers(0, 200_000)})
    ),
    st.tuples(st.just("boxes.ship"), st.fixed_dictionaries({"name": names})),
    st.tuples(
        st.just("boxes.fail"),
        st.fixed_dictionaries({"how": st.sampled_from(["blocked", "conflict", "fault", "-"])}),
    ),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls)
def test_a_call_over_the_wire_is_the_call_in_process(
    client: Client, call: tuple[str, dict[str, Any]]
) -> None:
    name, arguments = call
    assert _outcome(client.call, name, arguments) == _outcome(HOST.call, name, arguments)


@pytest.mark.parametrize("how", ["blocked", "conflict", "fault"])
def test_an_error_comes_back_whole(client: Client, how: str) -> None:
    assert _said(client.call, "boxes.fail", {"how": how}) == _said(HOST.call, "boxes.fail", {"how": how})


@given(st.lists(st.binary(max_size=2000), max_size=20))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_upload_arrives_as_it_was_sent(client: Client, pieces: list[bytes]) -> None:
    def call(calling: Any) -> Any:
        return calling(
            "boxes.upload", name="a", note="n", upload=Upload(chunks=iter(pieces), media_type="text/csv")
        )

    assert call(client.call) == call(HOST.call)


def test_dotted_names_call_too(client: Client) -> None:
    assert client.boxes.make("a b", 3, reason="why").tags["reason"] == "why"
    assert client.boxes.upload("a", content=Upload(chunks=[b"xyz"]))["size"] == 3
    with pytest.raises(AttributeError):
        client.boxes.nothing  # noqa: B018 - looking is what fails
    with pytest.raises(AttributeError):
        client.nothing  # noqa: B018 - looking is what fails


def test_plain_values_need_no_types(client: Client) -> None:
    with Client(client.url, index=INDEX, typed=False) as plain:
        assert plain.boxes.make("a", 3)["size"] == 3
        assert [item["size"] for item in plain.boxes.stream(count=3)] == [0, 1, 2]


def test_the_space_goes_along(client: Client) -> None:
    with Client(client.url, index=INDEX, space="other") as other:
        assert other.boxes.show("a").space == "other"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("boxes.make", {"name": "a"}),
        ("boxes.make", {"name": "a", "size": 1, "other": 2}),
        ("boxes.upload", {"name": "a"}),
        ("boxes.measure", {"file": "x"}),
        ("boxes.make", {"name": "..", "size": 1}),
    ],
)
def test_wrong_calls_are_refused(client: Client, name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        client.call(name, **arguments)
    assert caught.value.hint


def test_an_unknown_operation_is_not_found(client: Client) -> None:
    with pytest.raises(NotFound):
        client.call("boxes.nothing")


def test_a_body_over_the_limit_is_refused_and_the_next_call_works(client: Client) -> None:
    with pytest.raises(TooLarge):
        client.boxes.make("a", 1, reason="x" * 200_000)
    assert client.boxes.make("a", 1).size == 1


def test_an_upload_refused_before_it_is_read_says_why(client: Client) -> None:
    with pytest.raises(NotFound):
        client.boxes.refuse("a", Upload(chunks=[b"x" * 100_000] * 50))


def test_a_stream_that_breaks_in_the_middle_raises_there(client: Client) -> None:
    items = client.boxes.stream(count=300, fail_at=200)
    assert [next(items).size for _ in range(200)] == list(range(200))
    with pytest.raises(Unavailable, match="out of reach"):
        next(items)
    with pytest.raises(Fault):
        list(client.boxes.stream(count=300, fail_at=200, with_fault=True))


def test_a_download_that_is_left_early_lets_the_next_call_work(client: Client) -> None:
    blob = client.boxes.download("a", size=5_000_000)
    assert blob.file.read(10) == bytes(range(10))
    blob.file.close()
    assert client.boxes.make("a", 1).size == 1


def test_a_token_is_sent() -> None:
    host = DeclaredHost(Settings(workspace="/nowhere", token="s3cret"))
    with Server(build_app(host)) as server:
        with Client(server.url, "s3cret", index=INDEX) as client:
            assert client.boxes.make("a", 1).size == 1
            assert "s3cret" not in repr(client)
        with Client(server.url, "wrong", index=INDEX) as client, pytest.raises(Unauthenticated):
            client.boxes.make("a", 1)


def test_nobody_there_is_unavailable_with_the_way_out() -> None:
    with Client("http://127.0.0.1:9", index=INDEX) as client, pytest.raises(Unavailable) as caught:
        client.boxes.list()
    assert "loopwright up" in caught.value.hint


def test_a_bad_address_is_refused() -> None:
    with pytest.raises(Invalid):
        Client("http://[", index=INDEX)


def test_something_else_that_answers_is_told() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        connection, _ = listener.accept()
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 418 No\r\nContent-Length: 5\r\nConnection: close\r\n\r\n<htm>")
        connection.close()

    thread = threading.Thread(target=answer)
    thread.start()
    with (
        listener,
        Client(f"http://127.0.0.1:{listener.getsockname()[1]}", index=INDEX) as client,
        pytest.raises(Unavailable, match="418"),
    ):
        client.boxes.list()
    thread.join()
