"""Files from outside: fetched when they changed and never from a machine inside, or from an object store."""

from __future__ import annotations

import gzip
import threading
import tracemalloc
import uuid
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from loopwright.adapters.notify.addresses import Address, Rules, rules_of
from loopwright.adapters.notify.fetching import HttpFile
from loopwright.adapters.objects.sources import StoreFiles
from loopwright.core.errors import Denied, Invalid, LoopwrightError, NotFound, TooLarge, Unavailable
from loopwright.data.reading import read
from loopwright.data.sources import ingest
from loopwright.engine.publishing import resolve
from loopwright.ports.sources import Origin
from loopwright.testing.builders import memory_context
from loopwright.testing.s3 import S3Server, s3_server
from loopwright.workspace.sources import AnySource

__all__ = ["s3_server"]

HERE = rules_of(http=True, networks=("127.0.0.0/8",), ports=(), about="source")
OUTSIDE = rules_of(http=True, networks=(), ports=range(1, 65536), about="source")
"""everything but addresses inside"""


class Site:
    """A server on this machine that answers as it is told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.answer: Callable[[BaseHTTPRequestHandler], None] = lambda handler: _give(handler, b"x\n1\n")
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}})
                site.answer(self)

            def log_message(self, *_: Any) -> None:
                """Nothing is written."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def _give(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content_Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.server.shutdown()
    made.server.server_close()


def fetched(url: str, rules: Rules = HERE, marks: dict[str, str] | None = None, **options: Any) -> bytes:
    headers = options.pop("headers", {})
    file = HttpFile(Origin(address=url, headers=headers), rules, **options)
    try:
        file.seen(marks or {})
        return file.open("").read()
    finally:
        file.close()


def test_what_has_not_changed_is_not_sent_again(site: Site) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.headers["If-None-Match"] == '"1"':
            _give(handler, b"", 304)
        else:
            _give(handler, b"x\n1\n", ETag='"1"', Last_Modified="Sat, 01 Jan 2000 00:00:00 GMT")

    site.answer = answer
    ctx = memory_context()
    assert ingest(ctx, f"{site.url}/a.csv").rows == 1
    assert ingest(ctx, f"{site.url}/a.csv").versions == 0
    assert site.asked[1]["if-modified-since"] == "Sat, 01 Jan 2000 00:00:00 GMT"
    site.answer = lambda handler: _give(handler, b"x\n1\n2\n", ETag='"2"')
    assert ingest(ctx, f"{site.url}/a.csv").rows == 2
    assert read(ctx, "dataset:a").to_pydict() == {"x": [1, 2]}
    site.answer = lambda handler: _give(handler, b"x\n1\n2\n", ETag='"3"')
    assert ingest(ctx, f"{site.url}/a.csv").versions == 0, "another mark, the same bytes"


def test_a_server_that_says_nothing_of_changes_is_compared_by_bytes(site: Site) -> None:
    ctx = memory_context()
    site.answer = lambda handler: _give(
        handler, b'{"x": 1}\n', Content_Type="application/x-ndjson; charset=utf-8"
    )
    assert ingest(ctx, f"{site.url}/download?id=1", into="d").rows == 1
    assert ingest(ctx, f"{site.url}/download?id=1", into="d").versions == 0
    assert read(ctx, "dataset:d").to_pydict() == {"x": [1]}


def test_headers_go_to_their_host_alone_also_over_redirects(site: Site) -> None:
    other = Site()
    site.answer = lambda handler: _give(handler, b"", 302, Location=f"{other.url}/there.csv")
    assert fetched(f"{site.url}/a.csv", headers={"Authorization": "Bearer secret"}) == b"x\n1\n"
    assert site.asked[0]["authorization"] == "Bearer secret"
    assert "authorization" not in other.asked[0]
    other.server.shutdown()
    other.server.server_close()


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "http://localhost:{port}/",
        "http://[::1]:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://2130706433:{port}/",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1/",
        "http://user:word@127.0.0.1:{port}/",
    ],
)
def test_nothing_inside_is_asked_unless_an_operator_lets_it_through(site: Site, url: str) -> None:
    with pytest.raises(Invalid) as told:
        fetched(url.format(port=site.server.server_port), OUTSIDE)
    assert site.asked == []
    assert "webhook" not in str(told.value)


def test_a_redirect_or_a_second_look_at_a_name_leads_not_inside(site: Site) -> None:
    import ipaddress

    looks = iter([ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("10.0.0.7")])
    asked: list[str] = []

    def lookup(host: str, port: int) -> tuple[Address, ...]:
        asked.append(host)
        return (next(looks),)

    site.answer = lambda handler: _give(handler, b"", 302, Location="http://inner.example.org:8443/")
    with pytest.raises(Invalid, match="inside"):
        fetched(f"{site.url.replace('127.0.0.1', 'outer.example.org')}/", HERE, lookup=lookup)
    assert asked == ["outer.example.org", "inner.example.org"]
    site.answer = lambda handler: _give(handler, b"", 302, Location=f"{site.url}/again")
    with pytest.raises(Invalid, match="circles"):
        fetched(f"{site.url}/")
    for there in ("file:///etc/passwd", "gopher://127.0.0.1/", ""):
        site.answer = lambda handler, there=there: _give(handler, b"", 302, Location=there)  # type: ignore[misc] # a default binds it
        with pytest.raises(Invalid):
            fetched(f"{site.url}/")


def test_bodies_past_the_limit_and_those_cut_off_are_refused(site: Site) -> None:
    site.answer = lambda handler: _give(handler, b"x" * 2_000)
    with pytest.raises(TooLarge):
        fetched(f"{site.url}/", limit=1_000)

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"x" * 100_000)

    site.answer = endless
    with pytest.raises(TooLarge):
        fetched(f"{site.url}/", limit=10_000)
    site.answer = lambda handler: _give(handler, b"x\n1\n", Content_Length="100")
    with pytest.raises(Unavailable, match=r"cut off|did not answer"):
        fetched(f"{site.url}/")


ROWS = b"x\n" + b"1\n" * 100_000


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(ROWS)),
        ("GZip ", gzip.compress(ROWS[:7]) + gzip.compress(ROWS[7:])),
        ("x-gzip", gzip.compress(ROWS) + bytes(700)),
        ("deflate", zlib.compress(ROWS)),
        ("deflate", raw_deflate(ROWS)),
        ("identity", ROWS),
    ],
)
def test_an_answer_that_comes_packed_unasked_is_read_as_what_is_in_it(
    site: Site, coding: str, body: bytes
) -> None:
    site.answer = lambda handler: _give(handler, body, Content_Encoding=coding, Content_Type="text/csv")
    assert fetched(f"{site.url}/a") == ROWS
    assert site.asked[0]["accept-encoding"] == "identity"
    ctx = memory_context()
    assert ingest(ctx, f"{site.url}/a", into="d").rows == 100_000
    assert ingest(ctx, f"{site.url}/a", into="d").versions == 0


def test_an_answer_that_unpacks_to_more_than_the_limit_is_refused_before_it_does(site: Site) -> None:
    bomb = gzip.compress(bytes(64 << 20), 1)
    site.answer = lambda handler: _give(handler, bomb, Content_Encoding="gzip")
    tracemalloc.start()
    with pytest.raises(TooLarge, match="unpacks to over 1,000,000 bytes"):
        fetched(f"{site.url}/a.csv", unpacked_limit=1_000_000)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 16_000_000


@pytest.mark.parametrize(
    ("coding", "body", "error", "why"),
    [
        ("br", ROWS, Invalid, "the encoding 'br'"),
        ("gzip, br", ROWS, Invalid, "'gzip, br'"),
        ("gzip", ROWS, Invalid, "says that it answers in gzip, and does not"),
        ("gzip", gzip.compress(ROWS) + b"more", Invalid, "and does not"),
        ("gzip", gzip.compress(ROWS)[:-3], Unavailable, "cut off"),
        ("deflate", raw_deflate(ROWS)[:-9], Unavailable, "cut off"),
        ("gzip", b"\x1f\x8b", Unavailable, "cut off"),
    ],
)
def test_an_answer_that_is_not_packed_as_it_says_is_refused(
    site: Site, coding: str, body: bytes, error: type[LoopwrightError], why: str
) -> None:
    site.answer = lambda handler: _give(handler, body, Content_Encoding=coding)
    with pytest.raises(error, match=why):
        fetched(f"{site.url}/a.csv")


def test_a_file_of_gzip_is_the_same_whether_a_server_tells_its_form_as_an_encoding_or_not(site: Site) -> None:
    ctx = memory_context()
    packed = gzip.compress(ROWS)
    for body, headers in (
        (packed, {}),
        (packed, {"Content_Encoding": "x-gzip"}),
        (gzip.compress(packed), {"Content_Encoding": "gzip"}),
    ):
        site.answer = lambda handler, body=body, headers=headers: _give(handler, body, **headers)  # type: ignore[misc] # defaults bind them
        assert fetched(f"{site.url}/a.csv.gz?key=1") == packed
        ingest(ctx, f"{site.url}/a.csv.gz?key=1", into="d")
    assert resolve(ctx, "dataset:d").number == 1


@pytest.mark.parametrize(
    ("status", "error"), [(401, Denied), (404, NotFound), (500, Unavailable), (204, Unavailable)]
)
def test_what_a_server_answers_is_told(site: Site, status: int, error: type[LoopwrightError]) -> None:
    site.answer = lambda handler: _give(handler, b"", status)
    with pytest.raises(error):
        fetched(f"{site.url}/secret")


@pytest.mark.parametrize(
    "header", [{"Host": "x"}, {"X\r\nY": "z"}, {"X": "a\r\nY: b"}, {"If-None-Match": "x"}]
)
def test_headers_that_would_be_others_are_refused(header: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        HttpFile(Origin(address="http://example.org/", headers=header), HERE)


@pytest.mark.slow
def test_an_object_store_is_read_by_what_is_new_in_it(s3_server: S3Server) -> None:
    import s3fs

    files = s3fs.S3FileSystem(**s3_server.options(), skip_instance_cache=True)
    bucket = f"b{uuid.uuid4().hex[:12]}"
    files.mkdir(bucket)
    files.pipe_file(f"{bucket}/in/a.csv", b"x\n1\n")
    files.pipe_file(f"{bucket}/in/_SUCCESS", b"")
    ctx = memory_context()
    options = s3_server.options()
    place = f"s3://{bucket}/in"
    assert ingest(ctx, place, into="d", options=options).rows == 1
    assert ingest(ctx, place, into="d", options=options).versions == 0
    files.pipe_file(f"{bucket}/in/deep/b.csv", b"x\n2\n3\n")
    assert ingest(ctx, place, into="d", options=options).rows == 2
    assert ingest(ctx, f"s3://{bucket}/in/*.csv", into="e", options=options).rows == 1
    assert ingest(ctx, f"s3://{bucket}/in/a.csv", into="f", options=options).rows == 1
    with pytest.raises(NotFound):
        ingest(ctx, f"s3://{bucket}/none", into="g", options=options)
    with pytest.raises(Unavailable) as told:
        StoreFiles(Origin(address=place, options=s3_server.options(secret="wrong"))).open("a.csv")
    assert "wrong" not in str(told.value)
    with pytest.raises(TooLarge):
        StoreFiles(Origin(address=place, options=options), limit=2).open("a.csv")


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("x.csv", "files"),
        ("https://h/x", "files"),
        ("s3://b/x", "files"),
        ("postgresql+psycopg://h/d", "rows"),
        ("duckdb:///x", "rows"),
        ("kafka://h/t", "records"),
    ],
)
def test_an_address_tells_what_is_read(address: str, kind: str) -> None:
    assert AnySource(HERE).kind(address) == kind


@pytest.mark.parametrize("address", ["ftp://h/x", "javascript://x", "s3a://b/x"])
def test_what_is_not_known_is_refused(address: str) -> None:
    with pytest.raises(Invalid):
        AnySource(HERE).kind(address)
