"""Online features: what is needed to answer at any instant, by entity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Protocol

import msgspec

from loopwright.core.expressions import Scalar, Window

__all__ = ["GRACE", "Online", "OnlineRow", "OnlineView"]

GRACE = timedelta(days=1)
"""how far before its watermark a view still answers: questions on their way while it moved on"""


class OnlineView(msgspec.Struct, frozen=True, kw_only=True):
    """What an online store keeps of a feature view.

    `latest` columns answer with the row of the greatest event time whose known-at is `<= T` and
    event time `>= T - ttl`; `windows` answer with aggregates over known-at in `(T - over, T]`.
    """

    name: str
    """with its version: `origin_departures@1`"""
    ttl: timedelta = timedelta(0)
    latest: tuple[str, ...] = ()
    windows: Mapping[str, Window] = {}


class OnlineRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One row of an entity: when it happened, when it was known (microseconds), its values by column.

    A row whose key has a null part is of no entity and never counts.
    """

    key: tuple[Scalar, ...]
    event_us: int
    known_us: int
    values: Mapping[str, Scalar]
    row_id: str
    """identity of the source row: the same row pushed twice counts once"""
    order: Scalar = None
    """decides between rows of one event time and known-at; None is before all, then the later push wins"""


class Online(Protocol):
    """An online store; thread safe.

    Durable when `flush` (or `close`) returned; a crash before may lose what was pushed since, and
    `watermark` then says from where to push again.

    Answers are those of the offline join at the same instant, bit for bit. Rows whose known-at is
    later than the asked instant are never seen. What no instant from the watermark less `GRACE` on can
    see is forgotten, and an earlier instant is refused as `Invalid`.
    """

    @property
    def at_hand(self) -> bool:
        """Whether a read is answered from memory, waiting for no server or disk (5 microseconds a key)."""

    def define(self, view: OnlineView) -> None:
        """Make a view known; the same definition again is a no-op, another of its name a `Conflict`."""

    def push(self, view: str, rows: Sequence[OnlineRow]) -> int:
        """Take rows in; how many were new."""

    def read(
        self, view: str, keys: Sequence[tuple[Scalar, ...]], at_us: int
    ) -> Sequence[Mapping[str, Scalar]]:
        """For each key the value of every feature of the view, as known at the instant.

        An entity without rows: nulls, counts and sums 0.
        """

    def read_many(
        self, asked: Sequence[tuple[str, Sequence[tuple[Scalar, ...]]]], at_us: int
    ) -> Sequence[Sequence[Mapping[str, Scalar]]]:
        """`read` of several views, each with its keys, in one round trip to where they are kept."""

    def watermark(self, view: str) -> int | None:
        """The greatest known-at (microseconds) that is durably taken in, or None."""

    def flush(self, watermark_us: int, views: Sequence[str] | None = None) -> None:
        """Make everything pushed durable, and remember that all known until then is in.

        For these views (None: every view). A watermark never goes back.
        """

    def keys(self, view: str) -> Iterable[tuple[Scalar, ...]]:
        """The entities that anything is kept of, in no order; it goes through all of them."""

    def forget(self, view: str, key: tuple[Scalar, ...]) -> int:
        """Erase an entity; how many rows went."""

    def close(self) -> None:
        """Flush what is open and let go of files and connections."""
