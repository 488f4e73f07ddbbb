"""Reads the payload log back: each prediction once, however often its request was asked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from loopwright.core.expressions import col
from loopwright.core.instants import to_micros
from loopwright.data.streams import read_stream
from loopwright.engine.context import Context
from loopwright.serving.nouns import stream_of

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["predictions"]

_KEY = ("prediction_id", "variant", "model_version")


def predictions(
    ctx: Context, endpoint: str, start: datetime, end: datetime, *, columns: Sequence[str] | None = None
) -> pa.Table:
    """Logged rows with `start <= at < end`, in order of their segments; of rows logged twice the first.

    A row is told by its prediction id, and in shadow by the version too. Without rows the table is empty and
    may lack columns.
    """
    wanted = None if columns is None else list(dict.fromkeys((*_KEY, "at", *columns)))
    at = col("at")
    inside = (at >= to_micros(start)) & (at < to_micros(end))
    return _folded(read_stream(ctx, stream_of(endpoint), start, end, columns=wanted, where=inside))


def _folded(table: pa.Table) -> pa.Table:
    import numpy as np
    import pyarrow.compute as pc

    if table.num_rows == 0:
        return table
    is_shadow = pc.equal(table["variant"], "shadow")
    version = pc.if_else(is_shadow, table["model_version"], -1).to_numpy()
    ids = pc.dictionary_encode(table["prediction_id"]).combine_chunks().indices.to_numpy()
    keys = ids.astype(np.int64) * (int(version.max()) + 2) + version.astype(np.int64) + 1
    first = np.unique(keys, return_index=True)[1]
    return table if len(first) == table.num_rows else table.take(np.sort(first))
