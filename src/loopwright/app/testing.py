"""A server for other people's test suites: `POST /api/v1/testing/reset` empties it between their tests."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from loopwright.core.errors import Invalid, LoopwrightError, NotFound, Unavailable
from loopwright.surfaces.http import Application
from loopwright.surfaces.http.admission import is_loopback
from loopwright.surfaces.http.failures import failure_response
from loopwright.workspace import Settings, Workspace, empty_workspace, open_for_testing

__all__ = ["RESET", "TestingServer", "check_testing"]

RESET = "/api/v1/testing/reset"
_PATIENCE_S = 30.0

Assemble = Callable[[Workspace, list[tuple[str, ASGIApp]]], Application]


def check_testing(settings: Settings) -> None:
    """`Invalid` unless only this machine will reach the server: whoever can call it can empty it."""
    if not is_loopback(settings.host):
        raise Invalid(
            f"--testing lets every caller throw all away, and {settings.host} can be reached by others",
            hint="leave --host out, or say --host 127.0.0.1",
            where="--host",
        )


class TestingServer:
    """The server of a workspace that can be emptied while it runs.

    A reset lets running requests end, keeps new ones waiting, closes the workspace, empties its stores
    and opens it again: what was kept in memory for speed is gone because those who kept it are.
    """

    __test__ = False  # the name is no test's

    def __init__(self, settings: Settings, assemble: Assemble) -> None:
        self._settings = settings
        self._assemble = assemble
        self._workspace = open_for_testing(settings)
        self._app = self._assembled()
        self._running = 0
        self._asking = 0
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._quiet = asyncio.Condition()
        self._one = asyncio.Lock()

    def _assembled(self) -> Application:
        return self._assemble(self._workspace, [(RESET, self._reset)])

    def start(self) -> None:
        """Start what works in the background."""
        self._workspace.start()

    def close(self) -> None:
        """Close the workspace of the moment."""
        self._workspace.close()

    def stop_feeds(self) -> None:
        """End the live feeds; called when the server begins to stop."""
        self._app.stop_feeds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, once no reset is under way."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        while not self._is_open.is_set():  # one reset may follow another before this request is woken
            await self._is_open.wait()
        with self._counted():
            await self._app(scope, receive, send)
        async with self._quiet:
            self._quiet.notify_all()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    async def _reset(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._asking += 1
        try:
            reply = await self._answered(scope)
        except LoopwrightError as error:
            reply = failure_response(error)
        finally:
            self._asking -= 1
        await reply(scope, receive, send)

    async def _answered(self, scope: Scope) -> Response:
        if scope["path"] != RESET:
            raise NotFound(f"there is no path {scope['path'][:200]!r}", hint=f"POST {RESET}")
        if scope["method"] != "POST":
            error = Invalid(f"{RESET} has no {scope['method'][:20]}", hint="it has POST")
            return failure_response(error, headers={"allow": "POST"}, status=405)
        async with self._one:
            self._is_open.clear()
            try:
                await self._drained()
                await asyncio.to_thread(self._renewed)
            finally:
                self._is_open.set()
        return JSONResponse({"state": "empty"})

    async def _drained(self) -> None:
        """Wait until nothing runs but those that ask for a reset."""
        self._app.stop_feeds()
        try:
            async with asyncio.timeout(_PATIENCE_S), self._quiet:
                await self._quiet.wait_for(lambda: self._running <= self._asking)
        except TimeoutError as error:
            raise Unavailable(
                f"a request still runs after {_PATIENCE_S:g} s", hint="end it, then reset again"
            ) from error

    def _renewed(self) -> None:
        self._app.close()
        self._workspace.close()
        try:
            empty_workspace(self._settings)
        finally:
            self._workspace = open_for_testing(self._settings)
            self._app = self._assembled()
            self._workspace.start()
        gc.collect()  # threads of pools end with their owners, which know one another
