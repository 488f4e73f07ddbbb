from __future__ import annotations

import pytest

from loopwright.core.errors import Denied, Invalid, Unauthenticated
from loopwright.surfaces.http.admission import admit, is_loopback, rules_for, seen_headers

LOCAL = rules_for("127.0.0.1", "", (), "box")


@pytest.mark.parametrize("host", [b"127.0.0.1:7070", b"localhost", b"LOCALHOST:1", b"[::1]:7070"])
def test_a_loopback_server_answers_to_its_names(host: bytes) -> None:
    admit(LOCAL, "POST", {b"host": host})


@pytest.mark.parametrize(
    "host",
    [
        *(b"", b"evil.example", b"127.0.0.1.evil.example:7070", b"10.0.0.1:7070", b"localhost.evil", b"box"),
        *(b"127.0.0.1:7070@evil.example", b"127.0.0.1:7070, evil.example", b"localhost:x", b"localhost:"),
        *(b"[::1", b"[::1].evil.example", b"[::1]x:7070", b"[::1]:7070:1", b"127.0.0.1:7070/", b"127.0.0.1 "),
    ],
)
def test_a_rebound_name_is_refused(host: bytes) -> None:
    with pytest.raises(Denied) as caught:
        admit(LOCAL, "GET", {b"host": host})
    assert "allowed_hosts" in caught.value.hint


def test_a_configured_name_is_answered() -> None:
    admit(rules_for("127.0.0.1", "", ("Loop.Example",)), "GET", {b"host": b"loop.example:443"})


def test_an_open_server_without_token_answers_to_addresses_but_not_to_foreign_names() -> None:
    rules = rules_for("0.0.0.0", "", (), "box")
    admit(rules, "GET", {b"host": b"10.1.2.3:7070"})
    admit(rules, "GET", {b"host": b"box:7070"})
    with pytest.raises(Denied):
        admit(rules, "GET", {b"host": b"evil.example"})


@pytest.mark.parametrize(
    "headers",
    [
        {b"origin": b"http://evil.example"},
        {b"origin": b"null"},
        {b"origin": b"http://127.0.0.1:7071"},
        {b"sec-fetch-site": b"cross-site"},
    ],
)
def test_a_foreign_page_may_read_nothing_and_change_nothing(headers: dict[bytes, bytes]) -> None:
    with pytest.raises(Denied):
        admit(LOCAL, "POST", {b"host": b"127.0.0.1:7070", **headers})


def test_the_own_pages_may_change_things() -> None:
    admit(LOCAL, "POST", {b"host": b"127.0.0.1:7070", b"origin": b"http://127.0.0.1:7070"})
    admit(LOCAL, "DELETE", {b"host": b"127.0.0.1:7070", b"sec-fetch-site": b"same-origin"})


@pytest.mark.parametrize(
    "headers",
    [
        {b"authorization": b"Bearer s3cret"},
        {b"authorization": b"bearer s3cret"},
        {b"cookie": b"a=b; loopwright_token=s3cret"},
    ],
)
def test_the_right_token_lets_in(headers: dict[bytes, bytes]) -> None:
    admit(rules_for("0.0.0.0", "s3cret", ()), "GET", {b"host": b"any.example", **headers})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"authorization": b"Bearer s3cre"},
        {b"authorization": b"Basic s3cret"},
        {b"authorization": b"Bearer "},
        {b"cookie": b"other=s3cret"},
    ],
)
def test_no_token_or_a_wrong_one_does_not(headers: dict[bytes, bytes]) -> None:
    with pytest.raises(Unauthenticated):
        admit(rules_for("127.0.0.1", "s3cret", ()), "GET", {b"host": b"localhost", **headers})


def test_a_header_that_decides_may_not_be_there_twice() -> None:
    with pytest.raises(Invalid):
        seen_headers([(b"host", b"localhost"), (b"host", b"evil.example")])


def test_rules_never_show_the_token() -> None:
    assert "s3cret" not in repr(rules_for("127.0.0.1", "s3cret", ()))


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("box", False),
    ],
)
def test_loopback_is_told_from_the_rest(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
