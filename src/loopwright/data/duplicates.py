"""Rows that say the same: exactly, or nearly so in their texts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from loopwright.core.errors import Invalid, TooLarge, Unavailable
from loopwright.core.nouns import Json
from loopwright.data.rows import json_rows

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = [
    "Duplicates",
    "Group",
    "checked",
    "exact_groups",
    "fuzzy_groups",
    "plain_texts",
    "report_of",
]

_BANDS, _HASHES = 32, 4
"""of 128 hashes: texts that share a share s of their trigrams meet with p = 1 - (1 - s^4)^32, 0.99 at 0.6"""
_PAIRS_LIMIT = 5_000_000
_BUCKET = 200
"""rows of one bucket that are compared with one another; in a greater one each with the first so many"""
_SHOWN = 100


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that say the same: the first of them stays, the others repeat it."""

    rows: tuple[int, ...]
    """places in the version, from 0, in order"""
    score: float = 1.0
    """the least likeness by which a row came to the group, 0 to 1"""
    values: tuple[Json, ...] = ()
    """what the rows hold in the columns compared, of the first few"""


class Duplicates(msgspec.Struct, frozen=True, kw_only=True):
    """What de-duplication found."""

    rows: int
    repeated: int
    """rows that would go"""
    groups: int
    columns: tuple[str, ...]
    how: str
    least: float
    compared: int = 0
    """pairs whose likeness was measured"""
    first: tuple[Group, ...] = ()
    """the greatest groups"""


def exact_groups(table: pa.Table, columns: Sequence[str], *, place: str = "") -> list[Group]:
    """Groups of rows that are equal in the columns; nulls are equal to nulls, NaN to NaN.

    Rows are told by their places, or by the numbers in the column `place`.
    """
    import numpy as np
    import pyarrow as pa

    if not table.num_rows:
        return []
    places = table.column(place) if place else pa.array(np.arange(table.num_rows))
    placed = table.select(columns).append_column("", places)
    found = placed.group_by(list(columns), use_threads=False).aggregate([("", "list")])
    lists = (each for each in found.column("_list").to_pylist() if len(each) > 1)
    return sorted((Group(rows=tuple(sorted(each))) for each in lists), key=lambda group: group.rows)


def fuzzy_groups(table: pa.Table, columns: Sequence[str], least: float) -> tuple[list[Group], int]:
    """Groups of rows whose texts are alike, and how many pairs were compared.

    Candidates share a band of MinHash signatures of their trigrams (Broder 1997; banding as in Leskovec,
    Rajaraman, Ullman, *Mining of Massive Datasets*, 3.4); a pair counts when `rapidfuzz`'s ratio, an
    indel similarity, of its plain texts is at least `least`. Groups are what pairs connect. Empty texts
    are like nothing.
    """
    try:
        from rapidfuzz import fuzz, process
    except ImportError as error:
        raise Unavailable(
            "near duplicates need a library that is not installed", hint='pip install "loopwright[dedupe]"'
        ) from error
    texts = plain_texts(table, columns)
    firsts, among = _same_texts(texts)
    pairs = _candidates(firsts)
    scores: NDArray[np.float32] = process.cpdist(
        [firsts[a] for a, _ in pairs], [firsts[b] for _, b in pairs], scorer=fuzz.ratio, workers=1
    )
    joined = _Joined(len(firsts))
    for (a, b), score in zip(pairs, scores.tolist(), strict=True):
        if score >= 100 * least:
            joined.join(a, b, score / 100)
    groups = [
        Group(rows=tuple(sorted(row for each in members for row in among[each])), score=round(score, 4))
        for members, score in joined.groups(lambda each: len(among[each]) > 1)
    ]
    return sorted(groups, key=lambda group: group.rows), len(pairs)


def plain_texts(table: pa.Table, columns: Sequence[str]) -> list[str]:
    """The columns of each row as one text: letters small, marks and spaces made one space, nulls left out."""
    import re
    import unicodedata

    said = [table.column(name).to_pylist() for name in columns]
    marks = re.compile(r"[\W_]+")

    def plain(values: tuple[Any, ...]) -> str:
        text = " ".join(str(value) for value in values if value is not None)
        return marks.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()

    return [plain(values) for values in zip(*said, strict=True)]


def _same_texts(texts: Sequence[str]) -> tuple[list[str], list[list[int]]]:
    """The different texts that are not empty, and the rows of each."""
    rows: dict[str, list[int]] = {}
    for row, text in enumerate(texts):
        if text:
            rows.setdefault(text, []).append(row)
    return list(rows), list(rows.values())


def _candidates(texts: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of texts that share a band, each once."""
    import numpy as np

    found: set[tuple[int, int]] = set()
    signatures = _signatures(texts)
    for band in range(_BANDS):
        part = np.ascontiguousarray(signatures[:, band * _HASHES : (band + 1) * _HASHES])
        keys = part.view(np.dtype((np.void, part.dtype.itemsize * _HASHES))).ravel()
        _, codes = np.unique(keys, return_inverse=True)
        order = np.argsort(codes, kind="stable")
        starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
        for bucket in np.split(order, starts[1:]):
            if len(bucket) > 1:
                found.update(_within(bucket.tolist()))
        if len(found) > _PAIRS_LIMIT:
            raise TooLarge(
                f"over {_PAIRS_LIMIT:,} pairs of rows may be alike",
                hint="compare more columns, or fewer rows",
            )
    return sorted(found)


def _within(bucket: list[int]) -> Iterator[tuple[int, int]]:
    for at, second in enumerate(bucket):
        for first in bucket[: min(at, _BUCKET)]:
            yield (first, second) if first < second else (second, first)


def _signatures(texts: Sequence[str]) -> NDArray[np.uint32]:
    """`(n, 128) uint32`: for each hash the least over a text's trigrams; half a kilobyte a text."""
    import numpy as np

    multiply, add = _family(_BANDS * _HASHES)
    known: dict[str, int] = {}
    found = np.full((len(texts), _BANDS * _HASHES), np.iinfo(np.uint32).max, dtype=np.uint32)
    for row, text in enumerate(texts):
        grams = {text[at : at + 3] for at in range(max(1, len(text) - 2))}
        codes = np.array([known.setdefault(gram, _code(gram)) for gram in grams], dtype=np.uint64)
        with np.errstate(over="ignore"):
            mixed = (codes[:, None] * multiply[None, :] + add[None, :]) >> np.uint64(32)
        found[row] = mixed.min(axis=0).astype(np.uint32)
    return found


def _code(gram: str) -> int:
    return int.from_bytes(hashlib.blake2b(gram.encode(), digest_size=8).digest(), "little")


def _family(count: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Multiply-shift hashes (Dietzfelbinger 1996) of fixed odd factors: every run finds the same."""
    import numpy as np

    drawn = [_code(f"loopwright/minhash/{at}") for at in range(2 * count)]
    return (
        np.array([each | 1 for each in drawn[:count]], dtype=np.uint64),
        np.array(drawn[count:], dtype=np.uint64),
    )


class _Joined:
    """Sets that grow together, each with the least score that joined it."""

    def __init__(self, size: int) -> None:
        self._above = list(range(size))
        self._least = [1.0] * size

    def _root(self, of: int) -> int:
        while self._above[of] != of:
            self._above[of] = self._above[self._above[of]]
            of = self._above[of]
        return of

    def join(self, first: int, second: int, score: float) -> None:
        """Put the sets of both together."""
        a, b = sorted((self._root(first), self._root(second)))
        if a != b:
            self._above[b] = a
            self._least[a] = min(self._least[a], self._least[b], score)

    def groups(self, counts_alone: Any) -> Iterator[tuple[list[int], float]]:
        """Those of several members, and single ones that count by themselves."""
        members: dict[int, list[int]] = {}
        for each in range(len(self._above)):
            members.setdefault(self._root(each), []).append(each)
        for root, found in members.items():
            if len(found) > 1 or counts_alone(found[0]):
                yield found, self._least[root]


def report_of(
    table: pa.Table, columns: Sequence[str], groups: Sequence[Group], *, how: str, least: float, compared: int
) -> Duplicates:
    """What is told of the groups, with the values of the greatest ones."""
    greatest = sorted(groups, key=lambda group: (-len(group.rows), group.rows))[:_SHOWN]
    shown = [
        replace(each, values=tuple(json_rows(table.select(columns).take(list(each.rows[:5])))))
        for each in greatest
    ]
    return Duplicates(
        rows=table.num_rows,
        repeated=sum(len(group.rows) - 1 for group in groups),
        groups=len(groups),
        columns=tuple(columns),
        how=how,
        least=least,
        compared=compared,
        first=tuple(shown),
    )


def checked(
    columns: Sequence[str], there: Mapping[str, object] | Sequence[str], least: float
) -> tuple[str, ...]:
    """The columns to compare, all by default; `Invalid` for one that is not there."""
    if missing := [name for name in columns if name not in there]:
        raise Invalid(f"there is no column {missing[0]!r}", hint=f"the columns are {', '.join(there)}"[:300])
    if not 0.5 <= least <= 1:
        raise Invalid(f"a likeness of {least} finds anything", hint="give 0.5 to 1")
    return tuple(columns) or tuple(there)
