"""Takes labels in and joins them to predictions: by id, as far as they are known at an instant."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from loopwright.core.errors import Invalid
from loopwright.core.expressions import col
from loopwright.core.instants import to_micros
from loopwright.data.streams import read_stream, write_segment
from loopwright.engine.context import Context
from loopwright.monitoring.nouns import labels_stream
from loopwright.ports.ledger import Segment

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["join_labels", "label_table", "record"]

_COLUMNS = ("prediction_id", "label", "known_at")


def label_table(ids: list[str], labels: list[float], known_at: list[datetime]) -> pa.Table:
    """A table of labels: `prediction_id` string, `label` float64, `known_at` instant."""
    import pyarrow as pa

    kind = pa.timestamp("us", tz="UTC")
    return pa.table(
        {
            "prediction_id": pa.array(ids, pa.string()),
            "label": pa.array(labels, pa.float64()),
            "known_at": pa.array(known_at, kind),
        }
    )


def record(ctx: Context, name: str, table: pa.Table) -> Segment | None:
    """Keep labels as a segment of their stream; None when there are none.

    Columns `prediction_id`, `label`, `known_at`, without nulls; a label known later replaces an earlier one.
    """
    checked = _checked(table)
    if checked.num_rows == 0:
        return None
    import pyarrow.compute as pc

    ends = pc.min_max(checked["known_at"]).as_py()
    return write_segment(ctx, labels_stream(name), checked, ends["min"], ends["max"], {})


def _checked(table: pa.Table) -> pa.Table:
    import pyarrow as pa

    missing = [name for name in _COLUMNS if name not in table.column_names]
    if missing:
        raise Invalid(f"the labels lack {', '.join(missing)}", hint=f"the columns are {', '.join(_COLUMNS)}")
    kinds = (pa.string(), pa.float64(), pa.timestamp("us", tz="UTC"))
    try:
        columns = {name: table[name].cast(kind) for name, kind in zip(_COLUMNS, kinds, strict=True)}
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise Invalid(
            "the labels have the wrong types",
            hint="prediction_id is text, label a number, known_at an instant",
        ) from error
    for name, column in columns.items():
        if column.null_count:
            raise Invalid(f"{column.null_count} labels have no {name}", hint="leave such rows out")
    return pa.table(columns)


def join_labels(
    ctx: Context, name: str, prediction_ids: pa.ChunkedArray, start: datetime, now: datetime
) -> NDArray[np.float64]:
    """The label of each prediction `(n,)`, NaN where none is known by `now`; of several the one known last.

    `start` is an instant before which none of these labels can have been known.
    """
    import numpy as np
    import pyarrow.compute as pc

    told = col("known_at") <= to_micros(now)
    known = read_stream(ctx, labels_stream(name), start, now, columns=list(_COLUMNS), where=told)
    if known.num_rows == 0:
        return np.full(len(prediction_ids), np.nan)
    known = known.sort_by([("known_at", "descending")])
    places = pc.index_in(prediction_ids, value_set=known["prediction_id"].combine_chunks())
    found: NDArray[np.float64] = pc.fill_null(pc.take(known["label"], places), np.nan).to_numpy()
    return found
