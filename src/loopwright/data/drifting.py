"""Tells how far the columns of two versions are spread otherwise, by their profiles and their sketches.

Of what came after a version (`since`), the histogram is that of the whole without that of what was there
before: profiles that grew from one another by appends have the same edges, so the counts are exact and no
profile of single batches need be kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated

import msgspec
import numpy as np

from loopwright.core.addresses import Address, ByNumber
from loopwright.core.errors import Invalid
from loopwright.core.nouns import Json, LinkRole, Version
from loopwright.data.profiled import profile_of, profile_of_parts
from loopwright.data.profiles import added_shape, missing_told
from loopwright.data.reading import schema_of, version_of
from loopwright.data.withholding import withheld_from
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.ports.ledger import Transaction
from loopwright.stats.drift.summaries import BinCounts, Bounded, bounded, counts_of, known_counts
from loopwright.stats.drift.summaries import kolmogorov_smirnov as furthest
from loopwright.stats.samples import FloatArray
from loopwright.stats.sketches import from_plain, quantiles

__all__ = ["ColumnDistance", "DatasetDrift", "drift"]

_DECILES = [at / 10 for at in range(1, 10)]
_LISTED = 20
_DIGITS = 1_000_000
_UNLISTED = "its frequent values are not listed: it has more than 1,000 different ones"


class ColumnDistance(msgspec.Struct, frozen=True, kw_only=True):
    """How far one column is spread otherwise: each measure with the bounds that the profiles prove."""

    column: str
    type: str
    values_before: int
    values_after: int
    """that are there, neither null nor NaN"""
    missing_before: float
    missing_after: float
    """share of the rows without a value"""
    stability: Bounded | None = None
    """population stability index over the deciles of the first, or the bins of its histogram with `since`"""
    jensen_shannon: Bounded | None = None
    total_variation: Bounded | None = None
    """share of the values that would have to move"""
    kolmogorov_smirnov: Bounded | None = None
    """of numbers and instants, where both have a sketch"""
    note: str = ""
    """why measures are missing: whom to ask, or what no profile says"""


class DatasetDrift(msgspec.Struct, frozen=True, kw_only=True):
    """The columns that two versions have in common, those that moved furthest first."""

    before: str
    after: str
    since: str = ""
    """the version that `after` is told of without"""
    columns: tuple[ColumnDistance, ...] = ()
    read_rows: tuple[str, ...] = ()
    """why rows were read; empty: profiles said all"""


@operation("data.drift", scope="dataset:read", route="GET /drifts/{before}/{after}")
def drift(
    ctx: Context,
    before: str,
    after: str,
    *,
    since: Annotated[str, msgspec.Meta(description="of after, only the rows that came after this one")] = "",
    purpose: str = "",
) -> DatasetDrift:
    """Tell how far columns drifted between two versions, `flights@1` and `flights@9`, by their profiles.

    No row is read, unless a version has no profile or one without sketches: `read_rows` says so. With
    `since`, an earlier version of the same dataset, `after` stands for the rows that came since: every
    version in between has to be an append. Measures are told with bounds: between them lies what all rows
    would give. Of columns that may not be read for the purpose only counts are told.
    """
    versions = version_of(ctx, before), version_of(ctx, after)
    if ctx.run_id is not None:
        ctx.write(lambda tx: _touched(ctx, tx, versions))
    because: list[str] = []
    first, second = (_told(ctx, each, purpose, because) for each in versions)
    base = None
    if since:
        base = version_of(ctx, since)
        _check_appended(ctx, base, versions[1])
        second = _without(second, _told(ctx, base, purpose, because))
    names = [name for name in first["columns"] if name in second["columns"]]
    found = [_distance(name, first, second) for name in names]
    return DatasetDrift(
        before=str(versions[0].ref),
        after=str(versions[1].ref),
        since="" if base is None else str(base.ref),
        columns=tuple(sorted(found, key=lambda each: -each.stability.value if each.stability else 1.0)),
        read_rows=tuple(dict.fromkeys(because)),
    )


def _touched(ctx: Context, tx: Transaction, versions: Iterable[Version]) -> None:
    for version in versions:
        ctx.touch(tx, LinkRole.INPUT, version.ref)


def _told(ctx: Context, version: Version, purpose: str, because: list[str]) -> Json:
    """A version's profile with what may be told of it; made of the rows where it has no sketches."""
    found = profile_of(ctx, version)
    profile, why = found.profile, found.because
    numbers = [each for each in profile["columns"].values() if each.get("histogram")]
    if any("sketch" not in each for each in numbers):
        manifest = manifest_of(ctx, version)
        profile = profile_of_parts(ctx, manifest.entries, schema_of(manifest)) or profile
        why = f"the profile of {version.ref} was made before there were sketches"
    if why:
        because.append(why)
    return withheld_from(ctx, version, profile, purpose)


def _check_appended(ctx: Context, base: Version, newest: Version) -> None:
    """Raise `Invalid` unless the newest version is the base with rows added, and nothing else done to it."""
    at = newest
    while (at.asset_id, at.number) != (base.asset_id, base.number):
        is_earlier = at.asset_id == base.asset_id and at.parent is not None and at.number > base.number
        if not is_earlier or at.facts.get("removed"):
            raise Invalid(
                f"{newest.ref} is not {base.ref} with rows added: look at {at.ref}",
                hint="give a version since which rows were only appended, or compare the two without since",
            )
        at = resolve(ctx, Address(kind=at.kind, name=at.name, selector=ByNumber(at.parent or 0)))


def _without(whole: Json, before: Json) -> Json:
    """The profile of what was added: exact counts, and histograms or lists of values where both allow it."""
    columns = {
        name: _column_without(column, before["columns"].get(name))
        for name, column in whole["columns"].items()
    }
    rows = whole["rows"] - before["rows"]
    return {"rows": rows, "columns": {name: missing_told(each, rows) for name, each in columns.items()}}


def _column_without(whole: Json, before: Json | None) -> Json:
    if before is None or "withheld" in whole:
        return whole
    found: Json = {key: whole[key] - before.get(key, 0) for key in ("count", "nulls", "nan") if key in whole}
    found["type"] = whole["type"]
    if whole.get("histogram") and before.get("histogram"):
        try:
            return {**found, "histogram": added_shape(whole["histogram"], before["histogram"], -1)}
        except ValueError:
            return {**found, "note": "its profile was made anew in between"}
    if whole.get("histogram"):  # no value was there before: all came since
        return {**found, "histogram": whole["histogram"]}
    if "sketch" in whole:
        return {**found, "note": "its profile has no histogram: values are infinite, or too far apart"}
    if "top" not in whole:
        return found
    if "top" not in before or len(before["top"]) >= _LISTED or whole.get("bounds"):
        return {**found, "note": "not all of its earlier values are listed"}
    gone, there = _listed(before), _listed(whole)
    left = [{"value": value, "count": count - gone.get(value, 0)} for value, count in there.items()]
    return {**found, "top": left, "unlisted": min(there.values(), default=0)}


def _listed(column: Json) -> dict[object, int]:
    """Frequent values with their counts; long texts that begin alike are one."""
    found: dict[object, int] = {}
    for item in column["top"]:
        found[item["value"]] = found.get(item["value"], 0) + item["count"]
    return found


def _distance(name: str, first: Json, second: Json) -> ColumnDistance:
    before, after = first["columns"][name], second["columns"][name]
    full = [side["count"] - side.get("nan", 0) for side in (before, after)]
    rows = [max(side["rows"], 1) for side in (first, second)]
    missing = [1.0 - there / all_rows for there, all_rows in zip(full, rows, strict=True)]
    found = ColumnDistance(
        column=name,
        type=before["type"],
        values_before=full[0],
        values_after=full[1],
        missing_before=missing[0] if first["rows"] else 0.0,
        missing_after=missing[1] if second["rows"] else 0.0,
    )
    note = _why_not(before, after, full)
    pair = None if note else _counted(before, after)
    if pair is None:
        return msgspec.structs.replace(found, note=note or _UNLISTED)
    return msgspec.structs.replace(
        found,
        stability=_short(bounded("population_stability", *pair)),
        jensen_shannon=_short(bounded("jensen_shannon", *pair)),
        total_variation=_short(bounded("total_variation", *pair)),
        kolmogorov_smirnov=_ranked(before, after),
    )


def _short(found: Bounded) -> Bounded:
    """With six digits behind the point, the bounds outwards."""
    low, high = math.floor(found.low * _DIGITS) / _DIGITS, math.ceil(found.high * _DIGITS) / _DIGITS
    value = round(found.value, 6)
    return (
        Bounded(value=value, low=low, high=high)
        if found.low < found.high
        else Bounded(value=value, low=value, high=value)
    )


def _why_not(before: Json, after: Json, full: list[int]) -> str:
    for side in (before, after):
        if "withheld" in side or "note" in side:
            return str(side.get("withheld") or side["note"])
    if before["type"] != after["type"]:
        return f"it was of type {before['type']}, and is of type {after['type']}"
    is_empty = any("sketch" in side and not side["sketch"]["n"] for side in (before, after))
    return "" if all(full) and not is_empty else "one of the two has no value"


def _ranked(before: Json, after: Json) -> Bounded | None:
    sketches = [from_plain(side["sketch"]) for side in (before, after) if "sketch" in side]
    if len(sketches) < 2 or not all(sketch.n for sketch in sketches):
        return None
    return _short(furthest(sketches[0], sketches[1]))


def _counted(before: Json, after: Json) -> tuple[BinCounts, BinCounts] | None:
    """Counts of both in the same bins: deciles of the first, bins of the second's histogram, or values."""
    if "sketch" not in before:
        return _by_values(before, after)
    sketch = from_plain(before["sketch"])
    if "sketch" in after:
        edges = np.unique(np.asarray(quantiles(sketch, _DECILES)))
        return counts_of(sketch, edges), counts_of(from_plain(after["sketch"]), edges)
    shape = after["histogram"]
    edges = np.asarray(shape["edges"], dtype=np.float64)
    edges[-1] = np.nextafter(edges[-1], np.inf)  # the last bin has its right edge
    counts = known_counts([shape["below"], *shape["counts"], shape["above"]])
    return _in_histogram(before, shape, edges), counts


def _in_histogram(before: Json, shape: Json, edges: FloatArray) -> BinCounts:
    """The first one's counts in bins of a histogram: exact where its own has the same ones."""
    own = before.get("histogram")
    if own and own["edges"] == shape["edges"]:
        return known_counts([own["below"], *own["counts"], own["above"]])
    return counts_of(from_plain(before["sketch"]), edges)


def _by_values(before: Json, after: Json) -> tuple[BinCounts, BinCounts] | None:
    """Counts of the first one's frequent values and of all others together; None where none are listed."""
    if not before.get("top") or "top" not in after:
        return None
    values = list(_listed(before))
    return _levels(before, values), _levels(after, values)


def _levels(column: Json, values: list[object]) -> BinCounts:
    """Counts of the values, all others last; what the list leaves open may be any of them."""
    listed = _listed(column)
    rest = column["count"] - sum(listed.values())
    is_bound = bool(column.get("bounds"))
    least = column.get("unlisted", min(listed.values(), default=0))
    unlisted = rest if is_bound else min(rest, least)
    counts = [listed.get(value, 0) for value in values]
    unsure = [
        rest if is_bound and value in listed else 0 if value in listed else unlisted for value in values
    ]
    return known_counts([*counts, column["count"] - sum(counts)], [*unsure, 0])
