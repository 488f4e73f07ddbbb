"""Facts the loops decide by: how a stretch turned out, a challenger against the champion."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from loopwright.core.errors import Invalid
from loopwright.core.policies import Fact
from loopwright.engine.context import Context
from loopwright.monitoring.definitions import load
from loopwright.monitoring.labels import join_labels
from loopwright.serving.history import predictions
from loopwright.serving.nouns import Variant
from loopwright.stats.classification import auc_difference, auc_interval
from loopwright.stats.intervals import paired_mean_difference

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["compare_versions", "promised_auc", "realised_facts"]

_DAY_US = 86_400_000_000
_MIN_EACH_CLASS = 30


class _Scored(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Predictions of a stretch, each once, with the labels known now (NaN where none is); all of length n."""

    ids: NDArray[np.int64]
    """a number for each prediction id"""
    at_us: NDArray[np.int64]
    versions: NDArray[np.int64]
    live: NDArray[np.bool_]
    scores: NDArray[np.float64]
    labels: NDArray[np.float64]


def _scored(ctx: Context, monitor: str, start: datetime, end: datetime) -> _Scored | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    watched = load(ctx, monitor).monitor
    table = predictions(ctx, watched.endpoint, start, end, columns=("score",))
    if table.num_rows == 0:
        return None
    ids = pc.dictionary_encode(table["prediction_id"]).combine_chunks().indices
    return _Scored(
        ids=np.asarray(ids.to_numpy(), dtype=np.int64),
        at_us=np.asarray(table["at"].cast(pa.int64()).to_numpy()),
        versions=np.asarray(table["model_version"].to_numpy()),
        live=np.asarray(table["variant"].to_numpy() == Variant.LIVE.value),
        scores=np.asarray(table["score"].to_numpy()),
        labels=join_labels(ctx, watched.labels, table["prediction_id"], start, ctx.now()),
    )


def realised_facts(
    ctx: Context, monitor: str, start: datetime, end: datetime
) -> tuple[Fact | None, Fact | None]:
    """Calibration gap (mean score less late share) and ROC-AUC of what was answered in a stretch.

    By the labels known now, each with a 95 % interval clustered by day; None where there are too few.
    """
    scored = _scored(ctx, monitor, start, end)
    if scored is None:
        return None, None
    there = scored.live & np.isfinite(scored.labels)
    y, said, day = scored.labels[there], scored.scores[there], scored.at_us[there] // _DAY_US
    if min(y.sum(), len(y) - y.sum()) < _MIN_EACH_CLASS:
        return None, None
    return _gap(y, said, day), _auc(y, said, day)


def _gap(y: NDArray[np.float64], s: NDArray[np.float64], day: NDArray[np.int64]) -> Fact | None:
    try:
        found = paired_mean_difference(s, y, clusters=day)
    except Invalid:
        return None
    return Fact(name="calibration gap", value=found.value, low=found.low, high=found.high, n=len(y))


def _auc(y: NDArray[np.float64], s: NDArray[np.float64], day: NDArray[np.int64]) -> Fact | None:
    try:
        found = auc_interval(y, s, clusters=day)
    except Invalid:
        return None
    return Fact(name="ROC-AUC", value=found.value, low=found.low, high=found.high, n=len(y))


def compare_versions(
    ctx: Context, monitor: str, *, challenger: int, champion: int, start: datetime, end: datetime
) -> Fact | None:
    """ROC-AUC of a challenger less that of the champion on the predictions both scored, paired (DeLong).

    By the labels known now; None while there are too few.
    """
    scored = _scored(ctx, monitor, start, end)
    if scored is None:
        return None
    y, first, second = _both(scored, challenger, champion)
    if min(y.sum(), len(y) - y.sum()) < _MIN_EACH_CLASS:
        return None
    found = auc_difference(y, first, second)
    return Fact(
        name="ROC-AUC against the champion, live",
        value=found.value,
        low=found.low,
        high=found.high,
        n=len(y),
        detail="paired DeLong interval, 95 %",
    )


def _both(scored: _Scored, one: int, other: int) -> tuple[NDArray[np.float64], ...]:
    """Label and both scores of the labelled predictions that both versions scored, live or in shadow."""
    labelled = np.isfinite(scored.labels)
    sides = []
    for version in (one, other):
        chosen = np.flatnonzero((scored.versions == version) & labelled)
        ids, first = np.unique(scored.ids[chosen], return_index=True)
        sides.append((ids, chosen[first]))
    _, left, right = np.intersect1d(sides[0][0], sides[1][0], assume_unique=True, return_indices=True)
    first, second = sides[0][1][left], sides[1][1][right]
    return scored.labels[first], scored.scores[first], scored.scores[second]


def promised_auc(ctx: Context, model: str) -> float | None:
    """The ROC-AUC the champion had when its gate judged it, None when there is no champion."""
    with ctx.read() as tx:
        asset = tx.assets.find(ctx.space, "model", model)
        pointer = None if asset is None else tx.aliases.get(asset.id, "champion")
        version = None if asset is None or pointer is None else tx.versions.get(asset.id, pointer.number)
        signal = None if version is None else tx.signals.latest(ctx.space, str(version.ref), "gate.roc_auc")
    return None if signal is None else signal.value
