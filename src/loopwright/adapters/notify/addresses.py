"""Which addresses may be posted to: pure rules over the text of a URL, and over what a name stands for.

An address is let through only where nothing about it can mean a machine inside: what is not plainly a public
unicast address, in its one plain spelling, is refused, and addresses that carry another one are judged by it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

import msgspec

from loopwright.core.errors import Invalid

__all__ = ["Address", "Place", "Rules", "is_public", "permitted", "place_of", "rules_of"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_LONGEST = 2_048
_PLAIN = re.compile(r"[!-~]+\Z")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)\Z")
_INSIDE_NAMES = (
    "localhost",
    "localdomain",
    "local",
    "internal",
    "intranet",
    "lan",
    "home",
    "corp",
    "home.arpa",
    "in-addr.arpa",
    "ip6.arpa",
)
_DEFAULT_PORTS = {"https": 443, "http": 80}
_NEVER = tuple(
    ipaddress.ip_network(each)
    for each in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
        "::/96",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "2001:db8::/32",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)
"""what no post goes to (the IANA registries of special purposes); of IPv6 all outside 2000::/3 besides"""
_UNICAST6 = ipaddress.IPv6Network("2000::/3")
_SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator lets through."""

    about: str = "webhook"
    """whose URLs they are for, as errors and settings call it: `webhook_networks`"""
    has_http: bool = False
    """plain HTTP as well as HTTPS"""
    networks: tuple[Network, ...] = ()
    """addresses inside that may be posted to after all, on any port"""
    ports: frozenset[int] = frozenset({80, 443, 8443})


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a URL leads, before its name is looked up."""

    scheme: str
    host: str
    """in lower case, an IPv6 address without brackets"""
    port: int
    target: str
    """path and query as they are sent"""
    is_odd: str = ""
    """why only a network of the operator's may be meant; empty for a plain public name and port"""


def rules_of(*, http: bool, networks: Iterable[str], ports: Iterable[int], about: str = "webhook") -> Rules:
    """The rules of a server's settings; `Invalid` for what is no network."""
    try:
        read = tuple(ipaddress.ip_network(each.strip()) for each in networks if each.strip())
    except ValueError as error:
        raise Invalid(
            f"{about}_networks holds what is no network: {error}", hint="write 10.1.0.0/16, or several"
        ) from error
    return Rules(about=about, has_http=http, networks=read, ports=frozenset(ports) or Rules().ports)


def place_of(url: str, rules: Rules) -> Place:
    """Where a URL leads; `Invalid` when it may not be posted to whatever its name stands for."""
    if len(url) > _LONGEST or not _PLAIN.match(url) or "\\" in url:
        raise _refused(
            rules.about, "has marks that no address has, or is too long", "write plain ASCII, names as xn--"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _refused(rules.about, "cannot be read", "write https://host/path") from error
    schemes = ("https", "http") if rules.has_http else ("https",)
    if parts.scheme not in schemes:
        raise _refused(
            rules.about,
            f"begins with {parts.scheme[:20]!r}, not with {' or '.join(schemes)}",
            f"an operator can let http through by the setting {rules.about}_http",
        )
    if "@" in parts.netloc or parts.fragment or url.endswith("#"):
        raise _refused(
            rules.about, "has a user, a password or a fragment", "leave them out: secrets go in the signature"
        )
    if port is None:
        port = _DEFAULT_PORTS[parts.scheme]
    host = _host(parts.netloc, parts.hostname or "", rules)
    odd = _why_odd(host) or ("" if port in rules.ports else f"port {port} is none of the web")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Place(scheme=parts.scheme, host=host, port=port, target=target, is_odd=odd)


def _host(netloc: str, host: str, rules: Rules) -> str:
    """The host in its one spelling; `Invalid` for any other spelling of an address, or of a name."""
    if netloc.startswith("["):
        try:
            if "%" in host:
                raise ValueError("a scope")
            return str(ipaddress.IPv6Address(host))
        except ValueError as error:
            raise _refused(rules.about, "has no IPv6 address in its brackets", "leave scopes out") from error
    host = host.lower()
    labels = host.split(".")
    if not host or len(host) > 253 or not all(map(_LABEL.match, labels)):
        raise _refused(rules.about, "has a host that is no name", "no dot at the end, no empty part")
    if not _NUMBER.match(labels[-1]):
        return host
    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError as error:
        raise _refused(
            rules.about, "has an address that is not written plainly", "write four decimal numbers"
        ) from error


def _why_odd(host: str) -> str:
    if ":" in host or _NUMBER.match(host.rpartition(".")[2]):
        return ""
    if "." not in host:
        return "a name of one part means a machine inside"
    inside = any(host.endswith(f".{each}") for each in _INSIDE_NAMES)
    return "the name is one of machines inside" if inside else ""


def permitted(place: Place, found: Sequence[Address], rules: Rules) -> Address:
    """The address to connect to, of all that a name has; `Invalid` when one of them may not be posted to."""
    if not found:
        raise _refused(rules.about, "has a name without an address", "look at the name")
    for each in found:
        plain = _plain(each)
        if any(plain in network for network in rules.networks if network.version == plain.version):
            continue
        if place.is_odd:
            raise _refused(
                rules.about,
                f"is refused: {place.is_odd}",
                f"an operator can let a network through by the setting {rules.about}_networks",
            )
        if not is_public(each):
            raise _refused(
                rules.about,
                "leads to a machine inside, not to a public one",
                f"an operator can let a network through by the setting {rules.about}_networks",
            )
    return found[0]


def _plain(address: Address) -> Address:
    """An IPv4 address that is written as an IPv6 one, as itself."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_public(address: Address) -> bool:
    """Whether an address is a public unicast one; one that carries another is judged by that one."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id:
            return False
        carried = _carried(address)
        if carried is not None:
            return is_public(carried)
        if address not in _UNICAST6:
            return False
    inside = any(address in network for network in _NEVER if network.version == address.version)
    return not inside and address.is_global and not address.is_multicast


def _carried(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _SIX_TO_FOUR:
        return ipaddress.IPv4Address((int(address) >> 80) & 0xFFFFFFFF)
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _refused(about: str, why: str, hint: str) -> Invalid:
    """The words for a URL that may not be asked: what it leads to is never told."""
    return Invalid(f"the {about}'s URL {why}", hint=hint, where="url")
