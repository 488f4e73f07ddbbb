"""Compares logged vectors with those the offline join gives at the same instants, bit by bit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from loopwright.core.addresses import Address, ByNumber
from loopwright.engine.context import Context
from loopwright.engine.publishing import resolve
from loopwright.features.nouns import VECTOR_PREFIX
from loopwright.features.verbs import build, service_of
from loopwright.monitoring.nouns import FeatureSkew, SkewReport
from loopwright.registry.nouns import KIND as MODEL
from loopwright.registry.nouns import ModelBody
from loopwright.registry.verbs import body_of
from loopwright.serving.history import predictions

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["column_skew", "measure_skew"]

_SHOWN = 5
_TIME = "__asked_at"


def measure_skew(
    ctx: Context, endpoint: str, model: str, start: datetime, end: datetime, *, purpose: str = ""
) -> SkewReport:
    """Every vector logged in `[start, end)`, shadow too, against the offline build of its version."""
    table = predictions(ctx, endpoint, start, end)
    versions = sorted(set(table["model_version"].to_pylist())) if table.num_rows else []
    found: dict[str, FeatureSkew] = {}
    values = 0
    for number in versions:
        body = body_of(ctx, resolve(ctx, Address(kind=MODEL, name=model, selector=ByNumber(number))))
        part = _of_version(table, number)
        values += part.num_rows * len(body.features)
        for each in _compared(ctx, part, body, purpose):
            found[each.feature] = each if each.feature not in found else _joined(found[each.feature], each)
    return SkewReport(
        endpoint=endpoint,
        start=start,
        end=end,
        rows=table.num_rows,
        values=values,
        mismatches=sum(each.mismatches for each in found.values()),
        features=tuple(found.values()),
    )


def _of_version(table: pa.Table, number: int) -> pa.Table:
    import pyarrow.compute as pc

    return table.filter(pc.equal(table["model_version"], number))


def _compared(ctx: Context, logged: pa.Table, body: ModelBody, purpose: str) -> list[FeatureSkew]:
    import pyarrow as pa

    service = replace(service_of(ctx, body.service), categorical=body.categorical)
    spine = pa.table({_TIME: logged["at"], **{name: logged[f"in_{name}"] for name in service.request.names}})
    built = build(ctx, service, spine, _TIME, purpose=purpose)
    ids = logged["prediction_id"].to_pylist()
    pairs = (
        (name, logged[f"x_{name}"].to_numpy(), built[f"{VECTOR_PREFIX}{name}"].to_numpy())
        for name in body.features
    )
    found = (column_skew(name, first, second, ids) for name, first, second in pairs)
    return [each for each in found if each is not None]


def _joined(first: FeatureSkew, second: FeatureSkew) -> FeatureSkew:
    sizes = [each.largest for each in (first, second) if each.largest is not None]
    return FeatureSkew(
        feature=first.feature,
        mismatches=first.mismatches + second.mismatches,
        largest=max(sizes, default=None),
        first=(first.first + second.first)[:_SHOWN],
    )


def column_skew(
    feature: str, logged: NDArray[np.float64], offline: NDArray[np.float64], ids: Sequence[str]
) -> FeatureSkew | None:
    """Where two columns `(n,)` differ in any bit; every NaN is the same nothing. None where they do not."""
    differs = _bits(logged) != _bits(offline)
    if not differs.any():
        return None
    places = np.flatnonzero(differs)
    both = differs & np.isfinite(logged) & np.isfinite(offline)
    return FeatureSkew(
        feature=feature,
        mismatches=len(places),
        largest=float(np.abs(logged[both] - offline[both]).max()) if both.any() else None,
        first=tuple(ids[place] for place in places[:_SHOWN]),
    )


def _bits(values: NDArray[np.float64]) -> NDArray[np.int64]:
    found: NDArray[np.int64] = np.where(np.isnan(values), np.nan, values).astype(np.float64).view(np.int64)
    return found
