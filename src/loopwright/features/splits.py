"""Puts the rows of a training set into parts, the same way every time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from loopwright.core.digests import digest_value
from loopwright.core.errors import Invalid
from loopwright.core.instants import to_micros
from loopwright.features.nouns import Split

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SPLIT", "split_rows"]

SPLIT = "split"
_WHOLE = 1 << 64


def split_rows(table: pa.Table, split: Split, time: str) -> pa.Table:
    """The table with a column `split` that names the part of each row; `Invalid` where it parts nothing."""
    import pyarrow as pa

    _check(table, split, time)
    if SPLIT in table.column_names:
        raise Invalid(f"the spine has a column {SPLIT!r} already", hint="rename it")
    parts = _by_time(table, split, time) if split.until else _by_chance(table, split)
    return table.append_column(SPLIT, pa.array(parts, pa.string()))


def _check(table: pa.Table, split: Split, time: str) -> None:
    if bool(split.until) == bool(split.shares):
        raise Invalid("a split goes by `until` or by `shares`", hint="give exactly one of them")
    if "" in {*split.until, *split.shares, split.rest}:
        raise Invalid("a part of the split has no name", hint="name it, such as train")
    if split.until:
        _check_time(table, split, time)
    elif split.group:
        _check_column(table, split.group, "to keep groups together by")


def _check_column(table: pa.Table, name: str, what: str) -> None:
    if name not in table.column_names:
        raise Invalid(
            f"there is no column {name!r} {what}",
            hint=f"the columns are {', '.join(table.column_names)}"[:300],
        )


def _check_time(table: pa.Table, split: Split, time: str) -> None:
    """By time no group stays together, every part has its own span, and every row an instant."""
    if split.group:
        raise Invalid("a split by time keeps no groups together", hint="leave out group, or give shares")
    if split.rest in split.until or len(set(split.until.values())) < len(split.until):
        raise Invalid(
            "two parts of the split have one name or end at one instant",
            hint="give each part an instant of its own, and the rest another name",
        )
    _check_column(table, time, "to split by")
    if missing := table.column(time).null_count:
        raise Invalid(
            f"{missing:,} rows have no {time!r}, by which they would be split",
            hint="leave them out of the spine, or split by shares",
        )


def _by_time(table: pa.Table, split: Split, time: str) -> list[str]:
    import numpy as np
    import pyarrow as pa

    names = sorted(split.until, key=lambda name: split.until[name])
    ends = np.array([to_micros(split.until[name]) for name in names])
    asked = table.column(time).cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    return [(*names, split.rest)[place] for place in np.searchsorted(ends, asked, side="right")]


def _by_chance(table: pa.Table, split: Split) -> list[str]:
    if any(share < 0 for share in split.shares.values()) or not 0 < sum(split.shares.values()) < math.inf:
        raise Invalid("the shares of a split are not all positive", hint="give such as train 0.8, test 0.2")
    values = table.column(split.group).to_pylist() if split.group else range(table.num_rows)
    drawn: dict[object, str] = {}
    for value in values:
        if value not in drawn:
            drawn[value] = _drawn(split.shares, int(digest_value([split.seed, str(value)])[:16], 16) / _WHOLE)
    return [drawn[value] for value in values]


def _drawn(shares: Mapping[str, float], chance: float) -> str:
    whole = sum(shares.values())
    ends = itertools.accumulate(shares.values())
    return next(
        (name for name, end in zip(shares, ends, strict=True) if chance * whole < end), list(shares)[-1]
    )
