"""What every write of a table goes through: what it builds on, what it makes, and the one unit of work."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec.structs import replace

from loopwright.core.addresses import Address, check_alias
from loopwright.core.digests import canonical
from loopwright.core.errors import Conflict, Corrupt, Fault, Invalid, NotFound
from loopwright.core.expressions import Expr
from loopwright.core.manifests import Manifest, ManifestEntry
from loopwright.core.nouns import Json, Version, VersionRef
from loopwright.core.schema import ColumnType, Schema
from loopwright.data.admitting import Admitted, set_aside
from loopwright.data.checked import signals_of
from loopwright.data.conforming import ordered
from loopwright.data.contracts import HeldContract
from loopwright.data.cutting import Cut
from loopwright.data.descent import MADE_OF
from loopwright.data.nouns import DATASET, Appended, DatasetBody
from loopwright.data.packing import BATCH, LEVEL, Tail, batches_of, tail_to_pack
from loopwright.data.profiled import profile_of_parts, stored_profile
from loopwright.data.profiles import merged_profile
from loopwright.data.pruning import ranges_over
from loopwright.data.reading import SPANS, WIDTH, body_of, schema_of
from loopwright.data.shrinking import shrunk_profile
from loopwright.data.stretches import keep_stretches, stretch_objects
from loopwright.engine.context import Context
from loopwright.engine.erased import Stale
from loopwright.engine.publishing import (
    BRANCH,
    READS,
    Draft,
    branch_name,
    check_sources,
    manifest_of,
    prepare,
    publish,
    resolve,
    taken_back,
)
from loopwright.ports.ledger import Transaction

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Also",
    "Base",
    "Change",
    "Plan",
    "base_of",
    "body_for",
    "carry_out",
    "draft_of",
    "kept_profile",
    "wanted_types",
]

log = logging.getLogger(__name__)

_ATTEMPTS = 20
_PART_ROWS = 1 << 20
"""rows of a part at most, so that changing one row of a large table writes few others again"""


Also = Callable[[Transaction, Version], None]
"""what a caller writes in the unit of work that publishes, such as how far a source was read"""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One write to one dataset: what is to be done, and the options that all writes share."""

    how: Literal["append", "overwrite", "upsert", "delete"]
    name: str
    branch: str | None = None
    """the branch to write on; None: the dataset's own line of versions"""
    table: Any = None
    """an Arrow table: the rows that come; of a delete, the keys that go"""
    where: Expr | None = None
    """which rows go, of a delete or an overwrite of a part"""
    contract: str | None = None
    event_time: str | None = None
    known_at: str | None = None
    keys: tuple[str, ...] = ()
    expect: int | None = None
    batch: str | None = None
    facts: Json = {}
    schema: Literal["compatible", "replace"] = "compatible"
    """whether an overwrite may change columns in a way that breaks their readers"""
    reads: tuple[str, ...] = ()
    """addresses of the versions that the rows were made of, for lineage where no run tells it"""
    sources: tuple[VersionRef, ...] = ()
    """versions, as they were read, that the rows were computed of"""
    by_program: bool = True
    """whether they may be of all else that the run has read; not what is computed of the sources alone"""
    also: Also | None = None


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """What a write builds on: the newest version of a dataset or of a branch of it, or nothing yet."""

    version: Version | None = None
    manifest: Manifest | None = None

    @property
    def number(self) -> int:
        """The version's number, 0 where there is none."""
        return 0 if self.version is None else self.version.number

    @property
    def entries(self) -> tuple[ManifestEntry, ...]:
        """The parts."""
        return () if self.manifest is None else self.manifest.entries

    @property
    def schema(self) -> Schema | None:
        """The columns, or None where nothing is there."""
        return None if self.manifest is None else schema_of(self.manifest)

    @property
    def rows(self) -> int:
        """How many rows."""
        return 0 if self.manifest is None else self.manifest.rows or 0

    @property
    def body(self) -> DatasetBody:
        """Times, keys and contract."""
        return DatasetBody() if self.manifest is None else body_of(self.manifest)

    def has_batch(self, batch: str | None) -> bool:
        """Whether a batch of that name was written already."""
        if batch is None:
            return False
        return batch in self.body.batches or any(batch in batches_of(entry) for entry in self.entries)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A write that is ready: its objects are kept, nothing of it is visible."""

    name: str
    base: Version | None
    draft: Draft | None
    """None when nothing changes"""
    admitted: Admitted = Admitted(rows=None)
    rows: int = 0
    removed: int = 0
    unchanged: int = 0
    rewritten: int = 0
    is_repeated: bool = False
    warnings: tuple[str, ...] = ()


def base_of(ctx: Context, change: Change) -> Base:
    """The newest version of what the change writes to; `NotFound` for a branch that is not there."""
    if change.branch is not None:
        name = branch_name(change.name, check_alias(change.branch))
        version = resolve(ctx, Address(kind=BRANCH, name=name))
        return Base(version=version, manifest=manifest_of(ctx, version))
    try:
        version = resolve(ctx, Address(kind=DATASET, name=change.name))
    except NotFound:
        return Base()
    return Base(version=version, manifest=manifest_of(ctx, version))


def wanted_types(held: HeldContract | None, schema: Schema | None) -> dict[str, ColumnType]:
    """The types that columns are read as: those the dataset has, or its contract asks for."""
    found = {} if schema is None else {column.name: column.type for column in schema.columns}
    if held is not None:
        found |= {rule.name: rule.type for rule in held.contract.columns}
    return found


def carry_out(
    ctx: Context, changes: Sequence[Change], plan: Callable[[Change, Base], Plan]
) -> tuple[Appended, ...]:
    """Do all changes in one unit of work; who is overtaken plans anew, unless a change expects a number.

    A version that was written anew by an erasure has its number still: that is planned anew too.
    """
    may_repeat = all(change.expect is None for change in changes)
    for left in reversed(range(_ATTEMPTS)):
        bases = [base_of(ctx, change) for change in changes]
        try:
            plans = [plan(change, base) for change, base in zip(changes, bases, strict=True)]
            return _published(ctx, plans, changes)
        except Stale:
            raise  # the rows themselves are of before: whoever computed them does it again
        except (Conflict, Corrupt, NotFound) as error:
            is_overtaken = may_repeat and isinstance(error, Conflict)
            if not left or not (is_overtaken or _are_written_anew(ctx, changes, bases)):
                raise
    raise Fault("a write neither succeeded nor failed")


def _are_written_anew(ctx: Context, changes: Sequence[Change], bases: Sequence[Base]) -> bool:
    """Whether one of these versions is of other content now, as after an erasure: what it had may be gone."""
    found = (base_of(ctx, change).version for change in changes)
    pairs = zip((base.version for base in bases), found, strict=True)
    return any(
        before is not None and now is not None and before.number == now.number and before.digest != now.digest
        for before, now in pairs
    )


def _published(ctx: Context, plans: Sequence[Plan], changes: Sequence[Change]) -> tuple[Appended, ...]:
    def work(tx: Transaction) -> list[Version]:
        versions = []
        for plan, change in zip(plans, changes, strict=True):
            if plan.draft is None:  # its rows may be in quarantine all the same
                check_sources(ctx, tx, change.sources, by_program=change.by_program)
            version = plan.base if plan.draft is None else publish(ctx, tx, plan.draft)
            if version is None:
                raise Fault("a write without a part and without a version")
            if plan.draft is not None and plan.admitted.results:
                tx.signals.add(signals_of(ctx, version, plan.admitted.results))
            if plan.admitted.segment is not None:
                set_aside(ctx, tx, plan.name, plan.admitted.segment, plan.admitted.reasons)
            versions.append(version)
        for change, version in zip(changes, versions, strict=True):
            if change.also is not None:
                change.also(tx, version)
        return versions

    changes_something = any(plan.draft is not None or plan.admitted.segment is not None for plan in plans)
    if not changes_something and not any(change.also for change in changes):
        return tuple(_told(plan, plan.base) for plan in plans)
    with taken_back(ctx, chain.from_iterable(map(_objects_of, plans))):
        versions = ctx.write(work)
    return tuple(_told(plan, version) for plan, version in zip(plans, versions, strict=True))


def _objects_of(plan: Plan) -> Iterator[str]:
    """All that was kept for a write."""
    if plan.draft is not None:
        yield from plan.draft.objects
    if plan.admitted.segment is not None:
        yield plan.admitted.segment.digest


def _told(plan: Plan, version: Version | None) -> Appended:
    if version is None:
        raise Fault("a write without a part and without a version")
    return Appended(
        version=version,
        rows=plan.rows,
        removed=plan.removed,
        unchanged=plan.unchanged,
        rewritten=plan.rewritten,
        repeated=plan.is_repeated,
        quarantined=0 if plan.admitted.segment is None else plan.admitted.segment.rows,
        reasons=plan.admitted.reasons,
        warnings=(*plan.admitted.warnings, *plan.warnings),
    )


def body_for(change: Change, base: Base, held: HeldContract | None, cut: Cut, schema: Schema) -> DatasetBody:
    """What stands beside the parts of the version that a change makes.

    Names of batches whose rows are in no part any more are kept, so that they are not added again.
    """
    before = base.body
    contract = before.contract if change.how == "delete" else None
    is_there = set(schema.names).__contains__
    kept = [name for name in (before.event_time, before.known_at) if name is not None and is_there(name)]
    body = DatasetBody(
        event_time=change.event_time or (before.event_time if before.event_time in kept else None),
        known_at=change.known_at or (before.known_at if before.known_at in kept else None),
        keys=change.keys or (before.keys if all(map(is_there, before.keys)) else ()),
        contract=contract if held is None else str(held.version.ref),
        facts=_facts_for(change, before, cut),
        batches=tuple(sorted({*(() if cut.is_whole else before.batches), *cut.batches})),
    )
    _check_times(body, schema)
    return body


def _facts_for(change: Change, before: DatasetBody, cut: Cut) -> Json:
    """What the change tells beside what was told; of rows that stay, what they were made of stays too."""
    facts: Json = {**before.facts, **change.facts}
    if MADE_OF not in change.facts or not cut.entries:
        return facts
    told, older = dict(change.facts[MADE_OF]), before.facts.get(MADE_OF, {})
    for column, datasets in older.items():
        there = dict(told.get(column, {}))
        for dataset, columns in datasets.items():
            there[dataset] = sorted({*there.get(dataset, ()), *columns})
        told[column] = there
    sources = {**before.facts.get("sources", {}), **change.facts.get("sources", {})}
    return {**facts, MADE_OF: told, "sources": sources}


def _check_times(body: DatasetBody, schema: Schema) -> None:
    for name in (body.event_time, body.known_at):
        if name is not None and schema.column(name).type is not ColumnType.INSTANT:
            raise Invalid(
                f"the column {name!r} is of type {schema.column(name).type}, not an instant",
                hint="give times with a zone",
            )
    for name in body.keys:
        schema.column(name)


def draft_of(  # noqa: PLR0917 - a change, what it builds on, what goes and what comes
    ctx: Context, change: Change, base: Base, body: DatasetBody, cut: Cut, schema: Schema, part: pa.Table
) -> Draft | None:
    """The version that has the kept parts and, at the end, the new rows; None when the base is just that."""
    table = ordered(part, schema)
    entries = tuple(replace(entry, path=_path(place)) for place, entry in enumerate(cut.entries))
    with ThreadPoolExecutor(1, thread_name_prefix="loopwright-profile") as beside:
        profiled = beside.submit(_profile, ctx, base, cut, schema, table)
        if table.num_rows or not base.number:
            entries = _with_rows(ctx, entries, table, body, change.batch)
        elif change.batch is not None:
            body = replace(body, batches=(*body.batches, change.batch))
        profile = profiled.result()
    if base.manifest is not None and _is_same(base, entries, schema, body):
        return None
    rows = base.rows - cut.removed + table.num_rows
    manifest = Manifest(
        kind=DATASET,
        entries=entries,
        schema=schema,
        rows=rows,
        parent=None if base.version is None else base.version.digest,
        body=_written(body),
        profile=profile,
    )
    facts: Json = {"rows": rows, "added": table.num_rows}
    if cut.removed:
        facts["removed"] = cut.removed
    if reads := _reads(change, base, cut):
        facts[READS] = reads
    expect = base.number if change.expect is None else change.expect
    made = {entry.digest for entry in entries} | stretch_objects(entries)
    made -= {entry.digest for entry in base.entries} | stretch_objects(base.entries)
    draft = prepare(
        ctx,
        change.name,
        manifest,
        facts=facts,
        parent=base.number or None,
        expect=expect,
        builds_on=manifest.parent,
        sources=change.sources,
        by_program=change.by_program,
        made=tuple(made),
    )
    if change.branch is None:
        return draft
    return replace(draft, kind=BRANCH, name=branch_name(change.name, change.branch))


def _reads(change: Change, base: Base, cut: Cut) -> list[str]:
    """What the version was made of: what its new rows were, and what those that it keeps were."""
    before = base.version.facts.get(READS, ()) if base.version is not None and cut.entries else ()
    return sorted({*before, *change.reads})


def _is_same(base: Base, entries: Sequence[ManifestEntry], schema: Schema, body: DatasetBody) -> bool:
    digests = [entry.digest for entry in entries]
    return (digests, schema, body) == ([entry.digest for entry in base.entries], base.schema, base.body)


def _written(body: DatasetBody) -> Json:
    found: Json = msgspec.to_builtins(body)
    if not body.batches:
        del found["batches"]
    return found


def _path(place: int) -> str:
    return f"part-{place + 1:05d}.parquet"


def _with_rows(
    ctx: Context, entries: tuple[ManifestEntry, ...], table: pa.Table, body: DatasetBody, batch: str | None
) -> tuple[ManifestEntry, ...]:
    """The parts with the rows put at their end, small ones put together with them."""
    tail, packed = _packed(ctx, entries, table)
    kept = list(entries[: len(entries) - len(tail.entries)])
    for start in range(0, max(packed.num_rows, 1), _PART_ROWS):
        piece = packed.slice(start, _PART_ROWS)
        data = ctx.ports.tables.write(piece)
        entry = ManifestEntry(
            path=_path(len(kept)),
            digest=ctx.ports.objects.put(data),
            size_bytes=len(data),
            rows=piece.num_rows,
            facts={
                **_entry_facts(piece, body, tail, batch),
                **keep_stretches(ctx, piece, body.known_at or body.event_time),
            },
        )
        kept.append(entry)
    return tuple(kept)


def _packed(ctx: Context, entries: Sequence[ManifestEntry], table: pa.Table) -> tuple[Tail, pa.Table]:
    """The small parts that the new rows are put together with, and all their rows in order.

    Their bytes are held against their digests, so damage is not copied; a damaged part stays where it is.
    """
    import pyarrow as pa

    tail = tail_to_pack(entries)
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


def _profile(ctx: Context, base: Base, cut: Cut, schema: Schema, table: pa.Table) -> str | None:
    """The profile of the version: what came is merged into what is known, what went is taken out of it."""
    found = kept_profile(ctx, base, cut, schema)
    if found is None:
        found = ctx.ports.tables.profile(table)
    elif table.num_rows:
        found = merged_profile(found, ctx.ports.tables.profile(table, like=found))
    return ctx.ports.objects.put(canonical(found))


def kept_profile(ctx: Context, base: Base, cut: Cut, schema: Schema) -> Json | None:
    """The profile of what a cut has left of its base, None for nothing."""
    if not cut.entries:
        return None
    whole = None if base.manifest is None else stored_profile(ctx, base.manifest)
    if whole is not None and not cut.removed:
        return whole
    if whole is not None and cut.gone is not None:
        ranges = ranges_over(ctx, cut.entries)
        part = ctx.ports.tables.profile(cut.gone, like=whole)
        shrunk = shrunk_profile(whole, part, cut.gone, ranges)
        if shrunk is not None:
            return shrunk
    return profile_of_parts(ctx, cut.entries, schema)
