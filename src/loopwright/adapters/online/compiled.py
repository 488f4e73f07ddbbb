"""A view's definition made ready for rows and questions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import NamedTuple

from loopwright.core.errors import Invalid
from loopwright.core.expressions import Col, Expr, Scalar, WindowOp, columns_of, evaluate
from loopwright.core.instants import duration
from loopwright.ports.online import OnlineView

__all__ = ["CompiledView", "Feature", "Span"]

_MICROSECOND = duration("1us")


class Feature(NamedTuple):
    """One aggregate: its name, its kind, and which expression it is of."""

    name: str
    op: WindowOp
    track: int


class Span(NamedTuple):
    """A window's length in microseconds and the features over it."""

    over_us: int
    features: tuple[Feature, ...]


def _reader(expr: Expr) -> Callable[[Mapping[str, Scalar]], Scalar]:
    if isinstance(expr, Col):
        name = expr.name
        return lambda values: values.get(name)
    needed = columns_of(expr)
    return lambda values: evaluate(expr, {name: values.get(name) for name in needed})


def _taker(names: tuple[str, ...]) -> Callable[[Mapping[str, Scalar]], tuple[Scalar, ...]]:
    """What takes these values out of a mapping that has all: at a third of the cost of asking each."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda values: tuple([values[name] for name in names])


class CompiledView:
    """What an entity's history is kept by; the order of the definition's windows does not count."""

    def __init__(self, view: OnlineView) -> None:
        self.view = view
        self.ttl_us = view.ttl // _MICROSECOND
        self.latest = view.latest
        exprs: list[Expr] = []
        summed: list[bool] = []
        squared: list[bool] = []
        spans: dict[int, list[Feature]] = {}
        for name, window in sorted(view.windows.items()):
            over_us = duration(window.over) // _MICROSECOND
            if over_us <= 0:
                raise Invalid(f"the window {name!r} is empty", hint="give it a duration such as 1h")
            place = next((i for i, expr in enumerate(exprs) if expr == window.expr), len(exprs))
            if place == len(exprs):
                exprs.append(window.expr)
                summed.append(False)
                squared.append(False)
            summed[place] |= window.op in ("sum", "mean", "std")
            squared[place] |= window.op == "std"
            spans.setdefault(over_us, []).append(Feature(name, window.op, place))
        self.readers = tuple(_reader(expr) for expr in exprs)
        self.tracks = tuple(zip(summed, squared, strict=True))
        self.spans = tuple(Span(over, tuple(features)) for over, features in sorted(spans.items()))
        self.keep_us = max(spans, default=0)
        self.empty_latest: dict[str, Scalar] = dict.fromkeys(view.latest)
        self.empty = self._empty()
        self._taken = _taker(self.latest)

    def _empty(self) -> dict[str, Scalar]:
        """The answer of an entity without rows."""
        empty = dict(self.empty_latest)
        for name, window in self.view.windows.items():
            empty[name] = 0 if window.op in ("sum", "count", "distinct") else None
        return empty

    def window_values(self, values: Mapping[str, Scalar]) -> tuple[Scalar, ...]:
        """The value of each expression for a row."""
        return tuple([read(values) for read in self.readers])

    def latest_values(self, values: Mapping[str, Scalar]) -> tuple[Scalar, ...]:
        """The row's values of the columns that answer with the newest row."""
        try:
            return self._taken(values)
        except KeyError:
            return tuple(map(values.get, self.latest))
