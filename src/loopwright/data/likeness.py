"""Rows whose texts are nearly the same: found by what they have in common, measured, and put into groups.

Candidates share a band of MinHash signatures of their trigrams (Broder 1997; banding as in Leskovec,
Rajaraman, Ullman, *Mining of Massive Datasets*, 3.4); a pair counts when `rapidfuzz`'s ratio, an indel
similarity, of its plain texts is at least as asked. Groups are what pairs connect. Texts and signatures lie
in files; in memory are some numbers for each row, and a band of the signatures at a time.
"""

from __future__ import annotations

import hashlib
import mmap
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from blake3 import blake3

from loopwright.core.errors import TooLarge, Unavailable
from loopwright.data.duplicates import Group

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

__all__ = ["Likenesses", "PlainTexts", "alike", "plain_texts"]

_BANDS, _HASHES = 32, 4
"""of 128 hashes: texts that share a share s of their trigrams meet with p = 1 - (1 - s^4)^32, 0.99 at 0.6"""
_PAIRS_LIMIT = 5_000_000
_BUCKET = 200
"""rows of one bucket that are compared with one another; in a greater one each with the first so many"""
_MOST_GRAMS = 1 << 17
_AT_ONCE = 1 << 12
_SCORED = 1 << 14
_A_ROW = 80
"""bytes of memory for each row: digest, place, length and number of its text, and a band that is sorted"""
_MARKS = re.compile(r"[\W_]+")


class Likenesses(NamedTuple):
    """Groups of rows whose texts are alike, in order, and how many pairs were compared."""

    groups: list[Group]
    compared: int


class PlainTexts:
    """The plain texts of rows as they come, in a file, with what says which are the same."""

    def __init__(self, folder: Path, *, memory_bytes: int | None = None) -> None:
        self._folder = folder
        self._memory = memory_bytes
        self._stack = ExitStack()
        self._file = self._stack.enter_context((folder / "texts").open("w+b"))
        self._digests: list[bytes] = []
        self._lengths: list[Ints] = []
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def add(self, rows: pa.Table, columns: Sequence[str]) -> None:
        """Take some rows; `TooLarge` once they need more memory than may be taken."""
        import numpy as np

        self.rows += rows.num_rows
        if self._memory is not None and self.rows * _A_ROW > self._memory:
            raise TooLarge(
                f"to find likenesses among {self.rows:,} rows takes {self.rows * _A_ROW:,} bytes of memory",
                hint="allow more (memory), or compare fewer rows",
            )
        texts = [text.encode() for text in plain_texts(rows, columns)]
        self._digests.append(b"".join(blake3(text).digest(16) for text in texts))
        self._lengths.append(np.fromiter(map(len, texts), np.int64, len(texts)))
        self._file.writelines(texts)

    def different(self) -> tuple[Ints, Ints]:
        """`(rows,)`: the number of each row's text, -1 for an empty one; and the first row of each number."""
        import numpy as np

        lengths = np.concatenate([np.empty(0, dtype=np.int64), *self._lengths])
        digests = np.frombuffer(b"".join(self._digests), dtype=np.dtype((np.void, 16)))
        full = np.flatnonzero(lengths)
        _, first, codes = np.unique(digests[full], return_index=True, return_inverse=True)
        order = np.argsort(first)  # numbers in the order in which texts came
        numbers = np.empty(len(order), dtype=np.int64)
        numbers[order] = np.arange(len(order))
        found = np.full(len(lengths), -1, dtype=np.int64)
        found[full] = numbers[codes]
        return found, full[first[order]]

    def of_rows(self, rows: Ints) -> _Texts:
        """Reads the texts of these rows."""
        import numpy as np

        self._file.flush()
        ends = np.cumsum(np.concatenate([np.zeros(1, dtype=np.int64), *self._lengths]))
        if not ends[-1]:
            return _Texts(b"", ends[:0], ends[:0])
        mapped = self._stack.enter_context(mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ))
        return _Texts(mapped, ends[rows], ends[rows + 1])

    def band_file(self, texts: int) -> NDArray[np.uint32]:
        """`(32, texts, 4)`, in a file."""
        import numpy as np

        path = self._folder / "signatures"
        return np.memmap(path, dtype=np.uint32, mode="w+", shape=(_BANDS, texts, _HASHES))


class _Texts(NamedTuple):
    """Texts in a file: where each begins and ends."""

    data: Any
    first: Ints
    end: Ints

    def at(self, place: int) -> str:
        """One of them."""
        text: bytes = self.data[self.first[place] : self.end[place]]
        return text.decode()


def plain_texts(table: pa.Table, columns: Sequence[str]) -> list[str]:
    """The columns of each row as one text: letters small, marks and spaces made one space, nulls left out."""
    said = [table.column(name).to_pylist() for name in columns]

    def plain(values: tuple[Any, ...]) -> str:
        text = " ".join(str(value) for value in values if value is not None)
        return _MARKS.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()

    return [plain(values) for values in zip(*said, strict=True)]


def alike(kept: PlainTexts, least: float) -> Likenesses:
    """Groups of rows whose texts are alike; empty texts are like nothing."""
    number, first = kept.different()
    texts = kept.of_rows(first)
    pairs = _candidates(kept, texts)
    joined = _Joined()
    for a, b, score in _scored(texts, pairs):
        if score >= 100 * least:
            joined.join(a, b, score / 100)
    return Likenesses(sorted(_grouped(number, len(first), joined), key=lambda group: group.rows), len(pairs))


def _grouped(number: Ints, texts: int, joined: _Joined) -> Iterator[Group]:
    """Rows of texts that were joined, and of one text that several rows say."""
    import numpy as np

    order = np.argsort(number, kind="stable")
    starts = np.searchsorted(number[order], np.arange(texts + 1))
    for members, score in joined.groups(np.flatnonzero(np.diff(starts) > 1).tolist()):
        rows = np.sort(np.concatenate([order[starts[each] : starts[each + 1]] for each in members]))
        yield Group(rows=tuple(rows.tolist()), score=round(score, 4))


def _scored(texts: _Texts, pairs: Ints) -> Iterator[tuple[int, int, float]]:
    """How alike the texts of each pair are, 0 to 100."""
    try:
        from rapidfuzz import fuzz, process
    except ImportError as error:
        raise Unavailable(
            "near duplicates need a library that is not installed", hint='pip install "loopwright[dedupe]"'
        ) from error
    count = max(1, len(texts.first))
    for at in range(0, len(pairs), _SCORED):
        ends = [(code // count, code % count) for code in pairs[at : at + _SCORED].tolist()]
        scores = process.cpdist(
            [texts.at(a) for a, _ in ends], [texts.at(b) for _, b in ends], scorer=fuzz.ratio, workers=1
        )
        yield from ((a, b, score) for (a, b), score in zip(ends, scores.tolist(), strict=True))


def _candidates(kept: PlainTexts, texts: _Texts) -> Ints:
    """`(p,)`, rising: pairs of texts a < b that share a band, each once, as `a n + b`."""
    import numpy as np

    count, found = len(texts.first), np.empty(0, dtype=np.int64)
    if not count:
        return found
    signatures = _signatures(kept.band_file(count), texts)
    for band in range(_BANDS):
        low, high = np.ascontiguousarray(signatures[band]).view(np.uint64).T
        order = np.lexsort((high, low))
        changes = (np.diff(low[order]) != 0) | (np.diff(high[order]) != 0)
        starts = np.concatenate([[0], np.flatnonzero(changes) + 1, [count]])
        several = np.flatnonzero(np.diff(starts) > 1)
        buckets = (np.sort(order[starts[at] : starts[at + 1]]).tolist() for at in several)
        met = np.fromiter((a * count + b for bucket in buckets for a, b in _within(bucket)), np.int64)
        found = np.union1d(found, met)
        if len(found) > _PAIRS_LIMIT:
            raise TooLarge(
                f"over {_PAIRS_LIMIT:,} pairs of rows may be alike",
                hint="compare more columns, or fewer rows",
            )
    return found


def _within(bucket: list[int]) -> Iterator[tuple[int, int]]:
    for at, second in enumerate(bucket):
        for first in bucket[: min(at, _BUCKET)]:
            yield (first, second) if first < second else (second, first)


def _signatures(found: NDArray[np.uint32], texts: _Texts) -> NDArray[np.uint32]:
    """Fill `(32, n, 4)`: for each hash the least over a text's trigrams."""
    import numpy as np

    multiply, add = _family(_BANDS * _HASHES)
    known: dict[str, int] = {}
    for first in range(0, len(texts.first), _AT_ONCE):
        places = range(first, min(first + _AT_ONCE, len(texts.first)))
        block = np.empty((len(places), _BANDS * _HASHES), dtype=np.uint32)
        for row, place in enumerate(places):
            codes = np.array(_codes(texts.at(place), known), dtype=np.uint64)
            with np.errstate(over="ignore"):
                mixed = (codes[:, None] * multiply[None, :] + add[None, :]) >> np.uint64(32)
            block[row] = mixed.min(axis=0).astype(np.uint32)
        found[:, first : first + len(places)] = block.reshape(-1, _BANDS, _HASHES).swapaxes(0, 1)
        if len(known) > _MOST_GRAMS:
            known.clear()
    return found


def _codes(text: str, known: dict[str, int]) -> list[int]:
    grams = {text[at : at + 3] for at in range(max(1, len(text) - 2))}
    known.update({gram: _code(gram) for gram in grams if gram not in known})
    return [known[gram] for gram in grams]


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
    """Sets that grow together, each with the least score that joined it; who is in none is alone."""

    def __init__(self) -> None:
        self._above: dict[int, int] = {}
        self._least: dict[int, float] = {}

    def _root(self, of: int) -> int:
        above = self._above
        while (up := above.setdefault(of, of)) != of:
            above[of] = above.setdefault(up, up)
            of = above[of]
        return of

    def join(self, first: int, second: int, score: float) -> None:
        """Put the sets of both together."""
        a, b = sorted((self._root(first), self._root(second)))
        if a != b:
            self._above[b] = a
            self._least[a] = min(self._least.get(a, 1.0), self._least.get(b, 1.0), score)

    def groups(self, alone: Iterable[int]) -> Iterator[tuple[list[int], float]]:
        """Those of several members, and of `alone` those that are in none, by themselves."""
        members: dict[int, list[int]] = {}
        for each in [*self._above]:
            members.setdefault(self._root(each), []).append(each)
        yield from ((found, self._least[root]) for root, found in members.items())
        yield from (([each], 1.0) for each in alone if each not in self._above)
