"""Joins of Parquet files in parts, where memory holds them only a piece at a time; the answers are the same.

The keys and times of both sides are spread over buckets by a hash of the key, and each bucket is joined by
itself: rows of one key are in one bucket. That gives pairs (row of the spine, row of the view), which are
spread by the place in the view; one pass over the view then carries its columns to the pairs, spread by the
place in the spine; and one pass over the spine puts both together. Every step reads and writes in order, and
none holds more than a piece, however the keys lie: where one key has most rows, its questions are asked a
number at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from loopwright.adapters.tables.joins import brought_of, join_source
from loopwright.adapters.tables.keys import Instants, column_of, instants_of, key_kinds, micros_of, plain_keys
from loopwright.adapters.tables.memory import opened_parquet
from loopwright.adapters.tables.spill import Bucket, Spill, in_order
from loopwright.core.errors import Invalid
from loopwright.ports.tables import AsOfJoin, FilesJoined

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

__all__ = ["ROW_GROUP", "Cuts", "cuts_of", "join_in_parts"]

_UTC = pa.timestamp("us", "UTC")
_NEVER, _FOREVER = np.iinfo(np.int64).min, np.iinfo(np.int64).max

ROW_GROUP = 1 << 18
_A_QUESTION = 480
"""bytes that one question comes to while it is answered: keys, instants, sorts, and the rows that may win"""
_KEY_COPIES = 4
_MOST_BUCKETS = 1024
_MOST_ROWS = 1 << 17
_LEAST_ROWS = 1 << 10


class Cuts(msgspec.Struct, frozen=True, kw_only=True):
    """How large the pieces are."""

    parts: int
    """buckets of the keys"""
    questions: int
    """rows of the spine that are asked at once"""
    view_rows: int
    """rows of the view whose columns are held at once"""
    spine_rows: int
    """rows of the result that are held at once"""
    carry_rows: int
    """pairs for which the columns of the view are carried at once"""
    read_rows: int
    """rows of a file that are read at once"""
    buffer_bytes: int
    """rows that wait until they are written to a bucket"""


def cuts_of(spare: int, rows: tuple[int, int], widths: tuple[float, float, float]) -> Cuts:
    """The pieces that `spare` bytes hold, by rows of spine and view, and bytes of a row and of its key."""
    (asked, known), (spine_width, view_width, key_width) = rows, widths
    questions = _within(spare / 2 / (_A_QUESTION + _KEY_COPIES * key_width))
    result_width = spine_width + view_width + 24
    return Cuts(
        parts=min(_MOST_BUCKETS // 4, max(1, -(-asked * 5 // (questions * 4)))),
        questions=questions,
        view_rows=max(_within(spare / 6 / (view_width + 8)), -(-known // _MOST_BUCKETS)),
        spine_rows=max(_power(spare / 6 / result_width), -(-asked // (4 * _MOST_BUCKETS))),
        carry_rows=_within(spare / 12 / (view_width + 24)),
        read_rows=min(_MOST_ROWS, _within(spare / 24 / max(spine_width, view_width, 1))),
        buffer_bytes=max(1 << 16, spare // 12),
    )


def _within(rows: float) -> int:
    return max(_LEAST_ROWS, int(rows))


def _power(rows: float) -> int:
    """Row groups as those of the join in one piece where they fit, else the next smaller power of two."""
    return max(_LEAST_ROWS, min(ROW_GROUP, 1 << (max(1, int(rows)).bit_length() - 1)))


class _Work(NamedTuple):
    """Both files, what is asked of them, and where their pieces lie."""

    spine: pq.ParquetFile
    view: pq.ParquetFile
    join: AsOfJoin
    cuts: Cuts
    folder: Path
    kinds: tuple[pa.DataType, ...]
    brought: Mapping[str, str]

    @property
    def keys(self) -> list[str]:
        return [f"k{at}" for at in range(len(self.kinds))]

    @property
    def sources(self) -> list[str]:
        return list(dict.fromkeys(self.brought.values()))

    def spill(self, name: str, schema: pa.Schema, buckets: int) -> Spill:
        return Spill(self.folder / name, schema, buckets, buffer_bytes=self.cuts.buffer_bytes)

    def read(self, file: pq.ParquetFile, columns: list[str] | None) -> Iterator[pa.Table]:
        try:
            for batch in file.iter_batches(batch_size=self.cuts.read_rows, columns=columns):
                yield pa.Table.from_batches([batch])
        except (pa.ArrowException, OSError) as error:
            raise Invalid(f"a file cannot be read: {str(error)[:200]}", hint="write it again") from error


def join_in_parts(
    files: tuple[str, str],
    join: AsOfJoin,
    cuts: Cuts,
    folder: Path,
    writer: Callable[[pa.Schema], pq.ParquetWriter],
) -> FilesJoined:
    """Join the files of a spine and of a view; `writer` opens the result, `folder` is for what waits.

    `OSError` where the result cannot be written.
    """
    with opened_parquet(files[0]) as spine, opened_parquet(files[1]) as view:
        asked, known = spine.schema_arrow.remove_metadata(), view.schema_arrow.remove_metadata()
        brought = brought_of(asked.empty_table(), known, join)
        if join.ttl < type(join.ttl)(0):
            raise Invalid("the ttl is negative", hint="0 means no limit")
        work = _Work(spine, view, join, cuts, folder, key_kinds(asked, known, join.keys), brought)
        with _spill_carried(work) as carried:
            with _spill_pairs(work) as pairs:
                _find_pairs(work, pairs)
                _carry_all(work, pairs, carried)
            with writer(_result(work)) as out:
                _put_together(work, carried, out)
        return FilesJoined(rows=spine.metadata.num_rows, columns=tuple(brought))


def _result(work: _Work) -> pa.Schema:
    spine, view = (each.schema_arrow.remove_metadata() for each in (work.spine, work.view))
    added = [pa.field(name, view.field(source).type) for name, source in work.brought.items()]
    return pa.schema([*spine, *added])


# --------------------------------------------------------------------------------------- who wins


def _spill_pairs(work: _Work) -> Spill:
    """For pairs of places in the spine and in the view, by pieces of the view."""
    pieces = -(-work.view.metadata.num_rows // work.cuts.view_rows)
    return work.spill("pairs", pa.schema({"asked": pa.int64(), "place": pa.int64()}), max(1, pieces))


def _find_pairs(work: _Work, pairs: Spill) -> None:
    """Which row of the view each row of the spine gets."""
    with _questions(work) as (asked, reach), _rows(work, reach) as rows:
        for part in range(work.cuts.parts):
            for table in asked.tables(part, work.cuts.questions):
                _answer(work, table, Bucket(rows, part), pairs)
    pairs.finish()


@contextmanager
def _questions(work: _Work) -> Iterator[tuple[Spill, tuple[int, int]]]:
    """Keys and instants of the spine by parts, and the first and last instant."""
    join, kinds = work.join, work.kinds
    fields = {"asked": pa.int64(), **dict(zip(work.keys, kinds, strict=True)), "t": _UTC}
    first, last, done = _FOREVER, _NEVER, 0
    with work.spill("spine", pa.schema(fields), work.cuts.parts) as asked:
        for table in work.read(work.spine, list(dict.fromkeys([*join.keys, join.time]))):
            times = instants_of(table, join.time, "time", join.zone)
            plain, there = plain_keys(table, join.keys, kinds)
            rows = np.flatnonzero(there & ~times.missing)
            keys, micros = [column.take(pa.array(rows)) for column in plain], times.micros[rows]
            columns = [pa.array(rows + done), *keys, _stamps(micros)]
            asked.add(pa.table(columns, schema=asked.schema), _part_of(keys, len(rows), work.cuts.parts))
            first, last = int(micros.min(initial=first)), int(micros.max(initial=last))
            done += table.num_rows
        asked.finish()
        yield asked, (first, last)


@contextmanager
def _rows(work: _Work, reach: tuple[int, int]) -> Iterator[Spill]:
    """Keys, times and order of the rows of the view that some question may see, by the same parts."""
    join, kinds, schema = work.join, work.kinds, work.view.schema_arrow
    fields = {**dict(zip(work.keys, kinds, strict=True)), "event": _UTC, "place": pa.int64()}
    if join.known_at is not None:
        fields["known"] = _UTC
    if join.order is not None:
        fields["order"] = _value_type(schema.field(join.order).type)
    wanted = [*join.keys, join.event_time, *(name for name in (join.known_at, join.order) if name)]
    first = max(reach[0] - micros_of(join.ttl), _NEVER) if join.ttl else _NEVER
    done = 0
    with work.spill("view", pa.schema(fields), work.cuts.parts) as spill:
        for table in work.read(work.view, list(dict.fromkeys(wanted))):
            event = instants_of(table, join.event_time, "event time", join.zone)
            plain, there = plain_keys(table, join.keys, kinds)
            rows = np.flatnonzero(
                there & ~event.missing & (event.micros >= first) & (event.micros <= reach[1])
            )
            taken = pa.array(rows)
            keys = [column.take(taken) for column in plain]
            columns = [*keys, _stamps(event.micros[rows]), pa.array(rows + done)]
            if join.known_at is not None:
                columns.append(_stamps(_known(table, join, event)[rows]))
            if join.order is not None:
                columns.append(_plain(column_of(table, join.order, "order")).take(taken))
            spill.add(pa.table(columns, schema=spill.schema), _part_of(keys, len(rows), work.cuts.parts))
            done += table.num_rows
        spill.finish()
        yield spill


def _known(table: pa.Table, join: AsOfJoin, event: Instants) -> Ints:
    learned = instants_of(table, join.known_at or "", "known-at", join.zone)
    return np.where(learned.missing, event.micros, learned.micros)


def _stamps(micros: Ints) -> pa.Array:
    return pa.array(micros).cast(_UTC)


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Without a dictionary, which pieces of a file have each their own."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _part_of(keys: list[pa.ChunkedArray], rows: int, parts: int) -> Ints:
    """By a hash of the parts of the key that can be hashed: equal keys have equal ones."""
    hashed = {str(at): pl.Series(pl.from_arrow(key)) for at, key in enumerate(keys) if _is_hashed(key.type)}
    if parts == 1 or not hashed or not rows:
        return np.zeros(rows, dtype=np.int64)
    found = pl.DataFrame(hashed).hash_rows(seed=0).to_numpy()
    return (found % np.uint64(parts)).astype(np.int64)


def _is_hashed(kind: pa.DataType) -> bool:
    return bool(kind in (pa.int64(), pa.float64(), pa.large_string(), pa.bool_()))


def _answer(work: _Work, asked: pa.Table, rows: Bucket, pairs: Spill) -> None:
    """The pairs of some questions of one part."""
    join = work.join
    narrow = AsOfJoin(
        keys=tuple(work.keys),
        time="t",
        event_time="event",
        known_at=None if join.known_at is None else "known",
        order=None if join.order is None else "order",
        ttl=join.ttl,
        mode=join.mode,
        columns=("place",),
    )
    found = join_source(asked, rows, narrow).rows
    won = np.flatnonzero(found >= 0)
    different, inverse = np.unique(found[won], return_inverse=True)
    places = rows.take("place", different).to_numpy()[inverse]
    columns = {"asked": asked.column("asked").to_numpy()[won], "place": places}
    pairs.add(pa.table(columns), places // work.cuts.view_rows)


# --------------------------------------------------------------------------------------- what they bring


def _spill_carried(work: _Work) -> Spill:
    """For columns of the view, by pieces of the spine."""
    schema, fields = work.view.schema_arrow, {"asked": pa.int64()}
    for at, source in enumerate(work.sources):
        fields[f"c{at}"] = _value_type(schema.field(source).type)
    pieces = -(-work.spine.metadata.num_rows // work.cuts.spine_rows)
    return work.spill("carried", pa.schema(fields), max(1, pieces))


def _carry_all(work: _Work, pairs: Spill, carried: Spill) -> None:
    """The columns of the view for the rows of the spine that have a winner."""
    tables = (_plain_table(table) for table in work.read(work.view, work.sources))
    for number, piece in enumerate(_pieces(tables, work.cuts.view_rows)):
        for pair in pairs.tables(number, work.cuts.carry_rows):
            _carry(piece, pair, carried, (number * work.cuts.view_rows, work.cuts.spine_rows))


def _plain_table(table: pa.Table) -> pa.Table:
    return pa.table([_plain(column) for column in table.columns], names=table.column_names)


def _carry(piece: pa.Table, pairs: pa.Table, carried: Spill, cut: tuple[int, int]) -> None:
    """The rows of a piece of the view that begins at `cut[0]`, for the pairs that name one of them."""
    asked, place = pairs.column("asked").to_numpy(), pairs.column("place").to_numpy()
    order, numbers = in_order(asked // cut[1], carried.buckets)
    taken = piece.take(pa.array(place[order] - cut[0]))
    columns = [pa.chunked_array([asked[order]]), *taken.columns]
    carried.add_sorted(pa.table(columns, schema=carried.schema), numbers)


def _put_together(work: _Work, carried: Spill, out: pq.ParquetWriter) -> None:
    """Write the rows of the result, a piece at a time."""
    schema, rows = _result(work), work.cuts.spine_rows
    for number, piece in enumerate(_pieces(work.read(work.spine, None), rows)):
        brought = carried.table(number).combine_chunks()
        back = np.full(piece.num_rows, -1, dtype=np.int64)
        back[brought.column("asked").to_numpy() - number * rows] = np.arange(brought.num_rows)
        taken = brought.take(pa.array(back, mask=back < 0))
        columns = [
            taken.column(f"c{work.sources.index(source)}").cast(schema.field(name).type)
            for name, source in work.brought.items()
        ]
        out.write_table(pa.table([*piece.columns, *columns], schema=schema), row_group_size=ROW_GROUP)


def _pieces(tables: Iterator[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows, `rows` at a time, each in one chunk."""
    waiting: list[pa.Table] = []
    count = 0
    for table in tables:
        waiting.append(table)
        count += table.num_rows
        while count >= rows:
            whole = pa.concat_tables(waiting)
            piece, waiting, count = whole.slice(0, rows).combine_chunks(), [whole.slice(rows)], count - rows
            del whole
            yield piece
            del piece
    if count:
        yield pa.concat_tables(waiting).combine_chunks()
