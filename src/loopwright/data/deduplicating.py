"""Operations that find rows which say the same, and take all but the first of them out."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from loopwright.core.addresses import Address, AssetName, version_address
from loopwright.core.errors import Conflict
from loopwright.core.nouns import Json, LinkRole, Version
from loopwright.core.schema import Schema
from loopwright.core.sizes import parse_size
from loopwright.data.cutting import each_batch
from loopwright.data.duplicates import Duplicates, checked
from loopwright.data.nouns import DATASET
from loopwright.data.portions import PORTION_ROWS, over_portions
from loopwright.data.reading import permitted, schema_of
from loopwright.data.repeats import Found, Room, exact, fuzzy
from loopwright.data.rewriting import delete_places
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

Memory = Annotated[str, msgspec.Meta(max_length=40, description="what may be taken of it, such as 4GB")]
_UNPACKED = 5
"""times its bytes on disk is about what a file has in memory"""


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
    memory: Memory = "",
    purpose: str = "",
) -> Duplicates:
    """Find rows of a version that say the same: groups, the greatest first, with what they hold.

    Of exact ones a 64th of the rows is in memory at a time, or fewer, of fuzzy ones 80 bytes of each. What
    `memory`, such as 4GB, has no room for waits in the folder for temporary files.
    """
    found = resolve(ctx, version_address(DATASET, name, version))
    if ctx.run_id is not None:
        ctx.write(lambda tx: ctx.touch(tx, LinkRole.INPUT, found.ref))
    schema = schema_of(manifest_of(ctx, found))
    wanted = checked(columns, schema.names, least)
    permitted(ctx, found, wanted, purpose=purpose)
    return _of_version(ctx, found, wanted, how, least, memory).report


@operation("data.duplicates_of_file", scope="dataset:read", local=True, command="data dedupe-file")
def duplicates_of_file(
    ctx: Context,
    file: str,
    *,
    columns: Columns = (),
    how: How = "exact",
    least: Least = 0.9,
    memory: Memory = "",
) -> Duplicates:
    """Find rows of a file of this machine that say the same; nothing is kept.

    `memory`, such as 4GB, is what may be taken; what has no room waits in the folder for temporary files.
    """
    with opened_file(file) as opened:
        size = opened.seek(0, 2)
        opened.seek(0)
        room = _room(memory, size)
        return over_portions(
            opened, file, lambda portions: _of_portions(ctx, portions, columns, how, least, room)
        )


def _of_portions(  # noqa: PLR0917 - what was asked for, and what of
    ctx: Context, portions: Iterator[pa.Table], columns: tuple[str, ...], how: How, least: float, room: Room
) -> Duplicates:
    first = next(portions)
    wanted = checked(columns, first.column_names, least)
    whole = chain([first], portions)
    found = exact(ctx, whole, wanted, room) if how == "exact" else fuzzy(whole, wanted, least, room)
    return found.report


def _of_version(  # noqa: PLR0917 - what was asked for, and what of
    ctx: Context, version: Version, wanted: tuple[str, ...], how: How, least: float, memory: str
) -> Found:
    """The rows of a version a portion at a time, in their order."""
    manifest = manifest_of(ctx, version)
    schema = schema_of(manifest)
    narrow = Schema(columns=tuple(schema.column(each) for each in wanted))
    portions = (
        batch for entry in manifest.entries for batch in each_batch(ctx, entry, narrow, rows=PORTION_ROWS)
    )
    room = _room(memory, sum(entry.size_bytes for entry in manifest.entries))
    return exact(ctx, portions, wanted, room) if how == "exact" else fuzzy(portions, wanted, least, room)


def _room(memory: str, file_bytes: int) -> Room:
    return Room(parse_size(memory) if memory else None, file_bytes * _UNPACKED)


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
    memory: Memory = "",
    purpose: str = "",
) -> Deduplicated:
    """Make a version of the rows that say the same as no earlier one: of each group the first stays.

    Rows are read a portion at a time, and only parts with repeated rows are written anew; what `memory`,
    such as 4GB, has no room for waits in the folder for temporary files.
    `dry_run` only tells. `expect` is the number the newest version must have, such as that of a report that
    was looked at. Without repetitions no version is made.
    """
    newest = resolve(ctx, Address(kind=DATASET, name=name))
    if expect is not None and expect != newest.number:
        raise Conflict(f"{name!r} has {newest.number} versions now, not {expect}", hint="look at it again")
    permitted(ctx, newest, columns or None, purpose=purpose)
    wanted = checked(columns, schema_of(manifest_of(ctx, newest)).names, least)
    report, again = _of_version(ctx, newest, wanted, how, least, memory)
    if dry_run or not report.repeated:
        return Deduplicated(version=newest.number, report=report)
    facts: Json = {"deduplicated": {"of": newest.number, "how": how, "columns": list(report.columns)}}
    done = delete_places(ctx, newest, again, facts=facts)
    return Deduplicated(version=done.version.number, report=report)
