"""What the server says of itself: health, version, abilities."""

from __future__ import annotations

from typing import Any

import msgspec

from loopwright.engine.context import Context
from loopwright.surfaces.mlflow.routing import Call, RawRoute, Route
from loopwright.surfaces.mlflow.wire import Nothing

__all__ = ["PROTOCOL", "routes"]

PROTOCOL = "3.17.2"
"""the version of the protocol that is spoken: clients ask it to know what the server can"""


FEATURES = {
    "traces": True,
    "assessments": True,
    "evaluation_datasets": True,
    "webhooks": True,
    "gateway": False,
    "graphql": False,
    "issues": False,
    "label_schemas": False,
    "prompt_optimization": False,
    "review_queues": False,
    "scorers": False,
}
"""which parts of the protocol are there; clients know `gateway`; the others are for people"""


class ServerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Abilities, as clients ask for them before they use one."""

    store_type: str = "SqlStore"
    workspaces_enabled: bool = False
    trace_archival_enabled: bool = False
    multipart_uploads_enabled: bool = False
    multipart_downloads_enabled: bool = False
    presigned_upload_run_id_supported: bool = False
    presigned_upload_model_id_supported: bool = False
    features_enabled: dict[str, bool] = {}


def routes() -> tuple[Route | RawRoute, ...]:
    """`/health`, `/version` and `server-info`."""
    return (
        RawRoute(method="GET", path="/health", scope="server:read", answer=_health),
        RawRoute(method="GET", path="/version", scope="server:read", answer=_version),
        Route(method="GET", path="server-info", scope="server:read", takes=Nothing, answer=_server_info),
    )


def _server_info(_ctx: Context, _asked: Nothing) -> Any:
    return ServerInfo(features_enabled=FEATURES)


async def _health(call: Call) -> None:
    await _text(call, b"OK")


async def _version(call: Call) -> None:
    await _text(call, PROTOCOL.encode())


async def _text(call: Call, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    await call.send({"type": "http.response.start", "status": 200, "headers": headers})
    await call.send({"type": "http.response.body", "body": body})
