"""Which parts can hold rows that a condition is true of, by the footers of their files alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from loopwright.core.expressions import Binary, Col, Expr, IsIn, IsNull, Lit, Scalar
from loopwright.core.manifests import ManifestEntry
from loopwright.data.streams import files_of
from loopwright.engine.context import Context
from loopwright.ports.tables import ColumnRange

__all__ = ["may_hold", "ranges_of", "ranges_over"]

_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


def may_hold(where: Expr, ranges: Mapping[str, ColumnRange]) -> bool:
    """Whether a file whose columns lie in these ranges can hold a row the condition is true of.

    Looked at are comparisons of a column with a constant, membership, nulls, and what `and` and `or`
    make of them; anything else may be true.
    """
    match where:
        case Binary(op="and"):
            return may_hold(where.left, ranges) and may_hold(where.right, ranges)
        case Binary(op="or"):
            return may_hold(where.left, ranges) or may_hold(where.right, ranges)
        case Binary(left=Col(name), right=Lit(value)) if name in ranges:
            return _may_compare(where.op, ranges[name], value)
        case Binary(left=Lit(value), right=Col(name)) if name in ranges:
            return _may_compare(_FLIPPED.get(where.op, where.op), ranges[name], value)
        case IsIn(expr=Col(name)) if name in ranges:
            return any(_may_compare("==", ranges[name], value) for value in where.values)
        case IsNull(expr=Col(name)) if name in ranges:
            return ranges[name].nulls != 0
        case _:
            return True


def _may_compare(op: str, span: ColumnRange, value: Scalar) -> bool:
    if value is None:
        return False
    if isinstance(value, str) is not isinstance(span.low, str):
        return True
    low, high = span.low, span.high
    assert low is not None
    assert high is not None
    match op:
        case "<":
            return low < value  # type: ignore[operator]  # both are texts or both are numbers
        case "<=":
            return low <= value  # type: ignore[operator]  # as above
        case ">":
            return high > value  # type: ignore[operator]  # as above
        case ">=":
            return high >= value  # type: ignore[operator]  # as above
        case "==":
            return low <= value <= high  # type: ignore[operator]  # as above
        case _:
            return True


def ranges_of(ctx: Context, entry: ManifestEntry) -> Mapping[str, ColumnRange]:
    """Between which values the columns of a part lie, as its file says."""
    return ctx.ports.tables.ranges(files_of(ctx, (entry.digest,))[0])


def ranges_over(ctx: Context, entries: Sequence[ManifestEntry]) -> Mapping[str, ColumnRange]:
    """Between which values the columns of all parts lie; absent where one of the files does not say."""
    each = [ranges_of(ctx, entry) for entry in entries if entry.rows]
    names = set[str]().union(*each)
    found = {name: _together(part.get(name) for part in each) for name in names}
    return {name: span for name, span in found.items() if span is not None}


def _together(spans: Iterable[ColumnRange | None]) -> ColumnRange | None:
    known = list(spans)
    whole = [span for span in known if span is not None]
    if len(whole) < len(known):
        return None
    low = min(span.low for span in whole)  # type: ignore[type-var]  # a column has one type in all parts
    return ColumnRange(low, max(span.high for span in whole))  # type: ignore[type-var]  # as above
