"""A row as it is kept and stored, and what decides which of two rows is the newer one."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from loopwright.core.expressions import Scalar

__all__ = ["Kept", "Mark"]


class Mark(NamedTuple):
    """Compared part by part; the arrival is unique in its entity."""

    event_us: int
    known_us: int
    ordered: bool
    order: Scalar
    arrival: int


class Kept(msgspec.Struct, array_like=True, gc=False):
    """A row of an entity."""

    event_us: int
    known_us: int
    order: Scalar
    arrival: int
    row_id: str
    values: tuple[Scalar, ...]
    beaten: tuple[str, ...] = ()
    """rows that differ from this one in nothing but their earlier arrival: pushed again, they lose again"""

    def mark(self) -> Mark:
        """What it is compared by; a missing order is before all."""
        order = self.order
        return Mark(
            self.event_us, self.known_us, order is not None, 0 if order is None else order, self.arrival
        )
