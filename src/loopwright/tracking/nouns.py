"""What a tracked run looks like from outside."""

from __future__ import annotations

import msgspec

from loopwright.core.nouns import Link, MetricPoint, Run

__all__ = ["RunView"]


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """A run with its newest metrics, its edges and its children."""

    run: Run
    metrics: dict[str, MetricPoint]
    links: tuple[Link, ...]
    children: tuple[Run, ...]
