"""Appends a batch: held against its contract, profiled, kept as a part of a new version."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import json

from loopwright.core.addresses import Address, check_name
from loopwright.core.digests import canonical
from loopwright.core.errors import Conflict, Corrupt, Fault, Invalid, NotFound
from loopwright.core.manifests import Manifest, ManifestEntry
from loopwright.core.nouns import Json, Version
from loopwright.core.schema import ColumnType, Schema
from loopwright.data.conforming import arrow_type, conformed, ordered
from loopwright.data.contracts import HeldContract, contract_of, inspected
from loopwright.data.inspecting import Inspection
from loopwright.data.nouns import DATASET, Appended, DatasetBody
from loopwright.data.packing import BATCH, LEVEL, Tail, batches_of, tail_to_pack
from loopwright.data.profiles import merged_profile
from loopwright.data.reading import SPANS, WIDTH, body_of, schema_of
from loopwright.data.rules import merged_schema
from loopwright.data.streams import prepare_segment
from loopwright.engine.context import Context
from loopwright.engine.publishing import Draft, manifest_of, prepare, publish, resolve
from loopwright.ports.ledger import Segment, Transaction

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["QUARANTINED_AT", "REASON", "Also", "append", "quarantine_stream"]

Also = Callable[[Transaction, Version], None]
"""what a caller writes in the unit of work that publishes, such as how far a source was read"""

log = logging.getLogger(__name__)

REASON, QUARANTINED_AT = "reason", "quarantined_at"
_ATTEMPTS = 20


class _Base(msgspec.Struct, frozen=True, kw_only=True):
    """What an append builds on: the newest version, or nothing yet."""

    version: Version | None = None
    manifest: Manifest | None = None

    @property
    def number(self) -> int:
        return 0 if self.version is None else self.version.number

    @property
    def entries(self) -> tuple[ManifestEntry, ...]:
        return () if self.manifest is None else self.manifest.entries

    @property
    def schema(self) -> Schema | None:
        return None if self.manifest is None else schema_of(self.manifest)

    @property
    def rows(self) -> int:
        return 0 if self.manifest is None else self.manifest.rows or 0

    @property
    def profile(self) -> str | None:
        return None if self.manifest is None else self.manifest.profile

    @property
    def body(self) -> DatasetBody:
        return DatasetBody() if self.manifest is None else body_of(self.manifest)

    def has_batch(self, batch: str | None) -> bool:
        """Whether a batch of that name is a part already."""
        return batch is not None and any(batch in batches_of(entry) for entry in self.entries)


def quarantine_stream(dataset: str) -> str:
    """The stream that keeps a dataset's rows in quarantine."""
    return f"quarantine/{dataset}"


def append(
    ctx: Context,
    name: str,
    table: pa.Table,
    *,
    contract: str | None = None,
    event_time: str | None = None,
    known_at: str | None = None,
    keys: tuple[str, ...] = (),
    expect: int | None = None,
    batch: str | None = None,
    facts: Json | None = None,
    also: Also | None = None,
) -> Appended:
    """Add rows to a dataset as its next version; what is there already is seldom written again.

    Sixteen small parts become one, so that readers open few files; versions that had them keep them.
    `contract` names the one to hold the batch against; without it that of the dataset's own name,
    where there is one. Rows that break a quarantining rule go to the stream `quarantine/<name>`
    with their reasons; a broken blocking rule records a decision, publishes nothing and raises
    `PolicyBlocked`. `event_time`, `known_at` and `keys` name columns and stand until they are given
    anew. `expect` is the number the newest version must have (0: none), else `Conflict`; without it
    several appenders take turns. `batch` names these rows: a batch that is there already is not
    added again, so that what was cut off can be repeated. `facts` stand in the version's body. `also` is
    done in the unit of work that publishes, whichever version that ends with: both or neither.
    """
    held = contract_of(ctx, contract or name, required=contract is not None)
    body = DatasetBody(
        event_time=event_time,
        known_at=known_at,
        keys=keys,
        contract=None if held is None else str(held.version.ref),
        facts=facts or {},
    )
    asked = _Asked(
        name=check_name(name), table=table, held=held, body=body, batch=batch, expect=expect, also=also
    )
    for left in reversed(range(_ATTEMPTS)):
        try:
            return _append_on(ctx, asked, _base(ctx, name))
        except Conflict:
            if expect is not None or not left:
                raise
    raise Fault("an append neither succeeded nor failed")


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller wants appended."""

    name: str
    table: Any
    held: HeldContract | None
    body: DatasetBody
    batch: str | None
    expect: int | None
    also: Also | None = None


def _append_on(ctx: Context, asked: _Asked, base: _Base) -> Appended:
    """Append to the version that was newest a moment ago; `Conflict` when another appender was faster."""
    if base.version is not None and base.has_batch(asked.batch):
        _repeated(ctx, asked, base.version)
        return Appended(version=base.version, rows=0, repeated=True)
    rows = conformed(asked.table, _wanted(asked.held, base))
    found, judgement = inspected(ctx, asked.held, rows, asked.name, base.version)
    kept_out = found.kept_out(rows.num_rows)
    segment = _quarantined(ctx, asked.name, rows, found, kept_out) if kept_out.any() else None
    part = rows if segment is None else rows.filter(_arrow(~kept_out))
    reasons = {rule: int(mask.sum()) for rule, mask in found.masks.items()}
    adds_nothing = base.version is not None and part.num_rows == 0
    draft = None if adds_nothing else _draft(ctx, asked, base, part)

    def work(tx: Transaction) -> Version:
        version = base.version if draft is None else publish(ctx, tx, draft)
        if version is None:
            raise Fault("an append without a part and without a version")
        if segment is not None:
            _set_aside(ctx, tx, version, segment, reasons)
        if asked.also is not None:
            asked.also(tx, version)
        return version

    return Appended(
        version=ctx.write(work),
        rows=part.num_rows,
        quarantined=0 if segment is None else segment.rows,
        reasons=reasons,
        warnings=judgement.warnings,
    )


def _repeated(ctx: Context, asked: _Asked, version: Version) -> None:
    also = asked.also
    if also is not None:
        ctx.write(lambda tx: also(tx, version))


def _base(ctx: Context, name: str) -> _Base:
    try:
        version = resolve(ctx, Address(kind=DATASET, name=name))
    except NotFound:
        return _Base()
    return _Base(version=version, manifest=manifest_of(ctx, version))


def _wanted(held: HeldContract | None, base: _Base) -> dict[str, ColumnType]:
    found = {} if base.schema is None else {column.name: column.type for column in base.schema.columns}
    if held is not None:
        found |= {rule.name: rule.type for rule in held.contract.columns}
    return found


def _arrow(mask: NDArray[np.bool_]) -> pa.Array:
    import pyarrow as pa

    return pa.array(mask)


def _quarantined(
    ctx: Context, name: str, rows: pa.Table, found: Inspection, kept_out: NDArray[np.bool_]
) -> Segment:
    """The rows kept out, with their reasons, as a segment that is not indexed yet."""
    import numpy as np
    import pyarrow as pa

    reasons = [
        "; ".join(rule for rule, mask in found.masks.items() if mask[at]) for at in np.flatnonzero(kept_out)
    ]
    bad = rows.filter(_arrow(kept_out))
    taken = {REASON, QUARANTINED_AT}
    bad = bad.rename_columns([f"value_{n}" if n in taken else n for n in bad.column_names])
    now = ctx.now()
    times = pa.array([now] * len(reasons), arrow_type(ColumnType.INSTANT))
    bad = bad.append_column(REASON, pa.array(reasons, pa.string())).append_column(QUARANTINED_AT, times)
    return prepare_segment(ctx, quarantine_stream(name), bad, now, now, {"rules": sorted(found.masks)})


def _set_aside(
    ctx: Context, tx: Transaction, version: Version, segment: Segment, reasons: Mapping[str, int]
) -> None:
    tx.segments.add(segment)
    payload = {"dataset": version.name, "rows": segment.rows, "reasons": dict(reasons)}
    ctx.record(tx, "quarantine.added", Address(kind=DATASET, name=version.name), payload)


def _draft(ctx: Context, asked: _Asked, base: _Base, part: pa.Table) -> Draft:
    body = _body(asked.body, base)
    schema = merged_schema(base.schema, ctx.ports.tables.schema_of(part))
    _check_times(body, schema)
    table = ordered(part, schema)
    tail, packed = _packed(ctx, base, table)
    kept = base.entries[: len(base.entries) - len(tail.entries)]
    data = ctx.ports.tables.write(packed)
    entry = ManifestEntry(
        path=f"part-{len(kept) + 1:05d}.parquet",
        digest=ctx.ports.objects.put(data),
        size_bytes=len(data),
        rows=packed.num_rows,
        facts=_entry_facts(packed, body, tail, asked.batch),
    )
    rows = base.rows + table.num_rows
    manifest = Manifest(
        kind=DATASET,
        entries=(*kept, entry),
        schema=schema,
        rows=rows,
        parent=None if base.version is None else base.version.digest,
        body=msgspec.to_builtins(body),
        profile=_profile(ctx, base, table),
    )
    return prepare(
        ctx,
        asked.name,
        manifest,
        facts={"rows": rows, "added": table.num_rows},
        parent=base.number or None,
        expect=base.number if asked.expect is None else asked.expect,
    )


def _body(asked: DatasetBody, base: _Base) -> DatasetBody:
    before = base.body
    return DatasetBody(
        event_time=asked.event_time or before.event_time,
        known_at=asked.known_at or before.known_at,
        keys=asked.keys or before.keys,
        contract=asked.contract,
        facts={**before.facts, **asked.facts},
    )


def _check_times(body: DatasetBody, schema: Schema) -> None:
    for name in (body.event_time, body.known_at):
        if name is not None and schema.column(name).type is not ColumnType.INSTANT:
            raise Invalid(
                f"the column {name!r} is of type {schema.column(name).type}, not an instant",
                hint="give times with a zone",
            )
    for name in body.keys:
        schema.column(name)


def _packed(ctx: Context, base: _Base, table: pa.Table) -> tuple[Tail, pa.Table]:
    """The small parts that the new rows are put together with, and all their rows in order.

    Their bytes are held against their digests, so damage is not copied; a damaged part stays where it is.
    """
    import pyarrow as pa

    tail = tail_to_pack(base.entries)
    if not tail.entries:
        return tail, table
    try:
        files = [io.BytesIO(ctx.ports.objects.get(entry.digest)) for entry in tail.entries]
    except (Corrupt, NotFound) as error:
        log.warning("parts not put together", extra={"error": str(error)})
        return Tail(), table
    # the new table's schema, without rows: a column that all of the parts lack is null, and not unknown
    files.append(io.BytesIO(ctx.ports.tables.write(table.slice(0, 0))))
    before = ctx.ports.tables.read(files, columns=table.column_names)
    return tail, pa.concat_tables([before.cast(table.schema), table])


def _entry_facts(table: pa.Table, body: DatasetBody, tail: Tail, batch: str | None) -> Json:
    spans = {name: _span(table, name) for name in (body.event_time, body.known_at) if name is not None}
    found: Json = {WIDTH: table.num_columns, SPANS: {name: span for name, span in spans.items() if span}}
    if tail.level:
        found[LEVEL] = tail.level
    batches = [name for entry in tail.entries for name in batches_of(entry)]
    batches += [] if batch is None else [batch]
    return found if not batches else {**found, BATCH: batches[0] if len(batches) == 1 else batches}


def _span(table: pa.Table, name: str) -> list[int] | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    ends = pc.min_max(table.column(name).cast(pa.int64()))
    low, high = ends["min"].as_py(), ends["max"].as_py()
    return None if low is None else [low, high]


def _profile(ctx: Context, base: _Base, table: pa.Table) -> str:
    found = ctx.ports.tables.profile(table)
    if base.profile is not None:
        found = merged_profile(json.decode(ctx.ports.objects.get(base.profile)), found, table)
    return ctx.ports.objects.put(canonical(found))
