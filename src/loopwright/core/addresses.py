"""The one grammar of addresses: `kind:name`, `kind:name@selector`, `kind:name#digest`, `kind:<id>`."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated
from urllib.parse import quote, unquote_to_bytes

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.instants import format_instant, parse_instant

__all__ = [
    "ID_KINDS",
    "Address",
    "AliasName",
    "AssetName",
    "ByAlias",
    "ByDigest",
    "ByInstant",
    "ByNumber",
    "Selector",
    "check_alias",
    "check_kind",
    "check_name",
    "parse_address",
    "parse_selector",
    "parted",
    "version_address",
]

NAME_LIMIT = 500
ID_KINDS = frozenset({"run", "job", "event", "decision", "signal", "prediction", "incident", "trace"})
_KIND = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")
_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}\Z")
_NUMBER = re.compile(r"[1-9][0-9]{0,17}\Z")
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}")
_DIGEST = re.compile(r"[0-9a-f]{8,64}\Z")
_SELECTED = re.compile(r"#|[0-9]{4}-[0-9]{2}-[0-9]{2}|[^@#:]*\Z")
"""how a selector alone begins: an address has its `@`, `#` or `:` after a name"""
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")

AssetName = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=NAME_LIMIT, description="name of an asset"),
]
AliasName = Annotated[str, msgspec.Meta(min_length=1, max_length=100, description="name of an alias")]


class ByNumber(msgspec.Struct, frozen=True, tag="number"):
    """`@3`: the third version."""

    number: int


class ByAlias(msgspec.Struct, frozen=True, tag="alias"):
    """`@champion`: the version an alias points to."""

    alias: str


class ByInstant(msgspec.Struct, frozen=True, tag="instant"):
    """`@2013-06-01T00:00:00Z`: the newest version that existed at an instant."""

    instant: datetime


class ByDigest(msgspec.Struct, frozen=True, tag="digest"):
    """`#9f2c...`: the version with this digest, or the only one it is the beginning of."""

    digest: str


Selector = ByNumber | ByAlias | ByInstant | ByDigest


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where a thing is found: a kind, a name (or an id for what has no name), and which version."""

    kind: str
    name: str
    selector: Selector | None = None

    def __str__(self) -> str:
        return f"{self.kind}:{quote(self.name, safe=_SAFE)}{_written(self.selector)}"


_DOTS = frozenset({".", ".."})
_SAFE = "/!$&'()*+,;=?[]-._~"


def _written(selector: Selector | None) -> str:
    match selector:
        case None:
            return ""
        case ByNumber(number):
            return f"@{number}"
        case ByAlias(alias):
            return f"@{alias}"
        case ByInstant(instant):
            return f"@{format_instant(instant)}"
        case ByDigest(digest):
            return f"#{digest}"


def check_kind(kind: str) -> str:
    """Return the kind itself when well formed."""
    if not _KIND.match(kind):
        raise Invalid(
            f"{kind[:80]!r} is not a kind",
            hint="a kind is a short lower-case word, such as dataset",
        )
    return kind


def check_name(name: str) -> str:
    """Return the name itself when it may name an asset: 1 to 500 printable characters.

    It has no outer space. It may have slashes (`contract/weather`); a part `.` or `..` between them is
    refused, since names stand in paths of addresses, where clients would resolve it.
    """
    if not name or len(name) > NAME_LIMIT:
        raise Invalid(
            f"a name has 1 to {NAME_LIMIT} characters, not {len(name)}",
            hint="choose a shorter name",
        )
    if name != name.strip() or not name.isprintable():
        raise Invalid(
            f"the name {name[:80]!r} has control characters or outer spaces",
            hint="remove them",
        )
    if not _DOTS.isdisjoint(name.replace("\\", "/").split("/")):
        raise Invalid(f"the name {name[:80]!r} has a part that is only dots", hint="leave the part out")
    return name


def check_alias(alias: str) -> str:
    """Return the alias itself when well formed: it starts with a letter, so is no number and no time."""
    if not _ALIAS.match(alias):
        raise Invalid(
            f"{alias[:80]!r} is not an alias",
            hint="an alias starts with a letter: letters, digits, _ . -",
        )
    return alias


def parse_selector(text: str) -> Selector:
    """Read what follows `@`, a number, an instant or an alias; or a digest with its `#`."""
    if text.startswith("#"):
        return _by_digest(text[1:])
    if _NUMBER.match(text):
        return ByNumber(int(text))
    if _INSTANT.match(text):
        return ByInstant(parse_instant(text))
    return ByAlias(check_alias(text))


def _decoded(raw: str, whole: str) -> str:
    if _BAD_PERCENT.search(raw):
        raise Invalid(
            f"the address {whole[:120]!r} has a bad percent sign",
            hint="write a percent sign as %25",
        )
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeError as error:
        raise Invalid(f"the address {whole[:120]!r} is not UTF-8", hint="percent-encode UTF-8") from error


def parse_address(text: str, *, kind: str | None = None) -> Address:
    """Read an address; `kind` is assumed when the text names none (as `loopwright data show flights@3`)."""
    head, colon, rest = text.partition(":")
    if colon and _KIND.match(head):
        found_kind = head
    elif kind is not None:
        found_kind, rest = kind, text
    else:
        raise Invalid(
            f"{text[:120]!r} is not an address",
            hint="write kind:name, such as dataset:flights@3",
        )
    for sign in "@#":
        name, mark, tail = rest.partition(sign)
        if mark and ("#" not in name and "@" not in name):
            return Address(
                kind=found_kind,
                name=check_name(_decoded(name, text)),
                selector=_selected(sign, _decoded(tail, text)),
            )
    return Address(kind=found_kind, name=check_name(_decoded(rest, text)))


def parted(text: str) -> tuple[str, str]:
    """A name and what is said of its version: `flights@3` is `flights` and `3`; no version is empty."""
    name, sign, tail = text.partition("@") if "@" in text else text.partition("#")
    return (name, f"#{tail}" if sign == "#" else tail) if name and tail else (text, "")


def version_address(kind: str, name: str, version: str = "") -> Address:
    """The address of a version of an asset whose name is known; without a version that of the newest.

    `12`, `prod`, an instant and `#<digest>` mean it, and so does a whole address of this asset, as
    `flights@12`, `flights#<digest>` and `dataset:flights#<digest>`.
    """
    own = Address(kind=kind, name=check_name(name))
    if not version:
        return own
    bare = version.removeprefix("@")
    if _SELECTED.match(bare):
        return msgspec.structs.replace(own, selector=parse_selector(bare))
    found = parse_address(version, kind=kind)
    if (found.kind, found.name) != (kind, name):
        raise Invalid(
            f"{version[:120]!r} is no version of {own}",
            hint=f"give a number, an alias, an instant, #<digest> or an address such as {own}@3",
        )
    return found


def _selected(sign: str, tail: str) -> Selector:
    return parse_selector(tail) if sign == "@" else _by_digest(tail)


def _by_digest(tail: str) -> Selector:
    if not _DIGEST.match(tail):
        raise Invalid(f"{tail[:80]!r} is not a digest", hint="give 8 to 64 lower-case hex digits")
    return ByDigest(tail)
