"""Curves whose steps are evenly apart and rise with time: the place of a point is known by its step.

While points of a metric come so, its latest row tells where the steps begin and how far apart they are.
The point at a place is then found by a few looks into the index, without a walk over those before it: times
are guessed between known points, and what is found tells by its step where it stands.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, case, literal_column, null, or_

from loopwright.adapters.sql.rows import Row

__all__ = ["Ask", "Curve", "continued", "curve_rows", "shape_of"]

_FAR = 1 << 52
"""steps beyond are not reckoned with, so that no sum leaves 64 bits"""
_NEAR = 32
"""so many points are passed over rather than guessed again"""
_ROUNDS = 8
_BY_STEP = itemgetter(3, 2)
_RISING = -1
"""in place of a distance: steps are not evenly apart, but never fall with time"""
_Shape = tuple[int | None, int | None, int | None]


def shape_of(rows: Sequence[Row]) -> tuple[Row, _Shape]:
    """Of stored points of one metric the latest; when and at which step they begin, how far apart steps are.

    That is 0 for a single point and -1 where steps rise, but not evenly; all three are None where they fall.
    """
    if len(rows) == 1:
        row = rows[0]
        return row, (row[2], row[3], 0 if -_FAR < row[3] < _FAR else _RISING)
    steps, times = [row[3] for row in rows], [row[2] for row in rows]
    if _is_even(steps) and times == sorted(times):  # as they mostly come
        return rows[-1], (times[0], steps[0], steps[1] - steps[0])
    ordered = sorted(rows, key=_BY_STEP)
    steps, times = [row[3] for row in ordered], [row[2] for row in ordered]
    latest = max(rows, key=_rank)
    if times != sorted(times):
        return latest, (None, None, None)
    return latest, (times[0], steps[0], steps[1] - steps[0] if _is_even(steps) else _RISING)


def _is_even(steps: list[int]) -> bool:
    start, end, stride = steps[0], steps[-1], steps[1] - steps[0]
    if stride < 1 or start <= -_FAR or end >= _FAR or end - start != stride * (len(steps) - 1):
        return False
    return steps == list(range(start, end + 1, stride))


def _rank(row: Row) -> tuple[Any, ...]:
    _, _, at_us, step, is_nan, value, _ = row
    return (step, at_us, is_nan, value)


def continued(known: Any, new: Any) -> Any:
    """The distance of steps once `new` points came to the known ones, null where steps now fall with time."""
    gap = new.first_step - known.step
    zero: ColumnElement[int] = literal_column("0")
    rising: ColumnElement[int] = literal_column(str(_RISING))
    falls = or_(
        known.stride.is_(None),
        new.stride.is_(None),
        new.first_us < known.at_us,
        new.first_step < known.step,
    )
    is_even = and_(
        new.first_step > known.step,
        or_(known.stride == zero, known.stride == gap),
        or_(new.stride == zero, new.stride == gap),
    )
    uneven = or_(known.stride == rising, new.stride == rising)
    return case((falls, null()), (uneven, rising), (is_even, gap), else_=rising)


class Curve(NamedTuple):
    """A curve whose steps are evenly apart, by its ends."""

    first_us: int
    first_step: int
    last_us: int
    last_step: int
    stride: int

    @property
    def steps(self) -> range:
        """The step of each of its points."""
        return range(self.first_step, self.last_step + 1, self.stride or 1)


class Ask(NamedTuple):
    """A look into the index: `skip` points behind the first at (time, step) or beyond, or the last before."""

    at_us: int
    step: int
    skip: int = 0
    before: bool = False


def curve_rows(
    curve: Curve, places: Sequence[int], look: Callable[[Sequence[Ask]], Sequence[Row | None]]
) -> list[Row] | None:
    """The rows `(at_us, step, is_nan, value)` at rising places of a curve; those behind its end are none.

    `look` answers each of the asked, in their order. None where times are so uneven that a walk is quicker.
    """
    steps = curve.steps
    wanted = [place for place in places if place < len(steps)]
    found: dict[int, Row] = {}
    times = {0: curve.first_us, len(steps) - 1: curve.last_us}
    left = wanted
    for number in range(_ROUNDS):
        for row in look(_asks(curve, left, times, number)):
            if row is not None:
                place = steps.index(row[1])
                found[place], times[place] = row, row[0]
        left = [place for place in left if place not in found]
        if not left:
            return [found[place] for place in wanted]
    return None


def _asks(curve: Curve, left: Sequence[int], times: dict[int, int], number: int) -> list[Ask]:
    """What to look for in a round: in the first one each place itself, later a little before it.

    Later rounds look to both sides, so that a gap in time is found with both its ends.
    """
    known, steps = sorted(times), curve.steps
    asks: list[Ask] = []
    for place in left:
        at = bisect_left(known, place)
        high = known[at]
        low = place if high == place else known[at - 1]
        since, until = times[low], times[high]
        if since == until:
            asks.append(Ask(since, steps[place]))
        elif place - low <= _NEAR:
            asks.append(Ask(since, steps[low], place - low))
        else:
            aim = place - (_NEAR // 2 if number else 0)
            guess, step = since + (until - since) * (aim - low) // (high - low), steps[aim]
            asks += [Ask(guess, step), *([Ask(guess, step, before=True)] if number else [])]
    return asks
