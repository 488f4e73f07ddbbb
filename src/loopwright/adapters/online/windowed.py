"""One entity's rows for windows: by known-at, with running sums, so that bisection answers any instant."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial

from loopwright.adapters.online.compiled import CompiledView
from loopwright.adapters.online.marks import Kept
from loopwright.adapters.online.tracks import Track
from loopwright.core.expressions import Scalar, WindowOp

__all__ = ["Windowed"]


class Windowed:
    """Rows with `known-at > horizon - longest window`; a late one is put where it belongs."""

    __slots__ = ("_ids", "_keep_us", "_known", "_plan", "_rows", "_tracks")

    def __init__(self, view: CompiledView) -> None:
        self._keep_us = view.keep_us
        self._known: list[int] = []
        self._rows: list[Kept] = []
        self._ids: set[str] = set()
        self._tracks = [Track(summed=summed, squared=squared) for summed, squared in view.tracks]
        self._plan = [
            (
                span.over_us,
                [(feature.name, self._answer(feature.op, feature.track)) for feature in span.features],
            )
            for span in view.spans
        ]

    def _answer(self, op: WindowOp, track: int) -> Callable[[int, int], Scalar]:
        found = self._tracks[track]
        return partial(self._last, found) if op == "last" else found.answers(op)

    def __len__(self) -> int:
        return len(self._known)

    def push(self, row: Kept, horizon_us: int) -> bool:
        """Take a row in; False when it is there already or no window reaches it any more."""
        known = row.known_us
        if row.row_id in self._ids or known <= horizon_us - self._keep_us:
            return False
        if not self._known or known >= self._known[-1]:
            for track, value in zip(self._tracks, row.values, strict=True):
                track.append(value)
            self._known.append(known)
            self._rows.append(row)
        else:
            place = bisect_right(self._known, known)
            for track, value in zip(self._tracks, row.values, strict=True):
                track.insert(place, value)
            self._known.insert(place, known)
            self._rows.insert(place, row)
        self._ids.add(row.row_id)
        return True

    def read(self, at_us: int, into: dict[str, Scalar]) -> None:
        """Put the value of every windowed feature at an instant into a mapping."""
        known = self._known
        high = bisect_right(known, at_us)
        for over_us, features in self._plan:
            low = bisect_right(known, at_us - over_us, 0, high)
            for name, answer in features:
                into[name] = answer(low, high)

    def _last(self, track: Track, low: int, high: int) -> Scalar:
        """The value of the newest row, None of nothing."""
        if low >= high:
            return None
        return track.values[max(range(low, high), key=lambda i: self._rows[i].mark())]

    def trim(self, horizon_us: int) -> int:
        """Forget the rows that no instant from the horizon on can see; how many."""
        gone = bisect_right(self._known, horizon_us - self._keep_us)
        if gone:
            self._ids.difference_update([row.row_id for row in self._rows[:gone]])
            del self._known[:gone]
            del self._rows[:gone]
            for track in self._tracks:
                track.drop(gone)
        return gone

    def rows(self) -> Sequence[Kept]:
        """The rows that are kept, in order of known-at."""
        return self._rows
