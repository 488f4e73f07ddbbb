"""Puts many small segments of a stream together, so that reading a day opens few files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import msgspec

from loopwright.core.errors import Conflict
from loopwright.core.nouns import Json
from loopwright.data.streams import files_of, prepare_segment
from loopwright.engine.context import Context
from loopwright.ports.ledger import Segment, Transaction

__all__ = ["Compacted", "compact_streams", "groups_of", "merged_facts"]

ROWS = 500_000
"""rows of a segment that is left as it is"""


class Compacted(msgspec.Struct, frozen=True, kw_only=True):
    """How many segments there were before and are now, of the streams that were looked at."""

    streams: int
    before: int
    after: int


def groups_of(segments: Sequence[Segment], *, rows: int = ROWS) -> list[tuple[Segment, ...]]:
    """Runs of consecutive segments that fit into one of `rows` rows; single ones are left out.

    A segment larger than all that follow it waits for more: so a row is rewritten a logarithmic
    number of times, however often compaction runs.
    """
    groups, run, total = list[tuple[Segment, ...]](), list[Segment](), 0
    for segment in segments:
        if run and total + segment.rows > rows:
            groups.append(tuple(run))
            run, total = [], 0
        run.append(segment)
        total += segment.rows
    groups.append(tuple(run))
    return [group for group in map(_without_large, groups) if len(group) > 1]


def _without_large(group: tuple[Segment, ...]) -> tuple[Segment, ...]:
    left = sum(segment.rows for segment in group)
    for at, segment in enumerate(group):
        left -= segment.rows
        if segment.rows <= left:
            return group[at:]
    return ()


def merged_facts(segments: Sequence[Segment]) -> Json:
    """What all segments say alike, and the union of what they list."""
    found: Json = {}
    for name in {name for segment in segments for name in segment.facts}:
        values = [segment.facts.get(name) for segment in segments]
        if all(isinstance(value, list) for value in values):
            found[name] = sorted({item for value in values if value is not None for item in value})
        elif all(value == values[0] for value in values):
            found[name] = values[0]
    return found


def compact_streams(ctx: Context, stream: str, older_than: timedelta) -> Compacted:
    """Put together what is older than `older_than`, of one stream or (empty) of all of the space.

    Rows and their order stay. The old objects stay until garbage collection, so that who reads them
    just now goes on.
    """
    with ctx.read() as tx:
        names = [stream] if stream else list(tx.segments.streams(ctx.space))
        end = ctx.now() - older_than
        found = {name: list(tx.segments.between(ctx.space, name, None, end)) for name in names}
    before = after = 0
    for segments in found.values():
        old = [segment for segment in segments if segment.end <= end]
        groups = groups_of(old)
        for group in groups:
            _replace(ctx, group)
        before += len(old)
        after += len(old) - sum(len(group) - 1 for group in groups)
    return Compacted(streams=len(found), before=before, after=after)


def _replace(ctx: Context, group: Sequence[Segment]) -> None:
    files = files_of(ctx, [segment.digest for segment in group])
    table = ctx.ports.tables.read(files)
    end = max(segment.end for segment in group)
    merged = prepare_segment(ctx, group[0].stream, table, group[0].start, end, merged_facts(group))
    ids = [segment.id for segment in group]

    def work(tx: Transaction) -> None:
        there = {item.id for item in tx.segments.between(ctx.space, merged.stream, merged.start, merged.end)}
        if not there.issuperset(ids):
            raise Conflict(f"the stream {merged.stream} was changed meanwhile", hint="compact it again")
        tx.segments.replace(ids, merged, space=ctx.space)

    ctx.write(work)
