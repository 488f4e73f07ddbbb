"""How long and how many: what may be logged at once, which keys are keys, and what is cut. Pure.

The beginnings of the messages are what MLflow's clients and their tests know.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from loopwright.core.errors import Invalid

__all__ = [
    "BATCH",
    "KEY",
    "PARAM",
    "PARAMS",
    "TAG",
    "TAGS",
    "check_batch",
    "check_keys",
    "check_length",
    "check_size",
    "cut",
    "duplicate",
]

KEY = 250
"""characters of a metric's, param's or tag's name"""
PARAM = 6_000
"""characters of a param's value; a longer one is cut"""
TAG = 8_000
"""characters of a run's tag; a longer one is cut"""
PARAMS = 100
"""params in a batch"""
TAGS = 100
"""tags in a batch"""
BATCH = 1_000
"""metrics in a batch, and metrics, params and tags together"""

_KEY = re.compile(r"[/\w.\- :]*\Z")
_ALLOWED = (
    "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) "
    "and slashes (/)."
)
_AS_FILES = (
    "Names may be treated as files in certain cases, and must not resolve to other names when treated as "
    "such. This name would resolve to {!r}"
)


def check_batch(metrics: int, params: int, tags: int) -> None:
    """Raise `Invalid` when a batch has too many of a kind, or of all kinds together."""
    for found, limit, what in (
        (metrics, BATCH, "metrics"),
        (params, PARAMS, "params"),
        (tags, TAGS, "tags"),
        (metrics + params + tags, BATCH, "metrics, params, and tags"),
    ):
        if found > limit:
            raise Invalid(
                f"A batch logging request can contain at most {limit} {what}. Got {found} {what}. "
                f"Please split up {what} across multiple requests and try again."
            )


def check_keys(keys: Sequence[str], length_of: str, place: str) -> None:
    """Raise `Invalid` for the first key that is none.

    `length_of` is how the message for a key too long names it, `place` where the key stood, with `{}` for its
    number.
    """
    for key in dict.fromkeys(keys):
        if _KEY.match(key) is None:
            raise _no_key(key, place.format(keys.index(key)), _ALLOWED)
        if len(key) > KEY:
            check_length(length_of, key, KEY)
        if "." in key or "/" in key:
            _check_path(key, place.format(keys.index(key)))


def _check_path(key: str, where: str) -> None:
    """Files of some stores are named by keys: one that means another file is refused."""
    resolved = posixpath.normpath(key)
    if resolved != key or resolved == "." or resolved.startswith(("..", "/")):
        raise _no_key(key, where, _AS_FILES.format(resolved))


def _no_key(key: str, where: str, why: str) -> Invalid:
    shown = key if len(key) <= 100 else f"{key[:100]}..."
    return Invalid(f"Invalid value \"{shown}\" for parameter '{where}' supplied: {why}")


def check_length(what: str, text: str, limit: int) -> None:
    """Raise `Invalid` for a text over its limit."""
    if len(text) > limit:
        raise Invalid(f"'{what}' exceeds the maximum length of {limit} characters")


def check_size(size: int, limit: int, name: str = "max_results") -> int:
    """The size of a page itself; `Invalid` when it is not from 1 to the limit."""
    if not 1 <= size <= limit:
        raise Invalid(
            f"Invalid value {size} for parameter '{name}' supplied: "
            f"It must be at least 1 and at most {limit}",
            hint=f"ask for 1 to {limit} at once",
        )
    return size


def cut(values: Mapping[str, str], limit: int) -> dict[str, str]:
    """The same texts, those over the limit cut to it."""
    return {key: value if len(value) <= limit else value[:limit] for key, value in values.items()}


def duplicate(keys: Collection[Any]) -> Any | None:
    """The first key that is there twice, or None."""
    seen: set[Any] = set()
    for key in keys:
        if key in seen:
            return key
        seen.add(key)
    return None
