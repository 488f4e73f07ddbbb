"""Paths to endpoints. The raw path is split before it is decoded, so a name may hold a slash (`%2F`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import unquote_to_bytes

from loopwright.core.errors import Fault, Invalid, TooLarge

__all__ = ["Match", "Router", "segments_of"]

T = TypeVar("T")
_DOTS = frozenset({".", ".."})


def segments_of(raw_path: bytes, limit: int) -> tuple[str, ...]:
    """The decoded parts of a raw path; `Invalid` for what no honest client sends.

    Dot segments, control characters, empty parts, overlong or broken UTF-8 are refused, plain or
    percent-encoded, so nothing behind this has to think of them.
    """
    if len(raw_path) > limit:
        raise TooLarge(
            f"the path has {len(raw_path)} bytes", hint=f"paths have at most {limit}", where="path"
        )
    if not raw_path.startswith(b"/"):
        raise Invalid("the request's target is not a path", hint="ask for a path", where="path")
    parts = raw_path.split(b"/")[1:]
    if parts and parts[-1] == b"":
        parts = parts[:-1]
    return tuple(_decoded(part) for part in parts)


def _decoded(part: bytes) -> str:
    try:
        text = unquote_to_bytes(part).decode()
    except UnicodeDecodeError as error:
        raise Invalid("the path is not UTF-8", hint="percent-encode UTF-8", where="path") from error
    if text == "" or not _DOTS.isdisjoint(text.replace("\\", "/").split("/")):
        raise Invalid(
            f"the path has a part {text[:60]!r}", hint="leave out empty and dot parts", where="path"
        )
    if not text.isprintable():
        raise Invalid(f"the path has control characters: {text[:60]!r}", hint="remove them", where="path")
    return text


@dataclass(slots=True)
class _Node(Generic[T]):
    """One place in the tree of routes."""

    fixed: dict[str, _Node[T]] = field(default_factory=dict)
    variable: _Node[T] | None = None
    endpoints: dict[str, tuple[T, tuple[str, ...]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Match(Generic[T]):
    """What a path leads to: the endpoint with the values of its placeholders, or the methods there are."""

    endpoint: T | None
    values: dict[str, str]
    methods: tuple[str, ...]


class Router(Generic[T]):
    """A tree of routes; a fixed part goes before a placeholder."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, method: str, template: str, endpoint: T) -> None:
        """Add a route such as `GET /models/{name}`; a placeholder is a whole part."""
        node, names = self._root, []
        for part in template.strip("/").split("/"):
            if part.startswith("{") and part.endswith("}"):
                names.append(part[1:-1])
                node.variable = node.variable or _Node()
                node = node.variable
            elif "{" in part or "}" in part:
                raise Fault(f"the route {template} has a placeholder inside a part")
            else:
                node = node.fixed.setdefault(part, _Node())
        if method in node.endpoints:
            raise Fault(f"two endpoints claim {method} {template}")
        node.endpoints[method] = (endpoint, tuple(names))

    def match(self, method: str, parts: tuple[str, ...]) -> Match[T]:
        """Where the parts of a path lead; without an endpoint and without methods there is no such path."""
        methods: set[str] = set()
        found = self._find(self._root, method, parts, (), methods)
        if found is None:
            return Match(None, {}, tuple(sorted(methods)))
        (endpoint, names), values = found
        return Match(endpoint, dict(zip(names, values, strict=True)), ())

    def _find(
        self,
        node: _Node[T],
        method: str,
        parts: tuple[str, ...],
        values: tuple[str, ...],
        methods: set[str],
    ) -> tuple[tuple[T, tuple[str, ...]], tuple[str, ...]] | None:
        if not parts:
            methods.update(node.endpoints)
            entry = node.endpoints.get(method)
            return None if entry is None else (entry, values)
        child = node.fixed.get(parts[0])
        if child is not None:
            found = self._find(child, method, parts[1:], values, methods)
            if found is not None:
                return found
        if node.variable is None:
            return None
        return self._find(node.variable, method, parts[1:], (*values, parts[0]), methods)
