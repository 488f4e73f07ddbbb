"""Answers one call: its rows, its vectors, who scored what, and what the log keeps of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from loopwright.core.expressions import Scalar
from loopwright.serving.log import Entry, PredictionLog
from loopwright.serving.nouns import Reply, Variant
from loopwright.serving.tables import LoadedModel, RouteTable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Call"]


class Call:
    """A request at an instant (microseconds); vectors are made once for each recipe its versions need."""

    __slots__ = ("at_us", "began_ns", "request_id", "rows", "table", "vectors")

    def __init__(
        self, table: RouteTable, rows: list[dict[str, Scalar]], request_id: str, at_us: int, began_ns: int
    ) -> None:
        self.table = table
        self.rows = rows
        self.request_id = request_id
        self.at_us = at_us
        self.began_ns = began_ns
        self.vectors: dict[str, NDArray[np.float64]] = {}
        """vectors of all rows by recipe"""

    def route_keys(self) -> list[str]:
        """What decides the route of each row: its sticky column, else the request's id."""
        sticky = self.table.sticky
        if not sticky:
            return [self.request_id] * len(self.rows)
        return [self.request_id if (value := row[sticky]) is None else str(value) for row in self.rows]

    def score_all(self, model: LoadedModel, variant: Variant, log: PredictionLog) -> list[float]:
        """The scores of all rows by one version."""
        return self._scored(model, self._whole(model), range(len(self.rows)), variant, log)

    def score_some(self, model: LoadedModel, places: Sequence[int], log: PredictionLog) -> list[float]:
        """The scores of the rows at these places by one version of several that answer."""
        if self.table.is_one_recipe:
            x = self._whole(model)[places]
        else:
            x = model.assembler.vectors([self.rows[at] for at in places], self.at_us)
        return self._scored(model, x, places, Variant.LIVE, log)

    def reply(self, scores: list[float], versions: list[int]) -> Reply:
        """The answer; a prediction's id is the request's id and the row's place."""
        ids = [f"{self.request_id}.{place}" for place in range(len(scores))]
        return Reply(self.request_id, scores, versions, ids)

    def _whole(self, model: LoadedModel) -> NDArray[np.float64]:
        x = self.vectors.get(model.recipe)
        if x is None:
            x = self.vectors[model.recipe] = model.assembler.vectors(self.rows, self.at_us)
        return x

    def _scored(
        self,
        model: LoadedModel,
        x: NDArray[np.float64],
        places: Sequence[int],
        variant: Variant,
        log: PredictionLog,
    ) -> list[float]:
        scores = model.predictor.predict(x)
        rows = self.rows if len(places) == len(self.rows) else [self.rows[at] for at in places]
        latency_us = (time.perf_counter_ns() - self.began_ns) // 1000
        log.append(
            Entry(
                model.sheet,
                self.request_id,
                places,
                self.at_us,
                model.version,
                variant,
                rows,
                x,
                scores,
                latency_us,
            )
        )
        found: list[float] = scores.tolist()
        return found
