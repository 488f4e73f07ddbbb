"""Keeps the profile of a whole dataset by merging that of each added part: an append costs what it adds.

Exact: counts, nulls, least, greatest, mean, deviation, histogram (on the edges of the first part).
Quantiles are read off merged sketches, and `rank_error` says what these prove (`stats.sketches`). Where a
part has more different values than its list of frequent ones shows, `distinct` and `top` are lower
bounds, and `bounds` says so.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from loopwright.core.instants import format_instant, from_micros, parse_instant, to_micros
from loopwright.core.nouns import Json
from loopwright.data.pairing import joined_pairs
from loopwright.stats.sketches import Sketch, error_of, from_plain, merged, plain, quantiles

__all__ = ["added_shape", "merged_profile", "missing_told", "quantiles_of", "told_by"]

_TOP = 20


def merged_profile(whole: Json, part: Json) -> Json:
    """The profile of what both are profiles of; `part` was made like `whole`, on the edges it has."""
    columns = dict(whole["columns"])
    for name, added in part["columns"].items():
        before = columns.get(name)
        columns[name] = added if before is None else _column(before, added)
    rows = whole["rows"] + part["rows"]
    told = {name: missing_told(column, rows) for name, column in columns.items()}
    found: Json = {"rows": rows, "columns": told}
    pairs = joined_pairs(whole.get("pairs"), part.get("pairs"))
    return found if pairs is None else {**found, "pairs": pairs}


def missing_told(column: Json, rows: int) -> Json:
    """The column with how many rows lack a value, those of a part that has no such column among them."""
    return {**column, "nulls": rows - column["count"]}


def _column(before: Json, added: Json) -> Json:
    full = [part for part in (before, added) if "min" in part]
    found = {**(full[0] if full else before), **_counts(before, added), **_values(before, added)}
    if len(full) < 2:
        return found
    for key, choose in (("min", min), ("max", max)):
        found[key] = _extreme(choose, before[key], added[key])
    if "mean" in before:
        found |= _moments(before, added)
    if before.get("histogram"):
        found["histogram"] = added_shape(before["histogram"], added["histogram"])
    return {**found, **_ranks(before, added, found)}


def added_shape(before: Json, part: Json, sign: Literal[1, -1] = 1) -> Json:
    """The histogram with that of a part added, or taken out; `ValueError` where their edges differ."""
    if before["edges"] != part["edges"]:
        raise ValueError("a part's histogram has edges of its own: profile it like the whole")
    counts = [old + sign * new for old, new in zip(before["counts"], part["counts"], strict=True)]
    sides = {side: before[side] + sign * part[side] for side in ("below", "above")}
    return {"edges": before["edges"], "counts": counts, **sides}


def _ranks(before: Json, added: Json, found: Json) -> Json:
    """Sketch and quantiles of both; a profile of before there were sketches goes on without."""
    if "sketch" in before and "sketch" in added:
        return told_by(merged(from_plain(before["sketch"]), from_plain(added["sketch"])), found)
    found.pop("sketch", None)
    return {"quantiles": quantiles_of(found)} if found.get("histogram") else {}


def told_by(sketch: Sketch, column: Json) -> Json:
    """What a sketch says of a column: itself, its proven error, and the quantiles the column has."""
    asked = column["quantiles"]
    answers = quantiles(sketch, [float(share) for share in asked])
    if column["type"] == "instant":
        answers = [format_instant(from_micros(value)) for value in answers]
    return {
        "sketch": plain(sketch),
        "rank_error": round(error_of(sketch), 6),
        "quantiles": dict(zip(asked, answers, strict=True)),
    }


def _counts(before: Json, added: Json) -> Json:
    return {key: before[key] + added.get(key, 0) for key in ("count", "nulls", "nan") if key in before}


def _values(before: Json, added: Json) -> Json:
    """Different values and the most frequent ones; exact as long as the lists hold all values there are."""
    tops = [part.get("top") for part in (before, added)]
    whole = all(
        top is not None and part["distinct"] == len(top)
        for part, top in zip((before, added), tops, strict=True)
    )
    counts: dict[Any, int] = {}
    for item in (item for top in tops for item in top or ()):
        counts[item["value"]] = counts.get(item["value"], 0) + item["count"]
    distinct = len(counts) if whole else max(before["distinct"], added["distinct"], len(counts))
    found: Json = {"distinct": distinct}
    if not whole or before.get("bounds"):
        found["bounds"] = True
    if counts:
        first = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))[:_TOP]
        found["top"] = [{"value": value, "count": count} for value, count in first]
    return found


def _order(value: Any) -> Any:
    return parse_instant(value) if isinstance(value, str) else value


def _extreme(choose: Any, first: Any, second: Any) -> Any:
    if first is None or second is None:  # infinite, as it may be of both
        return None
    return choose(first, second, key=_order)


def _moments(before: Json, added: Json) -> Json:
    """Mean and deviation of two samples together (Chan, Golub, LeVeque 1979, eq. 2.1)."""
    parts = [(part["count"] - part.get("nan", 0), part["mean"], part["std"]) for part in (before, added)]
    full = [(n, mean, std) for n, mean, std in parts if n]
    if any(mean is None for _, mean, _ in full):  # infinite, as that of both is
        return {"mean": None, "std": None}
    if len(full) < 2:
        chosen = before if parts[0][0] else added
        return {"mean": chosen["mean"], "std": chosen["std"]}
    (n1, mean1, std1), (n2, mean2, std2) = ((n, mean, std or 0.0) for n, mean, std in full)
    n, gap = n1 + n2, mean2 - mean1
    squares = std1 * std1 * (n1 - 1) + std2 * std2 * (n2 - 1) + gap * gap * n1 * n2 / n
    mean, std = mean1 + gap * n2 / n, math.sqrt(squares / (n - 1))
    is_told = math.isfinite(std) and all(count < 2 or each is not None for count, _, each in full)
    return {"mean": mean if math.isfinite(mean) else None, "std": std if is_told else None}


def quantiles_of(found: Json) -> Json:
    """Where the cumulated histogram reaches each share; what lies beyond it is spread to min and max."""
    shape, is_instant = found["histogram"], isinstance(found["min"], str)
    told = [found["min"], found["max"]]
    ends = [to_micros(_order(each)) if is_instant else each for each in told if each is not None]
    edges = [min(ends + shape["edges"]), *shape["edges"], max(ends + shape["edges"])]
    counts = [shape["below"], *shape["counts"], shape["above"]]
    asked = {share: _reached(edges, counts, float(share)) for share in found["quantiles"]}
    if is_instant:
        return {share: format_instant(from_micros(round(value))) for share, value in asked.items()}
    return asked


def _reached(edges: list[float], counts: list[int], share: float) -> float:
    target, passed = share * sum(counts), 0.0
    for i, count in enumerate(counts):
        if count and passed + count >= target:
            inside = (target - passed) / count
            return edges[i] + inside * (edges[i + 1] - edges[i])
        passed += count
    return edges[-1]
