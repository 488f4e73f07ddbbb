"""JSON of strangers, looked over before it is decoded: how deep it goes and how much it would make. Pure."""

from __future__ import annotations

from array import array
from itertools import accumulate

from loopwright.core.errors import Invalid, TooLarge

__all__ = ["MAX_DEPTH", "MAX_PARTS", "check_json", "is_moderate"]

MAX_DEPTH = 256
"""lists and objects within one another"""
MAX_PARTS = 250_000
"""lists and objects of a text: each is some 60 bytes of memory for two of the text"""

_QUOTE = b'"'
_AS_LISTS = bytes.maketrans(b"{}", b"[]")
_STEPS = bytes.maketrans(b"[]", b"\x01\xff")
"""one level down, one level up: bytes with a sign"""
_BUT_MARKS = bytes(set(range(256)) - set(b"[]{}"))
_BUT_MARKS_AND_QUOTES = bytes(set(range(256)) - set(b'[]{}"'))


def check_json(text: bytes | memoryview, *, parts: int = MAX_PARTS, depth: int = MAX_DEPTH) -> None:
    """`Invalid` for a text that nests deeper, `TooLarge` for one of more lists and objects; else nothing.

    Whether it is JSON at all is for its decoder to say, which reads no further than these bounds hold. No
    value is made of the text, only shorter copies of it: time and memory grow with its length alone.
    """
    held = bytes(text)
    marks = held.translate(_AS_LISTS, _BUT_MARKS)
    if marks.count(b"[") <= min(parts, depth):
        return
    marks = _outside_texts(held)
    opened = marks.count(b"[")
    if b"[" * (depth + 1) in marks:
        raise _too_deep(depth)
    if opened > parts:
        raise TooLarge(f"the JSON holds more than {parts:,} lists and objects", hint="send less at once")
    if marks.count(b"]") > opened:
        raise Invalid("the JSON closes more lists and objects than it opens", hint="send it as it was made")
    if max(accumulate(array("b", marks.translate(_STEPS))), default=0) > depth:
        raise _too_deep(depth)


def _too_deep(depth: int) -> Invalid:
    return Invalid(
        f"the JSON is nested deeper than {depth} lists and objects", hint="send it flatter, or as a text"
    )


def is_moderate(text: str) -> bool:
    """Whether a text that stands within another may be decoded, for who takes it as a text otherwise."""
    try:
        check_json(text.encode("utf-8", "surrogatepass"))
    except Invalid:
        return False
    return True


def _outside_texts(held: bytes) -> bytes:
    """The opening and closing marks that are not within texts, all as those of lists."""
    if b"\\" in held:
        held = held.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = held.translate(_AS_LISTS, _BUT_MARKS_AND_QUOTES)
    return b"".join(marks.split(_QUOTE)[::2])
