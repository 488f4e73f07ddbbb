"""What a batch's unique keys and references need of other rows: told by profiles, else read of few parts.

A profile proves that no earlier row has a key (the batch lies outside its range, or its list of values is
whole and has none of them), and which values are referred to (they are in its list, or the list is whole).
Of what is left, only those parts are read whose footers do not rule it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from loopwright.core.addresses import Address
from loopwright.core.instants import parse_instant, to_micros
from loopwright.core.manifests import Manifest, ManifestEntry
from loopwright.core.nouns import Json, Version
from loopwright.core.schema import ColumnType
from loopwright.data.conforming import arrow_type
from loopwright.data.cutting import any_within
from loopwright.data.nouns import DATASET, Reference, UniqueKey
from loopwright.data.profiled import stored_profile
from loopwright.data.pruning import ranges_of
from loopwright.data.reading import rows_of_parts, schema_of
from loopwright.engine.context import Context
from loopwright.engine.publishing import manifest_of, resolve

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Sought", "earlier_keys", "known_values"]

_LISTED = {ColumnType.INT, ColumnType.STRING, ColumnType.BOOL}
"""types of which the values that a profile lists are the values themselves"""
_CUT_OFF = 80
"""characters of a text after which a profile tells no more of it"""


class Sought(NamedTuple):
    """Values that were found, an Arrow table or array (None: there are none), and how they were."""

    values: Any
    how: str


def earlier_keys(ctx: Context, key: UniqueKey, table: pa.Table, newest: Version | None) -> Sought:
    """Keys of earlier rows, every one that a row of the batch may repeat among them."""
    if key.within != "dataset" or newest is None:
        return Sought(None, "")
    manifest = manifest_of(ctx, newest)
    types = {column.name: column.type for column in schema_of(manifest).columns}
    keys = table.select(list(key.columns)).drop_null()
    stored = stored_profile(ctx, manifest)
    alike = [name for name in key.columns if _is_alike(keys, name, types.get(name))]
    told = {} if stored is None else stored["columns"]
    for name in alike:
        if _lies_apart(keys.column(name), told.get(name), types[name]):
            return Sought(None, f"by the profile of {newest.ref}: it has no {name} of the batch")
    return _read(ctx, manifest, key.columns, keys.select(alike))


def known_values(ctx: Context, reference: Reference, values: pa.ChunkedArray | None) -> Sought:
    """Values of the column that is referred to: all of them, or all that are among `values`."""
    import pyarrow as pa

    version = resolve(ctx, Address(kind=DATASET, name=reference.dataset))
    manifest = manifest_of(ctx, version)
    kind = schema_of(manifest).column(reference.to).type
    stored = stored_profile(ctx, manifest)
    column = None if stored is None else stored["columns"].get(reference.to)
    listed, is_whole = _listed(column, kind)
    told = pa.array(listed, arrow_type(kind))
    how = f"by the profile of {version.ref}"
    if is_whole:
        return Sought(told, f"{how}: it lists every value")
    if values is None or values.type != told.type:
        return _flat(_read(ctx, manifest, (reference.to,), None), reference.to, told)
    import pyarrow.compute as pc

    left = values.unique().drop_null()
    left = left.filter(pc.invert(pc.is_in(left, value_set=told)))
    if not len(left):
        return Sought(told, f"{how}: it lists every value of the batch")
    if _lies_apart(pa.chunked_array([left]), column, kind):
        return Sought(told, f"{how}: what it does not list lies outside its range")
    asked = pa.table({reference.to: left})
    asked = asked if _is_alike(asked, reference.to, kind) else None
    return _flat(_read(ctx, manifest, (reference.to,), asked), reference.to, told)


def _is_alike(keys: pa.Table, name: str, kind: ColumnType | None) -> bool:
    """Whether a column can be compared with what is told of the earlier rows'; a NaN is in no range."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = keys.column(name)
    if kind is None or column.type != arrow_type(kind):
        return False
    return not (pa.types.is_floating(column.type) and pc.any(pc.is_nan(column), min_count=0).as_py())


def _lies_apart(values: pa.ChunkedArray, column: Json | None, kind: ColumnType) -> bool:
    """Whether a profile proves that none of the values occurs."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not len(values):
        return True
    if column is None:
        return False
    listed, is_whole = _listed(column, kind)
    if is_whole:
        return not pc.any(pc.is_in(values, value_set=pa.array(listed, values.type))).as_py()
    if kind not in {ColumnType.INT, ColumnType.FLOAT, ColumnType.INSTANT}:
        return False
    low, high = column.get("min"), column.get("max")
    if low is None or high is None:
        return False
    if kind is ColumnType.INSTANT:
        low, high = to_micros(parse_instant(low)), to_micros(parse_instant(high))
    plain = values.cast(pa.int64()) if kind is ColumnType.INSTANT else values
    inside = pc.and_(pc.greater_equal(plain, low), pc.less_equal(plain, high))
    if kind is ColumnType.FLOAT:  # a NaN is in no range
        inside = pc.or_(inside, pc.is_nan(plain))
    return not pc.any(inside).as_py()


def _listed(column: Json | None, kind: ColumnType) -> tuple[list[Any], bool]:
    """Values that certainly occur, and whether there are no others."""
    if column is None or kind not in _LISTED or "top" not in column:
        return [], False
    listed = [item["value"] for item in column["top"]]
    whole = [value for value in listed if not isinstance(value, str) or len(value) < _CUT_OFF]
    is_whole = len(whole) == len(listed) == column["distinct"] and not column.get("bounds")
    return whole, is_whole


def _read(ctx: Context, manifest: Manifest, columns: Sequence[str], asked: pa.Table | None) -> Sought:
    """Rows of those parts whose footers do not say that none of the asked values is there."""
    parts = [entry for entry in manifest.entries if entry.rows]
    chosen = [entry for entry in parts if _may_have(ctx, entry, asked)]
    if not chosen and asked is not None:
        return Sought(None, f"by the ranges of {len(parts):,} parts: none can hold one")
    rows = rows_of_parts(ctx, manifest, chosen, columns)
    which = f"{rows.num_rows:,} rows of {' + '.join(columns)} in {len(chosen):,} of {len(parts):,} parts"
    return Sought(rows, f"by reading {which}, since a profile does not hold every value")


def _may_have(ctx: Context, entry: ManifestEntry, asked: pa.Table | None) -> bool:
    if asked is None or not asked.num_columns:
        return True
    return any_within(asked, ranges_of(ctx, entry))


def _flat(found: Sought, name: str, told: pa.Array) -> Sought:
    """The values of one column, those that the profile lists among them."""
    import pyarrow as pa

    if found.values is None:
        return Sought(told, found.how)
    read = found.values.column(name)
    return Sought(pa.concat_arrays([told.cast(read.type), *read.chunks]), found.how)
