"""Running sums of one expression over one entity's rows, in the order of their known-at."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

from loopwright.core.errors import Invalid
from loopwright.core.expressions import Scalar, WindowOp
from loopwright.core.windows import aggregate, exact_mean, exact_sum, std_of_sums

__all__ = ["Track"]

_EXACT = float(1 << 53)


class Track:
    """The values of an expression, with running sums while those are exact, and counts where nulls are.

    Whole floats are summed as integers: the exact sum, rounded once, is the same. With the first other
    float, sums are made from the values of each window instead.
    """

    __slots__ = ("counts", "floats", "squares", "summed", "sums", "values")

    def __init__(self, *, summed: bool, squared: bool = False) -> None:
        self.summed = summed
        self.squares: list[int] | None = [0] if squared else None
        self.values: list[Scalar] = []
        self.sums: list[int] | None = [0] if summed else None
        self.counts: list[int] | None = None
        self.floats = False

    def append(self, value: Scalar) -> None:
        """Take the value of a row that is the last known one."""
        if value is None or self.counts is not None:
            self._count(value)
        self.values.append(value)
        if self.sums is not None:
            whole = value if type(value) is int else self._whole(value)
            if whole is None:
                self.sums = self.squares = None
                return
            self.sums.append(self.sums[-1] + whole)
            if self.squares is not None:
                self.squares.append(self.squares[-1] + whole * whole)

    def insert(self, place: int, value: Scalar) -> None:
        """Take the value of a row that was known earlier than others."""
        self.values.insert(place, value)
        if self.counts is not None or value is None:
            self.counts = list(accumulate((held is not None for held in self.values), initial=0))
        if self.sums is not None:
            whole = self._whole(value)
            if whole is None:
                self.sums = self.squares = None
                return
            self.sums[place + 1 :] = [total + whole for total in self.sums[place:]]
            if self.squares is not None:
                square = whole * whole
                self.squares[place + 1 :] = [total + square for total in self.squares[place:]]

    def drop(self, rows: int) -> None:
        """Forget the first rows; differences of running sums stay what they were."""
        del self.values[:rows]
        if self.sums is not None:
            del self.sums[:rows]
        if self.squares is not None:
            del self.squares[:rows]
        if self.counts is not None:
            del self.counts[:rows]

    def _count(self, value: Scalar) -> None:
        if self.counts is None:
            self.counts = list(range(len(self.values) + 1))
        self.counts.append(self.counts[-1] + (value is not None))

    def _whole(self, value: Scalar) -> int | None:
        """The value as an integer (null adds nothing), or None when sums of it are not exact."""
        if value is None:
            return 0
        if isinstance(value, str):
            raise Invalid(
                "a sum, a mean or a deviation needs numbers, not strings",
                hint="aggregate a column of numbers",
            )
        if isinstance(value, float):
            self.floats = True
            return int(value) if value.is_integer() and abs(value) < _EXACT else None
        return int(value)

    def count(self, low: int, high: int) -> int:
        """How many values are not null."""
        return high - low if self.counts is None else self.counts[high] - self.counts[low]

    def sum(self, low: int, high: int) -> int | float:
        """Their sum, 0 of nothing."""
        if self.sums is None:
            numbers = [value for value in self.values[low:high] if isinstance(value, (int, float))]
            return exact_sum(numbers)
        total = self.sums[high] - self.sums[low]
        return float(total) if self.floats else total

    def mean(self, low: int, high: int) -> float | None:
        """Their mean, None of nothing."""
        count = self.count(low, high)
        return exact_mean(self.sum(low, high), count) if count else None

    def std(self, low: int, high: int) -> float | None:
        """Their sample standard deviation, None of fewer than two."""
        if self.squares is None or self.sums is None:
            answer = aggregate("std", self.values[low:high])
            assert answer is None or isinstance(answer, float)
            return answer
        total, squares = self.sums[high] - self.sums[low], self.squares[high] - self.squares[low]
        return std_of_sums(self.count(low, high), total, squares)

    def _min(self, low: int, high: int) -> Scalar:
        return aggregate("min", self.values[low:high])

    def _max(self, low: int, high: int) -> Scalar:
        return aggregate("max", self.values[low:high])

    def _distinct(self, low: int, high: int) -> Scalar:
        return aggregate("distinct", self.values[low:high])

    def answers(self, op: WindowOp) -> Callable[[int, int], Scalar]:
        """What gives an aggregate over the rows from `low` to before `high` (all but the newest row's)."""
        return {
            "count": self.count,
            "sum": self.sum,
            "mean": self.mean,
            "std": self.std,
            "min": self._min,
            "max": self._max,
            "distinct": self._distinct,
        }[op]
