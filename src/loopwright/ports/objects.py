"""Objects: immutable bytes under the digest of their content."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

__all__ = ["ObjectStat", "Objects"]


class ObjectStat(msgspec.Struct, frozen=True, kw_only=True):
    """What a store knows of an object without reading it."""

    digest: str
    size_bytes: int
    modified_at: datetime


class Objects(Protocol):
    """A content-addressed store. Thread and process safe; a name is always a BLAKE3 digest.

    An object is there whole or not at all; putting what is there is a no-op; reading verifies the
    bytes and raises `Corrupt` when they are not what the digest says.
    """

    is_local: bool
    """whether `local_path` gives a file that may be mapped"""

    def put(self, data: bytes | memoryview) -> str:
        """Keep bytes and return their digest; durable at return."""

    def put_stream(self, chunks: Iterable[bytes]) -> tuple[str, int]:
        """Keep bytes that arrive in pieces, in flat memory; digest and size."""

    def put_file(self, path: Path, *, link: bool = False) -> tuple[str, int]:
        """Keep the bytes of a file of this machine, in flat memory; digest and size.

        With `link` the file and the object become one, and read-only, where the store can do that;
        whoever asks for it sees to it that nobody writes the file meanwhile.
        """

    def get(self, digest: str) -> bytes:
        """All bytes, verified; `NotFound` when it is not there."""

    def open(self, digest: str) -> BinaryIO:
        """A readable, seekable file of verified content."""

    def stat(self, digest: str) -> ObjectStat | None:
        """Size and time, or None when it is not there."""

    def local_path(self, digest: str) -> Path | None:
        """A read-only local file of verified content, or None when the store is not local."""

    def remove(self, digest: str) -> None:
        """Take it away; nothing happens when it is not there. Only garbage collection calls this."""

    def list(self) -> Iterator[ObjectStat]:
        """All objects, in no order."""
