"""Rows that say the same: what is told of them, and which of a table are equal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.nouns import Json

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Duplicates",
    "Group",
    "checked",
    "exact_groups",
]


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that say the same: the first of them stays, the others repeat it."""

    rows: tuple[int, ...]
    """places in the version, from 0, in order"""
    score: float = 1.0
    """the least likeness by which a row came to the group, 0 to 1"""
    values: tuple[Json, ...] = ()
    """what the rows hold in the columns compared, of the first few"""


class Duplicates(msgspec.Struct, frozen=True, kw_only=True):
    """What de-duplication found."""

    rows: int
    repeated: int
    """rows that would go"""
    groups: int
    columns: tuple[str, ...]
    how: str
    least: float
    compared: int = 0
    """pairs whose likeness was measured"""
    first: tuple[Group, ...] = ()
    """the greatest groups"""


def exact_groups(table: pa.Table, columns: Sequence[str], *, place: str = "") -> list[Group]:
    """Groups of rows that are equal in the columns; nulls are equal to nulls, NaN to NaN.

    Rows are told by their places, or by the numbers in the column `place`.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if not table.num_rows:
        return []
    places = table.column(place) if place else pa.array(np.arange(table.num_rows))
    placed = table.select(columns).append_column("", places)
    grouped = placed.group_by(list(columns), use_threads=False).aggregate([("", "list"), ("", "count")])
    several = pc.greater(grouped.column("_count"), 1)
    lists = grouped.column("_list").filter(several).to_pylist()
    return sorted((Group(rows=tuple(sorted(each))) for each in lists), key=lambda group: group.rows)


def checked(
    columns: Sequence[str], there: Mapping[str, object] | Sequence[str], least: float
) -> tuple[str, ...]:
    """The columns to compare, all by default; `Invalid` for one that is not there."""
    if missing := [name for name in columns if name not in there]:
        raise Invalid(f"there is no column {missing[0]!r}", hint=f"the columns are {', '.join(there)}"[:300])
    if not 0.5 <= least <= 1:
        raise Invalid(f"a likeness of {least} finds anything", hint="give 0.5 to 1")
    return tuple(columns) or tuple(there)
