"""Letters without their case, one by one: the same whatever compares them, a store or Python."""

from __future__ import annotations

__all__ = ["folded", "spellings"]

_OTHERS = {"k": "\u212a", "å": "\u212b", "ß": "\u1e9e", "θ": "\u03f4", "ω": "\u2126"}
"""signs that are lower-cased to a letter which is not upper-cased to them: Kelvin, Ohm and others"""


def folded(text: str) -> str:
    """The text with each letter as its lower-case one.

    Letter by letter, so that none depends on where it stands, as a sigma does, and none becomes two:
    the dotted capital I stays as it is.
    """
    return text.lower() if text.isascii() else "".join(map(_lower, text))


def _lower(letter: str) -> str:
    lower = letter.lower()
    return lower if len(lower) == 1 else letter


def spellings(letter: str) -> str:
    """Every letter that is folded to what this one is: `kK` and the sign of Kelvin for any of them."""
    lower = _lower(letter)
    found = dict.fromkeys((lower, lower.upper(), lower.title(), letter, *_OTHERS.get(lower, "")))
    return "".join(each for each in found if len(each) == 1 and _lower(each) == lower)
