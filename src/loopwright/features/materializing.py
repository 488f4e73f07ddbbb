"""Takes what became known of a view's dataset into the online store, from where it stood."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from loopwright.core.addresses import Address
from loopwright.core.errors import NotFound
from loopwright.core.instants import from_micros, to_micros
from loopwright.core.nouns import LinkRole, Version
from loopwright.core.schema import Schema
from loopwright.data.cutting import each_batch
from loopwright.data.nouns import DATASET
from loopwright.data.reading import permitted, read_version, schema_of
from loopwright.engine.context import Context
from loopwright.engine.erased import anew
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.features.feeding import LiveView, filling, online_rows, push_table
from loopwright.features.nouns import FeatureView, Materialized
from loopwright.features.rules import columns_read, known_within, longest_window
from loopwright.features.thinning import read_seen_from, seen_from
from loopwright.ports.online import GRACE, OnlineRow

__all__ = ["fill_below", "known_in", "materialize_view", "refill"]

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

_SEEN = "features.materialized"
"""documents that say which version of a dataset was looked at, and up to which watermark, by view"""


def materialize_view(ctx: Context, each: LiveView, until: datetime, purpose: str = "") -> Materialized:
    """Push the rows known in (watermark, until], and those that came into the dataset since, known earlier.

    Safe to repeat and to cut off: rows that are in already change nothing, and the watermark moves
    only when all is durable. A first time pushes no more than a question at `until` can see. Where rows
    are erased from the dataset meanwhile, it begins again from what is left.
    """
    return anew(ctx, lambda: _materialized(ctx, each, until, purpose))


def _materialized(ctx: Context, each: LiveView, until: datetime, purpose: str) -> Materialized:
    dataset = resolve(ctx, Address(kind=DATASET, name=each.view.source))
    permitted(ctx, dataset, columns_read(each.view), purpose=purpose)
    if ctx.run_id is not None:
        ctx.write(lambda tx: ctx.touch(tx, LinkRole.INPUT, dataset.ref))
    watermark = ctx.ports.online.watermark(each.store)
    until_us = max(to_micros(until), watermark or to_micros(until))
    after = _first_needed(each.view, until) if watermark is None else watermark
    within = known_within(each.view, after, until_us)
    if watermark is None:
        table = read_seen_from(ctx, each.view, dataset, within, until - GRACE)
        pushed = push_table(ctx, each, table, dataset)
    else:
        table = read_version(ctx, dataset, columns=columns_read(each.view), where=within)
        rows = online_rows(ctx, each.view, seen_from(ctx, each.view, table, until - GRACE))
        rows += _late(ctx, each, dataset, watermark)
        rows.sort(key=lambda row: row.known_us)
        with filling(ctx, dataset):
            pushed = ctx.ports.online.push(each.store, rows)
    ctx.ports.online.flush(until_us, [each.store])
    seen = {"version": dataset.number, "watermark": until_us}
    ctx.write(lambda tx: tx.documents.put(ctx.space, _SEEN, each.store, seen))
    return Materialized(view=each.store, rows=pushed, watermark=from_micros(until_us))


def fill_below(  # noqa: PLR0917 - a period of a view, where the store stands, and what it is for
    ctx: Context,
    each: LiveView,
    after: datetime | None,
    until: datetime,
    watermark: int,
    purpose: str = "",
) -> int:
    """Push the rows known in (after, until], where the store has gone further already; how many were new.

    Without a beginning: all that was known by then, as far as it can be seen. What is newer in the store
    stays, and so does its watermark.
    """
    dataset = resolve(ctx, Address(kind=DATASET, name=each.view.source))
    permitted(ctx, dataset, columns_read(each.view), purpose=purpose)
    return refill(ctx, each, after, until, watermark)


def refill(ctx: Context, each: LiveView, after: datetime | None, until: datetime, watermark: int) -> int:
    """As `fill_below`, of what the store had before, so that nobody is asked what it is for."""
    return anew(ctx, lambda: _refilled(ctx, each, after, until, watermark))


def _refilled(ctx: Context, each: LiveView, after: datetime | None, until: datetime, watermark: int) -> int:
    dataset = resolve(ctx, Address(kind=DATASET, name=each.view.source))
    horizon = min(until, from_micros(watermark) - GRACE)
    if after is None:
        within = known_within(each.view, None, to_micros(until))
        table = read_seen_from(ctx, each.view, dataset, within, horizon)
    else:
        within = known_within(each.view, to_micros(after), to_micros(until))
        table = read_version(ctx, dataset, columns=columns_read(each.view), where=within)
        table = seen_from(ctx, each.view, table, horizon)
    pushed = push_table(ctx, each, table, dataset)
    ctx.ports.online.flush(watermark, [each.store])
    return pushed


def known_in(ctx: Context, view: FeatureView, start: datetime, ends: Sequence[datetime]) -> list[int]:
    """How many of a view's rows became known after `start`, in the periods that end at these instants.

    The first period ends at the start, and has none: what was known before is thinned to what can be seen.
    """
    import numpy as np

    dataset = resolve(ctx, Address(kind=DATASET, name=view.source))
    times = [name for name in (view.event_time, view.known_at) if name is not None]
    within = known_within(view, to_micros(start), to_micros(ends[-1]))
    table = read_version(ctx, dataset, columns=list(dict.fromkeys(times)), where=within)
    known = known_micros(view, table)
    places = np.searchsorted(np.array([to_micros(end) for end in ends]), known, side="left")
    found: list[int] = np.bincount(places, minlength=len(ends)).tolist()
    return found


def _first_needed(view: FeatureView, until: datetime) -> int | None:
    """The instant up to which a row can be seen by no question at `until`; None when any row can."""
    if view.newest:
        return None
    return to_micros(until - GRACE) - longest_window(view)


def known_micros(view: FeatureView, table: pa.Table) -> NDArray[np.int64]:
    """When each row of a table became known, in microseconds; one of them has to be there."""
    import pyarrow as pa
    import pyarrow.compute as pc

    known = table.column(view.event_time)
    if view.known_at is not None:
        known = pc.coalesce(table.column(view.known_at), known)
    found: NDArray[np.int64] = known.cast(pa.int64()).to_numpy()
    return found


def _late(ctx: Context, each: LiveView, dataset: Version, watermark: int) -> list[OnlineRow]:
    """Rows added or changed since the last time whose known-at the watermark had passed already.

    They are in parts that the version looked at then does not have. What these repeat changes nothing.
    """
    import pyarrow as pa

    with ctx.read() as tx:
        before = tx.documents.get(ctx.space, _SEEN, each.store) or {}
    known = before and before["watermark"] <= watermark
    seen = _parts_of(ctx, dataset, before.get("version", 0)) if known else frozenset()
    manifest = manifest_of(ctx, dataset)
    fresh = [entry for entry in manifest.entries if entry.digest not in seen]
    if not fresh:
        return []
    schema = schema_of(manifest)
    needed = Schema(columns=tuple(schema.column(name) for name in columns_read(each.view)))
    within = known_within(each.view, _first_needed(each.view, from_micros(watermark)), watermark)
    tables = (batch for entry in fresh for batch in each_batch(ctx, entry, needed))
    missed = pa.concat_tables([ctx.ports.tables.select(table, within) for table in tables])
    return online_rows(ctx, each.view, missed)


def _parts_of(ctx: Context, dataset: Version, number: int) -> frozenset[str]:
    """The parts of an earlier version; none where retention let it go."""
    with ctx.read() as tx:
        version = tx.versions.get(dataset.asset_id, number)
    try:
        entries = () if version is None else manifest_of(ctx, version).entries
    except NotFound:
        return frozenset()
    return frozenset(entry.digest for entry in entries)
