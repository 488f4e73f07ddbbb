"""Finds rows by their keys: exact, whatever the types of the key's columns, a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from loopwright.core.errors import Invalid

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["KeyIndex", "same_values"]


class KeyIndex:
    """The places of keys in a table; immutable once made."""

    def __init__(self, table: pa.Table, columns: Sequence[str]) -> None:
        """Index the keys of a table; `Invalid` for a null in one, or for two rows of one key."""
        import numpy as np
        import pyarrow.compute as pc

        self.columns = tuple(columns)
        self.keys = table.select(list(columns))
        self._values = []
        self._pairs: list[NDArray[np.int64]] = []
        for name in columns:
            values = self.keys.column(name)
            if values.null_count:
                raise Invalid(
                    f"{values.null_count:,} rows have a null in the key column {name!r}",
                    hint="a key names a row: fill the nulls, or leave these rows out",
                )
            self._values.append(pc.unique(values))
        codes = self._codes(self.keys, known=False)
        self._place = np.full(codes.max(initial=-1) + 1, -1, dtype=np.int64)
        self._place[codes] = np.arange(codes.size)
        if (again := codes.size - self._place.size) > 0:
            raise Invalid(
                f"{again:,} rows repeat a key ({', '.join(columns)}) of the same batch",
                hint="give one row for each key",
            )

    def find(self, table: pa.Table) -> NDArray[np.int64]:
        """`(n,)`: the place of each row's key in the indexed table, -1 where it is not there."""
        import numpy as np

        codes = self._codes(table, known=True)
        found = np.full(codes.size, -1, dtype=np.int64)
        there = codes >= 0
        found[there] = self._place[codes[there]]
        return found

    def _codes(self, table: pa.Table, *, known: bool) -> NDArray[np.int64]:
        """Keys as dense numbers: columns are taken up one after the other, so that nothing overflows."""
        import numpy as np

        found: NDArray[np.int64] | None = None
        for at, (name, values) in enumerate(zip(self.columns, self._values, strict=True)):
            codes = _index_in(table.column(name), values)
            if found is None:
                found = codes
                continue
            pairs = np.where((found >= 0) & (codes >= 0), found * max(len(values), 1) + codes, -1)
            if not known:
                self._pairs.append(np.unique(pairs))
            found = _dense(self._pairs[at - 1], pairs)
        assert found is not None
        return found


def _index_in(values: pa.ChunkedArray, among: Any) -> NDArray[np.int64]:
    import numpy as np
    import pyarrow.compute as pc

    found = pc.index_in(values, value_set=among, skip_nulls=True).fill_null(-1)
    codes: NDArray[np.int64] = found.to_numpy().astype(np.int64)
    return codes


def _dense(among: NDArray[np.int64], values: NDArray[np.int64]) -> NDArray[np.int64]:
    import numpy as np

    if not among.size:
        return np.full(values.size, -1, dtype=np.int64)
    at = np.minimum(np.searchsorted(among, values), among.size - 1)
    return np.where((among[at] == values) & (values >= 0), at, -1)


def same_values(left: pa.ChunkedArray, right: pa.ChunkedArray) -> NDArray[np.bool_]:
    """`(n,)`: where two columns of one type hold the same; null is as null, NaN as NaN."""
    import pyarrow as pa
    import pyarrow.compute as pc

    held = pc.equal(left, right).fill_null(fill_value=False)
    held = pc.or_(held, pc.and_(pc.is_null(left), pc.is_null(right)))
    if pa.types.is_floating(left.type):
        nans = pc.and_(pc.is_nan(left), pc.is_nan(right)).fill_null(fill_value=False)
        held = pc.or_(held, nans)
    found: NDArray[np.bool_] = held.to_numpy()
    return found
