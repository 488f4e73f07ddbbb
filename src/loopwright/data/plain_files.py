"""Files of plain text as they come: how columns are parted, JSON in one list, texts that are not UTF-8."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import msgspec

from loopwright.core.errors import Invalid, TooLarge

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["check_encoding", "delimiter_of", "lined", "not_utf8"]

_HEADING = 1 << 16
_DELIMITERS = ",\t;|"
_LIST_LIMIT = 256 << 20
_IN_MEMORY = 32 << 20


def delimiter_of(file: IO[bytes]) -> str:
    """What parts the columns of CSV: comma, tab, semicolon or bar, whichever its first line has most of.

    What stands in quotes does not count. The file is at its beginning afterwards.
    """
    head = file.read(_HEADING)
    file.seek(0)
    line = head.split(b"\n", 1)[0]
    bare = b"".join(line.split(b'"')[::2]).decode("utf-8", "replace")
    return max(_DELIMITERS, key=bare.count)


def check_encoding(table: pa.Table | pa.RecordBatch, what: str) -> None:
    """`Invalid` for texts that are not UTF-8: Arrow keeps them as bytes."""
    import pyarrow as pa

    for field in table.schema:
        if pa.types.is_binary(field.type):
            raise not_utf8(what, field.name)


def not_utf8(what: str, column: str) -> Invalid:
    """What is told of texts in another encoding."""
    return Invalid(
        f"{what} is not UTF-8: the column {column[:80]!r} holds other bytes",
        hint="save it as UTF-8, such as by `iconv -f latin1 -t utf-8 FILE`",
    )


@contextmanager
def lined(file: IO[bytes], what: str) -> Iterator[IO[bytes]]:
    """A file of JSON with one object a line: a list of objects is written so; lines are given as they are."""
    start = file.read(_HEADING).lstrip()
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if not start.startswith(b"["):
        yield file
        return
    if size > _LIST_LIMIT:
        raise TooLarge(
            f"{what} is one list of {size:,} bytes, over {_LIST_LIMIT:,}", hint="write one object a line"
        )
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as spool:
        for item in _items(file.read(), what):
            spool.write(item + b"\n")
        spool.seek(0)
        yield spool


def _items(data: bytes, what: str) -> Iterator[bytes]:
    """The objects of a list, each on one line."""
    try:
        for item in msgspec.json.decode(data, type=list[msgspec.Raw]):
            yield msgspec.json.format(bytes(item), indent=-1)
    except RecursionError as error:
        raise Invalid(f"{what} is nested too deeply", hint="send a list of flat objects") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"{what} is not JSON: {error}", hint="check where it breaks off") from error
