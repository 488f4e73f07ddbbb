"""Clocks: the machine's, one that a replayer moves, and one of other processes that follows it by a file."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from loopwright.core.errors import Invalid
from loopwright.core.instants import from_micros, to_micros

__all__ = ["FollowingClock", "KeptInstant", "ReplayClock", "SystemClock"]

_BYTES = 8


class KeptInstant:
    """Where a replay stands, in a file: one process moves it, others read it. It outlives a killed one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1

    def read(self) -> datetime | None:
        """The instant, None where no replay is under way."""
        try:
            held = self._path.read_bytes()
        except FileNotFoundError:
            return None
        return from_micros(int.from_bytes(held, "big", signed=True)) if len(held) == _BYTES else None

    def keep(self, at: datetime) -> None:
        """Put the instant in the place of the last one (not synchronised: the next one follows soon)."""
        if self._file < 0:
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.pwrite(self._file, to_micros(at).to_bytes(_BYTES, "big", signed=True), 0)

    def forget(self) -> None:
        """The replay is over: what follows it has the wall clock again."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file; the instant stays in it."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class SystemClock:
    """The machine's clock: the platform's instant is the wall clock."""

    def now(self) -> datetime:
        """The wall clock."""
        return datetime.now(UTC)

    def wall(self) -> datetime:
        """The wall clock."""
        return datetime.now(UTC)


class FollowingClock:
    """The instant of a replay that another process does, or left off; the wall clock when it is over."""

    def __init__(self, kept: KeptInstant) -> None:
        self._kept = kept

    def now(self) -> datetime:
        """Where the replay stands."""
        return self._kept.read() or datetime.now(UTC)

    def wall(self) -> datetime:
        """The machine's clock."""
        return datetime.now(UTC)


class ReplayClock:
    """A platform's instant that stands still until it is advanced, beside the real wall clock."""

    def __init__(self, start: datetime) -> None:
        self._now = start
        self._kept: KeptInstant | None = None

    def keep_in(self, kept: KeptInstant | None) -> None:
        """Write each instant there from the next advance on, for other processes; None ends it."""
        self._kept = kept

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
        if self._kept is not None:
            self._kept.keep(to)
