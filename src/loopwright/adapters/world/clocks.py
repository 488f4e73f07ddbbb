"""Two clocks: the machine's, and one that only a replayer in the same process moves."""

from __future__ import annotations

from datetime import UTC, datetime

from loopwright.core.errors import Invalid

__all__ = ["ReplayClock", "SystemClock"]


class SystemClock:
    """The machine's clock: the platform's instant is the wall clock."""

    def now(self) -> datetime:
        """The wall clock."""
        return datetime.now(UTC)

    def wall(self) -> datetime:
        """The wall clock."""
        return datetime.now(UTC)


class ReplayClock:
    """A platform's instant that stands still until it is advanced, beside the real wall clock."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        """The instant of the replay."""
        return self._now

    def wall(self) -> datetime:
        """The machine's clock."""
        return datetime.now(UTC)

    def advance(self, to: datetime) -> None:
        """Move forward; a clock never goes back."""
        if to < self._now:
            raise Invalid(
                f"the replay is at {self._now} and cannot go back to {to}", hint="replay in time order"
            )
        self._now = to
