"""Streams of rows (predictions, labels, quarantine): immutable segments, objects with a line of an index."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, BinaryIO

from loopwright.core.addresses import check_name
from loopwright.core.digests import digest_value
from loopwright.core.errors import Invalid
from loopwright.core.expressions import Expr
from loopwright.core.instants import to_micros
from loopwright.core.nouns import Json
from loopwright.engine.context import Context
from loopwright.ports.ledger import Segment

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["files_of", "prepare_segment", "read_stream", "segments_of", "write_segment"]


def write_segment(  # noqa: PLR0917 - a span and its rows belong together
    ctx: Context,
    stream: str,
    table: pa.Table,
    start: datetime,
    end: datetime,
    facts: Json | None = None,
) -> Segment:
    """Keep rows of a stream; `start` and `end` are the least and greatest instant of them, both inclusive.

    The same rows of the same span are the same segment, however often they are written.
    """
    segment = prepare_segment(ctx, stream, table, start, end, facts)
    ctx.write(lambda tx: tx.segments.add(segment))
    return segment


def prepare_segment(  # noqa: PLR0917 - as write_segment
    ctx: Context,
    stream: str,
    table: pa.Table,
    start: datetime,
    end: datetime,
    facts: Json | None = None,
) -> Segment:
    """As `write_segment`, but only the object is kept: the caller indexes it in its own unit of work."""
    if end < start:
        raise Invalid(f"the segment of {stream} ends before it starts", hint="give the least instant first")
    data = ctx.ports.tables.write(table)
    digest = ctx.ports.objects.put(data)
    return Segment(
        id=digest_value([ctx.space, check_name(stream), digest, to_micros(start), to_micros(end)]),
        space=ctx.space,
        stream=stream,
        digest=digest,
        rows=table.num_rows,
        size_bytes=len(data),
        start=start,
        end=end,
        created_at=ctx.now(),
        facts=facts or {},
    )


def segments_of(
    ctx: Context, stream: str, start: datetime | None = None, end: datetime | None = None
) -> tuple[Segment, ...]:
    """The segments of a stream that overlap `[start, end]`, in order of their start."""
    with ctx.read() as tx:
        return tuple(tx.segments.between(ctx.space, stream, start, end))


def read_stream(  # noqa: PLR0917 - a span, columns and a condition: the words of every reader
    ctx: Context,
    stream: str,
    start: datetime | None = None,
    end: datetime | None = None,
    columns: Sequence[str] | None = None,
    where: Expr | None = None,
) -> pa.Table:
    """All rows of the segments that overlap `[start, end]`, that the condition is true of.

    Segments are whole: rows at the rim may lie outside; a condition on the stream's own time column
    (in microseconds, as `col("at") >= to_micros(start)`) leaves them out. A column that a segment
    lacks is null there. A stream without segments is a table of no rows, with the columns asked for.
    """
    segments = segments_of(ctx, stream, start, end)
    files = files_of(ctx, tuple(segment.digest for segment in segments))
    return ctx.ports.tables.read(files, columns=columns, where=where)


def files_of(ctx: Context, digests: Sequence[str]) -> list[BinaryIO | str]:
    """Objects as files a table engine reads: local paths where the store has them."""
    objects, found = ctx.ports.objects, list[BinaryIO | str]()
    for digest in digests:
        path = objects.local_path(digest) if objects.is_local else None
        found.append(objects.open(digest) if path is None else str(path))
    return found
