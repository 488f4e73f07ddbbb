"""Posts over HTTP/1.1 to an address that was looked up once and checked; nothing is followed."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from http.client import HTTPConnection, HTTPException

from loopwright.adapters.notify.addresses import Address, Place, Rules, permitted, place_of
from loopwright.core.errors import Invalid, Unavailable
from loopwright.ports.courier import Parcel, Receipt

__all__ = ["HttpCourier", "Lookup", "Pinned", "looked_up", "secured", "told"]

Lookup = Callable[[str, int], Sequence[Address]]
"""the addresses of a name"""

_DEADLINE_S = 10.0
_ANSWER = 64 << 10
_SHOWN = 4_000


def looked_up(host: str, port: int) -> Sequence[Address]:
    """The addresses of a name as the machine's resolver tells them; an address is its own."""
    try:
        return (ipaddress.ip_address(host),)
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError, OSError) as error:
        raise Invalid(
            "the URL has a name without an address", hint="look at the name", where="url"
        ) from error
    return tuple(dict.fromkeys(ipaddress.ip_address(entry[4][0]) for entry in found))


class HttpCourier:
    """Fulfils `ports.courier.Courier`; each post has a connection of its own and ten seconds in all."""

    def __init__(self, rules: Rules, *, lookup: Lookup = looked_up, deadline_s: float = _DEADLINE_S) -> None:
        self._rules = rules
        self._lookup = lookup
        self._deadline_s = deadline_s

    def check(self, url: str) -> None:
        """Nothing when the URL may be posted to as its name stands now."""
        self._address(place_of(url, self._rules))

    def post(self, parcel: Parcel) -> Receipt:
        """Post once and give the answer."""
        place = place_of(parcel.url, self._rules)
        connection = Pinned(place, self._address(place), self._deadline_s, self._context)
        ending = threading.Timer(self._deadline_s, connection.cut)
        ending.daemon = True
        ending.start()
        try:
            headers = {"User-Agent": "loopwright", "Accept": "*/*", "Connection": "close"}
            connection.request("POST", place.target, parcel.body, {**headers, **dict(parcel.headers)})
            answer = connection.getresponse()
            body = answer.read(_ANSWER)
        except (OSError, HTTPException, ValueError) as error:
            raise Unavailable(
                f"the webhook's receiver did not answer: {told(error)}",
                hint="look at the receiver; it has ten seconds to answer",
            ) from None
        finally:
            ending.cancel()
            connection.close()
        return Receipt(status=answer.status, body=body.decode("utf-8", "replace")[:_SHOWN])

    def _address(self, place: Place) -> Address:
        """The one address that is connected to: what was checked is what is used."""
        return permitted(place, self._lookup(place.host, place.port), self._rules)

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return secured()


def secured() -> ssl.SSLContext:
    """Certificates are verified, by TLS 1.2 or newer."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class Pinned(HTTPConnection):
    """A connection to an address decided before; the name serves for the certificate and the Host."""

    def __init__(self, place: Place, address: Address, timeout_s: float, context: ssl.SSLContext) -> None:
        super().__init__(place.host, place.port, timeout=timeout_s)
        self._place = place
        self._address = address
        self._context = context
        self._timeout_s = timeout_s

    def connect(self) -> None:
        """Connect to the address, and shake hands where the scheme asks for it."""
        family = socket.AF_INET6 if self._address.version == 6 else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock = sock
        sock.settimeout(self._timeout_s)
        sock.connect((str(self._address), self._place.port))
        if self._place.scheme == "https":
            self.sock = wrapped = self._context.wrap_socket(
                sock, server_hostname=self._place.host, do_handshake_on_connect=False
            )
            wrapped.do_handshake()  # with the socket in its place, so that `cut` ends this too

    def cut(self) -> None:
        """End the connection from another thread: a receiver that trickles has had its time."""
        sock = self.sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it ended by itself


def told(error: Exception) -> str:
    """What a failure is called, without addresses."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return "no TLS connection came about"
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused"
    return "the connection ended" if isinstance(error, OSError) else "it does not speak HTTP"
