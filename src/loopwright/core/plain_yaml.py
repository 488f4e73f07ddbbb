"""YAML of strangers as plain values: no tags of Python, no aliases, bounded before anything is made. Pure.

The library is loaded here, since it takes 30 ms.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

from loopwright.core.errors import Invalid

__all__ = ["MAX_EVENTS", "MAX_LEVELS", "read_yaml"]

MAX_LEVELS = 64
"""mappings and lists within one another"""
MAX_EVENTS = 200_000
"""scalars, and beginnings and ends of mappings and lists"""
_NUMBER = 400
"""characters of what may be a number: one to the base of sixty takes the square of its length to read"""
_LIKE_A_NUMBER = re.compile(r"[-+]?[\d.][\d_:.eExXa-fA-F+-]*\Z")


def read_yaml(data: bytes) -> Any:
    """The value of one YAML document; `Invalid` for tags, aliases, great depth, very many parts, no YAML."""
    yaml = import_module("yaml")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        text = data.decode()
        _check(yaml, yaml.parse(text, loader))
        return yaml.load(text, Loader=loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError, OverflowError) as error:
        raise Invalid(
            "it is not plain YAML", hint="tags of Python objects are never followed: write it again"
        ) from error


def _check(yaml: Any, events: Any) -> None:
    """Look at the text's events one by one, and stop at the first that is too much."""
    depth = 0
    for count, event in enumerate(events):
        if isinstance(event, yaml.AliasEvent):
            raise Invalid("it has YAML aliases", hint="write each value out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_LEVELS or count > MAX_EVENTS:
            raise Invalid(
                f"it has more than {MAX_EVENTS:,} parts, or more than {MAX_LEVELS} levels",
                hint="write it flatter",
            )
        if isinstance(event, yaml.ScalarEvent) and _is_endless(event):
            raise Invalid(f"it has a number of more than {_NUMBER} digits", hint="write it as a text")


def _is_endless(event: Any) -> bool:
    said: str = event.value
    is_plain = event.implicit[0] or event.tag is not None
    return is_plain and len(said) > _NUMBER and _LIKE_A_NUMBER.match(said.replace("\n", "")) is not None
