"""Writes tables other than by appending: overwrite, upsert by key, delete; each is one new version.

Parts that hold no row concerned stay as they are. What an update puts in the place of a row comes last,
as what is appended does: the order of rows is that in which they were written.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

import msgspec

from loopwright.core.addresses import check_name
from loopwright.core.errors import Conflict, Invalid, NotFound
from loopwright.core.expressions import Expr
from loopwright.core.nouns import Json, Version, VersionRef
from loopwright.core.schema import Schema
from loopwright.data.admitting import Admitted, admitted
from loopwright.data.appending import held_by, plan_append, repeated
from loopwright.data.conforming import arrow_type, conformed, ordered
from loopwright.data.contracts import HeldContract
from loopwright.data.cutting import ByCondition, ByKeys, Chosen, Cut, Left, cut, cut_places, each_batch
from loopwright.data.drafting import Also, Base, Change, Plan, body_for, carry_out, draft_of, wanted_types
from loopwright.data.evolution import schema_changes
from loopwright.data.keys import repeated as repeats_key
from loopwright.data.matching import KeyIndex, same_values
from loopwright.data.nouns import Appended
from loopwright.data.pruning import ranges_of
from loopwright.data.rules import merged_schema
from loopwright.engine.context import Context

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["delete", "delete_places", "overwrite", "upsert", "write_together"]

_Known = dict[object, dict[str, Left]]
"""what is left of parts, by the choice of rows that was made and by the part's digest"""


def overwrite(
    ctx: Context,
    name: str,
    table: pa.Table,
    *,
    where: Expr | None = None,
    schema: Literal["compatible", "replace"] = "compatible",
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
    """Put rows in the place of all there are, or of those that `where` is true of; earlier versions stay.

    Columns that are gone, renamed or of another type are refused with a report of what readers would
    miss, unless `schema` is `replace`. The other options are those of `append`.
    """
    change = Change(
        how="overwrite",
        name=check_name(name),
        branch=branch,
        table=table,
        where=where,
        schema=schema,
        contract=contract,
        event_time=event_time,
        known_at=known_at,
        keys=keys,
        expect=expect,
        batch=batch,
        facts=facts or {},
        also=also,
    )
    return write_together(ctx, (change,))[0]


def upsert(
    ctx: Context,
    name: str,
    table: pa.Table,
    *,
    keys: tuple[str, ...] = (),
    contract: str | None = None,
    expect: int | None = None,
    batch: str | None = None,
    facts: Json | None = None,
    branch: str | None = None,
    reads: tuple[str, ...] = (),
    sources: tuple[VersionRef, ...] | None = None,
    also: Also | None = None,
) -> Appended:
    """Put rows there by their key: in the place of those that have the same key, else as new ones.

    `keys` names the key's columns; without it those of the dataset. A null in a key, or a key twice in
    the batch, is `Invalid`. Rows that are there just so stay where they are, so the same upsert a second
    time makes no version. Rows that were computed of `sources` alone, as these were read, are refused once
    an erasure gave one of them other content. The other options are those of `append`.
    """
    change = Change(
        how="upsert",
        name=check_name(name),
        branch=branch,
        table=table,
        keys=keys,
        contract=contract,
        expect=expect,
        batch=batch,
        facts=facts or {},
        reads=reads,
        sources=sources or (),
        by_program=sources is None,
        also=also,
    )
    return write_together(ctx, (change,))[0]


def delete(
    ctx: Context,
    name: str,
    *,
    where: Expr | None = None,
    keys: pa.Table | None = None,
    expect: int | None = None,
    batch: str | None = None,
    branch: str | None = None,
) -> Appended:
    """Take rows out: those a condition is true of, or those whose key is one of a table's rows.

    Every column of `keys` is a part of the key, whatever the dataset's own key is. Earlier versions
    still have the rows. Where no row is concerned there is no new version.
    """
    if (where is None) is (keys is None):
        raise Invalid(
            "a delete needs either a condition or keys", hint="give where or keys; to empty it, overwrite"
        )
    change = Change(
        how="delete",
        name=check_name(name),
        branch=branch,
        table=keys,
        where=where,
        expect=expect,
        batch=batch,
    )
    return write_together(ctx, (change,))[0]


def delete_places(
    ctx: Context, newest: Version, goes: NDArray[np.bool_], *, facts: Json | None = None
) -> Appended:
    """Take rows out by their places, `(n,)`, in what is the newest version still; else `Conflict`."""
    change = Change(how="delete", name=newest.name, expect=newest.number, facts=facts or {}, by_program=False)

    def plan(change: Change, base: Base) -> Plan:
        if base.schema is None or base.version is None or base.version.digest != newest.digest:
            raise Conflict(f"{newest.ref} is not what is newest now", hint="look at it again")
        left = cut_places(ctx, base.entries, base.schema, goes)
        return _plan(ctx, change, base, None, left, base.schema, Admitted(rows=_no_rows(base.schema)))

    return carry_out(ctx, (change,), plan)[0]


def write_together(ctx: Context, changes: Sequence[Change]) -> tuple[Appended, ...]:
    """Write to several datasets in one transaction: all of the versions are there, or none.

    What is slow is done before. Where somebody else published meanwhile, the changes are made ready
    again, unless one expects a number; parts that were looked through once are not read again. What a
    change names as `also` is done in the same transaction.
    """
    places = [(check_name(change.name), change.branch) for change in changes]
    if len(set(places)) < len(places):
        raise Invalid("a dataset is written to twice in one transaction", hint="put its rows together first")
    plans = {place: _planner(ctx, change) for place, change in zip(places, changes, strict=True)}
    return carry_out(ctx, changes, lambda change, base: plans[change.name, change.branch](change, base))


def _planner(ctx: Context, change: Change) -> partial[Plan]:
    held = None if change.how == "delete" else held_by(ctx, change)
    match change.how:
        case "append":
            return partial(plan_append, ctx, held=held)
        case "overwrite":
            return partial(_plan_overwrite, ctx, held=held, known={})
        case "upsert":
            return partial(_plan_upsert, ctx, held=held, known={})
        case "delete":
            return partial(_plan_delete, ctx, known={})


def _plan_overwrite(
    ctx: Context, change: Change, base: Base, *, held: HeldContract | None, known: _Known
) -> Plan:
    if done := repeated(change, base):
        return done
    is_partial = change.where is not None and base.schema is not None
    before = base.schema if is_partial or change.schema == "compatible" else None
    rows = conformed(change.table, wanted_types(held, before))
    let_in = admitted(ctx, held, rows, change.name, None)
    added = ctx.ports.tables.schema_of(let_in.rows)
    if is_partial and base.schema is not None and change.where is not None:
        schema = merged_schema(base.schema, added)
        left = _cut(ctx, base, schema, ByCondition(ctx, change.where), known)
    else:
        schema = _evolved(change, base, added)
        left = Cut(entries=(), removed=base.rows, is_whole=True)
    return _plan(ctx, change, base, held, left, schema, let_in)


def _evolved(change: Change, base: Base, added: Schema) -> Schema:
    if base.schema is not None and change.schema == "compatible":
        found = schema_changes(base.schema, added)
        if found.breaks:
            raise Invalid(
                f"readers of {change.name!r} would break: {found.report}",
                hint="write the columns as they were, or replace the schema (schema=replace)",
            )
    return added


def _plan_upsert(
    ctx: Context, change: Change, base: Base, *, held: HeldContract | None, known: _Known
) -> Plan:
    if done := repeated(change, base):
        return done
    columns = change.keys or base.body.keys
    if not columns:
        raise Invalid(
            f"the dataset {change.name!r} has no key", hint="name the columns that name a row: keys"
        )
    rows = conformed(change.table, wanted_types(held, base.schema))
    let_in = admitted(ctx, held, rows, change.name, None)
    for name in columns:
        ctx.ports.tables.schema_of(let_in.rows).column(name)
    schema = merged_schema(base.schema, ctx.ports.tables.schema_of(let_in.rows))
    table = ordered(let_in.rows, schema)
    stays = _unchanged(ctx, base, schema, KeyIndex(table, columns), table)
    fresh = _rows_at(table, ~stays)
    index = KeyIndex(fresh, columns)
    left = _cut(ctx, base, schema, ByKeys(index), known, stays.tobytes())
    _check_unique(ctx, held, columns, left, fresh)
    let_in = msgspec.structs.replace(let_in, rows=fresh)
    return _plan(ctx, change, base, held, left, schema, let_in, unchanged=int(stays.sum()))


def _rows_at(table: pa.Table, mask: NDArray[np.bool_]) -> pa.Table:
    import pyarrow as pa

    return table.filter(pa.array(mask))


def _unchanged(
    ctx: Context, base: Base, schema: Schema, index: KeyIndex, table: pa.Table
) -> NDArray[np.bool_]:
    """`(n,)`: which rows of the table are there already, once, and equal in every column."""
    import numpy as np

    count, equal = np.zeros(table.num_rows, dtype=np.int64), np.zeros(table.num_rows, dtype=np.bool_)
    if base.schema is None or set(schema.names) != set(base.schema.names):
        return equal  # a column came: every row is another one
    chosen = ByKeys(index)
    keys = Schema(columns=tuple(schema.column(name) for name in index.columns))
    for entry in base.entries:
        if not chosen.may_be_in(ranges_of(ctx, entry)):
            continue
        if not any(chosen(batch).any() for batch in each_batch(ctx, entry, keys)):
            continue
        for batch in each_batch(ctx, entry, schema):
            at = index.find(batch)
            hits = np.flatnonzero(at >= 0)
            if hits.size:
                np.add.at(count, at[hits], 1)
                equal[at[hits]] = _all_same(batch.take(hits), table.take(at[hits]))
    found: NDArray[np.bool_] = (count == 1) & equal
    return found


def _all_same(left: pa.Table, right: pa.Table) -> NDArray[np.bool_]:
    import numpy as np

    found = np.ones(left.num_rows, dtype=np.bool_)
    for name in left.column_names:
        found &= same_values(left.column(name), right.column(name))
    return found


def _check_unique(
    ctx: Context, held: HeldContract | None, columns: Sequence[str], left: Cut, fresh: pa.Table
) -> None:
    """Other keys that the contract wants unique: rows that stay may not have those of rows that come."""
    for key in () if held is None else held.contract.unique:
        if key.within != "dataset" or set(key.columns) == set(columns) or key.severity == "warn":
            continue
        types = ctx.ports.tables.schema_of(fresh)
        needed = Schema(columns=tuple(types.column(name) for name in key.columns))
        kept = (batch for entry in left.entries for batch in each_batch(ctx, entry, needed))
        if again := sum(int(repeats_key(fresh, key, batch).sum()) for batch in kept):
            raise Invalid(
                f"{again:,} rows have a {' + '.join(key.columns)} that rows of another key have",
                hint="the contract wants it unique: mend the rows, or delete the others first",
            )


def _plan_delete(ctx: Context, change: Change, base: Base, *, known: _Known) -> Plan:
    if base.version is None or base.schema is None:
        raise NotFound(f"there is no dataset named {change.name!r}", hint="loopwright data list")
    if done := repeated(change, base):
        return done
    if change.where is not None:
        chosen: Chosen = ByCondition(ctx, change.where)
    else:
        chosen = ByKeys(_keys_of(change.table, base.schema))
    for name in chosen.columns:
        base.schema.column(name)
    left = _cut(ctx, base, base.schema, chosen, known)
    return _plan(ctx, change, base, None, left, base.schema, Admitted(rows=_no_rows(base.schema)))


def _keys_of(table: pa.Table, schema: Schema) -> KeyIndex:
    """The keys of a delete in the dataset's types; a key may be given twice."""
    types = {name: schema.column(name).type for name in table.column_names}
    keys = conformed(table, types)
    for name, kind in types.items():
        if keys.column(name).type != arrow_type(kind):
            raise Invalid(
                f"the keys' column {name!r} is of type {keys.column(name).type}, in the dataset {kind}",
                hint="give keys of the dataset's types",
            )
    distinct = keys.group_by(table.column_names, use_threads=False).aggregate([])
    return KeyIndex(distinct.select(table.column_names), tuple(table.column_names))


def _no_rows(schema: Schema) -> pa.Table:
    import pyarrow as pa

    return pa.schema([pa.field(item.name, arrow_type(item.type)) for item in schema.columns]).empty_table()


def _cut(  # noqa: PLR0917 - what is cut, by what, and what is known of it
    ctx: Context, base: Base, schema: Schema, chosen: Chosen, known: _Known, choice: object = None
) -> Cut:
    """Cut the base's parts; what is known of a part holds for the same choice and columns alone."""
    return cut(ctx, base.entries, schema, chosen, known.setdefault((schema, choice), {}))


def _plan(  # noqa: PLR0917 - what every write is made of
    ctx: Context,
    change: Change,
    base: Base,
    held: HeldContract | None,
    left: Cut,
    schema: Schema,
    let_in: Admitted,
    *,
    unchanged: int = 0,
) -> Plan:
    """The plan of what stays and what comes; no draft where that is what there is."""
    rows, draft, removed = let_in.rows.num_rows, None, left.removed
    if rows or removed or base.version is None or left.is_whole:
        body = body_for(change, base, held, left, schema)
        draft = draft_of(ctx, change, base, body, left, schema, let_in.rows)
        if draft is None:
            rows, removed, unchanged = 0, 0, rows
    return Plan(
        name=change.name,
        base=base.version,
        draft=draft,
        admitted=let_in,
        rows=rows,
        removed=removed,
        unchanged=unchanged,
        rewritten=left.rewritten,
    )
