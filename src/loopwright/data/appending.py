"""Appends a batch: held against its contract, profiled, kept as a part of a new version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loopwright.core.addresses import check_name
from loopwright.core.nouns import Json
from loopwright.core.schema import Schema
from loopwright.data.admitting import QUARANTINED_AT, REASON, admitted, quarantine_stream
from loopwright.data.conforming import conformed
from loopwright.data.contracts import HeldContract, contract_of
from loopwright.data.cutting import Cut
from loopwright.data.drafting import Also, Base, Change, Plan, body_for, carry_out, draft_of, wanted_types
from loopwright.data.evolution import likely_renames
from loopwright.data.nouns import Appended
from loopwright.data.rules import merged_schema
from loopwright.engine.context import Context

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["QUARANTINED_AT", "REASON", "append", "held_by", "plan_append", "quarantine_stream", "repeated"]


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
    branch: str | None = None,
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
    added again, so that what was cut off can be repeated. `facts` stand in the version's body. On a
    `branch` the rows are seen by who asks for `name@branch`,
    until it is merged. `also` is done in the transaction that publishes them.
    """
    change = Change(
        how="append",
        name=check_name(name),
        branch=branch,
        table=table,
        contract=contract,
        event_time=event_time,
        known_at=known_at,
        keys=keys,
        expect=expect,
        batch=batch,
        facts=facts or {},
        also=also,
    )
    held = held_by(ctx, change)
    return carry_out(ctx, (change,), lambda asked, base: plan_append(ctx, asked, base, held))[0]


def held_by(ctx: Context, change: Change) -> HeldContract | None:
    """The contract a batch is held against: the one named, else that of the dataset's own name."""
    return contract_of(ctx, change.contract or change.name, required=change.contract is not None)


def repeated(change: Change, base: Base) -> Plan | None:
    """What is told where the batch was written before; else None."""
    if base.version is None or not base.has_batch(change.batch):
        return None
    return Plan(name=change.name, base=base.version, draft=None, is_repeated=True)


def plan_append(ctx: Context, change: Change, base: Base, held: HeldContract | None) -> Plan:
    """Make ready what an append publishes on the version that was newest a moment ago."""
    if done := repeated(change, base):
        return done
    rows = conformed(change.table, wanted_types(held, base.schema))
    let_in = admitted(ctx, held, rows, change.name, base.version)
    part, draft = let_in.rows, None
    added = ctx.ports.tables.schema_of(part)
    if base.version is None or part.num_rows:
        cut, schema = Cut(entries=base.entries), merged_schema(base.schema, added)
        draft = draft_of(ctx, change, base, body_for(change, base, held, cut, schema), cut, schema, part)
    return Plan(
        name=change.name,
        base=base.version,
        draft=draft,
        admitted=let_in,
        rows=part.num_rows,
        warnings=_doubts(base.schema, added),
    )


def _doubts(before: Schema | None, added: Schema) -> tuple[str, ...]:
    """What looks like a column that was renamed, and not like one that went and another that came."""
    if before is None:
        return ()
    return tuple(
        f"the batch lacks {old!r} and brings {new!r} of the same type: was it renamed?"
        for old, new in likely_renames(before, added)
    )
