"""Personal data by Presidio's patterns and checksums: identifiers of many countries beside our own finders.

Only its recognizers of patterns are used, without a model of a language: nothing is downloaded. Those of
addresses in the web are left out, which would ask the web for its list of domains (e-mail is found without
them), and that of dates, which tell of nobody.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from loopwright.core.errors import Unavailable
from loopwright.data.personal import PersonalColumn

__all__ = ["Finder", "found_in", "presidio_finder"]

_SURE = 0.6
"""the least score that counts: a checksum that holds has 1, a pattern that much else fits 0.01 to 0.5"""
_SHARE = 0.5
_LONGEST = 2_000
_LEFT_OUT = frozenset({"DateRecognizer", "EmailRecognizer", "UrlRecognizer"})


class Finder(Protocol):
    """Tells which kinds of personal data a text holds, such as `es_nif`."""

    def __call__(self, text: str) -> frozenset[str]:
        """The kinds."""


def presidio_finder() -> Finder:
    """A finder of all that Presidio has patterns with a checksum or certainty for; takes seconds to load."""
    recognizers = list(_recognizers())

    def find(text: str) -> frozenset[str]:
        results = (each.analyze(text, each.supported_entities, None) for each in recognizers)
        return frozenset(one.entity_type.lower() for found in results for one in found if one.score >= _SURE)

    return find


def _recognizers() -> Iterator[Any]:
    try:
        from presidio_analyzer import PatternRecognizer, predefined_recognizers
    except ImportError as error:
        raise Unavailable("Presidio is not installed", hint='pip install "loopwright[presidio]"') from error
    for name, kind in sorted(vars(predefined_recognizers).items()):
        is_pattern = inspect.isclass(kind) and issubclass(kind, PatternRecognizer)
        if is_pattern and kind is not PatternRecognizer and name not in _LEFT_OUT:
            yield kind()


def found_in(column: str, texts: Iterable[str], find: Finder) -> tuple[PersonalColumn, ...]:
    """The kinds that more than half of some texts of a column hold, the commonest first."""
    seen, counts = 0, dict[str, int]()
    for text in texts:
        seen += 1
        for kind in find(text[:_LONGEST]):
            counts[kind] = counts.get(kind, 0) + 1
    found = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(
        PersonalColumn(column=column, tag=f"pii.{kind}", by="presidio", share=count / seen)
        for kind, count in found
        if count > _SHARE * seen
    )
