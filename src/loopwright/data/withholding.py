"""What is told of columns that may not be read for a purpose: counts, and whom to ask."""

from __future__ import annotations

from collections.abc import Collection

from loopwright.core.addresses import Address
from loopwright.core.errors import Denied, NotFound
from loopwright.core.nouns import Json, Version
from loopwright.data.allowing import refusals
from loopwright.data.nouns import DATASET
from loopwright.engine.context import Context
from loopwright.engine.publishing import resolve

__all__ = ["check_quarantined", "withheld_from"]

_TOLD = ("type", "count", "nulls", "distinct", "bounds")
"""what a profile says of a column that tells no value of it"""


def withheld_from(ctx: Context, version: Version, profile: Json, purpose: str) -> Json:
    """The profile; of columns that may not be read counts alone, and `withheld`: why, and whom to ask."""
    refused = refusals(ctx, version, tuple(profile["columns"]), purpose)
    if not refused:
        return profile
    columns = {
        name: column if name not in refused else _counts(column, refused[name])
        for name, column in profile["columns"].items()
    }
    told = {key: value for key, value in profile.items() if key not in {"correlations", "pairs"}}
    return {**told, "columns": columns}


def _counts(column: Json, refusal: Denied) -> Json:
    counts = {key: column[key] for key in _TOLD if key in column}
    return {**counts, "withheld": f"{refusal.message}: {refusal.hint}"}


def check_quarantined(ctx: Context, name: str, columns: Collection[str], purpose: str) -> None:
    """Raise `Denied` when a column of rows in quarantine may not be read for a purpose."""
    try:
        newest: Version | str = resolve(ctx, Address(kind=DATASET, name=name))
    except NotFound:  # nothing was let in yet
        newest = name
    for refusal in refusals(ctx, newest, columns, purpose).values():
        raise refusal
