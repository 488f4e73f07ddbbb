"""Which rows of tables are a subject's: found by the columns and values that name it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import product
from typing import TYPE_CHECKING

import msgspec

from loopwright.core.digests import canonical
from loopwright.core.errors import Invalid, NotFound
from loopwright.core.instants import format_instant, parse_instant, to_micros
from loopwright.core.manifests import Manifest, ManifestEntry, decode_manifest
from loopwright.core.nouns import Version
from loopwright.core.schema import ColumnType, Schema
from loopwright.data.conforming import arrow_type
from loopwright.data.cutting import ByKeys, each_batch
from loopwright.data.matching import KeyIndex
from loopwright.data.nouns import DATASET
from loopwright.data.pruning import ranges_of
from loopwright.engine.context import Context
from loopwright.engine.holders import Subject
from loopwright.engine.publishing import BRANCH

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "chosen_rows",
    "hits_in",
    "manifest_kept",
    "rows_of",
    "table_of",
    "tells",
    "values_in",
    "versions_kept",
    "writings",
]


_SHOWN = 80
"""characters that a profile keeps of a text"""


def chosen_rows(subject: Subject, schema: Schema, columns: Sequence[str]) -> ByKeys | None:
    """The rows of a subject in a table of that schema, or None where it can have none."""
    import pyarrow as pa

    values = {}
    for column, text in zip(columns, subject.values, strict=True):
        try:
            values[column] = pa.array([text]).cast(arrow_type(schema.column(column).type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return None
    return ByKeys(KeyIndex(pa.table(values), columns))


def hits_in(ctx: Context, entry: ManifestEntry, schema: Schema, chosen: ByKeys) -> int:
    """How many rows of a part are chosen."""
    if entry.rows and not chosen.may_be_in(ranges_of(ctx, entry)):
        return 0
    needed = Schema(columns=tuple(schema.column(name) for name in chosen.columns))
    return sum(int(chosen(batch).sum()) for batch in each_batch(ctx, entry, needed))


def _texts(batch: pa.Table) -> Iterator[tuple[str, ...]]:
    import pyarrow as pa

    columns = [batch.column(name).cast(pa.string()).to_pylist() for name in batch.column_names]
    for values in zip(*columns, strict=True):
        if None not in values:
            yield values


def tells(told: object, text: str) -> bool:
    """Whether JSON that is kept of a column, such as its profile, has a value in it; at times one alike.

    However it is written: `2.50` is the number 2.5, an instant is told in microseconds too, and of a long
    text its beginning is kept.
    """
    data = msgspec.json.encode(told)
    return any(form in data for form in _forms(text))


def _forms(text: str) -> Iterator[bytes]:
    yield msgspec.json.encode(text[:_SHOWN])[1:-1]
    with suppress(ValueError, OverflowError):
        yield msgspec.json.encode(int(text))
    with suppress(ValueError, OverflowError):
        number = float(text)
        yield from (msgspec.json.encode(each) for each in (number, int(number)))
    with suppress(Invalid):
        at = parse_instant(text)
        yield from (format_instant(at).encode(), msgspec.json.encode(to_micros(at)))


def writings(values: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The values, and as text what columns of each type have of them, as `values_in` and JSON write it."""
    yield from product(*map(_writings, values))


def _writings(text: str) -> set[str]:
    import pyarrow as pa

    found = {text}
    for kind in ColumnType:
        with suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError):
            there = pa.array([text]).cast(arrow_type(kind))
            found.add(there.cast(pa.string())[0].as_py())
            if kind in {ColumnType.INT, ColumnType.FLOAT}:
                found.add(str(there[0].as_py()))
    return found


def values_in(ctx: Context, entry: ManifestEntry, needed: Schema) -> Iterator[tuple[str, ...]]:
    """Every combination of values, as text, that the rows of a part have of these columns."""
    for batch in each_batch(ctx, entry, needed, rows=1 << 20):
        yield from _texts(batch.group_by(needed.names).aggregate([]))


def versions_kept(ctx: Context) -> Iterator[Version]:
    """All versions of datasets and of their branches, trashed ones too, oldest first."""
    with ctx.read() as tx:
        found = [*tx.versions.among(ctx.space, DATASET), *tx.versions.among(ctx.space, BRANCH)]
    return iter(sorted(found, key=lambda version: version.id))


def manifest_kept(ctx: Context, digest: str) -> Manifest | None:
    """A version's manifest, None where retention let it go."""
    try:
        return decode_manifest(ctx.ports.objects.get(digest))
    except NotFound:
        return None


def table_of(manifest: Manifest, columns: Sequence[str]) -> Schema | None:
    """The columns of a table, None for what is none or lacks some of these."""
    schema = manifest.schema
    if schema is None or manifest.is_folder or not set(columns) <= set(schema.names):
        return None
    return schema


def rows_of(ctx: Context, name: str, subject: Subject, columns: Sequence[str]) -> Iterator[pa.Table]:
    """These columns of the subject's rows in any version of a dataset, each part of it read once."""
    import pyarrow as pa

    names = tuple(dict.fromkeys((*subject.columns, *columns)))
    seen = set[tuple[str, bytes]]()
    for entry, schema, chosen in _parts_with(ctx, name, subject, names):
        place = (entry.digest, canonical(schema))
        if place in seen or not chosen.may_be_in(ranges_of(ctx, entry)):
            continue
        seen.add(place)
        for batch in each_batch(ctx, entry, schema):
            yield batch.filter(pa.array(chosen(batch))).select(list(columns))


def _parts_with(
    ctx: Context, name: str, subject: Subject, names: Sequence[str]
) -> Iterator[tuple[ManifestEntry, Schema, ByKeys]]:
    """The parts of all versions of a dataset that have these columns, with their types in the version."""
    for version in versions_kept(ctx):
        manifest = manifest_kept(ctx, version.digest) if version.name == name else None
        schema = None if manifest is None else table_of(manifest, names)
        chosen = None if schema is None else chosen_rows(subject, schema, subject.columns)
        if manifest is not None and schema is not None and chosen is not None:
            needed = Schema(columns=tuple(schema.column(each) for each in names))
            yield from ((entry, needed, chosen) for entry in manifest.entries)
