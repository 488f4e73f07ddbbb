"""What serving speaks of: an endpoint's configuration, its routes, a reply, what was counted."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from loopwright.core.nouns import Version

__all__ = [
    "ENDPOINT",
    "LIVE",
    "EndpointConfig",
    "EndpointStatistics",
    "EndpointView",
    "Reply",
    "Route",
    "Variant",
    "stream_of",
]

ENDPOINT = "endpoint"
"""the kind of asset"""
LIVE = "live"
"""the alias that says which configuration answers"""


class Variant(StrEnum):
    """Why a version was asked: by the split, behind it without being heard, or by name."""

    LIVE = "live"
    SHADOW = "shadow"
    PINNED = "pinned"


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A model version and the share of keys it answers."""

    version: int
    percent: float


class EndpointConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers at an endpoint; the body of an `endpoint` version.

    `routes` sum to 100. `shadow` versions see every row they did not answer and are only logged: routed and
    shadowed, two versions score the same rows while keys are split between them. `sticky` names the request
    column whose value decides the route, so that a key always meets one version; empty: the request's id.
    """

    model: str
    routes: tuple[Route, ...]
    service: str = ""
    """name of the feature service whose request columns are the endpoint's inputs; empty: that of the first
    version it routes to"""
    shadow: tuple[int, ...] = ()
    sticky: str = ""
    purpose: str = "serving"
    """what features are looked up for: columns that may not be read for it are not served"""


class EndpointView(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint as it answers now, and its latest configurations, newest first."""

    name: str
    version: int
    config: EndpointConfig
    routed_at: datetime
    routed_by: str
    history: tuple[Version, ...] = ()


class Reply(msgspec.Struct, frozen=True, gc=False):
    """What an endpoint answered, one entry a row."""

    request_id: str
    scores: list[float]
    versions: list[int]
    prediction_ids: list[str]


class EndpointStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What this process counted at an endpoint since it started; latencies in microseconds."""

    requests: int
    rows: int
    failed: int
    shadow_rows: int
    shadow_dropped: int
    log_dropped: int
    latency_p50_us: float | None
    latency_p99_us: float | None


def stream_of(endpoint: str) -> str:
    """The name of the stream that holds an endpoint's predictions."""
    return f"predictions/{endpoint}"
