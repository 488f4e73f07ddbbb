"""One entity's newest row at any instant: a staircase of the rows that win from some instant on."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from loopwright.adapters.online.compiled import CompiledView
from loopwright.adapters.online.marks import Kept, Mark
from loopwright.core.expressions import Scalar

__all__ = ["Staircase"]


class _Step(NamedTuple):
    mark: Mark
    row: Kept
    values: dict[str, Scalar]


class Staircase:
    """A row is seen from max(event, known-at, horizon) on; the newer event wins, never the newer write.

    Steps ascend in both: when they are seen, and in newness. A row below a step that is seen no later
    can never win, so it is not kept.
    """

    __slots__ = ("_names", "_seen", "_steps", "_ttl_us")

    def __init__(self, view: CompiledView) -> None:
        self._names = view.latest
        self._ttl_us = view.ttl_us
        self._seen: list[int] = []
        self._steps: list[_Step] = []

    def __len__(self) -> int:
        return len(self._seen)

    def push(self, row: Kept, horizon_us: int) -> bool:
        """Take a row in; False when it can win at no instant from the horizon on, or is there already."""
        mark = row.mark()
        seen = max(mark.event_us, mark.known_us, horizon_us)
        place = bisect_right(self._seen, seen)
        if self._is_expired(mark, horizon_us):
            return False
        if place:
            before = self._steps[place - 1]
            if before.mark[:-1] == mark[:-1]:
                if row.row_id == before.row.row_id or row.row_id in before.row.beaten:
                    return False
                row.beaten = (*row.beaten, *before.row.beaten, before.row.row_id)
            if before.mark > mark:
                return False
        start = place - 1 if place and self._seen[place - 1] == seen else place
        end = place
        while end < len(self._steps) and self._steps[end].mark < mark:
            end += 1
        self._seen[start:end] = [seen]
        self._steps[start:end] = [_Step(mark, row, dict(zip(self._names, row.values, strict=True)))]
        return True

    def read(self, at_us: int) -> Mapping[str, Scalar] | None:
        """The values of the row that was the newest known at an instant, None without one within the ttl."""
        place = bisect_right(self._seen, at_us)
        if not place:
            return None
        step = self._steps[place - 1]
        return None if self._is_expired(step.mark, at_us) else step.values

    def _is_expired(self, mark: Mark, at_us: int) -> bool:
        return self._ttl_us > 0 and mark.event_us < at_us - self._ttl_us

    def trim(self, horizon_us: int) -> int:
        """Forget the steps that no instant from the horizon on can see; how many."""
        if len(self._seen) == 1 and not self._ttl_us:
            return 0
        gone = max(bisect_right(self._seen, horizon_us) - 1, 0)
        while gone < len(self._steps) and self._is_expired(self._steps[gone].mark, horizon_us):
            gone += 1
        del self._seen[:gone]
        del self._steps[:gone]
        return gone

    def rows(self) -> Sequence[Kept]:
        """The rows that are kept."""
        return [step.row for step in self._steps]
