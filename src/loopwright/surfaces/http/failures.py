"""Errors as replies: one JSON form with code, message, hint and where, and never a traceback."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from loopwright.core.errors import Fault, LoopwrightError, Unauthenticated, Unavailable
from loopwright.engine.wire import failure_of

__all__ = ["failure_response", "fault_of"]

log = logging.getLogger(__name__)


def fault_of(error: Exception, doing: str) -> Fault:
    """What a caller is told of a mistake of ours; the log has the rest under the same number."""
    number = secrets.token_hex(4)
    log.error("fault", extra={"fault": number, "doing": doing}, exc_info=error)
    return Fault(
        f"{doing} failed on our side (fault {number})",
        hint="the server's log says more under this number; please report it",
    )


def failure_response(
    error: LoopwrightError, *, status: int | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """The reply to a request that was refused or failed; `status` where the error's own does not fit."""
    sent = dict(headers or {})
    if isinstance(error, Unauthenticated):
        sent["www-authenticate"] = "Bearer"
    if isinstance(error, Unavailable):
        sent["retry-after"] = "1"
    body = msgspec.json.encode(failure_of(error))
    return Response(body, status or error.status, headers=sent, media_type="application/json")
