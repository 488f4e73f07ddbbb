"""Reads a source and keeps what is new: rows and the source's place in one unit of work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

import msgspec
from msgspec.structs import replace

from loopwright.core.addresses import Address
from loopwright.core.errors import Conflict, Invalid, NotFound
from loopwright.core.nouns import Json, Version
from loopwright.core.schema import ColumnType
from loopwright.data.appending import append
from loopwright.data.contracts import contract_of
from loopwright.data.cursors import plain_state
from loopwright.data.nouns import DATASET, Appended
from loopwright.data.parcels import Parcel, of_files, of_records, of_rows
from loopwright.data.reading import schema_of
from loopwright.data.rewriting import overwrite
from loopwright.data.sourcing import Declared, Reading, declared_of, note_reading, origin_of, reading_of
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, resolve
from loopwright.ports.ledger import Transaction

if TYPE_CHECKING:
    import pyarrow as pa

    from loopwright.ports.sources import FileSource, RecordStream, RowSource

__all__ = ["Ingested", "ingest_source", "known_types"]

_TURNS = 20


class Ingested(msgspec.Struct, frozen=True, kw_only=True):
    """What one reading of a source came to."""

    source: str
    dataset: str
    version: int = 0
    """the dataset's newest version afterwards; 0 where there is none"""
    versions: int = 0
    """how many were made: none when nothing was new, several when more was new than fits in memory"""
    rows: int = 0
    quarantined: int = 0
    reasons: dict[str, int] = {}
    warnings: tuple[str, ...] = ()
    files: int = 0
    skipped: int = 0
    """records left out since they were no JSON objects"""


def ingest_source(ctx: Context, name: str) -> Ingested:
    """Read what is new at a source into its dataset, from where the last reading ended.

    Rows and place are committed together, so what was cut off anywhere is read again and nothing is added
    twice. `PolicyBlocked` when the contract refuses the rows: the place stays where it was, too.
    """
    declared = declared_of(ctx, name)
    with ctx.read() as tx:
        place = reading_of(tx, ctx.space, declared)
    done = Ingested(source=name, dataset=declared.source.into, version=place.version)
    origin = origin_of(ctx, declared)
    with closing(ctx.ports.sources.open(origin)) as opened:
        for parcel in _parcels(ctx, declared, opened, place.state):
            place, told = _kept(ctx, declared, place, parcel)
            done = _with(done, parcel, told, made=place.version)
    return done


def _parcels(ctx: Context, declared: Declared, opened: Any, state: Json) -> Iterator[Parcel]:
    source = declared.source
    match ctx.ports.sources.kind(source.address):
        case "rows":
            return of_rows(ctx, source, cast("RowSource", opened), plain_state(ctx, declared, state))
        case "records":
            return of_records(source, cast("RecordStream", opened), state)
    types = known_types(ctx, source.into, source.contract)
    if source.zone:  # texts of times are read as they are written, and then in that zone
        types = {name: kind for name, kind in types.items() if kind is not ColumnType.INSTANT}
    return of_files(source, cast("FileSource", opened), state, types)


def known_types(ctx: Context, dataset: str, contract: str) -> dict[str, ColumnType]:
    """Types that texts are read as: the contract's, else those the dataset has."""
    held = contract_of(ctx, contract or dataset, required=bool(contract))
    version = _newest(ctx, dataset)
    found: dict[str, ColumnType] = {}
    if version is not None:
        found = {each.name: each.type for each in schema_of(manifest_of(ctx, version)).columns}
    return found if held is None else found | {rule.name: rule.type for rule in held.contract.columns}


def _newest(ctx: Context, dataset: str) -> Version | None:
    try:
        return resolve(ctx, Address(kind=DATASET, name=dataset))
    except NotFound:
        return None


def _kept(
    ctx: Context, declared: Declared, place: Reading, parcel: Parcel
) -> tuple[Reading, Appended | None]:
    """Keep a parcel on whatever the newest version is; the place moves in the same unit of work."""
    table = parcel.table
    if table is None or (not table.num_rows and declared.source.mode == "append"):
        after = replace(place, state=parcel.state)
        if after != place:
            ctx.write(lambda tx: note_reading(ctx, tx, declared, place, after))
        return after, None
    table = zoned(table, declared.source.zone)
    for left in reversed(range(_TURNS)):
        try:
            return _published(ctx, declared, place, parcel, table)
        except Conflict:
            with ctx.read() as tx:
                is_ours = reading_of(tx, ctx.space, declared) == place
            if not left or not is_ours:
                raise
    raise Conflict(f"{declared.source.into!r} is written by many", hint="run the source again")


def _published(
    ctx: Context, declared: Declared, place: Reading, parcel: Parcel, table: pa.Table
) -> tuple[Reading, Appended]:
    moved: list[Reading] = []
    newest = _newest(ctx, declared.source.into)

    def also(tx: Transaction, version: Version) -> None:
        after = Reading(
            place=declared.source.place,
            state=parcel.state,
            count=place.count + 1,
            rows=place.rows + table.num_rows,
            version=version.number,
            at=ctx.now(),
        )
        note_reading(ctx, tx, declared, place, after)
        told = {"dataset": declared.source.into, "version": version.number, "rows": table.num_rows}
        ctx.record(tx, "source.ingested", declared.version.ref, told)
        moved[:] = [after]

    source = declared.source
    keep = append if source.mode == "append" else overwrite
    told = keep(
        ctx,
        source.into,
        table,
        contract=source.contract or None,
        event_time=source.event_time or None,
        known_at=source.known_at or None,
        expect=0 if newest is None else newest.number,
        facts={"source": str(declared.version.ref)},
        also=also,
    )
    return moved[0], told


def _with(done: Ingested, parcel: Parcel, told: Appended | None, *, made: int) -> Ingested:
    found = replace(done, files=done.files + parcel.files, skipped=done.skipped + parcel.skipped)
    if told is None:
        return found
    reasons = {**done.reasons}
    for reason, count in told.reasons.items():
        reasons[reason] = reasons.get(reason, 0) + count
    return replace(
        found,
        version=made,
        versions=done.versions + (1 if told.version.number != done.version else 0),
        rows=done.rows + told.rows,
        quarantined=done.quarantined + told.quarantined,
        reasons=reasons,
        warnings=tuple(dict.fromkeys((*done.warnings, *told.warnings))),
    )


def zoned(table: pa.Table, zone: str) -> pa.Table:
    """The table with its times without a zone read as of this one; `Invalid` where its clocks were put."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not zone:
        return table
    for at, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and field.type.tz is None:
            try:
                read = pc.assume_timezone(table.column(at), zone)
            except pa.ArrowInvalid as error:
                raise Invalid(
                    f"the column {field.name!r} has a time that the clocks of {zone} showed twice, or never",
                    hint="write times with their zone, or in UTC",
                ) from error
            table = table.set_column(at, field.name, read)
    return table
