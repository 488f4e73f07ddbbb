"""Rows as JSON: instants in ISO 8601, what is not a number as null."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Any

from loopwright.core.errors import Invalid
from loopwright.core.instants import format_instant
from loopwright.core.nouns import Json

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["json_rows", "row_number"]


def json_rows(table: pa.Table) -> list[Json]:
    """One object a row."""
    return [{name: _value(value) for name, value in row.items()} for row in table.to_pylist()]


def _value(value: Any) -> Any:
    if isinstance(value, datetime):
        return format_instant(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def row_number(text: str) -> int:
    """The number of a row in the token of a page; `Invalid` for what is none."""
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Invalid("the page's token is not one of this list", hint="start at the first page")
    return int(text)
