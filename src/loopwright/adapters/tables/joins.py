"""Joins the row that was known at an instant: each row of a view goes to the first question that sees it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from loopwright.adapters.tables.keys import (
    Axis,
    Instants,
    KeyCodes,
    axis_of,
    column_of,
    instants_of,
    micros_of,
)
from loopwright.adapters.tables.sources import Batch, Source, TableSource
from loopwright.core.errors import Invalid
from loopwright.ports.tables import AsOfJoin

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

__all__ = ["Joined", "brought_of", "join_as_of", "join_source", "newest_order", "rank_of"]

_NEVER = np.iinfo(np.int64).min
_WORKERS = 2


def join_as_of(spine: pa.Table, view: pa.Table, join: AsOfJoin) -> pa.Table:
    """The spine's columns, then the view's, of the newest row that was known at each spine row's instant."""
    joined = join_source(spine, TableSource(view), join)
    table = spine
    for name, source in joined.brought.items():
        table = table.append_column(
            pa.field(name, view.schema.field(source).type), view.column(source).take(joined.places())
        )
    return table


class Joined(NamedTuple):
    """Which row of the view each row of the spine gets (-1: none), and the columns that it brings."""

    rows: Ints
    brought: dict[str, str]
    """output name by column of the view, the other way round"""

    def places(self) -> pa.Array:
        """The rows as Arrow takes them, null where there is none."""
        return pa.array(self.rows, mask=self.rows < 0)


def join_source(spine: pa.Table, view: Source, join: AsOfJoin) -> Joined:
    """The winners of a join, with one pass over the keys and times of the view, a batch at a time.

    A row can be seen from max(event, known-at) on. So each row belongs to the first question (key, T)
    that sees it; of the rows of one question only the greatest (event, known-at, order, place) can win
    there or later; and the running maximum over the questions of a key says who does, whatever order
    the two times stand in. O(m log n) for m rows and n questions; memory grows with the questions
    and one batch, not with the view. Exact in microseconds.
    """
    brought = brought_of(spine, view.schema, join)
    if join.ttl < type(join.ttl)(0):
        raise Invalid("the ttl is negative", hint="0 means no limit")
    keys = KeyCodes(spine, view.schema, join.keys)
    questions = _questions(keys.codes, instants_of(spine, join.time, "time", join.zone), join)
    names = [*join.keys, join.event_time, *(() if join.known_at is None else (join.known_at,))]
    rows = _Rows(questions)
    with ThreadPoolExecutor(_WORKERS) as pool:
        batches = view.batches(list(dict.fromkeys(names)))
        for found in _ahead(pool, lambda batch: _put(questions, keys, batch, join), batches):
            rows.add(found)
    winners = _running(questions, rows.best(view, join.order))
    return Joined(winners, brought)


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[Batch], _Put], batches: Iterable[Batch]
) -> Iterator[_Put]:
    """What the work gives for each batch, in order, a few under way: a pool's own map starts them all."""
    waiting: deque[Future[_Put]] = deque()
    for batch in batches:
        waiting.append(pool.submit(work, batch))
        if len(waiting) > _WORKERS:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def brought_of(spine: pa.Table, view: pa.Schema, join: AsOfJoin) -> dict[str, str]:
    """Column of the view by its output name; a name the spine has already is `Invalid`."""
    empty = view.empty_table()
    for key in join.keys:
        column_of(spine, key, "spine's key")
        column_of(empty, key, "view's key")
    column_of(spine, join.time, "time")
    for name, what in ((join.event_time, "event time"), (join.known_at, "known-at"), (join.order, "order")):
        if name is not None:
            column_of(empty, name, what)
    apart = {*join.keys, join.event_time, join.known_at, join.order}
    names = join.columns or tuple(name for name in view.names if name not in apart)
    for name in names:
        column_of(empty, name, "view's")
    found = {f"{join.prefix}{name}": name for name in names}
    clash = [name for name in found if name in spine.column_names]
    if clash:
        raise Invalid(
            f"the column {clash[0]!r} is in the spine and in the view",
            hint="give the view's columns a prefix",
        )
    return found


class _Questions(NamedTuple):
    """The different (key, T) of the spine, in their order on an axis."""

    axis: Axis
    stands: Ints
    codes: Ints
    micros: Ints
    of_rows: Ints
    """which question each row of the spine asks, -1 for none"""
    ttl: int
    of_codes: Ints | None
    """where no key is asked about at two instants: the question of each key's number, -1 for none"""

    @property
    def reach(self) -> tuple[int, int]:
        """The events that some question may see: from, to."""
        if not len(self.micros):
            return 0, -1
        first = int(self.micros.min()) - self.ttl if self.ttl else _NEVER
        return max(first, _NEVER), int(self.micros.max())


def _questions(codes: Ints, asked: Instants, join: AsOfJoin) -> _Questions:
    usable = np.flatnonzero((codes >= 0) & ~asked.missing)
    codes, micros = codes[usable], asked.micros[usable]
    keys = codes.max(initial=-1)
    axis = axis_of(codes, micros)
    stands, first, inverse = np.unique(axis.place(codes, micros), return_index=True, return_inverse=True)
    of_rows = np.full(len(asked.micros), -1, dtype=np.int64)
    of_rows[usable] = inverse
    asked_codes = codes[first]
    of_codes = None
    if len(asked_codes) and (np.diff(asked_codes) > 0).all():
        of_codes = np.full(int(keys) + 1, -1, dtype=np.int64)
        of_codes[asked_codes] = np.arange(len(asked_codes))
    return _Questions(axis, stands, asked_codes, micros[first], of_rows, micros_of(join.ttl), of_codes)


class _Put(NamedTuple):
    """Rows of the view and the first question that sees each."""

    questions: Ints
    event: Ints
    known: Ints
    rows: Ints

    def among(self, there: NDArray[np.bool_]) -> _Put:
        return _Put(*(part[there] for part in self))


def _put(questions: _Questions, keys: KeyCodes, batch: Batch, join: AsOfJoin) -> _Put:
    table = batch.read()
    event = instants_of(table, join.event_time, "event time", join.zone)
    known = event.micros
    if join.known_at is not None:
        learned = instants_of(table, join.known_at, "known-at", join.zone)
        known = (
            np.where(learned.missing, event.micros, learned.micros) if learned.missing.any() else learned[0]
        )
    codes = keys.of(table)
    first, last = questions.reach
    seen = np.maximum(event.micros, known) if join.mode == "known" else event.micros
    rows = np.flatnonzero((codes >= 0) & ~event.missing & (event.micros >= first) & (seen <= last))
    codes = codes[rows]
    if questions.of_codes is not None:
        found = _only_question(questions, codes, seen[rows])
        rows = rows[found >= 0]
        return _Put(found[found >= 0], event.micros[rows], known[rows], rows + batch.first)
    places = _first_seen(questions.axis, codes, seen[rows])
    order = np.argsort(places)  # a search for what is in order stays in the cache
    found = np.searchsorted(questions.stands, places[order])
    rows = rows[order]
    there = found < len(questions.stands)
    there[there] = questions.codes[found[there]] == codes[order[there]]
    rows = rows[there]
    return _Put(found[there], event.micros[rows], known[rows], rows + batch.first)


def _only_question(questions: _Questions, codes: Ints, seen: Ints) -> Ints:
    """The question about the key of each row, -1 where there is none or the row is seen later."""
    of_codes = questions.of_codes
    assert of_codes is not None
    found = np.where(codes < len(of_codes), of_codes[np.minimum(codes, len(of_codes) - 1)], -1)
    found[(found >= 0) & (seen > questions.micros[found])] = -1
    return found


def _first_seen(axis: Axis, codes: Ints, seen: Ints) -> Ints:
    """Where a row stands that is seen from an instant on: at the first question no earlier than that."""
    if axis.levels is None:
        return axis.place(codes, seen)
    return codes * axis.span + np.searchsorted(axis.levels, seen, side="left") + 1


class _Best(NamedTuple):
    """The newest row that each question is the first to see (-1: none), and its event time."""

    rows: Ints
    event: Ints


class _Rows:
    """For each question the rows that may be the newest of those that it is the first to see."""

    def __init__(self, questions: _Questions) -> None:
        self._event = np.full(len(questions.stands), _NEVER, dtype=np.int64)
        self._count = len(questions.stands)
        self._kept: list[_Put] = []
        self._held = 0

    def add(self, put: _Put) -> None:
        np.maximum.at(self._event, put.questions, put.event)
        self._keep(put)
        if self._held > 4 * self._count + (1 << 20):
            self._fold()

    def _keep(self, put: _Put) -> None:
        kept = put.among(put.event == self._event[put.questions])
        self._kept.append(kept)
        self._held += len(kept.rows)

    def _fold(self) -> None:
        """Forget what later batches have beaten."""
        kept, self._kept, self._held = self._kept, [], 0
        for put in kept:
            self._keep(put)

    def best(self, view: Source, order: str | None) -> _Best:
        """The newest row of each question."""
        self._fold()
        put = (
            _Put(*(np.concatenate(parts) for parts in zip(*self._kept, strict=True))) if self._kept else _NONE
        )
        known = np.full(self._count, _NEVER, dtype=np.int64)
        np.maximum.at(known, put.questions, put.known)
        put = put.among(put.known == known[put.questions])
        rows = np.full(self._count, -1, dtype=np.int64)
        rows[put.questions] = put.rows
        tied = np.bincount(put.questions, minlength=self._count)[put.questions] > 1
        if tied.any():
            put = put.among(tied)
            ranks = (
                np.zeros(len(put.rows), dtype=np.int64) if order is None else _ranks(view, order, put.rows)
            )
            last = np.lexsort((put.rows, ranks, put.questions))
            rows[put.questions[last]] = put.rows[last]  # of several for one place NumPy keeps the last
        return _Best(rows, self._event)


_NONE = _Put(*(np.empty(0, dtype=np.int64) for _ in range(4)))


def newest_order(
    view: pa.Table, order: str | None, rows: Ints, codes: Ints, times: tuple[Ints, Ints]
) -> Ints:
    """Places among `rows` from the oldest to the newest of each key: by (key, event, known-at, order, place).

    `times` are the event times and known-ats of the whole view.
    """
    event, known = times[0][rows], times[1][rows]
    ranks = np.zeros(len(rows), dtype=np.int64)
    if order is not None:
        ranks = rank_of(column_of(view, order, "order").take(pa.array(rows)))
    return np.lexsort((rows, ranks, known, event, codes))


def _ranks(view: Source, name: str, rows: Ints) -> Ints:
    different, inverse = np.unique(rows, return_inverse=True)
    return rank_of(view.take(name, different))[inverse]


def rank_of(column: pa.ChunkedArray) -> Ints:
    """The dense rank of each value of an order column; null is before all."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    found = pc.rank(column, tiebreaker="dense").to_numpy().astype(np.int64)
    return np.where(column.is_null().to_numpy().astype(bool), 0, found)


def _running(questions: _Questions, best: _Best) -> Ints:
    """The row that wins for each row of the spine: the newest of those seen first by no later question.

    Of two rows of one event time the later one to be seen was known later, so it is the newer one.
    """
    there = best.rows >= 0
    height = axis_of(questions.codes, best.event[there]).place(questions.codes, best.event)
    height[~there] = _NEVER
    top = np.maximum.accumulate(height)
    places = np.arange(len(height))
    owner = np.maximum.accumulate(np.where(there & (height == top), places, -1))
    found = np.where(owner >= 0, best.rows[owner], -1)
    found[questions.codes[owner] != questions.codes] = -1
    if questions.ttl:
        found[best.event[owner] < questions.micros - questions.ttl] = -1
    return np.append(found, -1)[questions.of_rows]
