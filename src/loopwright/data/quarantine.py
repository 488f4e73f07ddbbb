"""Rows that contracts kept out, with their reasons, newest batch first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loopwright.core.errors import Invalid
from loopwright.data.appending import QUARANTINED_AT, REASON, quarantine_stream
from loopwright.data.nouns import QuarantinedRow
from loopwright.data.rows import json_rows, row_number
from loopwright.data.streams import files_of, segments_of
from loopwright.engine.context import Context
from loopwright.ports.ledger import Page, Segment

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["quarantined_rows", "quarantined_total"]


def quarantined_total(ctx: Context, dataset: str) -> int:
    """How many rows are in a dataset's quarantine."""
    return sum(segment.rows for segment in segments_of(ctx, quarantine_stream(dataset)))


def quarantined_rows(ctx: Context, dataset: str, limit: int, token: str) -> Page[QuarantinedRow]:
    """A page of them; the token names the segment and the row to go on with."""
    segments = segments_of(ctx, quarantine_stream(dataset))[::-1]
    at, start = _place(segments, token)
    found: list[QuarantinedRow] = []
    while at < len(segments) and len(found) < limit:
        table = ctx.ports.tables.read(files_of(ctx, (segments[at].digest,)))
        part = table.slice(start, limit - len(found))
        found += _rows(part)
        start += part.num_rows
        if start >= table.num_rows:
            at, start = at + 1, 0
    following = f"{segments[at].id}.{start}" if at < len(segments) else ""
    return Page(items=tuple(found), next_token=following)


def _place(segments: tuple[Segment, ...], token: str) -> tuple[int, int]:
    if not token:
        return 0, 0
    name, _, start = token.partition(".")
    at = next((i for i, segment in enumerate(segments) if segment.id == name), None)
    if at is None:
        raise Invalid("the page's token is not one of this list", hint="start at the first page")
    return at, row_number(start)


def _rows(table: pa.Table) -> list[QuarantinedRow]:
    values = json_rows(table.drop_columns([REASON, QUARANTINED_AT]))
    reasons: list[str] = table.column(REASON).to_pylist()
    times: list[Any] = table.column(QUARANTINED_AT).to_pylist()
    return [
        QuarantinedRow(reason=reason, quarantined_at=at, values=value)
        for reason, at, value in zip(reasons, times, values, strict=True)
    ]
