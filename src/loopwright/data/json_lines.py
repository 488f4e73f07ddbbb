"""Lines of JSON as Arrow may read them: a line that is `null` and no object would end the whole process."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import IO

from loopwright.core.errors import Invalid

__all__ = ["check_lines", "parts_of"]

_PART = 1 << 20
_BLANK = b" \t\r\n\v\f\0\xef\xbb\xbf"
_WORD = b"null"
_BARE = re.compile(rb"[\r\n][ \t\v\f\x00\xef\xbb\xbf]*null")


def parts_of(file: IO[bytes]) -> Iterable[bytes]:
    """What is left of a file, some at a time."""
    return iter(lambda: file.read(_PART), b"")


def check_lines(parts: Iterable[bytes]) -> None:
    """Raise `Invalid` when a line of JSON begins with `null`; the parts may end anywhere.

    Arrow parses blocks of lines, each from a state in which it has seen no object, and follows a pointer to
    nowhere when the first value is null.
    """
    before = b"\n"
    for part in parts:
        text = before + part
        if _WORD in text and _BARE.search(text):
            raise Invalid("a line is null, and no object", hint="send one JSON object a line")
        before = _begun(text)


def _begun(text: bytes) -> bytes:
    """What stands for all that came so far: a new line, with letters of the word that began, or neither."""
    line = text[max(text.rfind(b"\n"), text.rfind(b"\r")) + 1 :].lstrip(_BLANK)
    return b"\n" + line if _WORD.startswith(line) else b"x"
