"""Requests and replies as they are written down: sent, compacted, and read again."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

__all__ = ["Exchange", "Reply", "Request", "Sender", "expanded", "path_of", "sender", "shortened"]

KEPT_HEADERS = ("content-type", "content-length", "content-range", "content-disposition", "accept-ranges")
REPEATED = re.compile(r"(.)\1{79,}", re.DOTALL)
WRITTEN = re.compile(r"\{(.)\*(\d+)\}", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Request:
    """One call: a query in pairs, and a body as JSON or as text, or none."""

    method: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    json: Any = None
    text: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer: its body as JSON where it says that it is JSON, else as text."""

    status: int
    headers: Mapping[str, str]
    json: Any = None
    text: str | None = None


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A request, the reply that a server gave, and what the pair shows.

    `wording` compares the error's text too; `free` says why another answer below 500 is as good.
    """

    says: str
    request: Request
    reply: Reply
    wording: bool = False
    free: str = ""


Sender = Callable[[Request], Reply]


def path_of(path: str) -> str:
    """The full path of a route that is written without the protocol's first part."""
    return path if path.startswith("/") else f"/api/2.0/mlflow/{path}"


def sender(url: str) -> Sender:
    """Sends over a connection of its own per call, exactly what is given and nothing more."""
    address = urlsplit(url)

    def send(request: Request) -> Reply:
        body, headers = _body(request)
        query = urlencode([(name, expanded(value)) for name, value in request.query])
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=120)
        try:
            target = expanded(request.path) + (f"?{query}" if query else "")
            connection.request(request.method, target, body, headers)
            answer = connection.getresponse()
            return _reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    return send


def _body(request: Request) -> tuple[bytes | None, dict[str, str]]:
    if request.json is not None:
        return json.dumps(expanded(request.json)).encode(), {
            "Content-Type": "application/json",
            **request.headers,
        }
    return (None if request.text is None else expanded(request.text).encode("latin-1")), dict(request.headers)


def _reply(status: int, headers: dict[str, str], content: bytes) -> Reply:
    kept = {name: headers[name] for name in KEPT_HEADERS if name in headers}
    if headers.get("content-type", "").startswith("application/json"):
        try:
            return Reply(status=status, headers=kept, json=_opened(json.loads(content)))
        except ValueError:
            pass  # files of any content may be served by a type guessed from their name
    return Reply(status=status, headers=kept, text=content.decode("latin-1"))


def _opened(body: Any) -> Any:
    """A reply whose records are JSON within a text, as JSON: ids in them are told apart, spaces are not."""
    if isinstance(body, dict) and isinstance(body.get("records"), str):
        return {**body, "records": json.loads(body["records"])}
    return body


def shortened(value: Any) -> Any:
    """Texts with runs of one character written as `{a*6000}`."""
    if isinstance(value, str):
        return REPEATED.sub(lambda run: f"{{{run[1]}*{len(run[0])}}}", value)
    if isinstance(value, list):
        return [shortened(each) for each in value]
    if isinstance(value, dict):
        return {shortened(key): shortened(each) for key, each in value.items()}
    return value


def expanded(value: Any) -> Any:
    """The opposite of `shortened`, and `{"$each": n, "$of": item}` as n items with `{i}` numbered."""
    if isinstance(value, str):
        return WRITTEN.sub(lambda run: run[1] * int(run[2]), value)
    if isinstance(value, list):
        return [expanded(each) for each in value]
    if isinstance(value, dict):
        if "$each" in value:
            return [_numbered(expanded(value["$of"]), number) for number in range(value["$each"])]
        return {expanded(key): expanded(each) for key, each in value.items()}
    return value


def _numbered(item: Any, number: int) -> Any:
    if isinstance(item, dict):
        return {key: _numbered(each, number) for key, each in item.items()}
    if isinstance(item, str):
        return number if item == "{#}" else item.replace("{i}", str(number))
    return item
