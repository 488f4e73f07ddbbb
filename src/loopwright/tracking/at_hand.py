"""Searches things that are at hand: a condition as a function, an order, and pages by key. Pure.

Values come by field from a `Look`: nothing, one value, or several (of a logged model's metrics). A comparison
is true when it is of any of them.
"""

from __future__ import annotations

import base64
import binascii
import math
import operator
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.folding import folded
from loopwright.core.queries import All, AnyOf, Comparison, Condition, Field, Not, Operator, SortKey

__all__ = [
    "Found",
    "Look",
    "Place",
    "Value",
    "Values",
    "mark_of",
    "page_of",
    "pinned",
    "pinned_tags",
    "place_by",
    "predicate",
    "told_texts",
]

T = TypeVar("T")
Value = str | float
Values = Sequence[Value]
Look = Callable[[T, Field], Values]
"""what a thing has under a field"""
Place = Callable[[T, SortKey], Value | None]
"""what a thing is ordered by, None where it has none"""
_Test = Callable[[Value], bool]
_Key = Value | None

_LARGEST = 2**63
_COMPARE: dict[Operator, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Found(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """Things of one page and the token of the next, empty at the end."""

    items: tuple[T, ...]
    next_token: str = ""


def predicate(where: Condition | None, look: Look[T]) -> Callable[[T], bool]:
    """Whether a condition holds of a thing; none holds of all."""
    match where:
        case None:
            return lambda _: True
        case All(parts):
            return _joined([predicate(part, look) for part in parts], ends_with=False)
        case AnyOf(parts):
            return _joined([predicate(part, look) for part in parts], ends_with=True)
        case Not(part):
            inner = predicate(part, look)
            return lambda thing: not inner(thing)
        case Comparison(field, "IS NULL"):
            return lambda thing: not look(thing, field)
        case Comparison(field, "IS NOT NULL"):
            return lambda thing: bool(look(thing, field))
        case Comparison(field, op, value):
            holds = _test(op, value)
            return lambda thing: any(map(holds, look(thing, field)))


def _joined(tests: Sequence[Callable[[T], bool]], *, ends_with: bool) -> Callable[[T], bool]:
    """Each is asked until one says what ends it. Loops, since generators would cost more than the tests."""

    def joined(thing: T) -> bool:
        for test in tests:
            if test(thing) is ends_with:
                return ends_with
        return not ends_with

    return joined


def pinned(where: Condition | None, key: str) -> str | None:
    """The one text that an attribute must be equal to for the condition to hold, where it says so."""
    match where:
        case Comparison(Field("attribute", found), "=", str(value)) if found == key:
            return value
        case All(parts):
            return next((only for part in parts if (only := pinned(part, key)) is not None), None)
    return None


def pinned_tags(where: Condition | None) -> dict[str, str]:
    """The tags that a thing must have for the condition to hold, where it says so."""
    match where:
        case Comparison(Field("tag", key), "=", str(value)):
            return {key: value}
        case All(parts):
            return {key: value for part in parts for key, value in pinned_tags(part).items()}
    return {}


def told_texts(
    where: Condition | None, keys: Collection[str] = ("name",), *, tags: bool = True
) -> tuple[Comparison, ...]:
    """The comparisons of such attributes with texts that all have to hold, and of tags unless told not to."""
    match where:
        case Comparison(Field(kind, key), op) if op not in {"IS NULL", "IS NOT NULL"}:
            return (where,) if (tags and kind == "tag") or (kind == "attribute" and key in keys) else ()
        case All(parts):
            return tuple(each for part in parts for each in told_texts(part, keys, tags=tags))
    return ()


def _test(op: Operator, value: str | float | tuple[str, ...] | None) -> _Test:
    if isinstance(value, tuple):
        among = frozenset(value)
        return (lambda found: found in among) if op == "IN" else (lambda found: found not in among)
    if op == "LIKE":
        return _Like(str(value)).matches
    if op == "ILIKE":
        like = _Like(folded(str(value)))
        return lambda found: like.matches(folded(str(found)))
    compare = _COMPARE[op]
    return lambda found: compare(found, value)


class _Like:
    """SQL's LIKE in time linear in the text times the pattern, whatever the pattern."""

    def __init__(self, pattern: str) -> None:
        first, *rest = re.split("%+", pattern)
        self._first = _segment(first)
        self._middle = [_segment(each) for each in rest[:-1]]
        self._last = _segment(rest[-1]) if rest else None
        self._last_length = len(rest[-1]) if rest else 0

    def matches(self, found: Value) -> bool:
        """Whether the text is like the pattern."""
        text = str(found)
        start = self._first.match(text)
        if start is None:
            return False
        if self._last is None:
            return start.end() == len(text)
        at = start.end()
        for segment in self._middle:
            met = segment.search(text, at)  # the leftmost leaves most to what follows
            if met is None:
                return False
            at = met.end()
        tail = len(text) - self._last_length
        return tail >= at and self._last.match(text, tail) is not None


def _segment(text: str) -> re.Pattern[str]:
    return re.compile("".join("." if mark == "_" else re.escape(mark) for mark in text), re.DOTALL)


def place_by(look: Look[T]) -> Place[T]:
    """The order of things that have one value under each field at most."""
    return lambda thing, key: next(iter(look(thing, key.field)), None)


def page_of(
    things: Iterable[T], place: Place[T], order: tuple[SortKey, ...], *, limit: int, token: str = ""
) -> Found[T]:
    """A page of things in an order that tells every two of them apart.

    Things without a key come last in both directions, NaN before them. `Invalid` for a token that is no place
    in this order.
    """
    found = list(things)
    for key in reversed(order):
        found = _sorted(found, place, key)
    if token:
        mark = _read(token, len(order))
        found = [thing for thing in found if _is_behind(thing, place, order, mark)]
    more = len(found) > limit
    kept = tuple(found[:limit])
    return Found(items=kept, next_token=_write(kept[-1], place, order) if more and kept else "")


def _sorted(things: list[T], place: Place[T], key: SortKey) -> list[T]:
    pairs = [(place(thing, key), thing) for thing in things]
    rest = [pair for pair in pairs if _rank(pair[0])]
    some = [pair for pair in pairs if not _rank(pair[0])] if rest else pairs
    some.sort(key=operator.itemgetter(0), reverse=key.descending)
    rest.sort(key=lambda pair: _rank(pair[0]))
    return [thing for _, thing in (*some, *rest)]


def _rank(key: _Key) -> int:
    """Values before NaN before nothing."""
    if key is None:
        return 2
    return 1 if isinstance(key, float) and math.isnan(key) else 0


def _is_behind(thing: T, place: Place[T], order: tuple[SortKey, ...], mark: list[_Key]) -> bool:
    for key, limit in zip(order, mark, strict=True):
        mine = place(thing, key)
        ranks = (_rank(mine), _rank(limit))
        if ranks[0] != ranks[1]:
            return ranks[0] > ranks[1]
        if ranks[0] or mine == limit:
            continue
        if isinstance(mine, str) is not isinstance(limit, str):
            raise _foreign()
        return (mine < limit) is key.descending  # type: ignore[operator]  # both are texts, or both numbers
    return False


def _write(thing: T, place: Place[T], order: tuple[SortKey, ...]) -> str:
    mark = [place(thing, key) for key in order]
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(mark)).decode().rstrip("=")


def _read(token: str, length: int) -> list[_Key]:
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        mark = msgspec.msgpack.decode(raw, type=list[str | float | None])
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise _foreign() from error
    if len(mark) != length:
        raise _foreign()
    return mark


def mark_of(token: str, kinds: Sequence[type[str] | type[int] | type[float]]) -> list[Any] | None:
    """Where a page of `page_of` goes on, in an order by such values; None for no token.

    A `float` may be missing, which is None.
    """
    if not token:
        return None
    return [_as(value, kind) for value, kind in zip(_read(token, len(kinds)), kinds, strict=True)]


def _as(value: _Key, kind: type[str] | type[int] | type[float]) -> _Key:
    if isinstance(value, str) is (kind is str) and kind is not int and (value is not None or kind is float):
        return value
    if isinstance(value, float) and kind is int and value.is_integer() and abs(value) < _LARGEST:
        return int(value)
    raise _foreign()


def _foreign() -> Invalid:
    return Invalid("Invalid page token: it is none of this list", hint="start again without a token")
