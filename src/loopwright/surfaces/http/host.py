"""What this surface needs of the workspace it serves, and the limits it keeps."""

from __future__ import annotations

from typing import Protocol

import msgspec

from loopwright.engine.context import Context, Principal
from loopwright.engine.live import LiveFeed
from loopwright.engine.operation import Operation
from loopwright.surfaces.senders import Pace
from loopwright.workspace.settings import Settings

__all__ = ["Host", "Limits", "limits_of"]

_MEGABYTE = 1_000_000


class Host(Protocol):
    """A workspace, as far as a surface needs one."""

    operations: dict[str, Operation]
    live: LiveFeed
    settings: Settings

    def context(self, principal: Principal | None = None, space: str | None = None) -> Context:
        """A context to call verbs with; thread safe and cheap."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much one request may ask for, and how many may ask at once."""

    body_bytes: int = 16 * _MEGABYTE
    upload_bytes: int = 4096 * _MEGABYTE
    path_bytes: int = 4096
    header_bytes: int = 65_536
    deadline_s: float = 120.0
    upload_deadline_s: float = 3600.0
    threads: int = 32
    uploads: int = 64
    """great uploads at work at once, in threads of their own: each keeps one at its sender's pace"""
    upload_pace: Pace = Pace()
    """what they have to come at while others wait for their thread"""
    uploads_waiting: int = 64
    waiting: int = 256
    streams: int = 16
    listeners: int = 256
    listener_queue: int = 2000
    heartbeat_s: float = 15.0
    poll_s: float = 1.0


def limits_of(settings: Settings) -> Limits:
    """The limits that the settings ask for."""
    return Limits(
        body_bytes=settings.max_body_mb * _MEGABYTE, upload_bytes=settings.max_upload_mb * _MEGABYTE
    )
