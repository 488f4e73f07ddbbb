"""Hands rows of datasets to the views that live on them, online: at once, or as a clock reaches them."""

from __future__ import annotations

from binascii import b2a_base64
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from loopwright.core.addresses import Address
from loopwright.core.errors import Invalid
from loopwright.core.expressions import Scalar
from loopwright.core.instants import to_micros
from loopwright.core.nouns import Version
from loopwright.engine.context import Context
from loopwright.engine.erased import check_as_read
from loopwright.engine.presence import FILLING, in_turn
from loopwright.features.formulas import computed, plain_values
from loopwright.features.nouns import VIEW, FeatureView
from loopwright.features.offline import view_of
from loopwright.features.rules import columns_read, online_view, store_name, stored_columns
from loopwright.ports.ledger import PageRequest
from loopwright.ports.online import OnlineRow

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Feed", "LiveView", "all_views", "filling", "live_view", "online_rows", "push_table"]

_AT_ONCE = 1000
_PUSHED_AT_ONCE = 4096


class LiveView(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a view and its name in the online store."""

    view: FeatureView
    store: str


def live_view(ctx: Context, address: str | Address) -> LiveView:
    """A view made known to the online store."""
    view, version = view_of(ctx, address)
    store = store_name(ctx.space, view.name, version.number)
    ctx.ports.online.define(online_view(view, store))
    return LiveView(view=view, store=store)


def all_views(ctx: Context) -> list[LiveView]:
    """The newest version of every view, made known to the online store."""
    found: list[LiveView] = []
    token = ""
    while True:
        with ctx.read() as tx:
            page = tx.assets.page(ctx.space, VIEW, PageRequest(limit=_AT_ONCE, token=token))
        found += [live_view(ctx, Address(kind=VIEW, name=asset.name)) for asset in page.items]
        if not (token := page.next_token):
            return found


class Feed:
    """Views that are fed as a clock moves on. Not thread safe.

    `load` takes a batch of a dataset's rows, known or not yet; `advance` hands on those that are known
    by then, so nothing is in the online store before it could be known; `settle` makes it durable.
    """

    def __init__(self, ctx: Context, views: Sequence[str] | None = None) -> None:
        self._ctx = ctx
        self._online = ctx.ports.online
        self._views = all_views(ctx) if views is None else [live_view(ctx, address) for address in views]
        self._waiting: dict[str, list[OnlineRow]] = {each.store: [] for each in self._views}

    @property
    def sources(self) -> tuple[str, ...]:
        """The datasets whose rows it takes."""
        return tuple(dict.fromkeys(each.view.source for each in self._views))

    def load(self, source: str, table: pa.Table) -> int:
        """Queue the rows of a dataset for each of its views; how many rows of views."""
        taken = 0
        for each in self._views:
            if each.view.source == source:
                rows = online_rows(self._ctx, each.view, table)
                waiting = self._waiting[each.store]
                waiting[:0] = reversed(rows)
                waiting.sort(key=_known_us, reverse=True)
                taken += len(rows)
        return taken

    def advance(self, until_us: int) -> int:
        """Push what is known by an instant (microseconds); how many rows of views were new."""
        pushed = 0
        for store, waiting in self._waiting.items():
            if waiting and waiting[-1].known_us <= until_us:
                due = []
                while waiting and waiting[-1].known_us <= until_us:
                    due.append(waiting.pop())
                pushed += self._online.push(store, due)
        return pushed

    def settle(self, until: datetime) -> None:
        """Push what is known by an instant, and make it durable as the watermark of these views."""
        self.advance(to_micros(until))
        self._online.flush(to_micros(until), [each.store for each in self._views])


def _known_us(row: OnlineRow) -> int:
    return row.known_us


def online_rows(ctx: Context, view: FeatureView, table: pa.Table) -> list[OnlineRow]:
    """The rows of a table as the online store takes them, in their order, all at once."""
    return list(each_online_row(ctx, view, table))


@contextmanager
def filling(ctx: Context, read: Version) -> Iterator[None]:
    """A block in which rows of a version go online; `Renewed` when some were erased from it since.

    No erasure takes an entity from the online store, or rows from the version, before the block ends.
    """
    with in_turn(ctx.ports.folder, FILLING, is_alone=False):
        with ctx.read() as tx:
            check_as_read(tx, ctx.space, (read.ref,))
        yield


def push_table(ctx: Context, each: LiveView, table: pa.Table, read: Version) -> int:
    """Push the rows of a table, read of a version; how many were new. `Renewed` as `filling` says.

    A number of them at a time, so that lookups come between; a window wants them as they became known.
    """
    rows: Iterable[OnlineRow] = each_online_row(ctx, each.view, table)
    if each.view.windows:
        rows = sorted(rows, key=_known_us)
    waiting, taken = iter(rows), 0
    some = list(islice(waiting, _PUSHED_AT_ONCE))
    while True:
        with filling(ctx, read):
            taken += ctx.ports.online.push(each.store, some)
        if not (some := list(islice(waiting, _PUSHED_AT_ONCE))):
            return taken


def each_online_row(ctx: Context, view: FeatureView, table: pa.Table) -> Iterator[OnlineRow]:
    """The rows of a table as the online store takes them, in their order.

    What is derived is computed here, so that a lookup only reads it. A row without an event time is left
    out. Rows that nothing tells apart count as often as they are in this table, once when they come again.
    """
    columns = {name: _values(table, name) for name in columns_read(view)}
    named = [columns[name] for name in view.identity or columns]
    made = computed(ctx.ports.tables, ctx.ports.functions, table, view.derived)
    columns |= {name: plain_values(values) for name, values in made.items()}
    events = columns[view.event_time]
    knowns = events if view.known_at is None else columns[view.known_at]
    orders: Sequence[Scalar] = [None] * len(events) if view.order is None else columns[view.order]
    entities = zip(*(columns[name] for name in view.entity), strict=True)
    needed = (*stored_columns(view), *view.derived)
    values = [columns[name] for name in needed]
    knowns = [event if known is None else known for event, known in zip(events, knowns, strict=True)]
    ids = _numbered(_ids(named, events, knowns) if view.windows else _short_ids(named))
    taken_rows = zip(*values, strict=True) if values else [()] * len(events)
    rows = zip(entities, events, knowns, orders, taken_rows, ids, strict=True)
    for key, event, known, order, taken, row_id in rows:
        if event is not None:
            yield OnlineRow(
                key=key,
                event_us=event,
                known_us=known,
                values=dict(zip(needed, taken)),  # noqa: B905 - of one length by what they are made of
                row_id=row_id,
                order=order,
            )


def _ids(named: list[list[Any]], events: Sequence[Any], knowns: Sequence[Any]) -> list[str]:
    names = named[0] if len(named) == 1 else list(zip(*named, strict=True))
    return [f"{name}|{event}|{known}" for name, event, known in zip(names, events, knowns, strict=True)]


def _short_ids(named: list[list[Any]]) -> list[str]:
    """Enough where one row of an entity is kept: to tell rows apart that nothing makes newer."""
    pack = msgspec.msgpack.encode
    return [
        b2a_base64(blake2b(pack(values), digest_size=6).digest(), newline=False).decode()
        for values in zip(*named, strict=True)
    ]


def _numbered(ids: list[str]) -> list[str]:
    """The second of equal ids, and those that follow, with their number."""
    if len(set(ids)) == len(ids):
        return ids
    seen: Counter[str] = Counter()
    found = []
    for row_id in ids:
        seen[row_id] += 1
        found.append(row_id if seen[row_id] == 1 else f"{row_id}|{seen[row_id]}")
    return found


def _values(table: pa.Table, name: str) -> list[Any]:
    """A column in plain values; instants are microseconds."""
    import pyarrow as pa

    if name not in table.column_names:
        raise Invalid(f"the rows have no column {name!r}", hint=f"they have {', '.join(table.column_names)}")
    column = table.column(name)
    if pa.types.is_timestamp(column.type) and column.type.tz is None:
        raise Invalid(f"the times of {name!r} have no zone", hint="give instants")
    return plain_values(column)
