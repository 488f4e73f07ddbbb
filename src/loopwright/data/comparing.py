"""Tells what became of a dataset from one version to another: columns, rows, profile, files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.manifests import Manifest
from loopwright.core.nouns import Json, LinkRole, Version
from loopwright.data.differences import RowChanges, alike_columns, changed_rows, unshared
from loopwright.data.evolution import ColumnChange, SchemaChanges, schema_changes
from loopwright.data.listing import FileChanges, changes, decode_page
from loopwright.data.profiled import stored_profile
from loopwright.data.reading import body_of, permitted, schema_of, version_of
from loopwright.data.rows import json_rows
from loopwright.engine.context import Context
from loopwright.engine.operation import operation
from loopwright.engine.publishing import manifest_of

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["DatasetDiff", "MeasureChange", "RowChange", "diff", "row_changes"]

By = Literal["auto", "key", "rows"]
Shown = Annotated[int, msgspec.Meta(ge=0, le=1000, description="how many changed rows to show")]
_MEASURES = ("count", "nulls", "nan", "distinct", "min", "max", "mean", "std")


class RowChange(msgspec.Struct, frozen=True, kw_only=True):
    """One row that came, went, or changed, as it was and as it is."""

    kind: Literal["added", "removed", "changed"]
    before: Json | None = None
    after: Json | None = None
    columns: tuple[str, ...] = ()
    """those that differ, of a changed row"""


class MeasureChange(msgspec.Struct, frozen=True, kw_only=True):
    """A number of a column's profile that is another one now."""

    column: str
    measure: str
    before: float | str | None
    after: float | str | None


class DatasetDiff(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between two versions."""

    before: str
    after: str
    keys: tuple[str, ...] = ()
    """by which rows were compared; none: as they are, so that a changed row is one removed and one added"""
    rows_before: int = 0
    rows_after: int = 0
    rows_shared: int = 0
    """rows of the parts that both versions have, which were not read"""
    added: int = 0
    removed: int = 0
    changed: int = 0
    columns: dict[str, int] = {}
    """in how many of the changed rows each column differs"""
    sample: tuple[RowChange, ...] = ()
    schema: tuple[ColumnChange, ...] = ()
    readable: tuple[str, ...] = ()
    """columns that who reads the first version may go on reading"""
    breaks: bool = False
    """whether a reader of the first version's columns breaks"""
    profile: tuple[MeasureChange, ...] = ()
    files: FileChanges | None = None
    """of two folders of files"""


@operation("data.diff", scope="dataset:read", route="GET /diffs/{before}/{after}")
def diff(
    ctx: Context,
    before: str,
    after: str,
    *,
    keys: tuple[str, ...] = (),
    by: By = "auto",
    limit: Shown = 20,
    purpose: str = "",
) -> DatasetDiff:
    """Compare two versions, `flights@1` and `flights@2`: columns, rows by key or as they are, profile.

    Without `keys` the dataset's own key is used; where it has none, or a key is there twice, rows are
    compared as they are, unless `by` says `key`.
    """
    versions = _resolved(ctx, before, purpose), _resolved(ctx, after, purpose)
    old, new = (manifest_of(ctx, version) for version in versions)
    names = str(versions[0].ref), str(versions[1].ref)
    if old.is_folder != new.is_folder:
        raise Invalid(
            f"one of {names[0]} and {names[1]} is a folder, the other a table", hint="compare alike"
        )
    if old.is_folder:
        found = changes(old.pages, new.pages, lambda digest: decode_page(ctx.ports.objects.get(digest)))
        return DatasetDiff(before=names[0], after=names[1], files=found)
    chosen, told = _told(ctx, old, new, keys, by, limit)
    schema, profile = _shape(ctx, old, new)
    parts = unshared(old, new)
    return DatasetDiff(
        before=names[0],
        after=names[1],
        keys=chosen,
        rows_before=old.rows or 0,
        rows_after=new.rows or 0,
        rows_shared=(old.rows or 0) - sum(entry.rows or 0 for entry in parts[0]),
        added=told.added,
        removed=told.removed,
        changed=told.changed,
        columns=dict(told.columns),
        sample=tuple(told.sample),
        schema=schema.changes,
        readable=schema.readable,
        breaks=schema.breaks,
        profile=profile,
    )


def row_changes(
    ctx: Context, before: str, after: str, *, keys: tuple[str, ...] = (), purpose: str = ""
) -> Iterator[RowChanges]:
    """The differing rows of two versions as Arrow tables, some at a time; `keys` as `diff` takes them.

    Without `keys` rows are compared as they are.
    """
    old, new = (manifest_of(ctx, _resolved(ctx, address, purpose)) for address in (before, after))
    _check_keys(keys, old, new)
    return changed_rows(ctx, old, new, keys)


def _resolved(ctx: Context, address: str, purpose: str) -> Version:
    version = version_of(ctx, address)
    permitted(ctx, version, purpose=purpose)
    if ctx.run_id is not None:
        ctx.write(lambda tx: ctx.touch(tx, LinkRole.INPUT, version.ref))
    return version


class _Told:
    """Adds up what differs, with the first rows of each sort."""

    def __init__(self, limit: int) -> None:
        self.added = self.removed = self.changed = 0
        self.columns: dict[str, int] = {}
        self.sample: list[RowChange] = []
        self._limit = limit

    def take(self, found: RowChanges, columns: tuple[str, ...]) -> None:
        """Count the differences of a bucket."""
        self._show(found, columns)
        self.added += found.added.num_rows
        self.removed += found.removed.num_rows
        self.changed += found.after.num_rows
        for name, count in found.columns.items():
            self.columns[name] = self.columns.get(name, 0) + count

    def _show(self, found: RowChanges, columns: tuple[str, ...]) -> None:
        pairs = zip(
            self._rows(found.before, self.changed), self._rows(found.after, self.changed), strict=True
        )
        self.sample += [
            RowChange(
                kind="changed",
                before=old,
                after=new,
                columns=tuple(name for name in columns if old[name] != new[name]),
            )
            for old, new in pairs
        ]
        rows = self._rows(found.added, self.added)
        self.sample += [RowChange(kind="added", after=row) for row in rows]
        rows = self._rows(found.removed, self.removed)
        self.sample += [RowChange(kind="removed", before=row) for row in rows]

    def _rows(self, table: pa.Table, shown: int) -> list[Json]:
        return json_rows(table.slice(0, max(self._limit - shown, 0)))


def _told(  # noqa: PLR0917 - the two versions, and what the caller asked for
    ctx: Context, old: Manifest, new: Manifest, keys: tuple[str, ...], by: By, limit: int
) -> tuple[tuple[str, ...], _Told]:
    """The differences and the key they were found by."""
    chosen = keys or (() if by == "rows" else body_of(new).keys or body_of(old).keys)
    if by == "key" and not chosen:
        raise Invalid("the dataset has no key", hint="name the columns that name a row: keys")
    must = bool(keys) or by == "key"
    if chosen and not must and not set(chosen).issubset(alike_columns(schema_of(old), schema_of(new))):
        chosen = ()
    _check_keys(chosen, old, new)
    try:
        return chosen, _summed(ctx, old, new, chosen, limit)
    except Invalid:
        if must or not chosen:
            raise
        return (), _summed(ctx, old, new, (), limit)


def _check_keys(keys: Iterable[str], old: Manifest, new: Manifest) -> None:
    alike = alike_columns(schema_of(old), schema_of(new))
    if missing := [name for name in keys if name not in alike]:
        raise Invalid(
            f"the key's column {missing[0]!r} is not in both versions with one type",
            hint=f"columns of both are {', '.join(alike)}",
        )


def _summed(ctx: Context, old: Manifest, new: Manifest, keys: tuple[str, ...], limit: int) -> _Told:
    told, columns = _Told(limit), alike_columns(schema_of(old), schema_of(new))
    for found in changed_rows(ctx, old, new, keys):
        told.take(found, columns)
    return told


def _shape(ctx: Context, old: Manifest, new: Manifest) -> tuple[SchemaChanges, tuple[MeasureChange, ...]]:
    profiles = _profiled(ctx, old), _profiled(ctx, new)
    schema = schema_changes(schema_of(old), schema_of(new), profiles)
    measured = [
        MeasureChange(column=name, measure=measure, before=was, after=now)
        for name, column in profiles[1].items()
        if name in profiles[0]
        for measure in _MEASURES
        if (was := profiles[0][name].get(measure)) != (now := column.get(measure))
    ]
    return schema, tuple(measured)


def _profiled(ctx: Context, manifest: Manifest) -> Mapping[str, Json]:
    found = stored_profile(ctx, manifest)
    columns: Mapping[str, Json] = {} if found is None else found["columns"]
    return columns
