"""Paths of files as callers write them: what they mean, or why they are refused. Pure.

No path here ever reaches a file system: a file is a row and its bytes are an object. The rules keep a path
harmless for those who do write it to a disk, which every client that downloads a folder does.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NewType
from urllib.parse import unquote_to_bytes

from loopwright.core.errors import Invalid

__all__ = ["PART_BYTES", "PATH_BYTES", "Checked", "decoded", "file_path", "folder_path", "name_of"]

Checked = NewType("Checked", str)
"""a relative path that was found harmless: decoded, without empty or dot parts"""

PART_BYTES = 255
PATH_BYTES = 4096
_ROUNDS = 8
_DRIVE = re.compile(r"[A-Za-z]:")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\Z|file:", re.IGNORECASE)
_PLAIN = re.compile(r"[A-Za-z0-9_-]+(?:[./][A-Za-z0-9_-]+)*")
"""most paths are so, and nothing can be wrong with them"""
_CONTROL = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_WHERE = "path"


def decoded(raw: bytes) -> str:
    """The text of percent-encoded bytes, decoded until nothing changes, so that no check is gone around."""
    if len(raw) > 3 * PATH_BYTES:
        raise _too_long()
    for _ in range(_ROUNDS):
        found = unquote_to_bytes(raw)
        if found == raw:
            break
        raw = found
    else:
        raise _refused(f"is percent-encoded more than {_ROUNDS} times", "encode it once")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise _refused("is not UTF-8", "percent-encode UTF-8") from error


def file_path(text: str) -> Checked:
    """A relative path to a file, checked; `Invalid` for what could mean another place to anybody.

    The text may be percent-encoded, any number of times.
    """
    if len(text) <= PART_BYTES and _PLAIN.fullmatch(text):
        return Checked(text)
    path = decoded(text.encode("utf-8", "surrogatepass"))
    if not path:
        raise _refused("is empty", "name a file")
    if len(path.encode()) > PATH_BYTES:
        raise _too_long()
    for part in path.split("/"):
        _check_part(part)
    return Checked(path)


def folder_path(text: str) -> Checked:
    """A relative path to a folder or a file, checked; empty for the root; one `/` at its end is dropped."""
    path = decoded(text.encode("utf-8", "surrogatepass"))
    return file_path(path.removesuffix("/")) if path else Checked("")


def name_of(path: str) -> str:
    """The last part."""
    return path.rpartition("/")[2]


def _check_part(part: str) -> None:
    if not part:
        raise _refused("has an empty part, or begins or ends with '/'", "write folder/file")
    if part.endswith((".", " ")):
        raise _refused("has a part of dots, or one that ends in a dot or a blank", "leave the end out")
    if "\\" in part or _DRIVE.match(part) or _SCHEME.match(part):
        raise _refused("has a backslash, a drive or a scheme", "write a relative path, with / between parts")
    if "#" in part:
        raise _refused("has a '#', behind which clients cut it off", "rename the file")
    if any(unicodedata.category(char) in _CONTROL or char in _TURNING for char in part):
        raise _refused("has control characters", "remove them")
    if len(part.encode()) > PART_BYTES:
        raise _refused(f"has a part of more than {PART_BYTES} bytes", "use a shorter name")


def _too_long() -> Invalid:
    return _refused(f"has more than {PATH_BYTES} bytes", "use shorter names")


def _refused(why: str, hint: str) -> Invalid:
    """The path itself is not repeated: it may be an attack on whoever reads the error."""
    return Invalid(f"Invalid path: it {why}", hint=hint, where=_WHERE)
