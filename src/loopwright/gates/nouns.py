"""A gate is a policy made of kinds of check; what it is given is measured elsewhere."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["Check", "Gate", "Latency", "Metric", "NotWorse", "Slices"]


class Metric(msgspec.Struct, frozen=True, kw_only=True, tag="metric"):
    """A metric of the candidate on the gate's rows stays on the right side of a limit."""

    metric: str
    at_least: float | None = None
    at_most: float | None = None


class Slices(msgspec.Struct, frozen=True, kw_only=True, tag="slices"):
    """No slice of a column falls below a floor; slices with too few rows or one class are left out."""

    column: str
    metric: str
    at_least: float
    min_rows: int = 200


class Latency(msgspec.Struct, frozen=True, kw_only=True, tag="latency"):
    """The 99th percentile of predicting one row, in milliseconds."""

    p99_ms: float


class NotWorse(msgspec.Struct, frozen=True, kw_only=True, tag="not_worse"):
    """The candidate is not worse than the version an alias points to, on the same rows.

    The low end of the difference's interval has to be above `-margin`.
    """

    than: str
    metric: str
    margin: float


Check = Metric | Slices | Latency | NotWorse


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """What a candidate of a model must hold before an alias may point to it."""

    model: str
    alias: str
    checks: tuple[Check, ...]
    kind: Literal["gate"] = "gate"
