"""Calls to one tracking server: signed as MLflow's environment says, bounded, retried, never redirected."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec

from loopwright.core.errors import Denied, Invalid, LoopwrightError, NotFound, Unavailable

__all__ = ["Calls", "Credentials"]

T = TypeVar("T")
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_LARGEST = 256 << 20
"""bytes of one answer: a page of 200 runs with everything they may log is smaller"""
_TIMEOUT = httpx.Timeout(120.0, connect=10.0)
_AGAIN = frozenset({429, 500, 502, 503, 504})
_ATTEMPTS = 4
_PAUSE_S = 0.25
_CHUNK = 1 << 20
_UNKNOWN = "unknown"
_VERSION = 100


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """How a server is asked: a bearer token, or a name and its password; whether its certificate counts."""

    token: str = ""
    user: str = ""
    password: str = ""
    is_insecure: bool = False
    certificates: str = ""

    def __repr__(self) -> str:
        return "Credentials(...)"


class Calls:
    """Asks one server. Thread safe."""

    def __init__(self, url: str, credentials: Credentials, *, space: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise Invalid("that is not the address of a server", hint="write it as http://127.0.0.1:5000")
        self.netloc = parts.netloc.rpartition("@")[2]
        self.address = f"{parts.scheme}://{self.netloc}{parts.path.rstrip('/')}"
        headers = {"accept": "application/json"}
        if credentials.token:
            headers["authorization"] = f"Bearer {credentials.token}"
        if space is not None:
            headers["loopwright-space"] = space
        user, password = parts.username or credentials.user, parts.password or credentials.password
        self._http = httpx.Client(
            base_url=self.address,
            headers=headers,
            auth=(user, password) if user and not credentials.token else None,
            verify=_verification(credentials),
            timeout=_TIMEOUT,
            trust_env=parts.hostname not in _LOCAL,
            follow_redirects=False,
        )

    def version(self) -> str:
        """What the server says it is."""
        try:
            with self._sent("GET", "/version") as reply:
                return (
                    _bounded(reply, _VERSION * 10).decode("utf-8", "replace")[:_VERSION].strip() or _UNKNOWN
                )
        except (NotFound, Invalid):
            return _UNKNOWN

    def ask(self, kind: type[T], path: str, asked: Mapping[str, Any], *, get: bool = False) -> T:
        """An answer of a kind; `Unavailable` when the server does not answer, `Invalid` when not so."""
        given: dict[str, Any] = {"params": dict(asked)} if get else {"json": dict(asked)}
        with self._sent("GET" if get else "POST", path, **given) as reply:
            data = _bounded(reply, _LARGEST)
        try:
            return msgspec.convert(msgspec.json.decode(data), kind, strict=False)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
            raise Invalid(
                f"{self.address} does not answer {path.rpartition('/')[2]} as a tracking server does",
                hint="is it one? its address has nothing behind the port, or the prefix it is served under",
            ) from error

    def fetch(self, path: str) -> Iterator[bytes]:
        """A body in pieces."""
        with self._sent("GET", path) as reply:
            try:
                yield from reply.iter_bytes(_CHUNK)
            except httpx.HTTPError as error:
                raise self._unreachable(error) from error

    def data(self, path: str) -> bytes:
        """A whole body; nothing of what the server cannot give, so that one broken thing is not all of it."""
        reply = self._answered("GET", path, {})
        try:
            if reply.status_code in {401, 403}:
                raise self._refusal(reply, path)
            return _bounded(reply, _LARGEST) if reply.is_success else b""
        finally:
            reply.close()

    @contextmanager
    def _sent(self, method: str, path: str, **given: Any) -> Iterator[httpx.Response]:
        reply = self._answered(method, path, given)
        try:
            if not reply.is_success:
                raise self._refusal(reply, path)
            yield reply
        finally:
            reply.close()

    def _answered(self, method: str, path: str, given: dict[str, Any]) -> httpx.Response:
        for attempt in range(_ATTEMPTS):
            is_last = attempt + 1 == _ATTEMPTS
            try:
                reply = self._http.send(self._http.build_request(method, path, **given), stream=True)
            except httpx.TransportError as error:
                if is_last:
                    raise self._unreachable(error) from error
            else:
                if reply.status_code not in _AGAIN or is_last:
                    return reply
                reply.close()
            time.sleep(_PAUSE_S * 2**attempt)
        raise AssertionError("unreachable")

    def _refusal(self, reply: httpx.Response, path: str) -> LoopwrightError:
        status, call = reply.status_code, path.rpartition("/")[2][:60]
        if status in {401, 403}:
            return Denied(
                f"{self.address} does not let you in ({status})",
                hint="set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
            )
        if status == 404:
            return NotFound(f"{self.address} has no {call}")
        if 300 <= status < 400:
            return Invalid(
                f"{self.address} sends {call} elsewhere, which is not followed",
                hint="give the address that it sends to",
            )
        return Unavailable(f"{self.address} answers {call} with {status}", hint="its log says why")

    def _unreachable(self, error: httpx.HTTPError) -> Unavailable:
        what = str(error) or type(error).__name__
        return Unavailable(f"no answer from {self.address}: {what}", hint="is it running there?")

    def close(self) -> None:
        """Let go of connections."""
        self._http.close()


def _verification(credentials: Credentials) -> Any:
    if credentials.is_insecure:
        return False
    if not credentials.certificates:
        return True
    import ssl

    return ssl.create_default_context(cafile=credentials.certificates)


def _bounded(reply: httpx.Response, limit: int) -> bytes:
    pieces, size = list[bytes](), 0
    try:
        for piece in reply.iter_bytes(_CHUNK):
            size += len(piece)
            if size > limit:
                raise Invalid(f"an answer is over the limit of {limit:,} bytes")
            pieces.append(piece)
    except httpx.HTTPError as error:
        raise Unavailable(f"an answer ended early: {type(error).__name__}") from error
    return b"".join(pieces)
