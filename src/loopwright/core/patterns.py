"""Regular expressions of strangers: found in a time that grows with the text alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib import import_module

from loopwright.core.errors import Invalid

__all__ = ["MAX_PATTERN", "finder"]

MAX_PATTERN = 500
"""characters of a pattern"""
_MEMORY = 1 << 20


@lru_cache(maxsize=64)
def finder(pattern: str) -> Callable[[str], bool]:
    """What tells whether a pattern is found in a text; `Invalid` for one that is none, or too large.

    The engine is RE2, which has neither back-references nor look-around and never tries a match again: a
    pattern such as `(a+)+$` costs no more than any other. Its module is loaded here, since it takes 50 ms.
    """
    if len(pattern) > MAX_PATTERN:
        raise Invalid(
            f"a regular expression of {len(pattern)} characters is too long",
            hint=f"keep it under {MAX_PATTERN} characters",
        )
    re2 = import_module("re2")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    try:
        search = re2.compile(pattern, options).search
    except re2.error as error:
        raise Invalid(
            "the regular expression cannot be read",
            hint="it is one of RE2's: no back-references, no look-around",
        ) from error
    return lambda text: search(text) is not None
