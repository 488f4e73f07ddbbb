"""What the story came to: the frozen first model and the loop on the same flights, by month and pooled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from loopwright.app.demo.definitions import ENDPOINT, MODEL
from loopwright.app.demo.flights import Flights
from loopwright.data.streams import read_stream
from loopwright.engine.context import Context
from loopwright.registry.verbs import load
from loopwright.serving.nouns import stream_of
from loopwright.stats.classification import auc_difference, roc_auc
from loopwright.stats.intervals import Difference

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["Outcome", "label_rows", "measure", "prediction_ids"]

_MIN_LABELS = 50


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """ROC-AUC of both by month and pooled over all labelled flights, with the paired difference."""

    frozen: dict[str, float]
    loop: dict[str, float]
    frozen_all: float
    loop_all: float
    difference: Difference
    predictions: dict[str, int]
    labelled: dict[str, int]


class _Answers(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One row a flight that was asked about, in the order of asking."""

    ids: NDArray[np.str_]
    scores: NDArray[np.float64]
    x: NDArray[np.float64]


def _answers(ctx: Context, features: tuple[str, ...]) -> _Answers:
    """The live predictions, one of each id (a request that was asked again logged the same ids)."""
    names = ["prediction_id", "variant", "score", *(f"x_{name}" for name in features)]
    table = read_stream(ctx, stream_of(ENDPOINT), None, None, columns=names)
    live = np.array(table["variant"].to_pylist()) == "live"
    ids = np.array(table["prediction_id"].to_pylist())[live]
    _, first = np.unique(ids, return_index=True)
    x = np.column_stack([table[f"x_{name}"].to_numpy()[live][first] for name in features])
    return _Answers(ids=ids[first], scores=table["score"].to_numpy()[live][first], x=x)


def prediction_ids(asked: pa.Table) -> list[str]:
    """The id of each flight's prediction: its minute's request, its place in it; rows in order of asking."""
    import pyarrow as pa
    import pyarrow.compute as pc

    stamps = asked["scheduled_at"].cast(pa.int64()).to_numpy()
    starts = np.flatnonzero(np.diff(stamps, prepend=-1))
    counts = np.diff(starts, append=len(stamps))
    places = np.arange(len(stamps)) - np.repeat(starts, counts)
    asks = np.datetime_as_string(stamps[starts].astype("datetime64[us]"), unit="s", timezone="UTC")
    minutes = pa.array(np.repeat(asks, counts), pa.string())
    named = pc.binary_join_element_wise("flights-", minutes, ".", pa.array(places).cast(pa.string()), "")
    found: list[str] = named.to_pylist()
    return found


def _truth(flights: Flights) -> dict[str, tuple[int, float]]:
    """Month and label (NaN without one) of every flight, by the id its prediction has."""
    names, late = (flights.landings[name].to_pylist() for name in ("flight_id", "late"))
    known = dict(zip(names, late, strict=True))
    labels = [float(known.get(name, np.nan)) for name in flights.schedule["flight_id"].to_pylist()]
    months = flights.schedule["month"].to_pylist()
    ids = prediction_ids(flights.schedule)
    return dict(zip(ids, zip(months, labels, strict=True), strict=True))


def measure(ctx: Context, flights: Flights) -> Outcome:
    """Score the first version on the very vectors that were served, and compare with what was answered."""
    _, body, first = load(ctx, f"model:{MODEL}@1")
    answers = _answers(ctx, body.features)
    truth = _truth(flights)
    known = [truth[name] for name in answers.ids]
    months = np.array([month for month, _ in known])
    labels = np.array([label for _, label in known])
    frozen = first.predict(answers.x)
    there = ~np.isnan(labels)

    def by_month(scores: NDArray[np.float64]) -> dict[str, float]:
        chosen = {str(m): there & (months == m) for m in np.unique(months)}
        return {
            m: round(roc_auc(labels[rows], scores[rows]), 4)
            for m, rows in chosen.items()
            if rows.sum() > _MIN_LABELS
        }

    return Outcome(
        frozen=by_month(frozen),
        loop=by_month(answers.scores),
        frozen_all=roc_auc(labels[there], frozen[there]),
        loop_all=roc_auc(labels[there], answers.scores[there]),
        difference=auc_difference(labels[there], answers.scores[there], frozen[there]),
        predictions={str(m): int((months == m).sum()) for m in np.unique(months)},
        labelled={str(m): int((there & (months == m)).sum()) for m in np.unique(months)},
    )


def label_rows(flights_known: Any, prediction_ids: dict[str, str]) -> Any:
    """Labels of landed flights that were asked about: prediction id, label, known-at."""
    import pyarrow as pa

    ids = pa.array([prediction_ids.get(name) for name in flights_known["flight_id"].to_pylist()], pa.string())
    labels = pa.table(
        {
            "prediction_id": ids,
            "label": flights_known["late"].cast(pa.float64()),
            "known_at": flights_known["known_at"],
        }
    )
    return labels.filter(ids.is_valid())
