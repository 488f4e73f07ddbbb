"""Measures lists and objects in a Parquet file before they are read: a few bytes may be very many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from loopwright.core.errors import TooLarge
from loopwright.data.footers import ColumnPart

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

__all__ = ["nested_bytes", "spread"]

_ROWS_AT_ONCE = 65_536
_A_NUMBER = 8


class _Leaf(NamedTuple):
    """A column of plain values below one of lists or objects."""

    top: str
    path: str
    values: int
    is_text: bool


def nested_bytes(file: IO[bytes], parts: Sequence[ColumnPart], *, limit: int, rows: int = 0) -> int:
    """How many bytes the numbers in lists and objects of an open Parquet file unpack to, at most.

    `TooLarge` where a column's texts there may be over `limit`: those that are written once and pointed to
    are measured, a piece at a time; those that grow out of the ones before them are told by the longest page.
    With `rows`, which are read at once, both are of so many rows, or of a group of them, not of all.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(file, pre_buffer=False) as found:
        leaves = list(_leaves(found, sum if not rows else max))
    doubted = [leaf for leaf in leaves if leaf.is_text and _bound(leaf, parts, rows) > limit]
    for leaf in doubted:
        if any(part.is_grown for part in parts if part.path == leaf.path):
            raise _too_much(leaf.top, limit)
    if doubted:
        _measure(file, doubted, limit, rows)
    file.seek(0)
    return sum(leaf.values * _A_NUMBER for leaf in leaves)


def _bound(leaf: _Leaf, parts: Sequence[ColumnPart], rows: int) -> int:
    there = [part for part in parts if part.path == leaf.path]
    if not any(part.is_folded or part.is_grown for part in there):
        return 0 if rows else sum(part.size_bytes for part in there)
    return leaf.values * max(part.page_bytes for part in there)


def _leaves(found: pq.ParquetFile, over_groups: Callable[[Iterable[int]], int]) -> Iterator[_Leaf]:
    from pyarrow import types

    meta, at = found.metadata, 0
    for field in found.schema_arrow:
        count = _count(field.type)
        for place in range(at, at + count) if types.is_nested(field.type) else ():
            column = meta.schema.column(place)
            values = [meta.row_group(n).column(place).num_values for n in range(meta.num_row_groups)]
            is_text = column.physical_type == "BYTE_ARRAY"
            yield _Leaf(field.name, column.path, over_groups([*values, 0]), is_text)
        at += count


def _count(kind: Any) -> int:
    from pyarrow import types

    if not types.is_nested(kind):
        return 1
    return sum(_count(kind.field(at).type) for at in range(kind.num_fields))


def _measure(file: IO[bytes], leaves: Sequence[_Leaf], limit: int, rows: int) -> None:
    """Add up the texts of each column, which are pointed to and not written out."""
    import pyarrow.parquet as pq

    file.seek(0)
    paths, tops = [leaf.path for leaf in leaves], list(dict.fromkeys(leaf.top for leaf in leaves))
    sizes = Counter[str]()
    with pq.ParquetFile(file, read_dictionary=paths, pre_buffer=False) as pointed:
        for batch in pointed.iter_batches(rows or _ROWS_AT_ONCE, columns=tops, use_threads=False):
            found = {top: sum(map(spread, _plain(batch.column(top)))) for top in tops}
            sizes = Counter(found) if rows else sizes + Counter(found)
            if above := next((top for top in tops if sizes[top] > limit), None):
                raise _too_much(above, limit)


def _plain(values: pa.Array) -> Iterator[pa.Array]:
    """The arrays of plain values below lists and objects."""
    from pyarrow import types

    kind = values.type
    if types.is_map(kind):
        inner = [values.keys, values.items]
    elif types.is_struct(kind):
        inner = values.flatten()
    elif types.is_nested(kind):
        inner = [values.flatten()]
    else:
        yield values
        return
    for each in inner:
        yield from _plain(each)


def spread(values: pa.Array) -> int:
    """How many bytes values have when each text is written out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(values.type):
        return int(values.nbytes)
    lengths = pc.binary_length(values.dictionary).cast(pa.int64())
    counted = pc.value_counts(values.indices.drop_null())
    return int(pc.sum(pc.multiply(lengths.take(counted.field(0)), counted.field(1))).as_py() or 0)


def _too_much(name: str, limit: int) -> TooLarge:
    return TooLarge(
        f"the lists or objects of the column {name[:80]!r} hold over {limit:,} bytes of text",
        hint="write fewer rows to a file, or keep long texts as files",
    )
