"""Operations that find rows which say the same, and take all but the first of them out."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from loopwright.core.addresses import Address, AssetName, parse_selector
from loopwright.core.errors import Conflict
from loopwright.core.nouns import Json, LinkRole, Version
from loopwright.core.schema import Schema
from loopwright.data.cutting import each_batch
from loopwright.data.duplicates import Duplicates, checked, exact_groups, fuzzy_groups, report_of
from loopwright.data.nouns import DATASET
from loopwright.data.portions import PORTION_ROWS, over_portions
from loopwright.data.reading import permitted, read_version, schema_of
from loopwright.data.repeats import exact_report
from loopwright.data.rewriting import overwrite
from loopwright.data.uploads import opened_file
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.engine.publishing import manifest_of, resolve

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Deduplicated", "deduplicate", "duplicates", "duplicates_of_file"]

How = Annotated[
    Literal["exact", "fuzzy"], msgspec.Meta(description="equal in all columns, or alike in their texts")
]
Columns = Annotated[
    tuple[str, ...], msgspec.Meta(description="the columns that are compared; all by default")
]
Least = Annotated[
    float, msgspec.Meta(ge=0.5, le=1.0, description="how alike texts must be to say the same, 0.5 to 1")
]


class Deduplicated(msgspec.Struct, frozen=True, kw_only=True):
    """What became of it: the report, and the version without what it names."""

    version: int
    report: Duplicates


@operation("data.duplicates", scope="dataset:read", route="GET /datasets/{name}/duplicates")
def duplicates(
    ctx: Context,
    name: AssetName,
    *,
    version: Annotated[str, msgspec.Meta(max_length=250, description="which version")] = "",
    columns: Columns = (),
    how: How = "exact",
    least: Least = 0.9,
    purpose: str = "",
) -> Duplicates:
    """Find rows of a version that say the same: groups, the greatest first, with what they hold.

    Of exact ones a 64th of the rows is in memory at a time; of fuzzy ones the texts that are compared, and
    about 0.6 kB for each different one.
    """
    selector = parse_selector(version) if version else None
    found = resolve(ctx, Address(kind=DATASET, name=name, selector=selector))
    if ctx.run_id is not None:
        ctx.write(lambda tx: ctx.touch(tx, LinkRole.INPUT, found.ref))
    schema = schema_of(manifest_of(ctx, found))
    wanted = checked(columns, schema.names, least)
    permitted(ctx, found, wanted, purpose=purpose)
    if how == "fuzzy":
        return _found(read_version(ctx, found, columns=wanted), wanted, how, least)[0]
    narrow = Schema(columns=tuple(schema.column(each) for each in wanted))
    entries = manifest_of(ctx, found).entries
    batches = (batch for entry in entries for batch in each_batch(ctx, entry, narrow, rows=PORTION_ROWS))
    return exact_report(ctx, batches, wanted)


@operation("data.duplicates_of_file", scope="dataset:read", local=True, command="data dedupe-file")
def duplicates_of_file(
    ctx: Context, file: str, *, columns: Columns = (), how: How = "exact", least: Least = 0.9
) -> Duplicates:
    """Find rows of a file of this machine that say the same; nothing is kept."""
    with opened_file(file) as opened:
        return over_portions(opened, file, lambda portions: _of_portions(ctx, portions, columns, how, least))


def _of_portions(
    ctx: Context, portions: Iterator[pa.Table], columns: tuple[str, ...], how: How, least: float
) -> Duplicates:
    import pyarrow as pa

    first = next(portions)
    wanted = checked(columns, first.column_names, least)
    narrow = (each.select(wanted) for each in chain([first], portions))
    if how == "exact":
        return exact_report(ctx, narrow, wanted)
    return _found(pa.concat_tables(list(narrow)), wanted, how, least)[0]


@operation(
    "data.deduplicate",
    scope="dataset:write",
    route="POST /datasets/{name}/deduplicate",
    command="data dedupe",
)
def deduplicate(
    ctx: Context,
    name: AssetName,
    *,
    columns: Columns = (),
    how: How = "exact",
    least: Least = 0.9,
    dry_run: bool = False,
    expect: int | None = None,
    purpose: str = "",
) -> Deduplicated:
    """Make a version of the rows that say the same as no earlier one: of each group the first stays.

    `dry_run` only tells. `expect` is the number the newest version must have, such as that of a report that
    was looked at. Without repetitions no version is made.
    """
    newest = resolve(ctx, Address(kind=DATASET, name=name))
    if expect is not None and expect != newest.number:
        raise Conflict(f"{name!r} has {newest.number} versions now, not {expect}", hint="look at it again")
    permitted(ctx, newest, columns or None, purpose=purpose)
    report, kept = _kept(ctx, newest, columns, how, least)
    if dry_run or not report.repeated:
        return Deduplicated(version=newest.number, report=report)
    facts: Json = {"deduplicated": {"of": newest.number, "how": how, "columns": list(report.columns)}}
    done = overwrite(ctx, name, kept, expect=newest.number, facts=facts)
    return Deduplicated(version=done.version.number, report=report)


def _kept(
    ctx: Context, version: Version, columns: tuple[str, ...], how: How, least: float
) -> tuple[Duplicates, pa.Table]:
    import numpy as np
    import pyarrow as pa

    table = read_version(ctx, version)
    report, gone = _found(table, columns, how, least)
    stays = np.ones(table.num_rows, dtype=np.bool_)
    stays[gone] = False
    return report, table.filter(pa.array(stays))


def _found(table: pa.Table, columns: tuple[str, ...], how: How, least: float) -> tuple[Duplicates, list[int]]:
    wanted = checked(columns, table.column_names, least)
    compared = 0
    if how == "exact":
        groups = exact_groups(table, wanted)
    else:
        groups, compared = fuzzy_groups(table, wanted, least)
    report = report_of(
        table, wanted, groups, how=how, least=least if how == "fuzzy" else 1.0, compared=compared
    )
    return report, [row for group in groups for row in group.rows[1:]]
