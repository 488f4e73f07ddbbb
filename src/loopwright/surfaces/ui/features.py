"""The page of a feature view: its definition, where it is used, how fresh it is, how it is distributed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from loopwright.core.expressions import (
    Binary,
    Col,
    Expr,
    IsIn,
    IsNull,
    Lit,
    Matches,
    Not,
    When,
    Window,
)
from loopwright.features.nouns import Formula, FreeFunction
from loopwright.monitoring.usage import InputShares, Shares
from loopwright.surfaces.ui.desk import Desk, Query, Values
from loopwright.surfaces.ui.shaping import figure, percent

__all__ = ["Bar", "Drawn", "drawn", "feature", "told"]

_WIDTH, _HEIGHT = 240, 64
_VERSIONS = 20


class Bar(NamedTuple):
    """A bin of a picture: where it stands, and what is told of it to who points at it."""

    x: float
    width: float
    told: str


class Drawn(NamedTuple):
    """An input's shares as the paths of a picture, and how far apart the two are."""

    input: InputShares
    training: str
    served: str
    bars: tuple[Bar, ...]
    ends: tuple[str, str]
    """where the outer bins end and begin: `≤ 12`, `> 90`"""
    apart: float
    """total variation: the share of values that would have to move, 0 to 1"""


def feature(desk: Desk, path: dict[str, str], query: Query) -> Values:
    """A feature view."""
    name = path["name"]
    detail = desk.call("features.show", name=name)
    asset = desk.call("assets.show", kind="feature_view", name=name)
    purpose = query.get("purpose") or ""
    uses = desk.call("monitoring.usage", name=name, purpose=purpose)
    windows = {
        each: (told(window.expr), window.op, window.over) for each, window in detail.view.windows.items()
    }
    return {
        "title": name,
        "section": "/assets",
        "detail": detail,
        "asset": asset,
        "derived": {each: _formula_told(formula) for each, formula in detail.view.derived.items()},
        "windows": windows,
        "uses": [(use, [drawn(each) for each in use.inputs]) for use in uses],
        "page": desk.call("assets.versions", kind="feature_view", name=name, limit=_VERSIONS),
        "purpose": purpose,
        "now": desk.now,
        "size": (_WIDTH, _HEIGHT),
    }


def drawn(shares: InputShares) -> Drawn:
    """Two steps of bins on one scale."""
    top = max((*shares.training.bins, *shares.served.bins), default=0.0) or 1.0
    pairs = zip(shares.training.bins, shares.served.bins, strict=True)
    bins = sum(abs(a - b) for a, b in pairs) / 2 if shares.served.n else 0.0
    paths = _steps(shares.training, top), _steps(shares.served, top)
    return Drawn(shares, *paths, bars=_bars(shares), ends=_ends(shares.edges), apart=bins)


def _bars(shares: InputShares) -> tuple[Bar, ...]:
    """The bins with what lies in each, in training and as served."""
    names, width = _bins(shares.edges), _WIDTH / len(shares.training.bins)
    pairs = zip(names, shares.training.bins, shares.served.bins, strict=True)
    return tuple(
        Bar(round(at * width, 1), round(width, 1), f"{name}: training {percent(a)}, served {percent(b)}")
        for at, (name, a, b) in enumerate(pairs)
    )


def _bins(edges: Sequence[float]) -> list[str]:
    low, high = _ends(edges)
    inner = [f"{figure(a)} to {figure(b)}" for a, b in pairwise(edges)]
    return [low, *inner, high] if edges else ["all"]


def _ends(edges: Sequence[float]) -> tuple[str, str]:
    return (f"< {figure(edges[0])}", f"\u2265 {figure(edges[-1])}") if edges else ("", "")


def _steps(shares: Shares, top: float) -> str:
    """A path of steps from the left end to the right one, along the bottom and back."""
    if not shares.n:
        return ""
    across = _WIDTH / len(shares.bins)
    heights = (f"{_HEIGHT * (1 - share / top):.1f}" for share in shares.bins)
    steps = " ".join(f"V{height}H{across * (place + 1):.1f}" for place, height in enumerate(heights))
    return f"M0 {_HEIGHT}{steps}V{_HEIGHT}Z"


def _formula_told(formula: Formula) -> str:
    if isinstance(formula, FreeFunction):
        return f"{formula.name}({', '.join(formula.reads)})"
    return told(formula)


def told(expr: Expr | Window) -> str:
    """An expression as it would be written."""
    match expr:
        case Col(name):
            return name
        case Lit(value):
            return "null" if value is None else repr(value)
        case Binary():
            return f"({told(expr.left)} {expr.op} {told(expr.right)})"
        case When():
            return f"when({told(expr.condition)}, {told(expr.then)}, {told(expr.otherwise)})"
        case Window():
            return f"{expr.op}({told(expr.expr)}) over {expr.over}"
    return _test_told(expr)


def _test_told(expr: Not | IsNull | IsIn | Matches) -> str:
    match expr:
        case Not():
            return f"not {told(expr.expr)}"
        case IsNull():
            return f"{told(expr.expr)} is null"
        case IsIn():
            return f"{told(expr.expr)} in {{{', '.join(map(repr, expr.values))}}}"
        case Matches():
            return f"{told(expr.expr)} matches {expr.pattern!r}"
