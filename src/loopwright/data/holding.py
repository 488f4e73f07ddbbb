"""Rows of datasets and streams as holders: found by the columns that tell, erased from all that is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from loopwright.core.digests import canonical
from loopwright.core.errors import Conflict, Corrupt, Invalid, NotFound
from loopwright.core.manifests import Manifest, ManifestEntry, decode_manifest, encode_manifest
from loopwright.core.nouns import Json, Version
from loopwright.core.schema import Schema
from loopwright.data.cutting import Left, cut, each_batch
from loopwright.data.drafting import Base, kept_profile
from loopwright.data.folder_rows import PageRows, page_in, parts_of_page, values_of_page
from loopwright.data.labels import ITEM
from loopwright.data.nouns import DATASET
from loopwright.data.reading import body_of
from loopwright.data.streams import files_of, prepare_segment
from loopwright.data.stretches import stretch_objects
from loopwright.data.subjects import (
    chosen_rows,
    hits_in,
    manifest_kept,
    table_of,
    tells,
    values_in,
    versions_kept,
)
from loopwright.engine.context import Context
from loopwright.engine.erased import TOMBSTONES, count_renewal
from loopwright.engine.holders import Held, Subject
from loopwright.engine.publishing import BRANCH
from loopwright.ports.ledger import Segment, Transaction

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["StreamRows", "VersionRows", "objects_with", "values_of_object"]

_ATTEMPTS = 20
_ID = "prediction_id"
_INPUT = "in_"


def _entry(segment: Segment) -> ManifestEntry:
    return ManifestEntry(
        path="rows.parquet", digest=segment.digest, size_bytes=segment.size_bytes, rows=segment.rows
    )


# ----------------------------------------------------------------------------------------- versions


class VersionRows:
    """All versions of all datasets and their branches, training and label sets too, trashed ones too."""

    name = "versions"
    keeps: Mapping[str, str] = {
        "data/cutting.py": "parts of dataset versions without the rows that went",
        "data/drafting.py": "parts of dataset versions",
        "data/folder_rows.py": "files of folders without the records that went",
        "data/folders.py": "files of folders, of which those with records are written anew",
        "data/stretches.py": "which values of a part occurred when, made anew with the part",
        "features/training.py": "training sets",
    }

    def find(self, ctx: Context, subject: Subject, keys: frozenset[str]) -> Held:
        """Versions that hold the subject; a row that several of them share is counted in each."""
        seen: dict[tuple[str, bytes], int] = {}
        rows, places, pages = 0, list[Version](), PageRows(ctx, subject)
        for version in versions_kept(ctx):
            manifest = manifest_kept(ctx, version.digest)
            found = 0 if manifest is None else self._rows_of(ctx, subject, manifest, seen)
            if manifest is not None and manifest.is_folder:
                found = sum(map(pages.count, manifest.entries))
            if found:
                rows, places = rows + found, [*places, version]
        return Held(rows=rows, places=len(places), versions=tuple(places))

    def _rows_of(
        self, ctx: Context, subject: Subject, manifest: Manifest, seen: dict[tuple[str, bytes], int]
    ) -> int:
        schema = table_of(manifest, subject.columns)
        chosen = None if schema is None else chosen_rows(subject, schema, subject.columns)
        if schema is None or chosen is None:
            return 0
        types, total = canonical(schema), 0
        for entry in manifest.entries:
            place = (entry.digest, types)
            if place not in seen:
                seen[place] = hits_in(ctx, entry, schema, chosen)
            total += seen[place]
        return total

    def erase(self, ctx: Context, subject: Subject, keys: frozenset[str]) -> Held:
        """Write every version anew that holds the subject, or stems from one that does; tombstones stay."""
        renewal = _Renewal(ctx, subject)
        for _ in range(_ATTEMPTS):
            versions = list(versions_kept(ctx))
            renewal.extend(version.digest for version in versions)
            try:
                changed = _pointed_anew(ctx, versions, renewal)
            except Conflict:
                continue
            return Held(
                rows=sum(renewal.removed.get(old.digest, 0) for old, _ in changed),
                places=len(changed),
                renewed=renewal.changed,
                objects=frozenset(renewal.objects),
                versions=tuple(new for old, new in changed if renewal.removed.get(old.digest)),
            )
        raise Conflict("versions are published faster than they can be cleaned", hint="erase again")

    def known(self, ctx: Context, columns: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        """Every combination of values in every part, and in every file of records of a folder."""
        seen: set[str] = set()
        for version in versions_kept(ctx):
            manifest = manifest_kept(ctx, version.digest)
            for page in () if manifest is None else manifest.pages:
                if page not in seen:
                    seen.add(page)
                    yield from values_of_page(ctx, page, columns)
            schema = None if manifest is None else table_of(manifest, columns)
            if manifest is None or schema is None:
                continue
            needed = Schema(columns=tuple(schema.column(name) for name in columns))
            for entry in manifest.entries:
                if entry.digest not in seen:
                    seen.add(entry.digest)
                    yield from values_in(ctx, entry, needed)


class _Renewal:
    """Manifests without the subject's rows, each after the one it stems from."""

    def __init__(self, ctx: Context, subject: Subject) -> None:
        self._ctx, self._subject = ctx, subject
        self._done: dict[str, str] = {}
        self._parts: dict[bytes, dict[str, Left]] = {}
        self._pages = PageRows(ctx, subject)
        self.removed: dict[str, int] = {}
        """rows that went, by the digest of the former manifest"""
        self.objects: set[str] = set()
        """former manifests, parts, profiles and files"""

    @property
    def mark(self) -> str:
        """By which a tombstone tells the erasure, without the value."""
        return self._subject.mark(self._ctx.ports.keys)

    @property
    def changed(self) -> dict[str, str]:
        """Former digests with those of their successors."""
        return {old: new for old, new in self._done.items() if old != new}

    def after(self, digest: str) -> str | None:
        """The digest of what takes the place of a manifest (perhaps itself); None for one not looked at."""
        return self._done.get(digest)

    def extend(self, digests: Iterable[str]) -> None:
        """Look at these manifests, and at those they stem from."""
        for digest in digests:
            line: list[tuple[str, Manifest]] = []
            at: str | None = digest
            while at is not None and at not in self._done:
                manifest = manifest_kept(self._ctx, at)
                if manifest is None:
                    self._done[at] = at
                    break
                line.append((at, manifest))
                at = manifest.parent
            for each, manifest in reversed(line):
                self._done[each] = self._renewed(each, manifest)

    def _renewed(self, digest: str, manifest: Manifest) -> str:
        parent = manifest.parent if manifest.parent is None else self._done[manifest.parent]
        made = self._without(digest, replace(manifest, parent=parent))
        if made == manifest:
            return digest
        new, data = encode_manifest(made)
        self._ctx.ports.objects.put(data)
        self.objects.add(digest)
        return new

    def _without_records(self, digest: str, manifest: Manifest) -> Manifest:
        left = [self._pages.left(entry) for entry in manifest.entries]
        removed = sum(count for _, count in left)
        if not removed:
            return manifest
        self.removed[digest] = removed
        self.objects |= self._pages.objects
        return replace(manifest, entries=tuple(entry for entry, _ in left))

    def _without(self, digest: str, manifest: Manifest) -> Manifest:
        if manifest.is_folder:
            return self._without_records(digest, manifest)
        schema = table_of(manifest, self._subject.columns)
        chosen = None if schema is None else chosen_rows(self._subject, schema, self._subject.columns)
        if schema is None or chosen is None:
            return manifest
        known = self._parts.setdefault(canonical(schema), {})
        left = cut(self._ctx, manifest.entries, schema, chosen, known)
        if not left.removed:
            return manifest
        self.removed[digest] = left.removed
        kept = {entry.digest for entry in left.entries} | stretch_objects(left.entries)
        self.objects |= {entry.digest for entry in manifest.entries} - kept
        self.objects |= stretch_objects(manifest.entries) - kept
        body = manifest.body
        if left.batches:
            there = body_of(manifest)
            body = {**body, "batches": sorted({*there.batches, *left.batches})}
        profile = manifest.profile
        if profile is not None:
            self.objects.add(profile)
            found = kept_profile(self._ctx, Base(manifest=manifest), left, schema)
            profile = (
                None
                if found is None
                else self._ctx.ports.objects.put(canonical(self._purged(found, left.entries, schema)))
            )
        return replace(
            manifest,
            entries=left.entries,
            rows=(manifest.rows or 0) - left.removed,
            body=body,
            profile=profile,
        )

    def _purged(self, profile: Json, entries: Sequence[ManifestEntry], schema: Schema) -> Json:
        """The profile; a column that still tells a value of the subject (an edge of bins) is made anew.

        A sketch tells none: it keeps only what is certainly among the rows that stay.
        """
        columns = dict(profile["columns"])
        for name, text in zip(self._subject.columns, self._subject.values, strict=True):
            told = {key: each for key, each in columns.get(name, {}).items() if key != "sketch"}
            if not tells(told, text):
                continue
            needed = Schema(columns=(schema.column(name),))
            tables = [batch for entry in entries for batch in each_batch(self._ctx, entry, needed)]
            columns[name] = self._ctx.ports.tables.profile(_joined(tables))["columns"][name]
        left = {key: part for key, part in profile.items() if key != "pairs"}  # their shifts tell of rows
        return {**left, "columns": columns}


def _joined(tables: list[Any]) -> pa.Table:
    import pyarrow as pa

    return pa.concat_tables(tables)


def _pointed_anew(
    ctx: Context, versions: Sequence[Version], renewal: _Renewal
) -> list[tuple[Version, Version]]:
    """Let every version mean its successor, in one unit of work; `Conflict` when one was published since."""
    mark = renewal.mark

    def work(tx: Transaction) -> list[tuple[Version, Version]]:
        there = [*tx.versions.among(ctx.space, DATASET), *tx.versions.among(ctx.space, BRANCH)]
        if any(renewal.after(version.digest) is None for version in there):
            raise Conflict("a version was published meanwhile", hint="erase again")
        changed = []
        for version in sorted(there, key=lambda each: each.id):
            successor = renewal.after(version.digest) or version.digest
            if successor == version.digest:
                continue
            manifest = decode_manifest(ctx.ports.objects.get(successor))
            facts = {**version.facts, "rows": manifest.rows} if "rows" in version.facts else version.facts
            new = replace(version, digest=successor, facts=facts, updated_at=ctx.now())
            tx.versions.supersede(new)
            tx.documents.put(ctx.space, TOMBSTONES, version.digest, {"successor": successor, "mark": mark})
            told = {"digest": version.digest, "successor": successor}
            ctx.record(
                tx, "version.erased", version.ref, {**told, "rows": renewal.removed.get(version.digest, 0)}
            )
            changed.append((version, new))
        if changed:
            count_renewal(tx, ctx.space)
        return changed

    return ctx.write(work)


# ------------------------------------------------------------------------------------------ streams


class StreamRows:
    """Segments of all streams: predictions with their inputs, labels of those, quarantined rows."""

    name = "streams"
    keeps: Mapping[str, str] = {
        "data/admitting.py": "quarantined rows",
        "data/compaction.py": "segments put together from those of a stream",
        "data/releasing.py": "what stays in quarantine of a batch of which rows were let out",
        "data/holding.py": "segments without the rows that went",
        "data/labelling.py": "rows that people are asked about",
        "data/streams.py": "segments of any stream: predictions, labels, quarantine",
        "monitoring/labels.py": "labels",
        "serving/log.py": "predictions with their inputs",
    }

    def find(self, ctx: Context, subject: Subject, keys: frozenset[str]) -> Held:
        """Rows of the subject itself, and rows that are about one of its predictions."""
        found, ids = _about(ctx, subject, frozenset())
        return Held(rows=sum(gone.num_rows for _, _, gone in found), places=len(found), keys=ids)

    def erase(self, ctx: Context, subject: Subject, keys: frozenset[str]) -> Held:
        """Put segments without these rows in the place of those that have some."""
        rows, ids, objects = 0, frozenset[str](), set[str]()
        for _ in range(_ATTEMPTS):
            found, named = _about(ctx, subject, ids)
            ids |= named
            done = [each for each in found if _replace(ctx, each[0], each[1])]
            rows += sum(gone.num_rows for _, _, gone in done)
            objects |= {segment.digest for segment, _, _ in done}
            if len(done) == len(found):
                return Held(rows=rows, places=len(objects), objects=frozenset(objects), keys=ids)
        raise Conflict("streams are written faster than they can be cleaned", hint="erase again")

    def known(self, ctx: Context, columns: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        """Every combination of values in every segment that has the columns."""
        for segment in _segments(ctx):
            schema, names = _named(ctx, segment.digest, columns)
            if names is not None:
                needed = Schema(columns=tuple(schema.column(name) for name in names))
                yield from values_in(ctx, _entry(segment), needed)


_Parted = tuple[Segment, Any, Any]
"""a segment, the rows of it that stay, and those that go"""


def _about(ctx: Context, subject: Subject, ids: frozenset[str]) -> tuple[list[_Parted], frozenset[str]]:
    """Segments with rows of the subject or about its predictions, and the names of these.

    What has the rows of the subject comes last: it alone tells whom the others are about.
    """
    segments = list(_segments(ctx))
    own = [(each, *found) for each in segments if (found := _rows_by(ctx, each, subject)) is not None]
    named = ids.union(name for _, _, gone in own for name in _ids(gone))
    known = {each.id for each, _, _ in own}
    others = [
        (each, *found)
        for each in segments
        if each.id not in known and (found := _rows_about(ctx, each, named)) is not None
    ]
    return [*others, *own], named


def _segments(ctx: Context) -> Iterator[Segment]:
    with ctx.read() as tx:
        streams = list(tx.segments.streams(ctx.space))
        return iter([each for name in streams for each in tx.segments.between(ctx.space, name, None, None)])


def _named(ctx: Context, digest: str, columns: Sequence[str]) -> tuple[Schema, list[str] | None]:
    """The columns of a table, and by which names it has these: their own, or as inputs of a request."""
    file = files_of(ctx, (digest,))[0]
    first = next(iter(ctx.ports.tables.batches(file, rows=1)), None)
    if first is None:
        return Schema(columns=()), None
    schema = ctx.ports.tables.schema_of(first)
    names = [next((n for n in (name, _INPUT + name) if n in schema.names), None) for name in columns]
    return schema, None if None in names else [name for name in names if name is not None]


def _rows_by(ctx: Context, segment: Segment, subject: Subject) -> tuple[pa.Table, pa.Table] | None:
    schema, names = _named(ctx, segment.digest, subject.columns)
    chosen = None if names is None else chosen_rows(subject, schema, names)
    if chosen is None or not hits_in(ctx, _entry(segment), schema, chosen):
        return None
    table = _whole(ctx, segment)
    return _parted(table, chosen(table))


def _rows_about(ctx: Context, segment: Segment, ids: frozenset[str]) -> tuple[pa.Table, pa.Table] | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not ids:
        return None
    _, names = _named(ctx, segment.digest, (_ID,))
    if names is None:
        return None
    table = _whole(ctx, segment)
    hit = pc.is_in(table.column(_ID), value_set=pa.array(sorted(ids), table.schema.field(_ID).type))
    return _parted(table, hit.to_numpy()) if pc.any(hit).as_py() else None


def _whole(ctx: Context, segment: Segment) -> pa.Table:
    return ctx.ports.tables.read(files_of(ctx, (segment.digest,)))


def _parted(table: pa.Table, goes: Any) -> tuple[pa.Table, pa.Table]:
    import pyarrow as pa

    return table.filter(pa.array(~goes)), table.filter(pa.array(goes))


def _ids(gone: pa.Table) -> list[str]:
    """What predictions and rows of label queues are known by elsewhere."""
    return [
        each for name in (_ID, ITEM) if name in gone.column_names for each in gone.column(name).to_pylist()
    ]


# ------------------------------------------------------------------------------------------ objects


def objects_with(ctx: Context, digest: str, subject: Subject) -> frozenset[str]:
    """The object where it holds the subject, with what it names where it is a page of a folder."""
    page = page_in(ctx, digest)
    if page is not None:
        entry = ManifestEntry(path="page", digest=digest, size_bytes=0)
        return parts_of_page(page) | {digest} if PageRows(ctx, subject).count(entry) else frozenset()
    return frozenset([digest]) if _object_holds(ctx, digest, subject) else frozenset()


def _object_holds(ctx: Context, digest: str, subject: Subject) -> bool:
    """Whether an object is a table with rows of the subject, or a profile that tells a value of it."""
    try:
        with ctx.ports.objects.open(digest) as file:
            kind = file.read(1)
            if kind == b"{":
                return _profile_tells(kind + file.read(), subject)
            is_table = kind + file.read(3) == b"PAR1"
        stat = ctx.ports.objects.stat(digest)
    except (NotFound, Corrupt):
        return False
    if not is_table or stat is None:
        return False
    schema, names = _named(ctx, digest, subject.columns)
    chosen = None if names is None else chosen_rows(subject, schema, names)
    entry = ManifestEntry(path="rows.parquet", digest=digest, size_bytes=stat.size_bytes, rows=1)
    return chosen is not None and hits_in(ctx, entry, schema, chosen) > 0


def values_of_object(ctx: Context, digest: str, columns: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Every combination of values of these columns in an object; none where it is no table that has them."""
    yield from values_of_page(ctx, digest, columns)
    try:
        with ctx.ports.objects.open(digest) as file:
            is_table = file.read(4) == b"PAR1"
        schema, names = _named(ctx, digest, columns) if is_table else (Schema(columns=()), None)
    except (NotFound, Corrupt, Invalid):
        return
    if names is None:
        return
    needed = Schema(columns=tuple(schema.column(name) for name in names))
    yield from values_in(ctx, ManifestEntry(path="rows.parquet", digest=digest, size_bytes=0, rows=1), needed)


def _profile_tells(data: bytes, subject: Subject) -> bool:
    try:
        columns = msgspec.json.decode(data).get("columns")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    if not isinstance(columns, dict):
        return False
    return any(
        tells(columns.get(name), value) for name, value in zip(subject.columns, subject.values, strict=True)
    )


def _replace(ctx: Context, segment: Segment, stays: pa.Table) -> bool:
    """Whether it is done; not where the segment went meanwhile, for one of several put together."""
    new = None
    if stays.num_rows:
        new = prepare_segment(ctx, segment.stream, stays, segment.start, segment.end, segment.facts)

    def work(tx: Transaction) -> bool:
        there = tx.segments.between(ctx.space, segment.stream, segment.start, segment.end)
        if all(each.id != segment.id for each in there):
            return False
        tx.segments.replace([segment.id], new, space=ctx.space)
        return True

    return ctx.write(work)
