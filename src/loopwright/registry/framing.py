"""Files of a folder as one stream: a line of JSON with path and size before the bytes of each. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from loopwright.core.errors import Invalid, TooLarge
from loopwright.tracking.paths import Checked, file_path

__all__ = ["MEDIA_TYPE", "framed", "unframed"]

MEDIA_TYPE = "application/vnd.loopwright.folder"
_LINE = 32_768
_FILES = 20_000
_PIECE = 1 << 20


class _Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    path: str
    size: int


def framed(files: Mapping[str, bytes]) -> Iterator[bytes]:
    """The stream of a folder's files."""
    for path, data in sorted(files.items()):
        yield msgspec.json.encode(_Head(path=path, size=len(data))) + b"\n"
        for at in range(0, len(data), _PIECE):
            yield data[at : at + _PIECE]


def unframed(chunks: Iterable[bytes]) -> Iterator[tuple[Checked, Iterator[bytes]]]:
    """The files of a stream, each with its pieces, which are to be taken before the next file is asked for.

    `Invalid` for a path that is not harmless or comes twice, and for a stream that ends too soon.
    """
    source = _Source(chunks)
    seen: set[str] = set()
    while (line := source.line()) is not None:
        try:
            head = msgspec.json.decode(line, type=_Head)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise _broken("a file's first line cannot be read") from error
        path = file_path(head.path)
        if path in seen or head.size < 0:
            raise _broken(f"the file {path[:120]!r} comes twice, or has no size")
        seen.add(path)
        if len(seen) > _FILES:
            raise TooLarge(f"a folder has at most {_FILES:,} files", hint="pack them")
        yield path, source.pieces(head.size)


def _broken(what: str) -> Invalid:
    return Invalid(f"the stream of files is broken: {what}", hint="send it again")


class _Source:
    """Reads lines and counted bytes from chunks."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._held = b""

    def line(self) -> bytes | None:
        while b"\n" not in self._held:
            if len(self._held) > _LINE:
                raise _broken("a file's first line is too long")
            more = next(self._chunks, None)
            if more is None:
                if self._held:
                    raise _broken("it ends within a line")
                return None
            self._held += more
        line, _, self._held = self._held.partition(b"\n")
        return line

    def pieces(self, size: int) -> Iterator[bytes]:
        while size:
            if not self._held:
                more = next(self._chunks, None)
                if more is None:
                    raise _broken("it ends within a file")
                self._held = more
                continue
            piece, self._held = self._held[:size], self._held[size:]
            size -= len(piece)
            yield piece
