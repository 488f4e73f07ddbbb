"""Addresses that would make the server ask somebody inside: of webhooks and sources, in every spelling."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.attacks.victims import Victim, refused

PATIENCE_S = 30.0
INSIDE = (
    *(
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
    ),
    *(
        "0177.0.0.1",
        "0",
        "0.0.0.0",
        "127.000.000.001",
        "127.0.0.1.",
        "localhost.",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
    ),
    *(
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
    ),
    *("[fe80::1%25lo]", "[::1%25lo]", "127.0.0.1%2f.example.com", "example.com%00@127.0.0.1", "x@127.0.0.1"),
    *(
        "example.com:80@127.0.0.1",
        "127.0.0.1#.example.com",
        "127.0.0.1\\.example.com",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
    ),
    *("169.254.169.254", "metadata.google.internal", "10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1"),
    *("printer.local", "intranet", "[fd00::1]", "[fec0::1]", "224.0.0.1", "255.255.255.255"),
)
SCHEMES = ("http", "ftp", "file", "gopher", "dict", "ldap", "javascript", "data", "unix", "HTTP", "")


@pytest.fixture(scope="module")
def trap() -> Iterator[tuple[int, list[bytes]]]:
    """A port of this machine, and what was sent to it."""
    came: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def listen() -> None:
            with suppress(OSError):
                while True:
                    line, _ = listener.accept()
                    with line:
                        came.append(b"a connection")

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield listener.getsockname()[1], came
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def urls(port: int) -> Iterator[str]:
    for host in INSIDE:
        yield f"https://{host}:{port}/x"
        yield f"https://{host}/x"
    for scheme in SCHEMES:
        yield f"{scheme}://127.0.0.1:{port}/x"
    yield from (
        "https:///x",
        "https://",
        "//127.0.0.1/",
        "https://a b/",
        "https://[::1",
        "https://\r\nHost: x/",
        "x" * 5000,
    )
    yield from (
        "https://example.com:22/",
        "https://example.com:6379/",
        "https://example.com:99999/",
        "https://:443/",
    )


def test_no_webhook_leads_inside(victim: Victim, trap: tuple[int, list[bytes]]) -> None:
    port, came = trap
    events = [{"entity": "REGISTERED_MODEL", "action": "CREATED"}]
    for number, url in enumerate(urls(port)):
        ours = victim.post(
            "/api/v1/webhooks", {"name": f"h{number}", "address": url, "events": ["registered_model.created"]}
        )
        theirs = victim.post("webhooks", {"name": f"h{number}", "url": url, "events": events})
        for reply in (ours, theirs):
            refused(victim, reply, url)
    assert victim.ask("GET", "/api/v1/webhooks").json["items"] == []
    assert came == []


def test_a_webhook_is_not_led_inside_afterwards(victim: Victim, trap: tuple[int, list[bytes]]) -> None:
    """One address of a machine outside, which no name server is asked for, changed to one inside."""
    port, came = trap
    made = victim.post(
        "/api/v1/webhooks", {"name": "h", "address": "https://8.8.8.8/x", "events": ["prompt.created"]}
    )
    assert made.status < 300, made.body
    webhook = made.json["id"]
    for url in list(urls(port))[::4]:
        for path in (f"/api/v1/webhooks/{webhook}", f"/api/2.0/mlflow/webhooks/{webhook}"):
            name = "url" if "mlflow" in path else "address"
            body = json.dumps({name: url or "-"}).encode()
            reply = victim.ask("PATCH", path, body, content_type="application/json")
            refused(victim, reply, url)
    assert victim.ask("GET", f"/api/v1/webhooks/{webhook}").json["url"] == "https://8.8.8.8/x"
    assert came == []
    assert victim.ask("DELETE", f"/api/v1/webhooks/{webhook}").status < 300


@pytest.mark.parametrize(
    "url",
    [
        *(
            "/etc/passwd",
            "file:///etc/passwd",
            "../beside/canary.txt",
            "sqlite:////etc/passwd",
            "sqlite:///x.db",
        ),
        *("postgresql://u:p@127.0.0.1/x", "redis://127.0.0.1:6379/x", "kafka://127.0.0.1:9092/x", "s3://b/x"),
        *("memory://x", "zip://x::file:///etc/passwd", "github://a:b@c/d", "http+unix://x", "", "\0"),
    ],
)
def test_only_urls_can_be_followed_from_elsewhere(victim: Victim, url: str) -> None:
    reply = victim.ask(
        "PUT",
        "/api/v1/sources/s",
        b'{"url":%s,"into":"d"}' % json.dumps(url).encode(),
        content_type="application/json",
    )
    refused(victim, reply, url)


@pytest.mark.slow
def test_what_is_followed_is_never_fetched_from_inside(victim: Victim, trap: tuple[int, list[bytes]]) -> None:
    port, came = trap
    asked = []
    for number, host in enumerate(INSIDE):
        body = json.dumps({"url": f"http://{host}:{port}/rows.csv", "into": f"d{number}"}).encode()
        reply = victim.ask("PUT", f"/api/v1/sources/s{number}", body, content_type="application/json")
        assert reply.status < 500, host
        if reply.status < 300:
            asked.append(victim.post(f"/api/v1/sources/s{number}/run", {}).json["id"])
    for job in asked:
        until = time.monotonic() + PATIENCE_S
        while (told := victim.ask("GET", f"/api/v1/jobs/{job}").json)["state"] in {"queued", "running"}:
            assert time.monotonic() < until, told
            time.sleep(0.05)
        assert told["state"] == "failed", told
    assert came == []
