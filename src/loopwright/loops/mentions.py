"""Where a value still stands in texts and files that are no rows: found by its bytes, told by count alone."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import BinaryIO, NamedTuple

import msgspec

from loopwright.core.errors import Corrupt, NotFound
from loopwright.core.manifests import decode_manifest
from loopwright.data.folders import page_of
from loopwright.data.listing import FilePage
from loopwright.engine.context import Context
from loopwright.engine.holders import Subject
from loopwright.loops.unpacking import is_within

__all__ = ["Mention", "mentions_of"]

_LEAST = 5
"""a shorter value is found in times, ids and digests everywhere"""
_NUMBERS = frozenset({"metric_points", "metric_latest", "signals"})
"""tables of the ledger without texts of anybody's"""
_PLACES = {
    "traces": "traces",
    "trace_tags": "traces",
    "trace_metadata": "traces",
    "trace_links": "traces",
    "spans": "traces",
    "assessments": "traces",
    "runs": "runs",
    "run_params": "runs",
    "run_tags": "runs",
    "artifacts": "file names",
    "journal": "journal",
}
_OTHER = "other records"
_OF_RUNS, _OF_FOLDERS, _OF_VERSIONS = "files of runs and traces", "files of folders", "files of versions"


class Mention(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of place in which a value was found."""

    place: str
    """`traces`, `runs`, `files of runs and traces`, `files of folders`, `files of versions` (models and what
    else is no dataset), `file names`, `journal` or `other records`"""
    count: int
    """rows of the ledger, or files"""


class _File(NamedTuple):
    """Where a file belongs, and what opens it."""

    place: str
    open: Callable[[], BinaryIO]


class _Wanted(NamedTuple):
    """What is looked for: texts of bytes, found fast, and what they must look like where they stand."""

    forms: tuple[bytes, ...]
    pattern: re.Pattern[bytes]

    @property
    def reach(self) -> int:
        """How much of a piece must be looked at again with the next one."""
        return max(map(len, self.forms)) + 1

    def is_in(self, data: bytes) -> bool:
        """Whether one stands there by itself."""
        return any(form in data for form in self.forms) and self.pattern.search(data) is not None


def mentions_of(ctx: Context, subject: Subject) -> tuple[Mention, ...]:
    """Texts in the ledger, and files, in which a value of the subject stands by itself.

    Files of runs, traces, folders and models are looked into, packed ones too (see `unpacking`). Values of
    fewer than five characters are not looked for.
    """
    values = [value for value in subject.values if len(value) >= _LEAST]
    if not values:
        return ()
    found = Counter(_in_ledger(ctx, _wanted(values, is_json=True)))
    wanted = _wanted(values, is_json=False)
    found.update(file.place for file in _files(ctx) if _holds(file, wanted))
    return tuple(Mention(place=place, count=count) for place, count in sorted(found.items()))


def _wanted(values: list[str], *, is_json: bool) -> _Wanted:
    """A value with no letter or digit beside it, as it is and as JSON writes it."""
    forms = set[str]()
    for value in values:
        escaped = {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
        forms |= {value, *escaped}
        if is_json:  # JSON in a text of a row, which is written as JSON once more
            forms |= {json.dumps(each, ensure_ascii=False)[1:-1] for each in escaped}
    known = tuple(form.encode() for form in sorted(forms, key=len, reverse=True))
    either = b"|".join(re.escape(form) for form in known)
    return _Wanted(known, re.compile(rb"(?<![0-9A-Za-z])(?:%s)(?![0-9A-Za-z])" % either))


def _in_ledger(ctx: Context, wanted: _Wanted) -> Iterator[str]:
    for table, text in ctx.ports.ledger.texts(without=_NUMBERS):
        if wanted.is_in(text):
            yield _PLACES.get(table, _OTHER)


def _holds(file: _File, wanted: _Wanted) -> bool:
    try:
        with file.open() as opened:
            return is_within(opened, wanted.is_in, wanted.reach)
    except (NotFound, Corrupt):
        return False


def _files(ctx: Context) -> Iterator[_File]:
    """Every file that is kept, once; parts of tables are rows, of which the holders tell."""
    with ctx.read() as tx:
        of_runs, versions = set(tx.artifacts.digests()), set(tx.versions.digests())
    objects, pages, seen = ctx.ports.objects, set[str](), set(of_runs)
    for digest in sorted(of_runs):
        yield _File(_OF_RUNS, partial(objects.open, digest))
    for digest in sorted(versions):
        try:
            manifest = decode_manifest(objects.get(digest))
        except NotFound:
            continue
        pages.update(manifest.pages)
        for entry in manifest.entries if manifest.schema is None and not manifest.is_folder else ():
            if entry.digest not in seen:
                seen.add(entry.digest)
                yield _File(_OF_VERSIONS, partial(objects.open, entry.digest))
    for name in sorted(pages):
        yield from _listed(ctx, page_of(ctx, name), seen)


def _listed(ctx: Context, page: FilePage, seen: set[str]) -> Iterator[_File]:
    """The files of a page; small ones are cut out of the object they share."""
    pack: bytes | None = None
    for file in page.files:
        if file.digest in seen:
            continue
        seen.add(file.digest)
        if file.offset is None or page.pack is None:
            yield _File(_OF_FOLDERS, partial(ctx.ports.objects.open, file.digest))
            continue
        pack = ctx.ports.objects.get(page.pack) if pack is None else pack
        yield _File(_OF_FOLDERS, partial(io.BytesIO, pack[file.offset : file.offset + file.size_bytes]))
