"""Reads versions of datasets: whole, in part, or a page of rows."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from loopwright.core.addresses import Address
from loopwright.core.errors import Corrupt, Invalid
from loopwright.core.expressions import Expr, columns_of
from loopwright.core.manifests import Manifest, ManifestEntry
from loopwright.core.nouns import LinkRole, Version
from loopwright.core.schema import Schema
from loopwright.data.allowing import check_purpose
from loopwright.data.conforming import arrow_type
from loopwright.data.nouns import DATASET, DatasetBody
from loopwright.data.rules import needs_part
from loopwright.data.streams import files_of
from loopwright.engine.context import Context
from loopwright.engine.publishing import BRANCH, manifest_of, resolve

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "SPANS",
    "WIDTH",
    "body_of",
    "first_rows",
    "permitted",
    "read",
    "read_version",
    "rows_at",
    "rows_of_parts",
    "schema_of",
    "spans_of",
    "version_of",
]

SPANS = "spans"
WIDTH = "columns"


def read(
    ctx: Context,
    address: str | Address,
    *,
    columns: Sequence[str] | None = None,
    where: Expr | None = None,
    purpose: str = "",
) -> pa.Table:
    """The rows of a version of a dataset (the newest, `@3`, `@alias`, `@<instant>`) in the order they came.

    Only the columns asked for and the parts that can hold rows the condition is true of are read. In
    a condition an instant is its microseconds since 1970. The version becomes an input of the
    current run. `Denied` when a column may not be read for the purpose.
    """
    version = version_of(ctx, address)
    permitted(ctx, version, columns, where, purpose)
    if ctx.run_id is not None:
        read = None if columns is None else {*columns, *(() if where is None else columns_of(where))}
        ctx.write(lambda tx: ctx.touch(tx, LinkRole.INPUT, version.ref, read))
    return read_version(ctx, version, columns=columns, where=where)


def permitted(
    ctx: Context,
    version: Version,
    columns: Sequence[str] | None = None,
    where: Expr | None = None,
    purpose: str = "",
) -> None:
    """Raise `Denied` when columns that are read, all of them without a choice, are not for the purpose."""
    if columns is None:
        schema = manifest_of(ctx, version).schema
        columns = () if schema is None else schema.names
    asked = {*columns, *(() if where is None else columns_of(where))}
    check_purpose(ctx, version, sorted(asked), purpose)


def version_of(ctx: Context, address: str | Address) -> Version:
    """The version of a dataset, or of a branch of one, that an address means."""
    kind = address.kind if isinstance(address, Address) else address.partition(":")[0]
    return resolve(ctx, address, kind=BRANCH if kind == BRANCH else DATASET)


def read_version(
    ctx: Context, version: Version, *, columns: Sequence[str] | None = None, where: Expr | None = None
) -> pa.Table:
    """As `read`, of a version that was resolved; the lineage is the caller's."""
    manifest = manifest_of(ctx, version)
    entries = [entry for entry in manifest.entries if needs_part(where, spans_of(entry))]
    return _rows(ctx, manifest, entries, columns, where)


def first_rows(
    ctx: Context, manifest: Manifest, start: int, limit: int, columns: Sequence[str] | None = None
) -> pa.Table:
    """Rows `start` to `start + limit` of a version; only the parts that hold them are read."""
    entries, before = [], 0
    skipped: int | None = None
    for entry in manifest.entries:
        rows = entry.rows or 0
        if before < start + limit and before + rows > start:
            skipped = before if skipped is None else skipped
            entries.append(entry)
        before += rows
    return _rows(ctx, manifest, entries, columns, None).slice(start - (skipped or 0), limit)


def rows_at(ctx: Context, version: Version, places: pa.Array, columns: Sequence[str]) -> pa.Table:
    """The named columns of the rows at these places of a version, one whole column in memory at a time."""
    import pyarrow as pa

    manifest = manifest_of(ctx, version)
    taken = {}
    for name in columns:
        whole = _rows(ctx, manifest, manifest.entries, [name], None)
        taken[name] = whole.column(name).take(places)
        del whole
    return pa.table(taken)


def rows_of_parts(
    ctx: Context, manifest: Manifest, entries: Sequence[ManifestEntry], columns: Sequence[str]
) -> pa.Table:
    """The named columns of all rows of some parts of a version."""
    return _rows(ctx, manifest, entries, columns, None)


def body_of(manifest: Manifest) -> DatasetBody:
    """What the manifest says of times, keys and contract."""
    return msgspec.convert(manifest.body, DatasetBody)


def schema_of(manifest: Manifest) -> Schema:
    """The columns of a version; every table's manifest has them. `Invalid` for a folder of files."""
    if manifest.is_folder:
        raise Invalid("the dataset is a folder of files, not a table", hint="check it out, or read its files")
    if manifest.schema is None:
        raise Corrupt("the dataset's manifest has no schema", hint="restore it from a backup")
    return manifest.schema


def spans_of(entry: ManifestEntry) -> dict[str, tuple[int, int]]:
    """The least and greatest microsecond of a part's time columns."""
    return {name: (low, high) for name, (low, high) in entry.facts.get(SPANS, {}).items()}


def _rows(
    ctx: Context,
    manifest: Manifest,
    entries: Sequence[ManifestEntry],
    columns: Sequence[str] | None,
    where: Expr | None,
) -> pa.Table:
    schema = schema_of(manifest)
    files = files_of(ctx, tuple(entry.digest for entry in entries))
    width = len(schema.columns)
    if not entries or any(entry.facts.get(WIDTH, width) < width for entry in entries):
        files.append(_no_rows(ctx, schema))
    wanted = schema.names if columns is None else tuple(dict.fromkeys(columns))  # each once
    return ctx.ports.tables.read(files, columns=wanted, where=where)


def _no_rows(ctx: Context, schema: Schema) -> BinaryIO:
    """A file that has all columns and no rows: what older parts lack is null, and not unknown."""
    import pyarrow as pa

    fields = [pa.field(column.name, arrow_type(column.type)) for column in schema.columns]
    return io.BytesIO(ctx.ports.tables.write(pa.schema(fields).empty_table()))
