"""Tokens and costs of a trace from those of its spans, none counted twice. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from loopwright.core.nesting import is_moderate
from loopwright.core.traces import Span
from loopwright.llm.nouns import CACHED, COST, COSTS, SPAN_COST, SPAN_USAGE, TOKENS, USAGE
from loopwright.llm.previews import dumped

__all__ = ["costs_of", "normal_metadata", "numbers", "tokens_of"]

_MOST = 2**63 - 1


def tokens_of(spans: Iterable[Span]) -> dict[str, int]:
    """The tokens of a whole trace; nothing where no span tells any."""
    found = _summed(list(spans), SPAN_USAGE, TOKENS, CACHED, whole=True)
    return {key: int(value) for key, value in found.items()}


def costs_of(spans: Iterable[Span]) -> dict[str, float]:
    """What a whole trace cost, in US dollars; nothing where no span tells it."""
    return _summed(list(spans), SPAN_COST, COSTS, (), whole=False)


def _summed(
    spans: Sequence[Span], attribute: str, keys: Sequence[str], more: Sequence[str], *, whole: bool
) -> dict[str, float]:
    """Sums over the spans that tell something under no span that does: a parent's hold its children's."""
    under = _by_parent(spans)
    totals: dict[str, float] = {}
    waiting = [(span, False) for span in under.get(None, ())]
    while waiting:
        span, is_counted = waiting.pop()
        told = span.attributes.get(attribute)
        if isinstance(told, dict) and not is_counted:
            totals = totals or dict.fromkeys(keys, 0)
            for key, value in numbers(told, (*keys, *more), whole=whole).items():
                totals[key] = totals.get(key, 0) + value
        is_counted = is_counted or isinstance(told, dict)
        waiting += [(child, is_counted) for child in under.get(span.id, ())]
    return totals


def _by_parent(spans: Sequence[Span]) -> dict[str | None, list[Span]]:
    """Spans by their parent, those whose parent is not among them by None."""
    ids = {span.id for span in spans}
    under: dict[str | None, list[Span]] = {}
    for span in spans:
        under.setdefault(span.parent_id if span.parent_id in ids else None, []).append(span)
    return under


def numbers(told: Any, keys: Sequence[str], *, whole: bool) -> dict[str, float]:
    """The entries of a mapping that are such numbers, in the order of the keys."""
    if not isinstance(told, dict):
        return {}
    found = {key: _number(told.get(key), whole=whole) for key in keys}
    return {key: value for key, value in found.items() if value is not None}


def _number(value: Any, *, whole: bool) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(found) or (whole and (found != int(found) or abs(found) > _MOST)):
        return None
    return int(found) if whole else found


def normal_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """The same with tokens and costs in the one form they are told in; what is none is left out."""
    found = dict(metadata)
    for name, keys, whole in ((USAGE, (*TOKENS, *CACHED), True), (COST, COSTS, False)):
        if name in found:
            told = numbers(_object(found.pop(name)), keys, whole=whole)
            if told:
                found[name] = dumped(told)
    return found


def _object(text: str) -> Any:
    try:
        return json.loads(text) if is_moderate(text) else None
    except (ValueError, RecursionError):
        return None
