"""Posts to addresses of strangers: nothing inside is ever touched, however it is spelled. A trap listens."""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.adapters.notify import HttpCourier, KeySafe
from loopwright.adapters.notify.addresses import Address, Rules, is_public, place_of, rules_of
from loopwright.core.errors import Corrupt, Invalid, Unavailable
from loopwright.ports.courier import Parcel
from loopwright.testing.builders import MemoryKeys

OPEN = rules_of(http=True, networks=(), ports=range(1, 65536))
"""everything is let through but addresses inside: what is refused here is refused for its address alone"""
HERE = rules_of(http=True, networks=("127.0.0.0/8",), ports=())


def _whole(line: socket.socket) -> bytes:
    """A request with its body, in however many pieces it comes."""
    heard = b""
    while part := line.recv(1 << 16):
        heard += part
        head, found, body = heard.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        if found and (length is None or len(body) >= int(length[1])):
            break
    return heard


class Trap:
    """A listener on this machine that counts who connects, and answers what it was given."""

    def __init__(
        self, answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", pause_s: float = 0
    ) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.heard: list[bytes] = []
        self._answer = answer
        self._pause_s = pause_s
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                line, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(line,), daemon=True).start()

    def _talk(self, line: socket.socket) -> None:
        with line:
            self.heard.append(_whole(line))
            try:
                for at in range(0, len(self._answer), 1 if self._pause_s else 1 << 16):
                    line.sendall(self._answer[at : at + (1 if self._pause_s else 1 << 16)])
                    time.sleep(self._pause_s)
            except OSError:
                return

    def close(self) -> None:
        self._socket.close()


@contextmanager
def trap(answer: bytes | None = None, pause_s: float = 0) -> Iterator[Trap]:
    made = Trap(pause_s=pause_s) if answer is None else Trap(answer, pause_s)
    try:
        yield made
    finally:
        made.close()


def _refused(courier: HttpCourier, url: str) -> None:
    """Refused when it is chosen, and again when it is posted to."""
    with pytest.raises(Invalid) as first:
        courier.check(url)
    with pytest.raises(Invalid) as second:
        courier.post(Parcel(url=url, body=b"{}"))
    for told in (first.value, second.value):
        assert "127" not in str(told)
        assert "169.254" not in str(told)


INSIDE = (
    "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "017700000001",
    "127.0.0.01", "0", "0.0.0.0", "00.0.0.0", "0x0", "127.0.0.1.", "localhost", "LOCALHOST", "localhost.",
    "a.localhost", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]", "[64:ff9b::127.0.0.1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2001::1]",
    "[fe80::1]", "[fe80::1%25lo]", "[::1%25lo]", "[fc00::1]", "[fd00:ec2::254]", "[ff02::1]", "[fec0::1]",
    "[100::1]", "[2001:db8::1]", "[::ffff:169.254.169.254]", "[::ffff:0:127.0.0.1]", "169.254.169.254",
    "0xa9fea9fe", "2852039166", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1",
    "100.127.255.255", "192.0.0.192", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
    "192.0.2.1", "203.0.113.9",
)  # fmt: skip


@pytest.mark.parametrize("host", INSIDE)
def test_an_address_inside_is_refused_in_every_spelling(host: str) -> None:
    with trap() as listening:
        courier = HttpCourier(OPEN)
        for scheme in ("http", "https"):
            _refused(courier, f"{scheme}://{host}:{listening.port}/hook")
        assert listening.heard == []


@pytest.mark.parametrize(
    "url",
    [
        "ftp://{t}/", "file:///etc/passwd", "gopher://{t}/", "//{t}/", "{t}", "http:{t}", "http:///{t}", "https://",
        "http://a@{t}/", "http://a:b@{t}/", "http://93.184.215.14@{t}/", "http://{t}#@93.184.215.14/",
        "http://{t}\\@93.184.215.14/", "http://93.184.215.14\\@{t}/", "http://93.184.215.14:80@{t}/",
        "http://{t} /", "http://{t}/\r\nHost: x", "http://{t}/\tx", "http://{t}/\0", "http://127。0。0。1/",
        "http://①②⑦.⓪.⓪.①/", "http://ⓛocalhost/", "http://[{t}]/", "http://[::1/", "http://x..y/", "http://.x.y/",
        "http://x.y./", "http://-x.y/", "http://{t}:99999/", "http://{t}:-1/", "http://x.y:٨٠/", "", " ",
        "http",        "https://metadata.google.internal/", "https://instance-data/", "https://kubernetes.default.svc.local/",
        "https://printer.lan/", "https://" + "a" * 3000, "https://" + ".".join(["a"] * 200),
    ],
)  # fmt: skip
def test_an_address_that_is_written_oddly_is_refused(url: str) -> None:
    with trap() as listening:
        courier = HttpCourier(OPEN, lookup=lambda host, port: (ipaddress.ip_address("127.0.0.1"),))
        _refused(courier, url.replace("{t}", f"127.0.0.1:{listening.port}"))
        assert listening.heard == []


@pytest.mark.parametrize("port", [1, 22, 25, 53, 110, 2375, 3306, 5432, 6379, 7070, 9200, 11211])
def test_ports_of_other_services_are_refused(port: int) -> None:
    _refused(HttpCourier(Rules(has_http=True)), f"http://93.184.215.14:{port}/")


def test_plain_http_is_refused_unless_it_is_let_through() -> None:
    _refused(HttpCourier(Rules()), "http://93.184.215.14/")
    HttpCourier(Rules()).check("https://93.184.215.14/")
    HttpCourier(Rules(has_http=True)).check("http://93.184.215.14/")


class Changing:
    """A name server that tells another address each time it is asked."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.asked = 0
        self._answers = answers

    def __call__(self, host: str, port: int) -> Sequence[Address]:
        found = self._answers[min(self.asked, len(self._answers) - 1)]
        self.asked += 1
        return tuple(map(ipaddress.ip_address, found))


def test_a_name_that_leads_inside_is_refused_and_so_is_one_of_which_only_one_address_does() -> None:
    with trap() as listening:
        url = f"http://rebind.example:{listening.port}/"
        for answer in (["127.0.0.1"], ["93.184.215.14", "127.0.0.1"], ["::ffff:127.0.0.1"], []):
            _refused(HttpCourier(OPEN, lookup=Changing(answer)), url)
        assert listening.heard == []


def test_a_name_that_changes_after_it_was_chosen_is_refused_when_it_is_posted_to() -> None:
    with trap() as listening:
        lookup = Changing(["93.184.215.14"], ["127.0.0.1"])
        courier = HttpCourier(OPEN, lookup=lookup)
        url = f"http://rebind.example:{listening.port}/"
        courier.check(url)
        with pytest.raises(Invalid):
            courier.post(Parcel(url=url, body=b"{}"))
        assert (lookup.asked, listening.heard) == (2, [])


def test_what_was_checked_is_what_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is asked for once; the connection goes to that answer, whatever it would be the next time."""
    with trap() as listening:
        lookup = Changing(["127.0.0.2"], ["127.0.0.1"])

        def forbidden(*_: object, **__: object) -> None:
            raise AssertionError("a second look-up")

        monkeypatch.setattr(socket, "getaddrinfo", forbidden)
        courier = HttpCourier(rules_of(http=True, networks=("127.0.0.2/32",), ports=()), lookup=lookup)
        with pytest.raises(Unavailable):
            courier.post(Parcel(url=f"http://name.example:{listening.port}/", body=b"{}"))
        assert (lookup.asked, listening.heard) == (1, [])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_and_is_not_followed(status: int) -> None:
    with trap() as inside:
        to = f"Location: http://127.0.0.1:{inside.port}/"
        moved = f"HTTP/1.1 {status} Moved\r\n{to}\r\nContent-Length: 0\r\n\r\n"
        with trap(moved.encode()) as outside:
            receipt = HttpCourier(HERE).post(Parcel(url=f"http://127.0.0.1:{outside.port}/", body=b"{}"))
        assert (receipt.status, len(outside.heard), inside.heard) == (status, 1, [])


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with trap() as proxy, trap() as receiver:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        HttpCourier(HERE).post(Parcel(url=f"http://127.0.0.1:{receiver.port}/x?y=1", body=b"{}"))
        assert (proxy.heard, len(receiver.heard)) == ([], 1)
        assert receiver.heard[0].startswith(b"POST /x?y=1 HTTP/1.1\r\n")
        assert b"cookie" not in receiver.heard[0].lower()


def test_a_network_that_an_operator_lets_through_is_that_network_alone() -> None:
    with trap() as receiver:
        courier = HttpCourier(HERE)
        body = b'{"a": "\xc3\xa9"}'
        parcel = Parcel(url=f"http://localhost:{receiver.port}/", body=body, headers=(("X-A", "b"),))
        assert courier.post(parcel).body == "ok"
        assert receiver.heard[0].endswith(b"\r\n\r\n" + body)
        assert f"Host: localhost:{receiver.port}".encode() in receiver.heard[0]
        for host in ("169.254.169.254", "10.0.0.1", "[::1]", "printer.lan"):
            with pytest.raises(Invalid):
                courier.check(f"http://{host}:{receiver.port}/")
    with pytest.raises(Invalid):
        rules_of(http=False, networks=("not a network",), ports=())


@pytest.mark.parametrize(
    "make",
    [
        lambda: trap(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50_000, 0.05),
        lambda: trap(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 5_000, 0.05),
        lambda: trap(b"nonsense" * 100, 0.05),
    ],
)
def test_a_receiver_that_trickles_has_its_time_and_no_more(
    make: Callable[[], AbstractContextManager[Trap]],
) -> None:
    with make() as slow:
        courier = HttpCourier(HERE, deadline_s=0.4)
        begun = time.monotonic()
        with pytest.raises(Unavailable) as refused:
            courier.post(Parcel(url=f"http://127.0.0.1:{slow.port}/", body=b"{}"))
        assert time.monotonic() - begun < 10
        assert "127" not in str(refused.value)


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/9.9 200\r\n\r\n"])
def test_what_is_no_answer_is_a_receiver_that_does_not_answer(answer: bytes) -> None:
    with trap(answer) as odd, pytest.raises(Unavailable):
        HttpCourier(HERE).post(Parcel(url=f"http://127.0.0.1:{odd.port}/", body=b"{}"))


def test_a_huge_answer_is_cut_and_a_plain_port_is_no_tls() -> None:
    with trap(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 10_000_000) as huge:
        receipt = HttpCourier(HERE).post(Parcel(url=f"http://127.0.0.1:{huge.port}/", body=b"{}"))
        assert len(receipt.body) == 4_000
    with trap() as plain, pytest.raises(Unavailable):
        HttpCourier(HERE).post(Parcel(url=f"https://127.0.0.1:{plain.port}/", body=b"{}"))


@given(value=st.integers(0, 2**32 - 1))
def test_an_address_that_carries_another_is_judged_by_it(value: int) -> None:
    plain = ipaddress.IPv4Address(value)
    forms = (
        f"::ffff:{plain}",
        f"64:ff9b::{plain}",
        str(ipaddress.IPv6Address((0x2002 << 112) | (value << 80))),
    )
    assert {is_public(ipaddress.ip_address(each)) for each in forms} == {is_public(plain)}
    assert not (is_public(plain) and (plain.is_private or plain.is_multicast or plain.is_reserved))


@given(text=st.text(max_size=60))
def test_whatever_is_written_leads_to_a_plain_host_or_nowhere(text: str) -> None:
    for url in (text, f"https://{text}", f"https://{text}/", f"https://93.184.215.14{text}"):
        try:
            place = place_of(url, OPEN)
        except Invalid:
            continue
        assert place.host == place.host.lower()
        assert not set(place.host) & set("@/\\%[] ")


class OtherKeys(MemoryKeys):
    """The keys of another workspace."""

    _KEY = bytes(range(1, 33))


@given(secret=st.text(st.characters(codec="utf-8"), max_size=80))
def test_a_sealed_secret_is_read_by_its_workspace_and_about_its_thing_alone(secret: str) -> None:
    safe = KeySafe(MemoryKeys())
    sealed = safe.seal(secret, about="webhook:1")
    assert safe.unseal(sealed, about="webhook:1") == secret
    assert safe.seal(secret, about="webhook:1") != sealed
    changed = sealed[:-6] + ("AAAA" if sealed[-6:-2] != "AAAA" else "BBBB") + sealed[-2:]
    for reader, about, text in (
        (safe, "webhook:2", sealed),
        (KeySafe(OtherKeys()), "webhook:1", sealed),
        (safe, "webhook:1", changed),
        (safe, "webhook:1", ""),
    ):
        with pytest.raises(Corrupt) as refused:
            reader.unseal(text, about=about)
        assert refused.value.__cause__ is None
    assert repr(safe) == "KeySafe(...)"
