"""Who may come in: which hosts and origins are answered, and whose token is asked for. Pure rules."""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote_to_bytes

import msgspec

from loopwright.core.errors import Denied, Invalid, Unauthenticated

__all__ = [
    "COOKIE",
    "Rules",
    "admit",
    "hostname_of",
    "is_loopback",
    "refuse_foreign_listener",
    "rules_for",
    "seen_headers",
]

COOKIE = "loopwright_token"
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_HOST = re.compile(r"([^:\[\]]+|\[[0-9a-f:.]+\])(?::\d{1,5})?")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_PAGES = frozenset({b"same-origin", b"none"})
_SEEN = frozenset({b"host", b"origin", b"authorization", b"cookie", b"sec-fetch-site"})


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What a server admits."""

    hosts: frozenset[str]
    """names it answers to, lower case"""
    any_host: bool = False
    """answers to every name: bound to an outer address, and a token is asked for"""
    any_address: bool = False
    """answers to every IP address too, which no rebinding of names can forge"""
    token: str = ""

    def __repr__(self) -> str:
        return f"Rules(hosts={sorted(self.hosts)}, token={'set' if self.token else 'not set'})"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def rules_for(host: str, token: str, allowed: Iterable[str], own_name: str = "") -> Rules:
    """The rules of a server that listens on `host`; `own_name` is what the machine calls itself."""
    named = frozenset(name.strip().lower() for name in allowed if name.strip())
    outer = not is_loopback(host)
    shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
    own = {own_name.lower()} if outer and own_name else set()
    return Rules(
        hosts=_LOOPBACK_NAMES | named | {shown.lower()} | own,
        any_host=outer and not named and bool(token),
        any_address=outer,
        token=token,
    )


def seen_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The headers admission looks at; `Invalid` when one of them is there twice."""
    found: dict[bytes, bytes] = {}
    for key, value in headers:
        if key not in _SEEN:
            continue
        if key in found and key != b"cookie":
            raise Invalid(f"the header {key.decode()} is there twice", hint="send it once", where="header")
        found[key] = found[key] + b"; " + value if key in found else value
    return found


def hostname_of(host: bytes) -> str:
    """The name in a Host header, lower case, without its port; all of it where that is no name and port."""
    text = host.decode("latin-1").lower()
    found = _HOST.fullmatch(text)
    return found[1] if found else text


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def admit(rules: Rules, method: str, headers: Mapping[bytes, bytes]) -> None:
    """Pass, or raise `Denied` (a foreign host or origin) or `Unauthenticated` (no token, or a wrong one)."""
    host = headers.get(b"host", b"")
    name = hostname_of(host)
    if not (rules.any_host or name in rules.hosts or (rules.any_address and _is_address(name))):
        raise Denied(
            f"this server does not answer to the host {name[:80]!r}",
            hint="use http://127.0.0.1, or, where a proxy has this name, add it to the setting allowed_hosts "
            "(LOOPWRIGHT_ALLOWED_HOSTS)",
            where="header Host",
        )
    if method not in _SAFE:
        _check_origin(headers, host)
    if rules.token:
        _check_token(rules.token, headers)


def refuse_foreign_listener(headers: Mapping[bytes, bytes]) -> None:
    """Pass, or raise `Denied`: a page of another site cannot read a feed, but would hold one of its places.

    A browser names the page's origin for an event source, and only says where it comes from for an image, a
    script or a frame; from another port of this machine that is `same-site`. Other programs say neither.
    """
    relation = headers.get(b"sec-fetch-site", b"none")
    if relation not in _OWN_PAGES or _is_foreign(headers, headers.get(b"host", b"")):
        raise Denied(
            "a page of another site may not listen here",
            hint="open the server's own pages; a proxy before it has to pass on the Host header",
            where="header Origin",
        )


def _is_foreign(headers: Mapping[bytes, bytes], host: bytes) -> bool:
    origin = headers.get(b"origin")
    return origin is not None and origin.lower().partition(b"://")[2] != host.lower()


def _check_origin(headers: Mapping[bytes, bytes], host: bytes) -> None:
    if headers.get(b"sec-fetch-site") == b"cross-site" or _is_foreign(headers, host):
        raise Denied(
            "a page of another site may not change anything here",
            hint="open the server's own pages; a proxy before it has to pass on the Host header, and its "
            "name belongs into the setting allowed_hosts (LOOPWRIGHT_ALLOWED_HOSTS)",
            where="header Origin",
        )


def _check_token(token: str, headers: Mapping[bytes, bytes]) -> None:
    given = _given_token(headers)
    if not given:
        raise Unauthenticated(
            "this server asks for a token",
            hint="send 'Authorization: Bearer TOKEN' (LOOPWRIGHT_TOKEN for our clients)",
            where="header Authorization",
        )
    if not hmac.compare_digest(given, token.encode()):
        raise Unauthenticated(
            "the token is wrong", hint="compare it with the server's setting", where="header Authorization"
        )


def _given_token(headers: Mapping[bytes, bytes]) -> bytes:
    scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer":
        return given.strip()
    for pair in headers.get(b"cookie", b"").split(b";"):
        key, _, value = pair.strip().partition(b"=")
        if key == COOKIE.encode():
            return unquote_to_bytes(value)
    return b""
