"""Facts the loops decide by: how a stretch turned out, a challenger against the champion."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from loopwright.core.addresses import Address
from loopwright.core.errors import Invalid
from loopwright.core.instants import to_micros
from loopwright.core.policies import Fact
from loopwright.data.streams import read_stream
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.monitoring.nouns import MONITOR, Monitor, labels_stream
from loopwright.serving.nouns import Variant, stream_of
from loopwright.stats.classification import auc_difference, auc_interval
from loopwright.stats.intervals import paired_mean_difference

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["compare_versions", "promised_auc", "realised_facts"]

_DAY_US = 86_400_000_000
_MIN_EACH_CLASS = 30


class _Scored(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Predictions of a stretch, one of each (id, version, variant)."""

    ids: NDArray[np.str_]
    at: NDArray[np.int64]
    versions: NDArray[np.int64]
    live: NDArray[np.bool_]
    scores: NDArray[np.float64]


def _monitor(ctx: Context, name: str) -> Monitor:
    version = resolve(ctx, Address(kind=MONITOR, name=name))
    return msgspec.convert(manifest_of(ctx, version).body, Monitor)


def _scored(ctx: Context, endpoint: str, start: datetime, end: datetime) -> _Scored:
    import pyarrow as pa

    names = ["prediction_id", "at", "model_version", "variant", "score"]
    table = read_stream(ctx, stream_of(endpoint), start, end, columns=names)
    at = table["at"].cast(pa.int64()).to_numpy()
    inside = (at >= to_micros(start)) & (at < to_micros(end))
    ids = np.array(table["prediction_id"].to_pylist(), dtype=np.str_)[inside]
    live = np.array(table["variant"].to_pylist(), dtype=np.str_)[inside] == Variant.LIVE.value
    versions = table["model_version"].to_numpy()[inside].astype(np.int64)
    return _Scored(
        ids=ids, at=at[inside], versions=versions, live=live, scores=table["score"].to_numpy()[inside]
    )


def _labels(ctx: Context, name: str, ids: NDArray[np.str_]) -> NDArray[np.float64]:
    """The label of each prediction as known now, NaN where none is."""
    import pyarrow as pa

    table = read_stream(
        ctx, labels_stream(name), None, ctx.now(), columns=["prediction_id", "label", "known_at"]
    )
    known = table["known_at"].cast(pa.int64()).to_numpy() <= to_micros(ctx.now())
    named = np.array(table["prediction_id"].to_pylist(), dtype=np.str_)[known]
    values = table["label"].to_numpy()[known].astype(np.float64)
    if not len(named):
        return np.full(len(ids), np.nan)
    order = np.argsort(named, kind="stable")
    place = np.clip(np.searchsorted(named[order], ids), 0, len(named) - 1)
    found: NDArray[np.float64] = np.where(named[order][place] == ids, values[order][place], np.nan)
    return found


def realised_facts(
    ctx: Context, monitor: str, start: datetime, end: datetime
) -> tuple[Fact | None, Fact | None]:
    """Calibration gap (mean score less late share) and ROC-AUC of what was answered in a stretch.

    By the labels known now, each with a 95 % interval clustered by day; None where there are too few.
    """
    watched = _monitor(ctx, monitor)
    scored = _scored(ctx, watched.endpoint, start, end)
    _, first = np.unique(np.where(scored.live, scored.ids, ""), return_index=True)
    rows = first[scored.live[first]]
    labels = _labels(ctx, watched.labels, scored.ids[rows])
    there = ~np.isnan(labels)
    y, s, day = labels[there], scored.scores[rows][there], scored.at[rows][there] // _DAY_US
    if min(y.sum(), len(y) - y.sum()) < _MIN_EACH_CLASS:
        return None, None
    return _gap(y, s, day), _auc(y, s, day)


def _gap(y: NDArray[np.float64], s: NDArray[np.float64], day: NDArray[np.int64]) -> Fact | None:
    try:
        found = paired_mean_difference(s, y, clusters=day)
    except Invalid:
        return None
    return Fact(name="calibration gap", value=found.value, low=found.low, high=found.high, n=len(y))


def _auc(y: NDArray[np.float64], s: NDArray[np.float64], day: NDArray[np.int64]) -> Fact:
    found = auc_interval(y, s, clusters=day)
    return Fact(name="ROC-AUC", value=found.value, low=found.low, high=found.high, n=len(y))


def compare_versions(
    ctx: Context, monitor: str, *, challenger: int, champion: int, start: datetime, end: datetime
) -> Fact | None:
    """ROC-AUC of a challenger less that of the champion on the predictions both scored, paired (DeLong).

    By the labels known now; None while there are too few.
    """
    watched = _monitor(ctx, monitor)
    scored = _scored(ctx, watched.endpoint, start, end)
    ids, first, second = _both(scored, challenger, champion)
    labels = _labels(ctx, watched.labels, ids)
    there = ~np.isnan(labels)
    y = labels[there]
    if min(y.sum(), len(y) - y.sum()) < _MIN_EACH_CLASS:
        return None
    found = auc_difference(y, first[there], second[there])
    return Fact(
        name="ROC-AUC against the champion, live",
        value=found.value,
        low=found.low,
        high=found.high,
        n=len(y),
        detail="paired DeLong interval, 95 %",
    )


def _both(
    scored: _Scored, one: int, other: int
) -> tuple[NDArray[np.str_], NDArray[np.float64], NDArray[np.float64]]:
    """Ids that both versions scored, with both scores."""
    sides = []
    for version in (one, other):
        chosen = scored.versions == version
        ids, first = np.unique(scored.ids[chosen], return_index=True)
        sides.append((ids, scored.scores[chosen][first]))
    ids, left, right = np.intersect1d(sides[0][0], sides[1][0], assume_unique=True, return_indices=True)
    return ids, sides[0][1][left], sides[1][1][right]


def promised_auc(ctx: Context, model: str) -> float | None:
    """The ROC-AUC the champion had when its gate judged it, None when there is no champion."""
    with ctx.read() as tx:
        asset = tx.assets.find(ctx.space, "model", model)
        pointer = None if asset is None else tx.aliases.get(asset.id, "champion")
        version = None if asset is None or pointer is None else tx.versions.get(asset.id, pointer.number)
        signal = None if version is None else tx.signals.latest(ctx.space, str(version.ref), "gate.roc_auc")
    return None if signal is None else signal.value
