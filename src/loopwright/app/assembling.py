"""One server from a workspace: the API, with MLflow's protocol, inference and the pages mounted beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import cached_property
from importlib import import_module
from typing import Any

from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Receive, Scope, Send

from loopwright.core.errors import Denied, Invalid
from loopwright.engine.context import Principal
from loopwright.surfaces.http import PRINCIPAL, Application, build_app
from loopwright.surfaces.http.admission import is_loopback
from loopwright.workspace import Settings, Workspace

__all__ = ["Deferred", "assemble", "check_exposure"]

_MLFLOW = (
    "/api",
    "/ajax-api",
    "/health",
    "/version",
    "/get-artifact",
    "/model-versions",
    "/v1/traces",
    "/graphql",
)
"""what of the server's paths is MLflow's; ours have longer prefixes"""


class Deferred:
    """An application that is made at its first request: a server at rest pays nothing for it."""

    def __init__(self, make: Callable[[], ASGIApp]) -> None:
        self._make = make
        self._made: ASGIApp | None = None
        self._making = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on."""
        made = self._made
        if made is None:
            async with self._making:
                if self._made is None:
                    self._made = await asyncio.to_thread(self._make)
                made = self._made
        await made(scope, receive, send)


def assemble(
    workspace: Workspace,
    more: Iterable[tuple[str, ASGIApp]] = (),
    *,
    principal: Principal | None = None,
) -> Application:
    """The whole application of a workspace, with `more` mounted by the prefix of their paths.

    Every admitted caller is the `principal`: the settings', who may do everything, unless another is given.
    """

    def inference() -> ASGIApp:
        made: ASGIApp = import_module("loopwright.surfaces.inference.application").InferenceApp(
            workspace.runtime, authorise=_check_right
        )
        return made

    def mlflow() -> ASGIApp:
        made: ASGIApp = import_module("loopwright.surfaces.mlflow.application").build_mlflow(
            workspace, (_spans(),)
        )
        return made

    def pages() -> ASGIApp:
        made: ASGIApp = import_module("loopwright.surfaces.ui").build_site(workspace)
        return made

    protocol = Deferred(mlflow)
    mounts: list[tuple[str, ASGIApp]] = [("/v2", Deferred(inference)), ("/", Deferred(pages)), *more]
    mounts += [(path, protocol) for path in _MLFLOW]
    app = build_app(workspace, mounts=mounts, protocols=(protocol,), principal=principal)
    app.metrics.registry.register(_Predictions(workspace))
    return app


class _Predictions(Collector):
    """What the workspace's endpoints answered; the collector is made at the first scrape."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    @cached_property
    def _collector(self) -> Collector:
        made: Collector = import_module("loopwright.surfaces.inference.metrics").RuntimeCollector(
            self._workspace.runtime
        )
        return made

    def collect(self) -> Iterable[Metric]:
        """As the runtime's own collector."""
        return self._collector.collect()


def _spans() -> Any:
    """The route of OpenTelemetry's spans, answered by its own surface in the threads of MLflow's."""
    intake = import_module("loopwright.surfaces.otlp.intake")
    read_body = import_module("loopwright.surfaces.bodies").read_body
    route = import_module("loopwright.surfaces.mlflow.routing").RawRoute
    return route(method="POST", path=intake.PATH, scope=intake.SCOPE, answer=intake.exporter(read_body))


def _check_right(scope: Any, right: str) -> None:
    principal: Principal = scope[PRINCIPAL]
    if not principal.may(right):
        raise Denied(f"{principal.name} lacks the scope {right}", hint="ask an owner of the space for it")


def check_exposure(settings: Settings, *, is_insecure: bool) -> None:
    """`Invalid` when a server would be open to other machines without a token, unless that is wanted."""
    if not is_loopback(settings.host) and not settings.token and not is_insecure:
        raise Invalid(
            f"{settings.host} can be reached from other machines, and no token is set",
            hint="set LOOPWRIGHT_TOKEN, or say --insecure when the network keeps strangers out",
            where="--host",
        )
