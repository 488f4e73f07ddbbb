"""What is new at a source, in parcels: a table each, with how far the source is read once it is kept.

A parcel holds what fits in memory; a source that has more gives several, and each is a version of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from blake3 import blake3

from loopwright.core.digests import digest_bytes, digest_value
from loopwright.core.errors import Conflict, Invalid
from loopwright.core.instants import from_micros, to_micros
from loopwright.core.nouns import Json
from loopwright.core.schema import ColumnType
from loopwright.data.sourcing import Source
from loopwright.data.uploads import check_shape, read_table
from loopwright.engine.context import Context

if TYPE_CHECKING:
    from typing import BinaryIO

    import pyarrow as pa

    from loopwright.ports.sources import FileSource, Record, RecordStream, RowSource, SeenFile

__all__ = ["BATCH_ROWS", "Parcel", "of_files", "of_records", "of_rows"]

BATCH_ROWS = 50_000
PARCEL_ROWS = 2_000_000
PARCEL_BYTES = 1 << 30
_RECORDS = 100_000
_TIES = 10_000
_CHUNK = 1 << 20

Types = Mapping[str, ColumnType]


class Parcel(msgspec.Struct, frozen=True, kw_only=True):
    """Rows to keep together with the place that reading goes on from."""

    table: Any
    """an Arrow table, or None when only the place moves"""
    state: Json
    files: int = 0
    skipped: int = 0
    """records that were no JSON objects"""


def of_files(source: Source, opened: FileSource, state: Json, types: Types) -> Iterator[Parcel]:
    """The rows of files that are new: of each one a parcel, or of all files one where they replace."""
    known: dict[str, list[str]] = dict(state.get("files", {}))
    seen = opened.seen({path: mark for path, (mark, _) in known.items()})
    changed = [each for each in seen if known.get(each.path, ["", ""])[0] != each.mark]
    if source.mode == "append":
        yield from _each_file(source, opened, known, changed, types)
    elif changed or len(seen) != len(known):
        yield from _all_files(source, opened, known, seen, types)


def _each_file(
    source: Source, opened: FileSource, known: dict[str, list[str]], changed: list[SeenFile], types: Types
) -> Iterator[Parcel]:
    gathered, size, before = list[Any](), 0, known
    for each in changed:
        with opened.open(each.path) as file:
            digest = _digest(file)
            last = known.get(each.path)
            known = {**known, each.path: [each.mark, digest]}
            if last is not None and last[1] != digest:
                raise Conflict(
                    f"the file {each.path or source.address} was read before, and was changed since",
                    hint="add rows in new files, or declare the source with --mode replace",
                )
            if last is None:
                gathered.append(_read(source, opened, each.path, file, types))
                size += gathered[-1].nbytes
        if size >= PARCEL_BYTES:
            yield _gathered(source, gathered, known)
            gathered, size, before = [], 0, known
    if known != before:
        yield _gathered(source, gathered, known)


def _gathered(source: Source, tables: list[Any], known: Mapping[str, list[str]]) -> Parcel:
    table = _together(tables, source.address) if tables else None
    return Parcel(table=table, state={"files": known}, files=len(tables))


def _all_files(
    source: Source, opened: FileSource, known: dict[str, list[str]], seen: Any, types: Types
) -> Iterator[Parcel]:
    tables, found = [], dict[str, list[str]]()
    for each in seen:
        with opened.open(each.path) as file:
            found[each.path] = [each.mark, _digest(file)]
            tables.append(_read(source, opened, each.path, file, types))
    is_same = {path: digest for path, (_, digest) in known.items()} == {p: d for p, (_, d) in found.items()}
    table = None if is_same else _together(tables, source.address)
    yield Parcel(table=table, state={"files": found}, files=0 if is_same else len(tables))


def _digest(file: BinaryIO) -> str:
    hasher = blake3()
    while piece := file.read(_CHUNK):
        hasher.update(piece)
    file.seek(0)
    return hasher.hexdigest()


def _read(source: Source, opened: FileSource, path: str, file: BinaryIO, types: Types) -> pa.Table:
    named = path or source.address.partition("?")[0]
    return read_table(file, source.format, types, path=named, media_type=opened.media_type(path))


def _together(tables: list[pa.Table], what: str) -> pa.Table:
    import pyarrow as pa

    if len(tables) == 1:
        return tables[0]
    try:
        return check_shape(pa.concat_tables(tables, promote_options="permissive"), what)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise Invalid(
            f"the tables of {what} do not fit one another: {str(error).splitlines()[0][:150]}",
            hint="read those of one form by a pattern",
        ) from error


def of_rows(ctx: Context, source: Source, opened: RowSource, state: Json) -> Iterator[Parcel]:
    """The rows of a question: those that follow the cursor, or all of them where they replace."""
    if not source.cursor:
        table = _together([*opened.batches(None, BATCH_ROWS)], source.address)
        digest = digest_bytes(ctx.ports.tables.write(table))
        yield Parcel(table=None if state.get("digest") == digest else table, state={"digest": digest})
        return
    gathered, size, rows = list[Any](), 0, 0
    place = _Place(state)
    for batch in opened.batches(place.value, BATCH_ROWS):
        fresh = place.passed(batch, source.cursor)
        gathered, size, rows = [*gathered, fresh], size + fresh.nbytes, rows + fresh.num_rows
        if rows >= PARCEL_ROWS or size >= PARCEL_BYTES:
            yield Parcel(table=_together(gathered, source.address), state=place.state)
            gathered, size, rows = [], 0, 0
    if gathered:
        yield Parcel(table=_together(gathered, source.address), state=place.state)


class _Place:
    """The greatest value of the cursor column, and the rows that have it: later ones beside them are new."""

    def __init__(self, state: Json) -> None:
        self.value: Any = _value(state.get("value"))
        self._ties: set[str] = set(state.get("ties", ()))

    @property
    def state(self) -> Json:
        """As it is kept."""
        return {"value": _kept(self.value), "ties": sorted(self._ties)}

    def passed(self, batch: pa.Table, cursor: str) -> pa.Table:
        """The batch's rows that were not seen, which are seen from now on."""
        if not batch.num_rows:
            return batch
        values = batch.column(cursor).to_pylist()
        again = sum(value == self.value for value in values)
        marks = [_mark(row) for row in batch.slice(0, again).to_pylist()] if again else []
        fresh = [at for at, mark in enumerate(marks) if mark not in self._ties]
        kept = batch if not again else _only(batch, fresh, again)
        last = values[-1]
        ties = sum(value == last for value in values)
        tied = {_mark(row) for row in batch.slice(batch.num_rows - ties).to_pylist()}
        self._ties = tied if last != self.value else self._ties | tied
        self.value = last
        if len(self._ties) > _TIES:
            raise Invalid(
                f"over {_TIES:,} rows have the same {cursor!r}",
                hint="take a column that grows, such as an id",
            )
        return kept


def _only(batch: pa.Table, fresh: list[int], again: int) -> pa.Table:
    import pyarrow as pa

    places = [*fresh, *range(again, batch.num_rows)]
    return batch.take(pa.array(places, pa.int64()))


def _mark(row: Json) -> str:
    return digest_value({name: str(value) for name, value in row.items()})[:16]


def _kept(value: Any) -> Any:
    from datetime import date, datetime
    from decimal import Decimal

    if isinstance(value, datetime):
        if value.tzinfo is None:
            return {"naive": value.isoformat()}
        return {"instant": to_micros(value)}
    if isinstance(value, date):
        return {"date": value.isoformat()}
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    if value is None or isinstance(value, int | str | float):
        return value
    raise Invalid(f"a cursor of type {type(value).__name__} cannot be kept", hint="take a number or a time")


def _value(kept: Any) -> Any:
    from datetime import date, datetime
    from decimal import Decimal

    match kept:
        case {"naive": str(text)}:
            return datetime.fromisoformat(text)
        case {"instant": int(micros)}:
            return from_micros(micros)
        case {"date": str(text)}:
            return date.fromisoformat(text)
        case {"decimal": str(text)}:
            return Decimal(text)
    return kept


def of_records(source: Source, opened: RecordStream, state: Json) -> Iterator[Parcel]:
    """Micro-batches of records, until nothing is new."""
    offsets: dict[str, str] = dict(state.get("offsets", {}))
    while records := opened.read(offsets, _RECORDS):
        rows, skipped = list[Json](), 0
        for record in records:
            row = _row(record, source)
            skipped += row is None
            rows += [] if row is None else [row]
            offsets = {**offsets, record.part: record.offset}
        yield Parcel(table=_table(rows) if rows else None, state={"offsets": offsets}, skipped=skipped)
        if len(records) < _RECORDS:
            return


def _row(record: Record, source: Source) -> Json | None:
    try:
        found = msgspec.json.decode(record.value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = None
    if isinstance(found, dict):
        return found
    if source.skip_bad:
        return None
    raise Invalid(
        f"the record before offset {record.offset} of partition {record.part} is no JSON object",
        hint="declare the source with --skip-bad to leave such records out",
    )


def _table(rows: list[Json]) -> pa.Table:
    import pyarrow as pa

    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: _column(name, [row.get(name) for row in rows]) for name in names}
    if not columns:
        raise Invalid("the records have no fields", hint="look at what is written to the stream")
    return check_shape(pa.table(columns), "the stream")


def _column(name: str, values: list[Any]) -> pa.Array:
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        values = [None if value is None else float(value) for value in values]
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        told = ", ".join(sorted(kind.__name__ for kind in kinds))[:100]
        raise Invalid(f"the field {name[:80]!r} holds {told}", hint="write values of one kind") from error
