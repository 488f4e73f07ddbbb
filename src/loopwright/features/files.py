"""The join as known at an instant on files of this machine; needs no workspace."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from loopwright.core.errors import Invalid, NotFound, Unavailable
from loopwright.engine.context import Context
from loopwright.ports.tables import AsOfJoin

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

__all__ = ["JoinReport", "join_files"]


class JoinReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a join of files gave."""

    out: str
    rows: int
    columns: tuple[str, ...]
    """names of the columns that were added"""


def join_files(
    ctx: Context, spine: str, view: str, out: str, *, join: AsOfJoin, zone: str = ""
) -> JoinReport:
    """Join a view's file to a spine's file and write the result, whole or not at all.

    `zone` declares the zone of times that have none; without it they are refused.
    """
    left, right = _table(ctx, spine), _table(ctx, view)
    if zone:
        left = _placed(left, (join.time,), zone)
        times = (join.event_time, *(() if join.known_at is None else (join.known_at,)))
        right = _placed(right, times, zone)
    found = ctx.ports.tables.join_as_of(left, right, join)
    _write(out, ctx.ports.tables.write(found))
    return JoinReport(out=out, rows=found.num_rows, columns=tuple(found.column_names[left.num_columns :]))


def _table(ctx: Context, path: str) -> pa.Table:
    if not Path(path).is_file():
        raise NotFound(f"there is no file {path}", hint="give the path of a Parquet file")
    return ctx.ports.tables.read([path])


def _placed(table: pa.Table, names: Sequence[str], zone: str) -> pa.Table:
    """The table with times without a zone read as times of that zone; ambiguous ones are refused."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise Invalid(f"there is no zone {zone!r}", hint="name it as America/New_York or UTC") from error
    for name in names:
        if name not in table.column_names:
            continue
        column = table.column(name)
        if pa.types.is_timestamp(column.type) and column.type.tz is None:
            try:
                column = pc.assume_timezone(column, zone)
            except pa.ArrowInvalid as error:
                raise Invalid(
                    f"a time of {name!r} is not one instant in {zone}: {str(error)[:200]}",
                    hint="write times as instants: the clock went back or forward then",
                ) from error
            table = table.set_column(table.column_names.index(name), name, column)
    return table


@contextmanager
def _translated(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"{path} cannot be written: {error.strerror}", hint="choose another place or free some space"
        ) from error


def _write(path: str, data: bytes) -> None:
    beside = Path(path).with_name(f".{Path(path).name}.{os.getpid()}")
    with _translated(path):
        try:
            beside.write_bytes(data)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
