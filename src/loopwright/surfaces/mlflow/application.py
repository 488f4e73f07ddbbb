"""MLflow's REST protocol as one ASGI application: a table of routes, each with scope, arguments and answer.

To add a group of routes, write a module beside this one with `routes() -> tuple[Route | RawRoute, ...]` and
name it once in `_groups` below; nothing else knows of it. For a call that takes and gives JSON:

    class Rename(Message, frozen=True):          # wire.Message; unknown fields are let pass
        name: Needed                             # wire.Needed: a text that must be there
        new_name: str | None = None              # null is as if it were not there
        size: Int64 = 100                        # 7 and "7"

    def routes() -> tuple[Route, ...]:
        return (Route(method="POST", path="things/rename", scope="thing:write", takes=Rename, answer=_rn),)

    def _rn(ctx: Context, asked: Rename) -> Renamed:     # in a thread; a Message, or None for `{}`
        return Renamed(thing=verbs.rename(ctx, asked.name, asked.new_name))

A path such as `things/{name}/tags/{key}` puts its parts among the arguments. GET reads them from the query,
all others from the JSON body. Errors are those of `core.errors`; `failures.py` gives them MLflow's codes
(`Taken` is RESOURCE_ALREADY_EXISTS). Bytes in and out go through a `RawRoute`, whose answer is a coroutine
that is given the whole `Call` (see `about.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Protocol

from starlette.types import Message, Receive, Scope, Send

from loopwright.core.errors import Fault, Invalid, LoopwrightError, Unavailable
from loopwright.engine.context import Context, Principal
from loopwright.surfaces.bodies import read_body
from loopwright.surfaces.mlflow import (
    about,
    artifacts,
    assessments,
    evaluation_datasets,
    experiments,
    intake,
    logged_models,
    metrics,
    older_traces,
    registry,
    runs,
    traces,
    webhooks,
)
from loopwright.surfaces.mlflow.failures import NoRoute, WrongMethod, refusal
from loopwright.surfaces.mlflow.routing import Call, RawRoute, Route, Table, replied
from loopwright.surfaces.mlflow.wire import Reader, encode
from loopwright.workspace.settings import Settings

__all__ = ["Host", "MlflowApp", "build_mlflow", "routes_of"]

log = logging.getLogger(__name__)

PRINCIPAL = "loopwright.principal"
REFUSED = "loopwright.refused"
_THREADS = 16
_WAITING = 512
_MEGABYTE = 1_000_000
_JSON = (b"content-type", b"application/json")
_JSON_LINE = b"content-type: application/json\r\n"
_TYPE = b"application/json"


class Host(Protocol):
    """A workspace, as far as this surface needs one."""

    settings: Settings

    def context(self, principal: Principal | None = None, space: str | None = None) -> Context:
        """A context to call verbs with; thread safe and cheap."""


def _groups(host: Host) -> tuple[tuple[Route | RawRoute, ...], ...]:
    """Every group of routes, one line each."""
    return (
        about.routes(),
        experiments.routes(),
        runs.routes(),
        intake.routes(),
        metrics.routes(),
        artifacts.routes(host.settings.max_upload_mb * _MEGABYTE),
        registry.routes(),
        logged_models.routes(),
        traces.routes(host.settings.max_upload_mb * _MEGABYTE),
        assessments.routes(),
        older_traces.routes(),
        evaluation_datasets.routes(),
        webhooks.routes(),
    )


def routes_of(host: Host) -> tuple[Route | RawRoute, ...]:
    """Every route there is, each with its scope."""
    return tuple(route for group in _groups(host) for route in group)


def build_mlflow(host: Host, more: Iterable[Route | RawRoute] = ()) -> MlflowApp:
    """The protocol over a workspace, with routes of others that answer in the same way."""
    return MlflowApp(host, (*routes_of(host), *more))


class MlflowApp:
    """Answers MLflow's clients; who admitted them has set `scope["loopwright.principal"]`.

    Who did not admit a request has set the error as `scope["loopwright.refused"]`: it is told in this form.
    """

    def __init__(self, host: Host, routes: Iterable[Route | RawRoute], *, threads: int = _THREADS) -> None:
        self._host = host
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="loopwright-mlflow")
        self._most = threads + _WAITING
        self._taken = 0
        self._table = Table()
        for route in routes:
            self._table.add(route, (route, Reader(route.takes) if isinstance(route, Route) else None))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        has_begun = False

        async def noting(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._answered(scope, receive, noting)
        except LoopwrightError as error:
            if has_begun:
                raise
            await _refuse(send, error)
        except Exception:  # the last handler of the surface: logged, and told without details
            log.exception("a call failed", extra={"path": scope.get("path")})
            if has_begun:
                raise
            await _refuse(send, Fault("the server failed; its log says why"))

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        if REFUSED in scope:
            raise scope[REFUSED]
        (route, reader), parts = self._found(scope)
        ctx = self._host.context(scope.get(PRINCIPAL))
        ctx.require(route.scope)
        call = Call(
            scope=scope,
            receive=receive,
            send=send,
            ctx=ctx,
            parts=parts,
            headers=dict(scope["headers"]),
            in_thread=self._in_thread,
            at_writer=partial(self._at_writer, ctx),
            in_turn=partial(self._in_turn, ctx),
        )
        if reader is None:
            await route.answer(call)
            return
        asked = await _arguments(route, reader, call)
        work = partial(_encoded, route.answer, ctx, asked)
        body = await (self._at_writer(ctx, work) if route.writes else self._in_thread(work))
        if not replied(scope, _JSON_LINE, body):
            await _send(send, 200, body)

    def _found(self, scope: Scope) -> tuple[Any, Mapping[str, str]]:
        found = self._table.find(scope["method"], scope)
        if isinstance(found, tuple):
            return found
        if found:
            methods = ", ".join(sorted(found))
            raise WrongMethod(f"this path does not take {scope['method']}", hint=methods)
        raise NoRoute(f"Endpoint {scope['path'][:200]} is not found", hint="this server does not have it")

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        """The value of `work()`, run in one of the threads; `Unavailable` when too many wait."""
        loop = asyncio.get_running_loop()
        told: asyncio.Future[Any] = loop.create_future()
        with self._admitted():
            self._pool.submit(_worked, work, partial(_tell, loop, told))
            return await told

    async def _at_writer(self, ctx: Context, work: Callable[[], Any]) -> Any:
        """As `_in_thread`, but on the ledger's own thread for writes, where it has one: a hop less."""
        loop = asyncio.get_running_loop()
        told: asyncio.Future[Any] = loop.create_future()
        with self._admitted():
            if ctx.ports.ledger.post(lambda _: work(), partial(_tell, loop, told)):
                return await told
        return await self._in_thread(work)

    async def _in_turn(self, ctx: Context, prepare: Callable[[], Callable[[], Any]]) -> Any:
        """The value of what `prepare()` gives, that done in a thread and this where writes are."""
        loop = asyncio.get_running_loop()
        told: asyncio.Future[Any] = loop.create_future()
        with self._admitted():
            self._pool.submit(_prepared, ctx, prepare, partial(_tell, loop, told))
            return await told

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        if self._taken >= self._most:
            raise Unavailable("the server is busy", hint="try again in a second")
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1


def _worked(work: Callable[[], Any], then: Callable[[Any, BaseException | None], None]) -> None:
    """Do a work and tell of it: half the steps of an executor's own future."""
    try:
        value = work()
    except BaseException as error:  # noqa: BLE001 - the worker's last handler: the caller gets it
        then(None, error)
    else:
        then(value, None)


def _prepared(
    ctx: Context,
    prepare: Callable[[], Callable[[], Any]],
    then: Callable[[Any, BaseException | None], None],
) -> None:
    """Do what is slow here and the rest where writes are, or here too where the ledger has no thread."""
    try:
        work = prepare()
        if ctx.ports.ledger.post(lambda _: work(), then):
            return
    except BaseException as error:  # noqa: BLE001 - the worker's last handler: the caller gets it
        then(None, error)
    else:
        _worked(work, then)


def _tell(
    loop: asyncio.AbstractEventLoop, told: asyncio.Future[Any], value: Any, error: BaseException | None
) -> None:
    with suppress(RuntimeError):  # the loop has ended, and with it whoever waited
        loop.call_soon_threadsafe(_settle, told, value, error)


def _settle(told: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if told.cancelled():
        return
    if error is None:
        told.set_result(value)
    else:
        told.set_exception(error)


def _encoded(answer: Callable[[Context, Any], Any], ctx: Context, asked: Any) -> bytes:
    reply = answer(ctx, asked)
    return b"{}" if reply is None else encode(reply)


async def _arguments(route: Route, reader: Reader, call: Call) -> Any:
    if route.method == "GET":
        return reader.query(call.scope["query_string"], call.parts)
    body = await read_body(call.receive, call.headers, route.body_limit)
    if not body and route.method == "DELETE":
        return reader.query(call.scope["query_string"], call.parts)
    if call.headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != _TYPE:
        raise Invalid("Bad Request. Content-Type must be 'application/json'.")
    return reader.body(body, call.parts)


async def _refuse(send: Send, error: LoopwrightError) -> None:
    status, body = refusal(error)
    more: list[tuple[bytes, bytes]] = []
    if isinstance(error, WrongMethod):
        more.append((b"allow", error.hint.encode()))
    if isinstance(error, Unavailable):
        more.append((b"retry-after", b"1"))
    await _send(send, status, body, more)


async def _send(send: Send, status: int, body: bytes, more: Iterable[tuple[bytes, bytes]] = ()) -> None:
    headers = [_JSON, (b"content-length", b"%d" % len(body)), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
