"""Where rows come from outside: files, databases and streams of records, read from where it was left off."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO, Protocol

import msgspec

from loopwright.core.nouns import Json

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "UNPACKED_LIMIT",
    "FileSource",
    "Origin",
    "Record",
    "RecordStream",
    "RowSource",
    "SeenFile",
    "Sources",
]

UNPACKED_LIMIT = 1 << 30
"""bytes that a packed file or answer may unpack to"""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where rows come from, with its secrets: it lives in memory alone and is never shown."""

    address: str
    query: str = ""
    """a SELECT, or the name of a table; of databases alone"""
    cursor: str = ""
    """the column that only grows from row to row; of databases alone"""
    headers: Mapping[str, str] = {}
    """sent along by HTTP"""
    options: Json = {}
    """of the driver of an object store, or of the client of a stream"""

    def __repr__(self) -> str:
        return "Origin(...)"


class SeenFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a source, and a mark that is another one when the file was written."""

    path: str
    """what tells it from the others; `` for the only one there is"""
    mark: str


class FileSource(Protocol):
    """Files of one place. One thread uses it."""

    def seen(self, marks: Mapping[str, str]) -> Sequence[SeenFile]:
        """All files there are now, by path; those whose mark is not as in `marks` may be opened.

        `NotFound` when nothing is there, `Unavailable` when nobody answers, `Invalid` when one may not.
        """

    def open(self, path: str) -> BinaryIO:
        """One of them, seekable. `TooLarge` past the limit of what is fetched."""

    def media_type(self, path: str) -> str:
        """What it is said to be; empty where nothing is said."""

    def close(self) -> None:
        """Let go of what was opened."""


class RowSource(Protocol):
    """Rows of a database. One thread uses it."""

    def batches(self, since: object, rows: int) -> Iterator[pa.Table]:
        """Rows in batches of at most `rows`, in flat memory.

        With a cursor column: those with `cursor >= since` (all but nulls for None), in its order; else all
        of them, in the database's order. `Invalid` for a wrong question, `Unavailable` when nobody answers.
        """

    def close(self) -> None:
        """Let go of the connection."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One record of a stream."""

    part: str
    """the partition; `0` in a stream that has none"""
    offset: str
    """where reading goes on after it"""
    value: bytes
    """a JSON object, whatever the client of the stream made it from"""


class RecordStream(Protocol):
    """A stream of records in partitions, each in its order. One thread uses it.

    The reader keeps the offsets, not the stream: nothing is acknowledged there, and offsets and rows can be
    written together. Reading twice from the same offsets gives the same records, and perhaps more.
    """

    def read(self, offsets: Mapping[str, str], most: int) -> Sequence[Record]:
        """At most `most` records that follow `offsets` (a partition without one: from its beginning).

        Only records that were there when the call began are waited for: none means that nothing is new.
        `Conflict` when records after an offset are gone, `Unavailable` when nobody answers.
        """

    def close(self) -> None:
        """Let go of the connection."""


class Sources(Protocol):
    """Opens what an address names. Thread safe."""

    def open(self, origin: Origin) -> FileSource | RowSource | RecordStream:
        """By its scheme; `Invalid` for one that is not known, `Unavailable` where a library is missing."""

    def kind(self, address: str) -> str:
        """`files`, `rows` or `records`, opening nothing; `Invalid` for a scheme that is not known."""

    def is_many(self, address: str) -> bool:
        """Whether an address of files names a folder or a pattern, not one file."""
