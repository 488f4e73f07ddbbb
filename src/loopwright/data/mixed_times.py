"""Finds columns of texts that are times of which only some carry a zone: they stay texts, which is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["mixed_times"]

_TIME = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?"
_NAIVE = _TIME + "$"
_ZONED = _TIME + r" ?(Z|[+-]\d\d(:?\d\d)?)$"


def mixed_times(table: pa.Table, may_tell: Callable[[str], bool]) -> tuple[str, ...]:
    """A warning for each such column: how many lack a zone, the first row that does, and what to do.

    Rows are counted from 1, without a heading. Only columns whose first text is a time are looked through.
    The time itself is told where `may_tell` says that those of the column may be: warnings are kept.
    """
    return tuple(_warnings(table, may_tell))


def _warnings(table: pa.Table, may_tell: Callable[[str], bool]) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.compute as pc

    for name, values in zip(table.column_names, table.columns, strict=True):
        if not pa.types.is_string(values.type) or not _begins_with_time(values):
            continue
        naive = pc.match_substring_regex(values, _NAIVE)
        lacking = pc.sum(naive).as_py() or 0
        zoned = pc.sum(pc.match_substring_regex(values, _ZONED)).as_py() or 0
        if lacking and zoned:
            at = pc.index(naive, True).as_py()
            told = f" ({str(values[at].as_py())[:40]!r})" if may_tell(name) else ""
            yield (
                f"the column {name!r} is kept as text: {lacking:,} of {lacking + zoned:,} times have no zone,"
                f" first in row {at + 1:,}{told}; write each with its zone, such as a Z at its end for UTC"
            )


def _begins_with_time(values: pa.ChunkedArray) -> bool:
    import pyarrow.compute as pc

    there = values.slice(0, 1000).drop_null()
    first = there.slice(0, 1)
    return bool(len(first)) and any(pc.match_substring_regex(first, _TIME).to_pylist())
