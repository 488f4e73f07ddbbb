"""Where a value still stands in texts and files that are no rows: found by its bytes, told by count alone."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from loopwright.core.errors import Corrupt, NotFound
from loopwright.engine.context import Context
from loopwright.engine.holders import Subject

__all__ = ["Mention", "mentions_of"]

_LEAST = 5
"""a shorter value is found in times, ids and digests everywhere"""
_CHUNK = 1 << 20
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


class Mention(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of place in which a value was found."""

    place: str
    """`traces`, `runs`, `files of runs and traces`, `file names`, `journal` or `other records`"""
    count: int
    """rows of the ledger, or files"""


def mentions_of(ctx: Context, subject: Subject) -> tuple[Mention, ...]:
    """Texts in the ledger and files of runs and traces in which a value of the subject stands by itself.

    Values of fewer than five characters are not looked for, and packed files not looked into.
    """
    values = [value for value in subject.values if len(value) >= _LEAST]
    if not values:
        return ()
    found = Counter(_in_ledger(ctx, _pattern(values, is_json=True)))
    files = _in_files(ctx, _pattern(values, is_json=False))
    if files:
        found["files of runs and traces"] = files
    return tuple(Mention(place=place, count=count) for place, count in sorted(found.items()))


def _pattern(values: list[str], *, is_json: bool) -> re.Pattern[bytes]:
    """A value with no letter or digit beside it, as it is and as JSON writes it."""
    forms = set[str]()
    for value in values:
        escaped = {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
        forms |= {value, *escaped}
        if is_json:  # JSON in a text of a row, which is written as JSON once more
            forms |= {json.dumps(each, ensure_ascii=False)[1:-1] for each in escaped}
    either = b"|".join(re.escape(form.encode()) for form in sorted(forms, key=len, reverse=True))
    return re.compile(rb"(?<![0-9A-Za-z])(?:%s)(?![0-9A-Za-z])" % either)


def _in_ledger(ctx: Context, pattern: re.Pattern[bytes]) -> Iterator[str]:
    for table, text in ctx.ports.ledger.texts(without=_NUMBERS):
        if pattern.search(text):
            yield _PLACES.get(table, _OTHER)


def _in_files(ctx: Context, pattern: re.Pattern[bytes]) -> int:
    with ctx.read() as tx:
        digests = set(tx.artifacts.digests())
    return sum(_holds(ctx, digest, pattern) for digest in sorted(digests))


def _holds(ctx: Context, digest: str, pattern: re.Pattern[bytes]) -> bool:
    try:
        with ctx.ports.objects.open(digest) as file:
            return any(pattern.search(piece) for piece in _overlapping(file, len(pattern.pattern)))
    except (NotFound, Corrupt):
        return False


def _overlapping(file: BinaryIO, reach: int) -> Iterator[bytes]:
    """A file in pieces, each with the end of the one before it."""
    before = b""
    while piece := file.read(_CHUNK):
        yield before + piece
        before = piece[-reach:]
