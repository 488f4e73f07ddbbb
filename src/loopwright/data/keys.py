"""Rows that repeat a key, and values that a referred dataset does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loopwright.data.nouns import Reference, UniqueKey

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["repeated", "unreferred"]

_AT = "__loopwright_at"


def repeated(table: pa.Table, key: UniqueKey, earlier: pa.Table | None) -> NDArray[np.bool_]:
    """`(n,)`: which rows of `table` repeat the key of a row before them, or of `earlier`."""
    import numpy as np
    import pyarrow as pa

    keys = table.select(list(key.columns))
    offset = 0
    if earlier is not None:
        offset = earlier.num_rows
        keys = pa.concat_tables([earlier.select(list(key.columns)), keys])
    at = pa.array(np.arange(keys.num_rows, dtype=np.int64))
    whole = keys.append_column(_AT, at).drop_null()
    first = whole.group_by(list(key.columns), use_threads=False).aggregate([(_AT, "min")])
    is_first = np.zeros(keys.num_rows, dtype=np.bool_)
    is_first[_numpy(first.column(f"{_AT}_min"))] = True
    compared = np.zeros(keys.num_rows, dtype=np.bool_)
    compared[_numpy(whole.column(_AT))] = True
    return (compared & ~is_first)[offset:]


def unreferred(table: pa.Table, reference: Reference, known: pa.Array) -> NDArray[np.bool_]:
    """`(n,)`: which rows of `table` have a value that is not among the known ones; null may be."""
    import pyarrow.compute as pc

    values = table.column(reference.column)
    there = pc.is_in(values, value_set=known)
    return ~_numpy(pc.or_(there, pc.is_null(values)))


def _numpy(values: pa.ChunkedArray) -> NDArray[Any]:
    found: NDArray[Any] = values.to_numpy()
    return found
