"""The API under `/api/v1`, the probes and the metrics: one endpoint per operation, compiled at the start."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from loopwright.core.addresses import check_name
from loopwright.core.errors import Invalid, LoopwrightError, NotFound, Unavailable
from loopwright.core.nouns import Json
from loopwright.engine.context import Context, Principal
from loopwright.engine.operation import Form, Operation, Upload, perform
from loopwright.surfaces.http.admission import refuse_foreign_listener, seen_headers
from loopwright.surfaces.http.bodies import read_body, upload_of
from loopwright.surfaces.http.decoding import RequestDecoder
from loopwright.surfaces.http.events import EventFeed
from loopwright.surfaces.http.failures import failure_response, fault_of
from loopwright.surfaces.http.host import Host, Limits
from loopwright.surfaces.http.lookups import LOOKUP, Lookups
from loopwright.surfaces.http.metrics import Metrics
from loopwright.surfaces.http.openapi import PREFIX, describe
from loopwright.surfaces.http.replies import blob_reply, job_reply, json_reply, stream_reply
from loopwright.surfaces.http.routing import Match, Router, segments_of
from loopwright.surfaces.http.threads import Pool
from loopwright.surfaces.senders import Senders, Sending

__all__ = ["PRINCIPAL", "Api", "WrongMethod"]

log = logging.getLogger(__name__)

PRINCIPAL = "loopwright.principal"
"""where the gate leaves the principal in the ASGI scope"""

Handler = Callable[[Request, dict[str, str]], Awaitable[Response]]


class Generic(Protocol):
    """The route of any operation; a body that was read already is handed on."""

    async def __call__(
        self, request: Request, path: dict[str, str], given: bytes | None = None
    ) -> Response: ...


class WrongMethod(Invalid):
    """The path exists, but not with this method."""

    status = 405


class UnsupportedBody(Invalid):
    """The body is of a type that is not understood."""

    status = 415


@dataclass(frozen=True, slots=True)
class _Endpoint:
    name: str
    handle: Handler


class Api:
    """An ASGI application; its scope holds a principal (see `gate`)."""

    def __init__(self, host: Host, *, limits: Limits, metrics: Metrics, version: str) -> None:
        self._host = host
        self._limits = limits
        self._metrics = metrics
        self._version = version
        self._pool = Pool(threads=limits.threads, waiting=limits.waiting, name="verbs")
        self._uploads = Pool(threads=limits.uploads, waiting=limits.uploads, name="uploads")
        self._senders = Senders(limits.uploads, waiting=limits.uploads_waiting, pace=limits.upload_pace)
        self._streams = Pool(threads=limits.streams, waiting=limits.waiting, name="streams")
        self._feed = EventFeed(host, limits, self._streams)
        self._lookups = Lookups(host, self._pool, limits.deadline_s)
        metrics.listeners.set_function(lambda: self._feed.count)
        self._document = b""
        self._router: Router[_Endpoint] = Router()
        self._add_routes()

    def _add_routes(self) -> None:
        for template, handle in (
            ("/healthz", self._healthz),
            ("/readyz", self._readyz),
            ("/metrics", self._show_metrics),
            (f"{PREFIX}/openapi.json", self._openapi),
            (f"{PREFIX}/events", self._events),
        ):
            self._router.add("GET", template, _Endpoint(template.rpartition("/")[2], handle))
        for operation in self._host.operations.values():
            if not operation.local:
                made = self._lookup if operation.name == LOOKUP else self._handler
                endpoint = _Endpoint(operation.name, made(operation))
                self._router.add(operation.method, PREFIX + operation.path, endpoint)

    def close_feeds(self) -> None:
        """End the live feeds, which would keep a stopping server waiting."""
        self._feed.close()

    def close(self) -> None:
        """Take no more work."""
        self._feed.close()
        self._lookups.close()
        self._pool.close()
        self._uploads.close()
        self._streams.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; what is raised becomes a JSON failure."""
        started = time.perf_counter()
        request = Request(scope, receive)
        name = ""
        try:
            match = self._match(request)
            assert match.endpoint is not None
            name = match.endpoint.name
            response = await match.endpoint.handle(request, match.values)
        except ClientDisconnect:
            return
        except WrongMethod as error:
            response = failure_response(error, headers={"allow": error.where})
        except LoopwrightError as error:
            response = failure_response(error)
        except Exception as error:  # noqa: BLE001 - the surface's last handler: logged, told without a traceback
            response = failure_response(fault_of(error, name or "the request"))
        self._metrics.observe(name, response.status_code, time.perf_counter() - started)
        await response(scope, receive, send)

    def _match(self, request: Request) -> Match[_Endpoint]:
        raw = request.scope.get("raw_path") or request.scope["path"].encode()
        method = "GET" if request.method == "HEAD" else request.method
        match = self._router.match(method, segments_of(raw, self._limits.path_bytes))
        if match.endpoint is not None:
            return match
        path = request.scope["path"][:200]
        if not match.methods:
            raise NotFound(
                f"there is no path {path!r}", hint=f"{PREFIX}/openapi.json lists all", where="path"
            )
        methods = ", ".join(match.methods)
        raise WrongMethod(f"{path!r} has no {method[:20]}", hint=f"it has {methods}", where=methods)

    def _context(self, request: Request) -> Context:
        space = request.headers.get("loopwright-space")
        principal: Principal = request.scope[PRINCIPAL]
        return self._host.context(principal, check_name(space) if space is not None else None)

    def _handler(self, operation: Operation) -> Generic:
        decoder = RequestDecoder(operation)
        is_upload = operation.upload_name is not None
        deadline_s = self._limits.upload_deadline_s if is_upload else self._limits.deadline_s

        async def handle(request: Request, path: dict[str, str], given: bytes | None = None) -> Response:
            ctx = self._context(request)
            ctx.require(operation.scope)
            if operation.form is Form.STREAM:
                refuse_foreign_listener(seen_headers(request.headers.raw))
            body = given if given is not None else await self._body(request) if decoder.has_body else b""
            values = decoder.decode(path, request.scope["query_string"], body)
            sending = Sending(request.receive) if is_upload else None
            upload = None
            if sending is not None:
                upload = await upload_of(Request(request.scope, sending), self._limits.upload_bytes)
            run_id = request.headers.get("loopwright-run")
            is_great = upload is not None and not isinstance(upload.chunks, tuple)
            async with self._room(sending if is_great else None) as pool:
                result = await pool.run(
                    lambda: _carried_out(operation, _under(ctx, run_id), values, upload),
                    deadline_s=deadline_s,
                    doing=operation.name,
                )
            return await self._reply(operation, result, request)

        return handle

    @asynccontextmanager
    async def _room(self, sending: Sending | None) -> AsyncIterator[Pool]:
        """The threads that a call is carried out in: those of uploads for who sends much."""
        if sending is None:
            yield self._pool
            return
        async with self._senders.place(sending):
            yield self._uploads

    def _lookup(self, operation: Operation) -> Handler:
        """The route of online lookups, with the generic one for what is out of the ordinary."""
        generic = self._handler(operation)

        async def handle(request: Request, path: dict[str, str]) -> Response:
            ctx = self._context(request)
            ctx.require(operation.scope)
            body = await self._body(request)
            otherwise = partial(generic, request, path)
            return await self._lookups.answer(ctx, path["name"], request, body, otherwise)

        return handle

    async def _body(self, request: Request) -> bytes:
        body = await read_body(request, self._limits.body_bytes)
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if body and media_type not in {"", "application/json"}:
            raise UnsupportedBody(
                f"the body is {media_type[:80]!r}", hint="send content-type: application/json", where="header"
            )
        return body

    async def _reply(self, operation: Operation, result: Any, request: Request) -> Response:
        match operation.form:
            case Form.STREAM:
                return await stream_reply(result, request, self._streams, operation.name)
            case Form.BLOB:
                return blob_reply(result, request, self._streams)
            case Form.JOB:
                return job_reply(result)
            case _:
                return json_reply(result, operation.status)

    async def _healthz(self, _request: Request, _path: dict[str, str]) -> Response:
        return json_reply(b'{"status":"ok"}', 200)

    async def _readyz(self, _request: Request, _path: dict[str, str]) -> Response:
        def revision() -> str:
            ledger = self._host.context().ports.ledger
            with ledger.read() as tx:
                tx.journal.head()
            return ledger.revision()

        try:
            found = await self._pool.run(revision, deadline_s=5.0, doing="reading the ledger")
        except Unavailable as error:
            return failure_response(error)
        return json_reply(msgspec.json.encode({"status": "ready", "ledger": found}), 200)

    async def _show_metrics(self, request: Request, _path: dict[str, str]) -> Response:
        self._context(request).require("server:read")
        return await self._pool.run(self._metrics.reply, deadline_s=10.0, doing="metrics")

    async def _openapi(self, request: Request, _path: dict[str, str]) -> Response:
        self._context(request).require("server:read")
        if not self._document:
            self._document = await self._pool.run(self._described, deadline_s=30.0, doing="openapi")
        return json_reply(self._document, 200)

    def _described(self) -> bytes:
        return msgspec.json.encode(describe(self._host.operations, version=self._version))

    async def _events(self, request: Request, _path: dict[str, str]) -> Response:
        refuse_foreign_listener(seen_headers(request.headers.raw))
        return await self._feed.reply(request, self._context(request))


def _under(ctx: Context, run_id: str | None) -> Context:
    """The context inside the run a caller says it is in; `NotFound` when there is none in its space."""
    if run_id is None:
        return ctx
    ctx.require("run:write")
    with ctx.read() as tx:
        run = tx.runs.get(run_id)
    if run.space != ctx.space:
        raise NotFound(f"there is no run:{run_id[:100]}", hint="loopwright runs list", where="loopwright-run")
    return ctx.under(run_id)


def _carried_out(operation: Operation, ctx: Context, values: Json, upload: Upload | None) -> Any:
    """The operation's result; a value or a page is encoded here, in the pool's thread."""
    result = perform(operation, ctx, values, upload=upload)
    return msgspec.json.encode(result) if operation.form in {Form.VALUE, Form.PAGE} else result
