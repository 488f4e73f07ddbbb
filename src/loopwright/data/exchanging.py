"""Datasets brought in from, and handed out as, the tables of others: Delta, Iceberg, plain Parquet."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from loopwright.core.addresses import Address, AssetName, check_name, version_address
from loopwright.core.errors import Conflict, Invalid, NotFound, Unavailable
from loopwright.core.nouns import Json, LinkRole, Version
from loopwright.data.ingesting import zoned
from loopwright.data.nouns import DATASET
from loopwright.data.reading import body_of, permitted, read_version
from loopwright.data.rewriting import overwrite
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.engine.publishing import manifest_of, resolve

__all__ = ["Exported", "Imported", "export_table", "import_table"]

_IMPORTED = "imported"
Options = Annotated[dict[str, str], msgspec.Meta(description="of the store: keys, endpoint")]
Place = Annotated[str, msgspec.Meta(max_length=4096, description="folder or address of the table")]


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What was handed out."""

    dataset: str
    version: int
    rows: int
    format: str
    place: str
    lake_version: str = ""
    """the version it is there"""


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What was brought in."""

    dataset: str
    version: int
    rows: int
    format: str
    lake_version: str
    is_new: bool
    """whether a version was made: not where the newest one is of that version of the table already"""


@operation("data.export", scope="dataset:read", local=True, workspace=True)
def export_table(
    ctx: Context,
    name: AssetName,
    place: Place,
    *,
    format: Literal["delta", "iceberg", "parquet"] = "parquet",
    version: Annotated[str, msgspec.Meta(max_length=250, description="which version")] = "",
    replace: bool = False,
    purpose: str = "",
    options: Options = {},  # noqa: B006 - never changed: a default of a frozen request
) -> Exported:
    """Write a version of a dataset as a Delta or Iceberg table, or as a folder of Parquet files.

    With `--replace` a table that is there gets a further version of these rows alone; its history stays.
    """
    found = resolve(ctx, version_address(DATASET, name, version))
    permitted(ctx, found, purpose=purpose)
    if ctx.run_id is not None:
        ctx.write(lambda tx: ctx.touch(tx, LinkRole.INPUT, found.ref))
    if format == "parquet":
        lake_version, rows = "", _parts(ctx, found, Path(place))
    else:
        table = read_version(ctx, found)
        rows = table.num_rows
        lake_version = ctx.ports.lakes[format].write(place, table, options, replace=replace)
    return Exported(
        dataset=name, version=found.number, rows=rows, format=format, place=place, lake_version=lake_version
    )


@operation("data.import", scope="dataset:write", local=True, workspace=True)
def import_table(
    ctx: Context,
    place: Place,
    *,
    format: Literal["delta", "iceberg"],
    into: str = "",
    version: Annotated[str, msgspec.Meta(description="version or snapshot of the table")] = "",
    zone: Annotated[str, msgspec.Meta(description="in which zone times without one are")] = "",
    schema: Literal["compatible", "replace"] = "compatible",
    options: Options = {},  # noqa: B006 - as above
) -> Imported:
    """Bring in what a Delta or Iceberg table holds, as the next version of a dataset.

    Nothing is done where the newest version is of that very version of the table.
    """
    name = check_name(into or place.rstrip("/").rpartition("/")[2])
    taken = ctx.ports.lakes[format].read(place, version, options)
    mark = {"format": format, "table": taken.id, "version": taken.version}
    newest = _newest(ctx, name)
    if newest is not None and body_of(manifest_of(ctx, newest)).facts.get(_IMPORTED) == mark:
        return _told(newest, taken.table.num_rows, format, taken.version, is_new=False)
    facts: Json = {_IMPORTED: mark}
    expect = 0 if newest is None else newest.number
    done = overwrite(ctx, name, zoned(taken.table, zone), schema=schema, facts=facts, expect=expect)
    return _told(done.version, done.rows, format, taken.version, is_new=True)


def _told(version: Version, rows: int, format: str, lake_version: str, *, is_new: bool) -> Imported:
    return Imported(
        dataset=version.name,
        version=version.number,
        rows=rows,
        format=format,
        lake_version=lake_version,
        is_new=is_new,
    )


def _newest(ctx: Context, name: str) -> Version | None:
    try:
        return resolve(ctx, Address(kind=DATASET, name=name))
    except NotFound:
        return None


def _parts(ctx: Context, version: Version, folder: Path) -> int:
    """The parts of a version as they are kept, into a new folder; how many rows they hold."""
    manifest = manifest_of(ctx, version)
    if manifest.schema is None:
        raise Invalid(f"{version.ref} is a folder of files", hint="loopwright data checkout")
    draft = folder.with_name(f".{folder.name}-{os.getpid()}")
    if folder.exists():
        raise Conflict(f"{folder} is there already", hint="name a new folder")
    try:
        draft.mkdir(parents=True)
        for entry in manifest.entries:
            (draft / entry.path).write_bytes(ctx.ports.objects.get(entry.digest))
        draft.rename(folder)
    except OSError as error:
        raise Unavailable(f"{folder} cannot be written: {error.strerror}", hint="choose another") from error
    return manifest.rows or 0
