"""Requests on the wire that no client sends: refused in JSON, the next is answered, nothing is touched."""

from __future__ import annotations

import gzip
import json
import socket
import time
import zlib
from collections.abc import Iterator

import pytest

from tests.attacks.victims import SECRET, Reply, Victim, attacked, raw, refused, silent

JSON = "application/json"
SEARCH = "/api/2.0/mlflow/runs/search"
CREATE = "/api/2.0/mlflow/experiments/create"
WRITES = [
    ("POST", CREATE),
    ("POST", "/ajax-api/2.0/mlflow/runs/create"),
    ("PUT", "/api/2.0/mlflow-artifacts/artifacts/0/x/artifacts/a"),
    ("POST", "/ajax-api/2.0/mlflow/upload-artifact?run_uuid=x&path=a"),
    ("POST", "/api/v1/datasets/x/rows"),
    ("POST", "/api/v1/runs"),
    ("DELETE", "/api/2.0/mlflow-artifacts/artifacts/0/x"),
    ("POST", "/v2/models/x/infer"),
]
READS = [
    "/",
    "/api/v1/assets",
    "/api/v1/events",
    "/metrics",
    "/v2",
    "/version",
    SEARCH,
    "/static/app.js",
    "/rows",
]
FOREIGN = [
    {"origin": "http://evil.example"},
    {"origin": "null"},
    {"origin": "http://127.0.0.1"},
    {"origin": "https://127.0.0.1.evil.example"},
    {"sec_fetch_site": "cross-site"},
]
HOSTS = [
    "evil.example",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "169.254.169.254",
    "10.0.0.1",
    "[::2]",
]


def answers(found: bytes) -> list[int]:
    """The statuses of all replies in what came back."""
    return [int(part[:3]) for part in found.split(b"HTTP/1.1 ")[1:] if not part.startswith(b"100")]


# ------------------------------------------------------------------------------------ smuggling and framing

GET = b"GET /api/v1/assets HTTP/1.1\r\nHost: 127.0.0.1\r\n"
POST = b"POST " + SEARCH.encode() + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
FRAMES = {
    "both lengths": POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    "the same length twice, in a list": POST + b"Content-Length: 2, 2\r\n\r\n{}",
    "a length with a sign": POST + b"Content-Length: +2\r\n\r\n{}",
    "a negative length": POST + b"Content-Length: -1\r\n\r\n{}",
    "a length in hex": POST + b"Content-Length: 0x2\r\n\r\n{}",
    "a length beyond all numbers": POST + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n{}",
    "no number": POST + b"Content-Length: two\r\n\r\n{}",
    "chunked is not last": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "an unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked behind a tab": POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "a size that is none": POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a negative size": POST + b"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
    "a size beyond all numbers": POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n{}\r\n",
    "a chunk longer than its size": POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
    "a space before the colon": GET + b"Content-Length : 2\r\n\r\n{}",
    "a header without a name": GET + b": x\r\n\r\n",
    "a folded header": GET + b"X: a\r\n b\r\n\r\n",
    "NUL in a header": GET + b"X: a\0b\r\n\r\n",
    "NUL in the target": b"GET /\0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "bytes in the target": b"GET /\xff\xfe HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "a space in the target": b"GET /a b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "no target": b"GET HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "an unknown version": b"GET / HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n",
    "a preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100,
    "a line feed alone": b"GET /healthz HTTP/1.1\nHost: 127.0.0.1\n\nGET /metrics HTTP/1.1\n\n",
    "two hosts": GET + b"Host: evil.example\r\n\r\n",
    "no host": b"GET /api/v1/assets HTTP/1.1\r\n\r\n",
    "an address of another server": b"GET http://e.example/metrics HTTP/1.1\r\nHost: e.example\r\n\r\n",
    "a tunnel": b"CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "a star": b"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "sixty thousand headers": GET + b"a:b\r\n" * 60_000 + b"\r\n",
    "a header of a megabyte": GET + b"X: " + b"x" * 1_000_000 + b"\r\n\r\n",
    "an address of a megabyte": b"GET /" + b"x" * 1_000_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "a query of 100 kB": b"GET /api/v1/assets?x=" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "a cookie of 100 kB": GET + b"Cookie: " + b"x" * 100_000 + b"\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("sent", FRAMES.values(), ids=FRAMES)
def test_what_is_no_request_is_refused(victim: Victim, sent: bytes) -> None:
    before = victim.files()
    found = raw(
        victim.address, sent + b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    )
    assert found or len(sent) > 100_000 or sent.startswith(b"\x16")
    assert all(400 <= status < 500 or status in {501, 505} for status in answers(found)), found[:300]
    assert b"loopwright_requests" not in found
    silent(victim, Reply(400, found, {}), repr(sent[:80]))
    assert victim.files() == before
    victim.is_well()


def test_a_body_is_not_taken_for_the_next_request(victim: Victim) -> None:
    inner = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    sent = POST + b"Content-Length: %d\r\n\r\n%b" % (len(inner), inner)
    assert answers(raw(victim.address, sent, timeout=0.5)) == [400]


# ------------------------------------------------------------------------- foreign pages and foreign names


@pytest.mark.parametrize(("method", "target"), WRITES)
def test_a_page_of_another_site_changes_nothing(victim: Victim, method: str, target: str) -> None:
    before = victim.files()
    for headers in FOREIGN:
        for kind in (
            "text/plain",
            JSON,
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
        ):
            reply = victim.ask(method, target, b'{"name":"csrf"}', content_type=kind, **headers)
            refused(victim, reply, f"{method} {target} {headers} {kind}")
            assert reply.status == 403
            assert not [name for name in reply.headers if name.startswith("access-control")]
    assert victim.files() == before
    assert b"csrf" not in victim.ask("GET", "/api/v1/experiments").body


@pytest.mark.parametrize(("method", "target"), WRITES[:4])
def test_a_form_without_an_origin_changes_nothing(victim: Victim, method: str, target: str) -> None:
    """From a browser so old that it tells nothing of the page: the type of the body does."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        reply = victim.ask(method, target, b'{"name":"csrf","experiment_id":"0"}', content_type=kind)
        assert 400 <= reply.status < 500
    assert b"csrf" not in victim.ask("GET", "/api/v1/experiments").body


@pytest.mark.parametrize("target", READS)
def test_a_name_that_was_rebound_is_not_answered(victim: Victim, target: str) -> None:
    for host in HOSTS:
        sent = f"GET {target} HTTP/1.1\r\nHost: {host}:{victim.address[1]}\r\nConnection: close\r\n\r\n"
        found = raw(victim.address, sent.encode())
        assert answers(found) == [403], found[:300]
        assert b"allowed_hosts" in found
        assert b"access-control" not in found


def test_another_site_may_ask_whether_it_may_and_may_not(victim: Victim) -> None:
    for target in READS:
        reply = victim.ask(
            "OPTIONS", target, origin="http://evil.example", access_control_request_method="POST"
        )
        assert reply.status >= 400
        assert not [name for name in reply.headers if name.startswith("access-control")]
        reply = victim.ask("GET", target if target != "/api/v1/events" else "/", origin="http://evil.example")
        assert not [name for name in reply.headers if name.startswith("access-control")]


def test_a_foreign_origin_is_told_how_a_proxy_has_to_be_set(victim: Victim) -> None:
    told = victim.ask("POST", "/api/v1/runs", b"{}", content_type=JSON, origin="https://loop.example").json
    assert "proxy" in told["hint"]
    assert "allowed_hosts" in told["hint"]


# --------------------------------------------------------------------------------------------- great bodies


@pytest.mark.parametrize("target", [SEARCH, "/api/v1/runs", "/v2/models/x/infer"])
def test_a_body_that_is_announced_too_great_is_not_read(victim: Victim, target: str) -> None:
    head = POST.replace(SEARCH.encode(), target.encode()) + b"Content-Length: 1000000000\r\n\r\n"
    with socket.create_connection(victim.address, timeout=10) as line:
        line.sendall(head)
        assert answers(line.recv(65_536))[0] in {400, 413}


@pytest.mark.parametrize("target", [SEARCH, "/api/v1/runs", "/v2/models/x/infer"])
def test_a_body_without_an_end_is_given_up(victim: Victim, target: str) -> None:
    head = POST.replace(SEARCH.encode(), target.encode()) + b"Transfer-Encoding: chunked\r\n\r\n"
    piece = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    sent, found = 0, b""
    with socket.create_connection(victim.address, timeout=10) as line:
        line.sendall(head)
        line.setblocking(True)
        while sent < 200_000_000 and not found:
            try:
                line.sendall(piece)
                sent += len(piece)
                line.settimeout(0.001)
                found = line.recv(65_536)
            except TimeoutError:
                line.settimeout(10)
            except OSError:
                break
    assert sent < 100_000_000
    assert not found or answers(found)[0] in {400, 413}


def bombs() -> Iterator[tuple[str, bytes]]:
    zeros = zlib.compressobj(9, zlib.DEFLATED, 31)
    once = zeros.compress(b" " * 64_000_000) + zeros.flush()
    yield "gzip", once
    yield "gzip", gzip.compress(once)
    yield "deflate", zlib.compress(b" " * 64_000_000, 9)
    yield "gzip, gzip", gzip.compress(gzip.compress(b"{}"))
    yield "br", b"\x0b\x02\x80{}\x03"
    yield "gzip", once[: len(once) // 2]
    yield "gzip", b"\x1f\x8b\x08\x04" + b"\0" * 6 + b"\xff\xff" + b"x" * 65_535


def test_a_packed_body_is_not_unpacked_beyond_the_limit(victim: Victim) -> None:
    for coding, body in bombs():
        for target in (SEARCH, CREATE, "/api/v1/runs", "/v2/models/x/infer"):
            began = time.monotonic()
            reply = victim.ask("POST", target, body, content_type=JSON, content_encoding=coding)
            refused(victim, reply, f"{coding} {target}")
            assert time.monotonic() - began < 10


NUMBERS = json.dumps({f"k{at}": at for at in range(1_000_000 // 4)}).encode()
GREAT = {
    "deep lists": b"[" * 1_000_000,
    "deep objects": b'{"a":' * 500_000,
    "deep within a field": b'{"name":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a quarter of a million keys": NUMBERS,
    "one key a hundred thousand times": b"{" + b",".join([b'"name":"x"'] * 100_000) + b',"name":1}',
    "a great number": b'{"name":' + b"9" * 1_000_000 + b"}",
    "a great exponent": b'{"name":1e99999999999}',
    "NaN": b'{"name":NaN}',
    "half a pair": b'{"name":"\\ud800"}',
    "NUL": b'{"name":"a\\u0000b\\u0000"}',
    "no UTF-8": b'{"name":"\xff\xfe"}',
    "a mark of order": b'\xef\xbb\xbf{"name":"x"}',
    "UTF-16": '{"name":"x"}'.encode("utf-16"),
    "two values": b'{"name":"x"}{"name":"y"}',
    "a comment": b'{"name":"x"/**/}',
}


@pytest.mark.parametrize("body", GREAT.values(), ids=GREAT)
def test_json_that_nobody_writes_is_answered_at_once(victim: Victim, body: bytes) -> None:
    for target in (CREATE, SEARCH, "/api/2.0/mlflow/runs/log-batch", "/api/v1/runs", "/v2/models/x/infer"):
        began = time.monotonic()
        reply = victim.ask("POST", target, body, content_type=JSON)
        assert reply.status < 500, reply.body[:200]
        assert time.monotonic() - began < 10
        silent(victim, reply, target)
    victim.is_well()


# -------------------------------------------------------------------------------------------------- secrets


def test_what_is_secret_is_in_no_reply_and_no_line_of_the_log(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("guarded")
    with attacked(folder, LOOPWRIGHT_TOKEN=SECRET) as guarded:
        wrong = {"authorization": "Bearer not-it"}
        for target in [*READS, "/nothing", "/api/v1/datasets/x/rows", f"/?token={SECRET}x"]:
            for method in ("GET", "POST", "PUT", "DELETE"):
                reply = guarded.ask(method, target, b"{}", content_type=JSON, **wrong)
                refused(guarded, reply, f"{method} {target}")
                assert reply.status == 401
        right = {"authorization": f"Bearer {SECRET}"}
        for target in [*READS[:4:3], "/api/v1/nothing", "/runs/x", "/api/2.0/mlflow/runs/get?run_id=x"]:
            silent(guarded, guarded.ask("GET", target, None, **right), target)
        assert guarded.ask("GET", "/healthz").status == 200
        signed = guarded.ask("GET", f"/?token={SECRET}")
        assert (signed.status, signed.headers["location"]) == (303, "/")
        assert "HttpOnly" in signed.headers["set-cookie"]
        assert "samesite=strict" in signed.headers["set-cookie"].lower()
        away = guarded.ask("GET", f"//evil.example/%2f..?token={SECRET}")
        assert not away.headers.get("location", "/").startswith(("//", "http"))
        assert SECRET.encode() not in guarded.said()


@pytest.fixture(autouse=True)
def _stays_well(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "victim" in request.fixturenames:
        request.getfixturevalue("victim").is_well()
