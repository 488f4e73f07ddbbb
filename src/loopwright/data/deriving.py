"""Makes datasets of others by SQL; what each column was made of is kept, for rules and tags to follow."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec.structs import replace

from loopwright.core.addresses import Address, AssetName, parse_address
from loopwright.core.errors import Denied, Invalid, NotFound, TooLarge
from loopwright.core.nouns import LinkRole, Version
from loopwright.data.descent import MADE_OF, dataset_of
from loopwright.data.drafting import Change
from loopwright.data.nouns import DATASET, Appended
from loopwright.data.querying import tables_for
from loopwright.data.reading import version_of
from loopwright.data.rewriting import write_together
from loopwright.engine.context import Context
from loopwright.engine.erased import anew
from loopwright.engine.operation import operation
from loopwright.ports.ledger import Transaction
from loopwright.ports.queries import Looked, QueryLimits, QueryRows

__all__ = ["derive"]

LIMITS = QueryLimits(
    seconds=300.0, session_seconds=300.0, memory_bytes=2 << 30, rows=20_000_000, result_bytes=1 << 29
)
"""what the query of a transformation may take"""

Sql = Annotated[
    str, msgspec.Meta(min_length=1, max_length=100_000, description="one SELECT, in DuckDB's SQL")
]
Reads = Annotated[
    tuple[str, ...],
    msgspec.Meta(description="NAME=ADDRESS of a table of the query; without it the dataset of its name"),
]
_Columns = dict[str, dict[str, tuple[str, ...]]]


@operation("data.derive", scope="dataset:write", route="POST /datasets/{name}/derivations", status=201)
def derive(
    ctx: Context,
    name: AssetName,
    sql: Sql,
    *,
    reads: Reads = (),
    how: Literal["overwrite", "append", "upsert"] = "overwrite",
    keys: tuple[str, ...] = (),
    schema: Literal["compatible", "replace"] = "compatible",
    purpose: str = "",
) -> Appended:
    """Make rows of a dataset by a SELECT over others: in the place of all rows, appended, or as `how` says.

    The query reads what it names and nothing else, under limits of time and memory, as those of explorations.
    Columns are read for the purpose. What each column was made of is kept, so that purpose rules and tags go
    along with new names; where a query is more than a plain SELECT, with all columns that it reads.
    """
    if not ctx.principal.may("dataset:read"):
        raise Denied("a dataset is derived by who may read datasets", hint="ask for dataset:read")
    change = Change(how=how, name=name, keys=keys, schema=schema)
    return anew(ctx, lambda: _derived(ctx, change, sql, _named(reads), purpose))


def _derived(ctx: Context, asked: Change, sql: str, named: Mapping[str, Address], purpose: str) -> Appended:
    """Run the query over what there is now, and publish what it gives."""
    with (
        ctx.ports.queries.session(LIMITS) as session,
        tempfile.TemporaryDirectory(prefix="loopwright-") as folder,
    ):
        looked = session.look(sql)
        versions = dict(_versions(ctx, looked, named))
        given, used = tables_for(ctx, versions, [looked], purpose, Path(folder))
        found = session.run(sql, given)
    _check_whole(found)
    newest_last = sorted(versions.values(), key=lambda each: each.number)
    change = replace(
        asked,
        table=found.table,
        facts={
            "sources": {f"{each.kind}:{each.name}": str(each.ref) for each in newest_last},
            MADE_OF: _made_of(found.table.column_names, looked, versions, used),
        },
        reads=tuple(sorted({str(each.ref) for each in versions.values()})),
        sources=tuple({each.id: each.ref for each in versions.values()}.values()),
        by_program=False,
        also=lambda tx, made: _touch(ctx, tx, versions, used),
    )
    return write_together(ctx, (change,))[0]


def _versions(ctx: Context, looked: Looked, named: Mapping[str, Address]) -> Iterator[tuple[str, Version]]:
    """What the tables of the query are; a name that the query gives itself may be none of ours."""
    for table in looked.tables:
        try:
            yield table, version_of(ctx, named.get(table, Address(kind=DATASET, name=table)))
        except NotFound:
            if table not in looked.made:
                raise


def _named(reads: Collection[str]) -> dict[str, Address]:
    found = {}
    for text in reads:
        table, sign, address = (part.strip() for part in text.partition("="))
        if not (table and sign and address):
            raise Invalid(f"{text[:120]!r} names no table", hint="write NAME=ADDRESS, such as p=people@3")
        found[table] = parse_address(address, kind=DATASET)
    return found


def _check_whole(found: QueryRows) -> None:
    if found.is_cut:
        raise TooLarge(
            f"the query gives more than {LIMITS.rows:,} rows or {LIMITS.result_bytes >> 20} MiB",
            hint="derive a part at a time, with WHERE and how=append",
        )


def _touch(
    ctx: Context, tx: Transaction, versions: Mapping[str, Version], used: Mapping[str, tuple[str, ...]]
) -> None:
    for table, version in versions.items():
        ctx.touch(tx, LinkRole.INPUT, version.ref, used.get(table, ()))


def _made_of(
    columns: Collection[str],
    looked: Looked,
    versions: Mapping[str, Version],
    used: Mapping[str, tuple[str, ...]],
) -> _Columns:
    """By column of the result the columns of each dataset it was made of: all that are read, where unsure."""
    everything = {(table, column) for table, there in used.items() for column in there}
    outputs = looked.outputs or {}
    by_name: dict[str, set[tuple[str, str]]] = {}
    for table, column in everything:
        by_name.setdefault(column.lower(), set()).add((table, column))

    def of(name: str, seen: frozenset[str]) -> set[tuple[str, str]]:
        if name not in outputs or name in seen:
            is_starred = looked.outputs is not None and looked.is_all and name not in outputs
            return by_name.get(name, everything) if is_starred else everything
        return {pair for parts in outputs[name] for pair in among(parts, seen | {name})}

    def among(parts: tuple[str, ...], seen: frozenset[str]) -> set[tuple[str, str]]:
        found = {pair for part in parts for pair in by_name.get(part.lower(), ())}
        return found or of(parts[-1].lower(), seen)

    told: _Columns = {}
    for name in columns:
        datasets: dict[str, set[str]] = {}
        for table, column in of(name.lower(), frozenset()):
            datasets.setdefault(dataset_of(versions[table].ref), set()).add(column)
        told[name] = {dataset: tuple(sorted(there)) for dataset, there in sorted(datasets.items())}
    return told
