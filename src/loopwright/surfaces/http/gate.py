"""The outermost application: admits a request, then hands it over by the prefix of its path.

Raw ASGI on purpose: what is mounted for speed (inference) pays for one look at the headers and nothing else.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Collection, Sequence
from functools import partial
from urllib.parse import quote, unquote_to_bytes

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import loopwright
from loopwright.core.errors import LoopwrightError, TooLarge, Unauthenticated
from loopwright.engine.context import Principal
from loopwright.surfaces.http.admission import COOKIE, Rules, admit, rules_for, seen_headers
from loopwright.surfaces.http.api import PRINCIPAL, Api
from loopwright.surfaces.http.failures import failure_response
from loopwright.surfaces.http.host import Host, Limits, limits_of
from loopwright.surfaces.http.metrics import Metrics
from loopwright.surfaces.http.replies import REPLY, Reply
from loopwright.surfaces.http.routing import segments_of

__all__ = ["REFUSED", "REPLY", "Application", "Reply", "build_app"]

log = logging.getLogger(__name__)

_OWN = ("/api/v1", "/api", "/healthz", "/readyz", "/metrics")
_PROBES = frozenset({"/healthz", "/readyz"})

REFUSED = "loopwright.refused"
"""where a protocol finds the error of a request that was refused, to tell it in its own form"""

_SAFETY = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"frame-ancestors 'none'"),
)
_SAFETY_LINES = b"".join(b"%b: %b\r\n" % pair for pair in _SAFETY)


class Application:
    """The whole server as one ASGI application; `metrics.registry` takes collectors of what is mounted."""

    def __init__(
        self,
        api: Api,
        mounts: Sequence[tuple[str, ASGIApp]],
        *,
        protocols: Collection[ASGIApp],
        rules: Rules,
        limits: Limits,
        principal: Principal,
        metrics: Metrics,
    ) -> None:
        self.metrics = metrics
        self._api = api
        self._rules = rules
        self._limits = limits
        self._principal = principal
        self._protocols = protocols
        targets: list[tuple[str, ASGIApp]] = [*mounts, *((prefix, api) for prefix in _OWN)]
        self._targets = sorted(
            ((prefix.rstrip("/"), app) for prefix, app in targets), key=lambda t: len(t[0]), reverse=True
        )

    def stop_feeds(self) -> None:
        """End the live feeds; called when the server begins to stop."""
        self._api.close_feeds()

    def close(self) -> None:
        """Take no more work; the end of the lifespan says so too."""
        self._api.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit, then hand over."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        path: str = scope["path"]
        target = self._target(path)
        is_protocol = target in self._protocols
        try:
            if path not in _PROBES:
                self._admit(scope, check_parts=not is_protocol)
        except LoopwrightError as error:
            if not is_protocol:
                await self._refuse(error, scope, receive, send)
                return
            scope[REFUSED] = error
        scope[PRINCIPAL] = self._principal
        if REPLY in scope:
            scope[REPLY] = partial(_guarded_reply, scope[REPLY])
        await target(scope, receive, _guarded(send))

    def _admit(self, scope: Scope, *, check_parts: bool) -> None:
        headers = scope["headers"]
        size = sum(len(key) + len(value) for key, value in headers)
        if size > self._limits.header_bytes:
            raise TooLarge(f"the headers have {size} bytes", hint="send fewer headers", where="header")
        asked = len(scope["query_string"])
        if asked > self._limits.header_bytes:
            raise TooLarge(f"the query has {asked} bytes", hint="ask for less at once", where="query")
        raw = scope.get("raw_path") or scope["path"].encode()
        if check_parts or len(raw) > self._limits.path_bytes:
            segments_of(raw, self._limits.path_bytes)
        admit(self._rules, scope["method"], seen_headers(headers))

    async def _refuse(self, error: LoopwrightError, scope: Scope, receive: Receive, send: Send) -> None:
        token = _token_in_query(scope["query_string"])
        may_sign_in = isinstance(error, Unauthenticated) and scope["method"] == "GET" and token is not None
        if may_sign_in and _is_right(self._rules, scope, token or b""):
            await _signed_in(scope["path"], token or b"")(scope, receive, _guarded(send))
        else:
            await failure_response(error)(scope, receive, _guarded(send))

    def _target(self, path: str) -> ASGIApp:
        for prefix, app in self._targets:
            if path.startswith(prefix) and (len(path) == len(prefix) or path[len(prefix)] == "/"):
                return app
        return self._api

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                self._api.close()
                await send({"type": "lifespan.shutdown.complete"})
                return


def _guarded_reply(reply: Reply, status: int, lines: bytes, body: bytes) -> bool:
    return reply(status, _SAFETY_LINES + lines, body)


def _guarded(send: Send) -> Send:
    """A `send` that adds the safety headers a reply does not set itself."""

    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", ()))
            present = {key for key, _ in headers}
            headers.extend(pair for pair in _SAFETY if pair[0] not in present)
            message["headers"] = headers
        await send(message)

    return guarded


def _token_in_query(query: bytes) -> bytes | None:
    for pair in query.split(b"&"):
        key, _, value = pair.partition(b"=")
        if key == b"token":
            return unquote_to_bytes(value.replace(b"+", b" "))
    return None


def _is_right(rules: Rules, scope: Scope, token: bytes) -> bool:
    headers = seen_headers(scope["headers"])
    try:
        admit(rules, "GET", {**headers, b"authorization": b"Bearer " + token})
    except LoopwrightError:
        return False
    return True


def _signed_in(path: str, token: bytes) -> RedirectResponse:
    """Back to the same page without the token in its address, with a cookie in its place (for browsers)."""
    response = RedirectResponse("/" + quote(path.lstrip("/\\")), 303)
    response.set_cookie(COOKIE, quote(token), httponly=True, samesite="strict", path="/")
    return response


def build_app(
    host: Host,
    *,
    mounts: Sequence[tuple[str, ASGIApp]] = (),
    protocols: Collection[ASGIApp] = (),
    limits: Limits | None = None,
    principal: Principal | None = None,
) -> Application:
    """The server of a workspace: API, probes, metrics, live feed, and further applications by path prefix.

    A mounted application sees the whole path, and the principal as `scope["loopwright.principal"]`. The
    longest prefix wins, a mount before one of ours that is as long: `/api/v1`, `/api`, `/healthz`, `/readyz`,
    `/metrics`. Of the mounted, `protocols` are other people's: they check the parts of their paths, and tell
    refusals, themselves (see `REFUSED`). `principal` is who every admitted caller is: the settings' unless
    given.
    """
    kept = limits or limits_of(host.settings)
    metrics = Metrics(host.operations, loopwright.__version__)
    settings = host.settings
    rules = rules_for(settings.host, settings.token, settings.allowed_hosts, socket.gethostname())
    return Application(
        Api(host, limits=kept, metrics=metrics, version=loopwright.__version__),
        mounts,
        protocols=protocols,
        rules=rules,
        limits=kept,
        principal=principal or Principal(name=settings.principal),
        metrics=metrics,
    )
