"""A small synchronous client over an ASGI application, for tests that need no port."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.types import ASGIApp, Message

__all__ = ["Answer", "ask"]

Headers = Mapping[str, str]


class Answer:
    """Status, headers and body of one reply."""

    def __init__(self, messages: list[Message]) -> None:
        start = messages[0]
        self.status: int = start["status"]
        self.headers = {key.decode(): value.decode() for key, value in start["headers"]}
        self.body = b"".join(message.get("body", b"") for message in messages[1:])

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


def ask(
    app: ASGIApp,
    method: str,
    target: str,
    *,
    body: bytes | Iterable[bytes] = b"",
    headers: Headers | None = None,
    host: str | None = "127.0.0.1:7070",
    value: Any = None,
) -> Answer:
    """Send one request, with the raw target as it stands; `value` is sent as JSON."""
    sent = {"host": host, **(headers or {})} if host is not None else dict(headers or {})
    if value is not None:
        body = json.dumps(value).encode()
        sent["content-type"] = "application/json"
    raw, _, query = target.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": _unquoted(raw),
        "raw_path": raw.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "root_path": "",
        "headers": [(key.lower().encode(), text.encode("latin-1")) for key, text in sent.items()],
        "server": ("127.0.0.1", 7070),
        "client": ("127.0.0.1", 50000),
    }
    parts = [body] if isinstance(body, bytes) else list(body)
    # in a thread: the one of the tests may have a loop already, while a browser is open
    with ThreadPoolExecutor(1) as thread:
        return Answer(thread.submit(lambda: asyncio.run(_exchange(app, scope, parts))).result())


def _unquoted(raw: str) -> str:
    from urllib.parse import unquote_to_bytes

    return unquote_to_bytes(raw).decode("utf-8", "replace")


async def _exchange(app: ASGIApp, scope: Any, pieces: list[bytes]) -> list[Message]:
    incoming = [
        {"type": "http.request", "body": piece, "more_body": i + 1 < len(pieces)}
        for i, piece in enumerate(pieces)
    ] or [{"type": "http.request", "body": b"", "more_body": False}]
    outgoing: list[Message] = []
    never = asyncio.Event()

    async def receive() -> Message:
        if incoming:
            return incoming.pop(0)
        await never.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        outgoing.append(message)

    await app(scope, receive, send)
    return outgoing
