"""Routes as values, and the table that finds the one a request is for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

import msgspec
from starlette.types import Receive, Scope, Send

from loopwright.core.errors import Fault, Invalid
from loopwright.engine.context import Context

__all__ = ["BODY_LIMIT", "Call", "RawRoute", "Route", "Table", "paths_of", "replied"]

BODY_LIMIT = 4 << 20
"""bytes of a body, where a route says nothing else"""

REPLY = "loopwright.reply"
"""where a server that writes whole replies at once has left how"""

T = TypeVar("T")
_VERSIONS = ("2.0", "3.0")
_ROOTS = ("/api/", "/ajax-api/")


def replied(scope: Scope, lines: bytes, body: bytes) -> bool:
    """Reply 200 with these header lines and body at once; False when it has to be sent message by message."""
    return REPLY in scope and bool(scope[REPLY](200, lines, body))


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request to a raw route."""

    scope: Scope
    receive: Receive
    send: Send
    ctx: Context
    parts: Mapping[str, str]
    """what stood in the path's placeholders, decoded once"""
    headers: Mapping[bytes, bytes]
    in_thread: Callable[[Callable[[], Any]], Awaitable[Any]]
    """runs sync work in the surface's threads: `await call.in_thread(lambda: ...)`"""
    at_writer: Callable[[Callable[[], Any]], Awaitable[Any]]
    """as `in_thread`, but where writes are, for work that writes and does nothing slow"""
    in_turn: Callable[[Callable[[], Callable[[], Any]]], Awaitable[Any]]
    """runs slow work `in_thread`, and what it gives `at_writer`, without coming back between the two"""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A method and path, the scope a caller needs, what the arguments are read into, and what answers.

    A `path` without a leading slash stands behind `/api/<version>/mlflow/` and its `/ajax-api` twin; one that
    begins with `/api/` has its twin too; any other is as it is. `{name}` is one part of the path, `{name...}`
    all that is left of it. `answer(ctx, arguments)` runs in a thread; what it gives is encoded as JSON, None
    as `{}`.
    """

    method: str
    path: str
    scope: str
    takes: type[msgspec.Struct]
    answer: Callable[[Context, Any], Any]
    versions: tuple[str, ...] = _VERSIONS
    body_limit: int = BODY_LIMIT
    writes: bool = False
    """the answer writes to the ledger and does nothing slow, so it is carried out where writes are"""


class RawRoute(msgspec.Struct, frozen=True, kw_only=True):
    """A route that reads and writes bytes itself: `await answer(call)`. Errors before it sends are told."""

    method: str
    path: str
    scope: str
    answer: Callable[[Call], Awaitable[None]]
    versions: tuple[str, ...] = _VERSIONS


_Methods = dict[str, Any]


class _Node:
    """One place in the tree of paths with placeholders."""

    def __init__(self) -> None:
        self.fixed: dict[str, _Node] = {}
        self.variable: _Node | None = None
        self.methods: _Methods = {}
        self.rest: _Methods = {}
        """routes that take all that is left of the path"""


class Table:
    """Finds what is kept for a method and path: one look-up for a plain path, a walk for placeholders."""

    def __init__(self) -> None:
        self._plain: dict[str, _Methods] = {}
        self._root = _Node()

    def add(self, route: Route | RawRoute, kept: Any) -> None:
        """Keep something for a route, under all paths it stands at; a `Fault` where two claim one."""
        for path in paths_of(route):
            names = tuple(part[1:-1] for part in path.split("/") if part.startswith("{"))
            methods = self._place(path) if names else self._plain.setdefault(path, {})
            if route.method in methods:
                raise Fault(f"two routes claim {route.method} {path}")
            methods[route.method] = (kept, tuple(name.removesuffix("...") for name in names))

    def _place(self, path: str) -> _Methods:
        node = self._root
        for part in path.split("/")[1:]:
            if part.endswith("...}"):
                return node.rest
            if part.startswith("{"):
                node.variable = node = node.variable or _Node()
            else:
                node = node.fixed.setdefault(part, _Node())
        return node.methods

    def find(self, method: str, scope: Scope) -> tuple[Any, Mapping[str, str]] | frozenset[str]:
        """What is kept, with the values of the placeholders; else the methods of the path, perhaps none."""
        path: str = scope["path"]
        plain = self._plain.get(path) or self._plain.get(path.rstrip("/"))
        if plain is not None and method in plain:
            return plain[method][0], {}
        raw: bytes = scope.get("raw_path") or path.encode()
        parts = raw.partition(b"?")[0].split(b"/")[1:]
        methods, values = _walk(self._root, parts, ())
        if method not in methods:
            return frozenset(plain or ()) | frozenset(methods)
        kept, names = methods[method]
        return kept, dict(zip(names, map(_decoded, values), strict=True))


def paths_of(route: Route | RawRoute) -> Iterable[str]:
    """Every path a route stands at."""
    if route.path.startswith("/api/"):
        return tuple(root + route.path.removeprefix("/api/") for root in _ROOTS)
    if route.path.startswith("/"):
        return (route.path,)
    return tuple(f"{root}{version}/mlflow/{route.path}" for root in _ROOTS for version in route.versions)


def _walk(node: _Node, parts: list[bytes], values: tuple[bytes, ...]) -> tuple[_Methods, tuple[bytes, ...]]:
    """The methods at a path, and what stood at its placeholders; a fixed part goes before those."""
    if not parts:
        return node.methods, values
    child = node.fixed.get(_decoded(parts[0]))
    if child is not None:
        found = _walk(child, parts[1:], values)
        if found[0]:
            return found
    if node.variable is not None and parts[0]:
        found = _walk(node.variable, parts[1:], (*values, parts[0]))
        if found[0]:
            return found
    return node.rest, (*values, b"/".join(parts))


def _decoded(part: bytes) -> str:
    try:
        return unquote_to_bytes(part).decode()
    except UnicodeDecodeError as error:
        raise Invalid("the path is not UTF-8", hint="percent-encode UTF-8") from error
