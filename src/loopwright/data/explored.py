"""Results of exploration documents as a holder: they go with the rows they were made of."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from loopwright.core.errors import Conflict, NotFound
from loopwright.core.manifests import Manifest, decode_manifest, encode_manifest
from loopwright.core.nouns import Version
from loopwright.data.explorations import EXPLORATION
from loopwright.data.exploring import ERASED
from loopwright.data.holding import VersionRows
from loopwright.data.reading import version_of
from loopwright.data.streams import files_of
from loopwright.engine.context import Context
from loopwright.engine.erased import TOMBSTONES
from loopwright.engine.holders import Held, Subject
from loopwright.engine.publishing import manifest_of
from loopwright.ports.ledger import Transaction

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ExploredRows"]

_ATTEMPTS = 20
_GONE = "(erased)"
_TEXTS = ("text", "title", "purpose")


class ExploredRows:
    """Rows that queries of saved documents gave.

    A query may show a value under any name, or count rows without showing one. So the results of a version
    go as a whole when a version it is pinned to has rows of the subject, or was removed and they show its
    values; and where the text of a document tells these, they go from it too.
    """

    name = "explorations"
    keeps: Mapping[str, str] = {
        "data/explored.py": "documents without their results",
        "data/exploring.py": "rows that queries of exploration documents gave",
    }

    def find(self, ctx: Context, subject: Subject, keys: frozenset[str]) -> Held:
        """Versions whose results may tell of the subject, and how many rows these have."""
        found = list(self._telling(ctx, subject))
        rows = sum(max(1, _rows(manifest)) for _, manifest in found)
        return Held(rows=rows, places=len(found), versions=tuple(version for version, _ in found))

    def erase(self, ctx: Context, subject: Subject, keys: frozenset[str]) -> Held:
        """Put a version without results, and without the values in its text, in the place of each."""
        for _ in range(_ATTEMPTS):
            found = list(self._telling(ctx, subject))
            made = {version.digest: _without(ctx, manifest, subject) for version, manifest in found}
            try:
                changed = _pointed_anew(ctx, [version for version, _ in found], made, subject)
            except Conflict:
                continue
            return Held(
                rows=sum(max(1, _rows(manifest)) for _, manifest in found),
                places=len(found),
                renewed=made,
                objects=frozenset(made)
                | {entry.digest for _, manifest in found for entry in manifest.entries},
                versions=changed,
            )
        raise Conflict("documents are saved faster than they can be cleaned", hint="erase again")

    def known(self, ctx: Context, columns: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        """Values of results that have columns of these names."""
        import pyarrow as pa

        for _, manifest in _versions(ctx):
            for table in _tables(ctx, manifest):
                if set(columns) <= set(table.column_names):
                    texts = [table.column(name).cast(pa.string()).to_pylist() for name in columns]
                    yield from (each for each in zip(*texts, strict=True) if None not in each)

    def _telling(self, ctx: Context, subject: Subject) -> Iterator[tuple[Version, Manifest]]:
        there = list(_versions(ctx))
        if not there:
            return
        found = VersionRows().find(ctx, subject, frozenset()).versions
        held = {(each.kind, each.name, each.number) for each in found}
        mark = subject.mark(ctx.ports.keys)
        for version, manifest in there:
            pinned = [_pinned(ctx, pin["address"]) for pin in manifest.body["pins"].values()]
            is_made_of = any(
                each is not None and (each.kind, each.name, each.number) in held for each in pinned
            ) or any(_was_renewed(ctx, pin["digest"], mark) for pin in manifest.body["pins"].values())
            may_be = any(each is None or _has(ctx, each, subject.columns) for each in pinned)
            tells = (manifest.entries and is_made_of) or (may_be and _tells(manifest.body, subject.values))
            if not tells and None in pinned:
                tells = any(_shows(table, subject.values) for table in _tables(ctx, manifest))
            if tells:
                yield version, manifest


def _versions(ctx: Context) -> Iterator[tuple[Version, Manifest]]:
    with ctx.read() as tx:
        found = list(tx.versions.among(ctx.space, EXPLORATION))
    for version in found:
        try:
            yield version, decode_manifest(ctx.ports.objects.get(version.digest))
        except NotFound:
            continue


def _was_renewed(ctx: Context, digest: str, mark: str) -> bool:
    """Whether this erasure wrote the content anew meanwhile: the document was saved just before it did."""
    with ctx.read() as tx:
        body = tx.documents.get(ctx.space, TOMBSTONES, digest)
    return body is not None and body.get("mark") == mark


def _pinned(ctx: Context, address: str) -> Version | None:
    """The version of a dataset, or None where it is gone."""
    try:
        return version_of(ctx, address)
    except NotFound:
        return None


def _has(ctx: Context, version: Version, columns: Sequence[str]) -> bool:
    try:
        schema = manifest_of(ctx, version).schema
    except NotFound:
        return True
    return schema is not None and set(columns) <= set(schema.names)


def _tables(ctx: Context, manifest: Manifest) -> Iterator[pa.Table]:
    for entry in manifest.entries:
        yield ctx.ports.tables.read(files_of(ctx, (entry.digest,)))


def _rows(manifest: Manifest) -> int:
    return sum(entry.rows or 0 for entry in manifest.entries)


def _shows(table: pa.Table, values: Sequence[str]) -> bool:
    """Whether one row has all the values, under whatever names."""
    wanted = set(values)
    return any(wanted <= {str(value) for value in row.values()} for row in table.to_pylist())


def _word(value: str) -> re.Pattern[str]:
    """The value where it stands by itself."""
    return re.compile(rf"(?<!\w){re.escape(value)}(?!\w)")


def _tells(body: Mapping[str, Any], values: Sequence[str]) -> bool:
    return all(any(_word(value).search(body[key]) for key in _TEXTS) for value in values)


def _without(ctx: Context, manifest: Manifest, subject: Subject) -> str:
    """The digest of the document without its results; where its text tells the values, they are taken out."""
    body = {**manifest.body, "results": {}, "digest": "", ERASED: True}
    if _tells(body, subject.values):
        for value in subject.values:
            body |= {key: _word(value).sub(_GONE, body[key]) for key in _TEXTS}
    digest, data = encode_manifest(replace(manifest, entries=(), body=body))
    ctx.ports.objects.put(data)
    return digest


def _pointed_anew(
    ctx: Context, versions: Sequence[Version], made: Mapping[str, str], subject: Subject
) -> tuple[Version, ...]:
    mark = subject.mark(ctx.ports.keys)

    def work(tx: Transaction) -> tuple[Version, ...]:
        changed = []
        for version in versions:
            there = tx.versions.get(version.asset_id, version.number)
            if there is None or there.digest != version.digest:
                raise Conflict("a document was saved meanwhile", hint="erase again")
            new = replace(version, digest=made[version.digest], updated_at=ctx.now())
            tx.versions.supersede(new)
            tx.documents.put(ctx.space, TOMBSTONES, version.digest, {"successor": new.digest, "mark": mark})
            told = {"digest": version.digest, "successor": new.digest}
            ctx.record(tx, "version.erased", version.ref, told)
            changed.append(new)
        return tuple(changed)

    return ctx.write(work) if versions else ()
