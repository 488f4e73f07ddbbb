"""Gives a version as one Parquet file, made a piece at a time, so that memory does not grow with it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, cast

from loopwright.core.manifests import Manifest
from loopwright.core.schema import Schema
from loopwright.data.conforming import ordered
from loopwright.data.cutting import each_batch
from loopwright.data.reading import WIDTH, schema_of
from loopwright.engine.context import Context

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["one_file"]

_IN_MEMORY = 32 << 20


def one_file(ctx: Context, manifest: Manifest, columns: Sequence[str]) -> tuple[BinaryIO, int]:
    """An open file with all rows and the named columns (none: every one of the schema), and its size.

    What a part lacks, since it is from before the column, is null. A version of one part that has it all is
    that part's own file; others are put together on disk where they are large.
    """
    schema = schema_of(manifest)
    width = len(schema.columns)
    if len(manifest.entries) == 1 and not columns:
        entry = manifest.entries[0]
        if entry.facts.get(WIDTH, width) == width:
            return ctx.ports.objects.open(entry.digest), entry.size_bytes
    asked = (
        Schema(columns=tuple(schema.column(name) for name in dict.fromkeys(columns))) if columns else schema
    )
    file = cast("BinaryIO", tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY))  # noqa: SIM115 - the caller's
    try:
        for piece in ctx.ports.tables.write_batches(_batches(ctx, manifest, asked)):
            file.write(piece)
    except BaseException:  # raised on; without a caller who has it, the file is closed here
        file.close()
        raise
    size = file.tell()
    file.seek(0)
    return file, size


def _batches(ctx: Context, manifest: Manifest, schema: Schema) -> Iterator[pa.Table]:
    import pyarrow as pa

    yield ordered(pa.table({}), schema)  # a file of no rows has the columns too
    for entry in manifest.entries:
        yield from each_batch(ctx, entry, schema)
