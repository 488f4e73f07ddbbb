"""The pages' application: routes, templates, the policy of what a page may load."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Awaitable, Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import loopwright
from loopwright.core.errors import Invalid, LoopwrightError, NotFound
from loopwright.engine.context import Context, Principal
from loopwright.engine.wire import failure_of
from loopwright.surfaces.ui.desk import Desk, Page, Query
from loopwright.surfaces.ui.frames import FRAME_POLICY, framed
from loopwright.surfaces.ui.graphs import drawn
from loopwright.surfaces.ui.hinting import place_of
from loopwright.surfaces.ui.pages import PAGES
from loopwright.surfaces.ui.shaping import (
    FILTERS,
    event_link,
    event_subject,
    event_text,
    event_tone,
    interval,
    span,
)
from loopwright.surfaces.ui.tracking import run_rows

__all__ = ["build_site"]

log = logging.getLogger(__name__)

_HERE = Path(__file__).parent
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_FRAME_HEADERS = {**_HEADERS, "Content-Security-Policy": FRAME_POLICY, "X-Frame-Options": "SAMEORIGIN"}
_FRAMES = ("iframe", "frame", "empty")
"""where a logged page may be drawn: alone in a window it could pass for one of ours, or lead away"""
_NAV = (
    ("/", "Home", "h"),
    ("/assets", "Assets", "a"),
    ("/experiments", "Experiments", "x"),
    ("/runs", "Runs", "r"),
    ("/models", "Models", "o"),
    ("/endpoints", "Endpoints", "e"),
    ("/monitoring", "Monitoring", "m"),
    ("/incidents", "Incidents", "i"),
    ("/decisions", "Decisions", "d"),
    ("/journal", "Journal", "j"),
)
"""pages with the letter that goes to them"""
_SECTIONS = {
    "traces": "/experiments",
    "versions": "/assets",
    "contracts": "/assets",
    "erasures": "/assets",
    "explore": "/assets",
    "explorations": "/assets",
    "labels": "/assets",
    "compare": "/experiments",
    "prompts": "/models",
    "evaluation": "/models",
    "webhooks": "/models",
    "trash": "/experiments",
}
_PACKED_FROM, _PACKING = 800, 5


class _Files(StaticFiles):
    """Static files with the same headers as pages, packed once, kept by the browser for an hour."""

    async def get_response(self, path: str, scope: Any) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update({**_HEADERS, "Cache-Control": "max-age=3600", "Vary": "Accept-Encoding"})
        if not isinstance(response, FileResponse) or "gzip" not in Headers(scope=scope).get(
            "accept-encoding", ""
        ):
            return response
        body = await run_in_threadpool(_packed, str(response.path), response.headers["etag"])
        dropped = ("content-length", "accept-ranges")
        headers = {key: value for key, value in response.headers.items() if key not in dropped}
        headers["content-encoding"] = "gzip"
        return Response(body, response.status_code, headers)


@lru_cache(maxsize=64)
def _packed(path: str, etag: str) -> bytes:
    """A file of our own, packed; `etag` tells one state of it from the next."""
    return gzip.compress(Path(path).read_bytes(), _PACKING, mtime=0)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    environment.filters["json"] = lambda value: msgspec.json.encode(value).decode()
    environment.globals.update(
        nav=_NAV,
        place_of=place_of,
        version=loopwright.__version__,
        event_text=event_text,
        event_link=event_link,
        event_subject=event_subject,
        event_tone=event_tone,
        interval=interval,
        span=span,
        lineage_drawn=drawn,
    )
    return environment


Endpoint = Callable[[Request], Awaitable[Response]]


class _Site:
    """Renders pages over the operations of a workspace."""

    def __init__(self, host: Any) -> None:
        self._host = host
        self._environment = _environment()

    def endpoint(self, page: Page) -> Endpoint:
        """The request handler of a page."""

        async def handle(request: Request) -> Response:
            return await run_in_threadpool(self._answer, request, page)

        return handle

    def _context(self, request: Request) -> Context:
        principal: Principal | None = request.scope.get("loopwright.principal")
        found: Context = self._host.context(principal)
        return found

    def _desk(self, request: Request) -> Desk:
        return Desk(self._host.operations, self._context(request))

    def _answer(self, request: Request, page: Page) -> Response:
        try:
            query = Query(request.query_params.multi_items())
            values = page.build(self._desk(request), dict(request.path_params), query)
            return self._rendered(request, page.template, values, 200)
        except LoopwrightError as error:
            return self._failed(request, error)
        except Exception:  # the last handler of a page: logged, and told without a traceback
            log.exception("page failed", extra={"path": request.url.path})
            return self._failed(
                request, LoopwrightError("this page could not be made", hint="see the server's log")
            )

    async def rows(self, request: Request) -> Response:
        """Rows of the table of runs, as JSON for its script."""
        return await run_in_threadpool(self._rows, request)

    def _rows(self, request: Request) -> Response:
        status = 200
        try:
            values: Any = run_rows(self._desk(request), {}, Query(request.query_params.multi_items()))
        except LoopwrightError as error:
            values, status = failure_of(error), error.status
        except Exception:  # the last handler of what a script asks for: logged, and told without a traceback
            log.exception("rows failed", extra={"path": request.url.path})
            values, status = (
                failure_of(LoopwrightError("the rows could not be read", hint="see the log")),
                500,
            )
        return Response(msgspec.json.encode(values), status, _HEADERS, "application/json")

    async def hints(self, request: Request) -> Response:
        """Where the command that a refusal names is done, as JSON for the script of a form; or null."""
        found = place_of(request.query_params.get("text", ""))
        told = None if found is None else {"address": found[0], "said": found[1]}
        return Response(msgspec.json.encode(told), 200, _HEADERS, "application/json")

    async def frame(self, request: Request) -> Response:
        """A page or a drawing among the files of a run, in a sandbox in which no script runs."""
        return await run_in_threadpool(self._framed, request)

    def _framed(self, request: Request) -> Response:
        try:
            if request.headers.get("sec-fetch-dest", "iframe") not in _FRAMES:
                raise Invalid("this is shown within its run alone", hint="open the run's page")
            path = request.query_params.get("path", "")
            body, media = framed(self._desk(request), request.path_params["run_id"], path)
        except LoopwrightError as error:
            return self._failed(request, error)
        return Response(body, 200, _FRAME_HEADERS, media)

    def _failed(self, request: Request, error: LoopwrightError) -> Response:
        return self._rendered(request, "error.html", {"error": error, "title": "Not here"}, error.status)

    def _rendered(self, request: Request, template: str, values: dict[str, Any], status: int) -> Response:
        first = request.url.path.strip("/").partition("/")[0]
        given = {"section": _SECTIONS.get(first, f"/{first}"), **values}
        text = self._environment.get_template(template).render(
            path_now=request.url.path, page_token=request.query_params.get("token"), **given
        )
        return Response(text, status, _HEADERS, "text/html; charset=utf-8")

    async def missing(self, request: Request, error: Exception) -> Response:
        """Nothing is at this address."""
        status = error.status_code if isinstance(error, HTTPException) else 404
        told = NotFound(
            f"there is no page at {request.url.path[:120]}",
            hint="its address may be mistyped, or what it showed has gone; press / to find a page",
        )
        response = self._failed(request, told)
        response.status_code = status
        return response


def build_site(host: Any) -> Starlette:
    """The pages of a workspace (anything with `operations` and `context()`), to be mounted at `/`."""
    site = _Site(host)
    routes: list[Route | Mount] = [Route(page.path, site.endpoint(page), methods=["GET"]) for page in PAGES]
    routes.insert(0, Route("/runs/{run_id}/frame", site.frame, methods=["GET"]))
    routes.append(Route("/rows", site.rows, methods=["GET"]))
    routes.append(Route("/hints", site.hints, methods=["GET"]))
    routes.append(Mount("/static", _Files(directory=_HERE / "static")))
    packed = Middleware(GZipMiddleware, minimum_size=_PACKED_FROM, compresslevel=_PACKING)
    return Starlette(
        routes=routes, middleware=[packed], exception_handlers={404: site.missing, 405: site.missing}
    )
